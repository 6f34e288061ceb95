"""The training loop on a moving texture and a stand-in loss network: it learns, stops, and resumes without a trace."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TranslationClip, picture
from training_runs import broken_off, curves, network_state, same, stop_at, told_of, windows

from reconet_bench.core import provenance
from reconet_bench.core.errors import DataError, ModelError, TrainingError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reconet_bench.report.loss_curves import parse_curves
from reconet_bench.report.model_card import model_card
from reconet_bench.training import precision as precision_module
from reconet_bench.training.crops import ClipCrops
from reconet_bench.training.data import DataOptions, training_data
from reconet_bench.training.distributed import Group
from reconet_bench.training.loader import Loader
from reconet_bench.training.loop import train
from reconet_bench.training.progress import TrainingProgress
from reconet_bench.training.run_folder import CURVES_FILE, STATE_FILE
from reconet_bench.training.settings import LARGEST_SEED


def test_the_loss_goes_down(settings, tmp_path):
    path = train(replace(settings, steps=30, log_every=5, save_every=100), windows(), tmp_path / "run")
    rows = curves(tmp_path / "run")
    totals = [sum(float(value) for name, value in row.items() if name != "step") for row in rows]
    assert [row["step"] for row in rows] == ["5", "10", "15", "20", "25", "30"]
    assert totals[-1] < 0.7 * totals[0]
    assert path.name == "reconet-wave.safetensors"


def test_a_run_leaves_a_checkpoint_a_state_and_curves(settings, tmp_path):
    seen: list[TrainingProgress] = []
    path = train(replace(settings, log_every=2), windows(), tmp_path / "run", report=seen.append)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, STATE_FILE, CURVES_FILE, "samples"])
    assert [(p.step, p.steps) for p in seen] == [(2, 6), (4, 6), (6, 6)]
    assert all(list(p.terms) == list(METHODS["reconet"].weights) for p in seen)
    assert all(p.steps_per_second > 0 for p in seen)
    for row, progress in zip(curves(path.parent), seen, strict=True):
        assert {name: float(value) for name, value in row.items() if name != "step"} == pytest.approx(
            progress.terms, rel=1e-5
        )
    loaded = load_checkpoint(path)
    assert (loaded.method, loaded.style) == ("reconet", "wave")
    assert set(loaded.style_targets) == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}
    assert loaded.info["steps"] == 6
    assert loaded.info["weights"] == METHODS["reconet"].weights
    assert loaded.info["data"] == windows().describe()
    assert loaded.info["style_file"] == "wave.png"
    assert loaded.info["loss_network"].startswith("sha256:")
    torch.manual_seed(settings.seed)
    fresh = METHODS["reconet"].network().state_dict()
    assert not any(
        torch.allclose(fresh[k], v, atol=1e-4)
        for k, v in loaded.network.state_dict().items()
        if k.endswith("0.1.weight")
    )


def test_a_term_without_weight_is_logged_as_it_is_and_not_optimised(settings, tmp_path):
    weights = {"temporal_short": 0.0, "temporal_long": 0.0}
    short = replace(settings, steps=2, weights=weights)
    without = train(short, windows(), tmp_path / "a")
    terms = curves(tmp_path / "a")[0]
    assert float(terms["temporal_short"]) > 0
    # reconet without its temporal terms is johnson: same frames, same terms, same weights of the network.
    alike = train(replace(short, method="johnson", weights={}), windows(), tmp_path / "b")
    first, second = load_checkpoint(without), load_checkpoint(alike)
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-2)
    unlike = load_checkpoint(train(replace(short, weights={"temporal_short": 1e6}), windows(), tmp_path / "c"))
    assert any(
        not torch.equal(a, b) for a, b in zip(first.network.parameters(), unlike.network.parameters(), strict=True)
    )
    # The total is what is optimised: without them here, and with what their weight makes of them there.
    for folder, optimised in (("a", ("content", "style", "tv")), ("c", tuple(METHODS["reconet"].weights))):
        told = parse_curves((tmp_path / folder / CURVES_FILE).read_text())
        assert told.total[0] == pytest.approx(sum(told.terms[term][0] for term in optimised), rel=1e-5)
    assert float(curves(tmp_path / "c")[0]["temporal_short"]) == pytest.approx(
        1e6 * float(terms["temporal_short"]), rel=1e-3
    )


def test_the_same_seed_gives_the_same_weights_and_another_does_not(settings, tmp_path):
    short = replace(settings, steps=2)
    one, again, other = (
        network_state(train(s, windows(), tmp_path / name).parent / STATE_FILE)
        for name, s in (("a", short), ("b", short), ("c", replace(short, seed=1)))
    )
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(settings, tmp_path, stop):
    """Broken off at step 2 before anything was saved, and at step 5 with the state of step 4."""
    whole = train(settings, windows(), tmp_path / "whole")
    broken_off(settings, tmp_path / "broken", stop)
    finished = train(settings, windows(), tmp_path / "broken", resume=True)
    assert same(read_tensors(whole.parent / STATE_FILE)[0], read_tensors(finished.parent / STATE_FILE)[0])
    assert whole.name == finished.name
    assert same(network_state(whole), network_state(finished))
    assert [row["step"] for row in curves(finished.parent)] == ["1", "2", "3", "4", "5", "6"]
    assert curves(finished.parent) == curves(whole.parent)


def test_the_row_after_a_resume_is_of_all_its_steps(settings, tmp_path):
    """A state of step 3, between the rows of steps 0 and 4."""
    sparse = replace(settings, steps=5, log_every=4, save_every=3, sample_every=0)
    train(sparse, windows(), tmp_path / "whole")
    broken_off(sparse, tmp_path / "broken", 4)
    train(sparse, windows(), tmp_path / "broken", resume=True)
    assert [row["step"] for row in curves(tmp_path / "broken")] == ["4", "5"]
    assert curves(tmp_path / "broken") == curves(tmp_path / "whole")


def test_other_files_of_the_same_names_are_another_run(settings, tmp_path):
    def data(digest: str) -> ClipCrops:
        clip = TranslationClip((2.0, 1.0))
        clip.digest = digest
        return ClipCrops(32, 0, [clip])

    quick = replace(settings, steps=3, save_every=1, sample_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(quick, data("one"), tmp_path / "run", report=stop_at(2))
    with pytest.raises(
        TrainingError,
        match="its photographs, footage or flow weights were different; choose another --output",
    ):
        train(quick, data("two"), tmp_path / "run", resume=True)
    told_of(tmp_path / "run" / STATE_FILE, data_files=None)
    train(quick, data("two"), tmp_path / "run", resume=True)


def test_two_clips_of_one_name_are_both_among_the_data():
    def data(digest: str) -> ClipCrops:
        clips = [TranslationClip((2.0, 1.0)), TranslationClip((1.0, 2.0))]
        for clip, word in zip(clips, (digest, "last"), strict=True):
            clip.digest = word
        return ClipCrops(32, 0, clips)

    assert data("one").digest() != data("two").digest()
    assert data("one").describe()["sequences"] == ["moving"]


def test_noise_of_the_pop_loss_is_the_same_after_a_resume(settings, tmp_path):
    noisy = replace(settings, method="dougherty", steps=4)
    train(noisy, windows(), tmp_path / "whole")
    broken_off(noisy, tmp_path / "broken", 3)
    train(noisy, windows(), tmp_path / "broken", resume=True)
    assert curves(tmp_path / "whole") == curves(tmp_path / "broken")


@pytest.mark.process
def test_a_killed_run_can_be_resumed(settings, tmp_path):
    """SIGKILL leaves no time to tidy up: the last saved state is whole all the same."""
    code = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]
        from training_runs import TrainingSettings, train, windows
        def report(progress):
            if progress.step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        style, vgg = Path({str(settings.style)!r}), Path({str(settings.vgg)!r})
        settings = TrainingSettings("reconet", style, steps=6, style_size=64, vgg=vgg,
                                    device="cpu", precision="fp32", save_every=2, log_every=1)
        train(settings, windows(), Path({str(tmp_path / "run")!r}), report=report)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_tensors(tmp_path / "run" / STATE_FILE)[1]["step"] == "2"
    path = train(settings, windows(), tmp_path / "run", resume=True)
    assert [row["step"] for row in curves(path.parent)] == ["1", "2", "3", "4", "5", "6"]
    assert load_checkpoint(path).info["steps"] == 6


def test_an_interrupt_says_where_it_stopped_and_what_is_saved(settings, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        train(settings, windows(), tmp_path / "run", report=stop_at(1))
    assert "nothing was saved yet" in str(caught.value)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(settings, windows(), tmp_path / "run", report=stop_at(3))
    assert f"step 2 is saved in {tmp_path / 'run' / STATE_FILE}; continue with --resume" in str(caught.value)
    assert not list((tmp_path / "run").glob("reconet-*"))


def test_a_folder_that_holds_another_run_is_left_alone(settings, tmp_path):
    broken_off(settings, tmp_path / "run", 3)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(
        TrainingError,
        match=r"run contains another run: step 2 is saved .*; continue with --resume, or choose another --output",
    ):
        train(settings, windows(), tmp_path / "run")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_resuming_where_nothing_was_saved_starts_from_the_beginning(settings, tmp_path):
    short = replace(settings, steps=2)
    one = train(short, windows(), tmp_path / "a", resume=True)
    other = train(short, windows(), tmp_path / "b")
    assert same(network_state(one), network_state(other))


def test_resuming_a_finished_run_writes_its_checkpoint_again(settings, tmp_path):
    short = replace(settings, steps=2)
    path = train(short, windows(), tmp_path / "run")
    before = network_state(path)
    path.unlink()
    assert train(short, windows(), tmp_path / "run", resume=True) == path
    assert same(network_state(path), before)
    assert [row["step"] for row in curves(path.parent)] == ["1", "2"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"learning_rate": 5e-4}, "learning_rate was 0.001, now 0.0005"),
        ({"steps": 7}, "steps was 6, now 7"),
        ({"seed": 3}, "seed was 0, now 3"),
        ({"batch": 2}, "batch was 1, now 2"),
        ({"method": "johnson"}, "method was reconet, now johnson"),
        ({"weights": {"tv": 1.0}}, "weights was"),
        ({"precision": "bf16"}, "precision was fp32, now bf16"),
        ({"options": {"constraint": "none"}}, "options was"),
    ],
)
def test_a_state_of_other_settings_is_refused(settings, tmp_path, change, name):
    folder = tmp_path / "run"
    if not folder.exists():
        broken_off(replace(settings, save_every=1), folder, 2)
    before = (folder / STATE_FILE).read_bytes(), (folder / CURVES_FILE).read_bytes()
    with pytest.raises(TrainingError) as caught:
        train(replace(settings, **change), windows(), folder, resume=True)
    assert name in str(caught.value)
    assert "choose another --output" in str(caught.value)
    assert before == ((folder / STATE_FILE).read_bytes(), (folder / CURVES_FILE).read_bytes())


def test_a_run_goes_on_in_the_precision_it_began_in(settings, tmp_path, monkeypatch):
    """``auto`` means another on another machine: the state says which it was, and older states are believed."""
    folder = tmp_path / "run"
    automatic = replace(settings, precision="auto")
    monkeypatch.setattr(precision_module, "computes_bf16", lambda: False)
    broken_off(replace(automatic, save_every=1), folder, 2)
    monkeypatch.setattr(precision_module, "computes_bf16", lambda: True)
    with pytest.raises(TrainingError, match="precision was fp32, now bf16"):
        train(automatic, windows(), folder, resume=True)
    tensors, metadata = read_tensors(folder / STATE_FILE)
    older = json.loads(metadata["settings"]) | {"precision": "auto"}
    write_tensors(folder / STATE_FILE, tensors, metadata | {"settings": json.dumps(older)})
    path = train(settings, windows(), folder, resume=True)
    assert load_checkpoint(path).info["precision"] == "fp32"


def test_another_number_of_processes_is_another_run(settings, tmp_path):
    broken_off(settings, tmp_path / "run", 3)
    told_of(tmp_path / "run" / STATE_FILE, processes=2)
    with pytest.raises(TrainingError, match="processes was 2, now 1; choose another --output"):
        train(settings, windows(), tmp_path / "run", resume=True)


def test_a_state_of_an_older_version_lacks_what_it_did_not_know(settings, tmp_path):
    broken_off(settings, tmp_path / "run", 3)
    told_of(tmp_path / "run" / STATE_FILE, processes=None, options={})
    train(settings, windows(), tmp_path / "run", resume=True)
    assert [row["step"] for row in curves(tmp_path / "run")] == ["1", "2", "3", "4", "5", "6"]


def test_a_painting_that_is_moved_while_it_is_learnt_does_not_end_the_run(settings, tmp_path, monkeypatch):
    style = provenance.checksum(settings.style)
    hashed: list[Path] = []
    checksum = provenance.checksum
    monkeypatch.setattr(provenance, "checksum", lambda path: hashed.append(path) or checksum(path))
    path = train(settings, windows(), tmp_path / "run", report=lambda progress: settings.style.unlink(missing_ok=True))
    assert load_checkpoint(path).info["style"] == style
    assert sorted(map(str, hashed)) == sorted(map(str, [settings.style, settings.vgg])), (
        "each once, and not at every save"
    )


def test_a_state_of_another_painting_or_other_data_is_refused(settings, tmp_path):
    broken_off(replace(settings, save_every=1), tmp_path / "run", 2)
    other = [TranslationClip((2.0, 1.0), name="other")]
    for data, message in (
        (ClipCrops(32, 0, other), "data was"),
        (ClipCrops(24, 0, [TranslationClip()]), "size was 32, now 24"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(settings, data, tmp_path / "run", resume=True)
    write_image(settings.style, picture(3, (1.0, 0.0), (64, 64)))
    with pytest.raises(TrainingError, match="style was sha256:"):
        train(settings, windows(), tmp_path / "run", resume=True)


def test_a_loss_that_is_no_number_stops_with_step_and_term_and_keeps_the_state(settings, tmp_path):
    class Poisoned(ClipCrops):
        def __getitem__(self, index):
            frames, *rest = super().__getitem__(index)
            return (frames * float("nan") if index == 4 else frames), *rest

    data = Poisoned(32, 0, [TranslationClip((2.0, 1.0))])
    with pytest.raises(TrainingError) as caught:
        train(settings, data, tmp_path / "run")
    assert "loss term 'content' is nan at step 5" in str(caught.value)
    assert f"step 4 is saved in {tmp_path / 'run' / STATE_FILE}" in str(caught.value)
    assert "lower the learning rate" in str(caught.value)
    tensors, metadata = read_tensors(tmp_path / "run" / STATE_FILE)
    assert metadata["step"] == "4"
    assert all(value.isfinite().all() for value in tensors.values())
    assert not list((tmp_path / "run").glob("reconet-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"style": -1.0}}, "weight of 'style' must be zero or more, got -1.0"),
        ({"weights": {"tv": float("nan")}}, "weight of 'tv' must be zero or more, got nan"),
        ({"weights": {"tv": float("inf")}}, "weight of 'tv' must be zero or more, got inf"),
        ({"weights": {"pop": 1.0}}, "unknown loss term of reconet 'pop'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"save_every": 0}, "save_every must be at least 1"),
        ({"log_every": -1}, "log_every must be at least 0"),
        ({"learning_rate": 0.0}, "learning rate must be between 0 and 1"),
        ({"learning_rate": float("nan")}, "learning rate must be between 0 and 1"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"precision": "fp16"}, "precision fp16 needs a CUDA GPU: on a CPU use --precision bf16 or fp32"),
        ({"method": "identity"}, "method 'identity' has nothing to train"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(settings, tmp_path, change, message):
    with pytest.raises((TrainingError, UnknownName)) as caught:
        train(replace(settings, **change), windows(), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_unknown_method_suggests_a_name(settings, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'johnson'"):
        train(replace(settings, method="jonson"), windows(), tmp_path / "run")


def test_half_precision_and_batches_train_too(settings, tmp_path):
    path = train(replace(settings, steps=2, batch=2, precision="bf16", style_size=32), windows(), tmp_path / "run")
    assert all(float(value) > 0 for row in curves(path.parent) for value in row.values())


def test_training_data_by_name(tiny_sintel):
    assert training_data("synthetic", DataOptions(32, 5)).describe()["name"] == "synthetic"
    sintel = training_data("sintel", DataOptions(32, 5, sintel=tiny_sintel))
    assert sintel.describe()["sequences"] == ["bandage_1"]  # alley_2 is held out, the others are too short
    assert training_data("sintel", DataOptions(32, sintel=tiny_sintel, split="dissertation")).describe()[
        "sequences"
    ] == ["alley_2"]
    assert (
        training_data("sintel", DataOptions(32, sintel=tiny_sintel, render_pass="final")).describe()["name"]
        == "sintel-final"
    )
    with pytest.raises(UnknownName, match=r"unknown training data 'sintal': did you mean 'sintel'\?"):
        training_data("sintal", DataOptions(32))
    with pytest.raises(TrainingError, match="size must be at least 32 pixels, got 31"):
        training_data("synthetic", DataOptions(31))
    assert training_data("sintel", DataOptions(32, sintel=tiny_sintel, fit="squash")).describe()["fit"] == "squash"
    with pytest.raises(UnknownName, match=r"unknown fit 'squosh': did you mean 'squash'"):
        training_data("synthetic", DataOptions(32, fit="squosh"))
    with pytest.raises(DataError, match="MPI-Sintel not found"):
        training_data("sintel", DataOptions(32, sintel=tiny_sintel / "nowhere"))


def test_a_broken_state_is_one_clear_error(settings, tmp_path):
    broken_off(settings, tmp_path / "run", 3)
    path = tmp_path / "run" / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        train(settings, windows(), tmp_path / "run", resume=True)


def test_the_state_says_what_it_belongs_to(settings, tmp_path):
    train(replace(settings, steps=1), windows(), tmp_path / "run")
    _, metadata = read_tensors(tmp_path / "run" / STATE_FILE)
    saved = json.loads(metadata["settings"])
    assert metadata["step"] == "1"
    assert saved["weights"] == METHODS["reconet"].weights
    assert saved["data"] == windows().describe()
    assert saved["style"].startswith("sha256:")
    write_tensors(tmp_path / "copy.safetensors", *read_tensors(tmp_path / "run" / STATE_FILE))
    assert same(read_tensors(tmp_path / "copy.safetensors")[0], read_tensors(tmp_path / "run" / STATE_FILE)[0])


def test_branches_start_where_their_trunk_stands(settings, tmp_path):
    trunk = tmp_path / "trunk"
    broken_off(settings, trunk, 4)
    branch = replace(settings, method="johnson", branch_from=trunk)
    path = train(branch, windows(), tmp_path / "johnson")
    assert [row["step"] for row in curves(tmp_path / "johnson")] == ["3", "4", "5", "6"]  # saved every second step
    told = load_checkpoint(path).info["trunk"]
    assert (told["step"], told["method"]) == (2, "reconet")
    # The same objective from the trunk is the trunk's own run gone on.
    train(replace(settings, branch_from=trunk), windows(), tmp_path / "branch")
    train(settings, windows(), trunk, resume=True)
    assert same(network_state(tmp_path / "branch" / STATE_FILE), network_state(trunk / STATE_FILE))


@pytest.mark.parametrize("fate", ["gone on", "gone"])
def test_a_branch_goes_on_though_its_trunk_is_no_longer_what_it_was(settings, tmp_path, fate):
    trunk = tmp_path / "trunk"
    broken_off(settings, trunk, 3)
    branch = replace(settings, method="johnson", branch_from=trunk)
    with pytest.raises(KeyboardInterrupt):
        train(branch, windows(), tmp_path / "branch", report=stop_at(5))
    before = json.loads(read_tensors(tmp_path / "branch" / STATE_FILE)[1]["settings"])["trunk"]
    if fate == "gone":
        shutil.rmtree(trunk)
    else:
        train(settings, windows(), trunk, resume=True)
    path = train(branch, windows(), tmp_path / "branch", resume=True)
    assert load_checkpoint(path).info["trunk"] == before
    assert before["step"] == 2


def test_a_branch_needs_an_unfinished_trunk(settings, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        train(replace(settings, branch_from=tmp_path / "none"), windows(), tmp_path / "run")
    train(settings, windows(), tmp_path / "trunk")
    with pytest.raises(TrainingError, match="raise --steps"):
        train(replace(settings, branch_from=tmp_path / "trunk"), windows(), tmp_path / "run")


def test_a_branch_from_a_checkpoint_takes_its_weights_and_counts_from_zero(settings, tmp_path):
    trunk = train(settings, windows(), tmp_path / "trunk")
    # A learning rate at which float32 weights hardly move shows where the branch began.
    branch = replace(settings, method="johnson", branch_from=trunk, learning_rate=1e-12)
    path = train(branch, windows(), tmp_path / "branch")
    assert [row["step"] for row in curves(tmp_path / "branch")] == ["1", "2", "3", "4", "5", "6"]
    begun, ended = load_checkpoint(trunk).network.state_dict(), load_checkpoint(path).network.state_dict()
    assert all(torch.allclose(begun[name], ended[name], atol=1e-3) for name in begun)
    told = load_checkpoint(path).info["trunk"]
    assert (told["step"], told["method"], told["weights"]) == (6, "reconet", METHODS["reconet"].weights)
    (tmp_path / "foreign.safetensors").write_bytes(b"not one")
    with pytest.raises(ModelError):
        train(replace(branch, branch_from=tmp_path / "foreign.safetensors"), windows(), tmp_path / "other")


def test_a_trunk_that_does_not_fit_is_one_line(settings, tmp_path):
    """Another optimiser, and residual blocks of another order: what differs, and what to add."""
    begun = replace(settings, save_every=1, batch=2, sample_every=0)
    broken_off(replace(begun, method="dissertation-code", optimizer="adamax"), tmp_path / "code", 2)
    state = tmp_path / "code" / STATE_FILE
    begun = replace(begun, branch_from=tmp_path / "code")
    with pytest.raises(TrainingError) as caught:
        train(begun, windows(), tmp_path / "run")
    assert str(caught.value) == (
        f"{state}: the trunk was trained with adamax, whose state adam cannot use: "
        "add --optimizer adamax, or branch from the trunk's checkpoint"
    )
    layers = f"{state}: the network of the trunk (dissertation-code) has other layers than that of this run"
    with pytest.raises(TrainingError) as caught:
        train(replace(begun, optimizer="adamax"), windows(), tmp_path / "run")
    assert str(caught.value) == f"{layers} (reconet): add --method dissertation-code, or branch from another trunk"
    with pytest.raises(TrainingError) as caught:
        train(
            replace(begun, optimizer="adamax", method="dissertation-code", options={"residual_code": False}),
            windows(),
            tmp_path / "run",
        )
    assert (
        str(caught.value)
        == f"{layers} (dissertation-code): add --set options.residual_code=true, or branch from another trunk"
    )
    model = METHODS["reconet"].network()
    save_checkpoint(tmp_path / "m.safetensors", Checkpoint(model, "reconet", "wave", {}, {"steps": 3}))
    with pytest.raises(
        TrainingError, match=r"m\.safetensors: the network of the trunk \(reconet\) .* add --method reconet, or"
    ):
        train(
            replace(begun, method="dissertation-code", branch_from=tmp_path / "m.safetensors"),
            windows(),
            tmp_path / "run",
        )


def test_a_term_without_gradient_alone_is_nothing_to_optimise(settings, tmp_path):
    alone = {"content": 0.0, "style": 0.0, "tv": 0.0, "temporal_short": 1.0, "temporal_long": 0.0}
    with pytest.raises(
        TrainingError,
        match=r"there is nothing to optimise: with these options the weighted terms \(temporal_long\) have no gradient",
    ):
        train(replace(settings, method="dissertation-code", batch=2, weights=alone), windows(), tmp_path / "run")


def test_the_largest_seed_trains_and_a_larger_one_is_told(settings, tmp_path):
    train(
        replace(settings, seed=LARGEST_SEED - 1, steps=1, sample_every=0), windows(LARGEST_SEED - 1), tmp_path / "run"
    )
    with pytest.raises(TrainingError, match="seed must be below 2 to the 63rd, got 9223372036854775808"):
        replace(settings, seed=LARGEST_SEED).check()


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_that_load_data_change_nothing_but_the_pace(settings, tmp_path, workers):
    one = train(replace(settings, workers=0), windows(), tmp_path / "alone")
    other = train(replace(settings, workers=workers), windows(), tmp_path / "helped")
    assert same(network_state(one.parent / STATE_FILE), network_state(other.parent / STATE_FILE))
    assert curves(one.parent) == curves(other.parent)


class Slow(ClipCrops):
    """Data that take a fifth of a second a sample."""

    def __getitem__(self, index):
        time.sleep(0.2)
        return super().__getitem__(index)


def test_the_time_spent_waiting_for_data_is_told(settings, tmp_path):
    seen: list[TrainingProgress] = []
    data = Slow(32, 0, [TranslationClip((2.0, 1.0))])
    began = time.perf_counter()
    path = train(replace(settings, steps=3, sample_every=0), data, tmp_path / "run", report=seen.append)
    whole = time.perf_counter() - began
    assert all(0.19 * progress.steps_per_second <= progress.waiting <= 1 for progress in seen)
    told = (path.parent / CURVES_FILE).read_text()
    share = parse_curves(told).waiting()
    assert share is not None
    assert 0.6 / whole < share <= 1
    assert parse_curves(told).pace["waiting"] == pytest.approx([progress.waiting for progress in seen], abs=1e-4)
    assert f"| {share:.1%} of the time |" in model_card("m", "s", load_checkpoint(path).info, told)


@pytest.mark.clock
def test_what_other_processes_load_is_not_waited_for(settings):
    """Four of them are faster than a step of the same length as a sample, once they have begun."""
    waited = {}
    for workers in (0, 4):
        loader = Loader(
            replace(settings, steps=12, workers=workers),
            Slow(32, 0, [TranslationClip((2.0, 1.0))]),
            0,
            torch.device("cpu"),
            Group(),
        )
        for step, _ in loader:
            if step == 3:
                loader.waited = 0.0
            time.sleep(0.2)
        waited[workers] = loader.waited
    assert waited[0] > 8 * 0.2
    assert waited[4] < 0.5 * waited[0]


def test_a_run_of_an_older_version_keeps_its_columns(settings, tmp_path):
    broken_off(settings, tmp_path / "run", 5)
    path = tmp_path / "run" / CURVES_FILE
    path.write_text(
        "\n".join(
            ",".join(row.split(",")[: 1 + len(METHODS["reconet"].weights)]) for row in path.read_text().splitlines()
        )
        + "\n"
    )
    train(settings, windows(), tmp_path / "run", resume=True)
    header, *rows = path.read_text().splitlines()
    assert header == "step," + ",".join(METHODS["reconet"].weights)
    assert len(rows) == 6
    assert {row.count(",") for row in rows} == {header.count(",")}
    assert parse_curves(path.read_text()).waiting() is None
