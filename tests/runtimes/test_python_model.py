"""Models in Python: modules, functions, generators and objects with a state, in this process and in a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reconet_bench import cli
from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Session, session_parity
from reconet_bench.runtimes.selection import Resources
from reconet_bench.runtimes.worker import load_apart

CODE = """
import numpy as np
import torch
from helper import OFFSET


class Half(torch.nn.Module):
    def forward(self, x):
        return x * 0.5


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.frames = 0

    def reset(self):
        self.frames = 0

    def forward(self, x):
        self.frames += 1
        return x * 0 + self.frames / 10


def module():
    return Half()


def counting():
    return Counting()


def function(offset=0):
    def stylise(frame):
        print("a frame\\nof", frame.shape)
        return np.clip(frame.astype(int) + offset + OFFSET, 0, 255).astype(np.uint8)

    return stylise


def generator():
    frame = yield
    before = frame
    while True:
        shown = ((frame.astype(int) + before) // 2).astype(np.uint8)
        before = frame
        frame = yield shown


class WithReset:
    def __init__(self):
        self.count = 0

    def reset(self):
        self.count = 0

    def __call__(self, frame):
        self.count += 1
        return np.full_like(frame, self.count)


def raising():
    def stylise(frame):
        raise RuntimeError("no such weights\\nsecond line")

    return stylise


def wrong_shape():
    return lambda frame: frame[:-1]


def failing():
    raise KeyError("key")


def nothing():
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("OFFSET = 1\n")
    return tmp_path


def source(folder: Path, factory: str, rest: str = "") -> ModelSource:
    path = folder / f"{factory}.toml"
    path.write_text(f'name = "mine {factory}"\npython = "mine.py:{factory}"\n{rest}')
    with workspace() as place:
        return load_by_name(str(path), Path(place)).source


FRAMES = [np.full((24, 32, 3), value, np.uint8) for value in (40, 80, 120)]


def values(session: Session) -> list[int]:
    session.reset()
    return [int(session(frame)[0, 0, 0]) for frame in FRAMES]


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("module", [20, 40, 60]),
        ("counting", [26, 51, 76]),
        ("function", [41, 81, 121]),
        ("generator", [40, 60, 100]),
        ("WithReset", [1, 2, 3]),
    ],
)
def test_every_kind_runs_and_begins_anew(
    folder: Path, factory: str, expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    with RUNTIMES["torch"].load(source(folder, factory), threads=1) as session:
        assert values(session) == expected
        assert values(session) == expected
    with load_apart("torch", source(folder, factory), Resources("cpu", 1)) as worker:
        worker.ask(Session.reset)
        assert [int(worker(frame)[0, 0, 0]) for frame in FRAMES] == expected
        with RUNTIMES["torch"].load(source(folder, factory), threads=1) as session:
            assert session_parity(worker, session, FRAMES).max_abs == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    if factory == "function":
        assert "mine function: a frame\nmine function: of (24, 32, 3)\n" in captured.err


def test_arguments_reach_the_factory_and_modules_are_padded_and_cast(folder: Path) -> None:
    with RUNTIMES["torch"].load(source(folder, "function", "[arguments]\noffset = 9\n"), threads=1) as session:
        assert values(session) == [50, 90, 130]
    frame = '[frame]\nmultiple = 16\ninput_range = "0..255"\noutput_range = "0..255"\n'
    with RUNTIMES["torch"].load(source(folder, "module", frame), threads=1) as session:
        assert session.upload(FRAMES[0]).tensor.shape == (1, 3, 32, 32)
        assert float(session.upload(FRAMES[0]).tensor.max()) == 40
        assert session(FRAMES[0]).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("raising", r"'mine raising': RuntimeError: no such weights \(mine.py, line \d+\)"),
        ("wrong_shape", r"a frame \(24, 32, 3\) uint8 went in, and \(23, 32, 3\) uint8 came out"),
        ("failing", r"'mine failing': KeyError: 'key' \(mine.py, line \d+\)"),
        ("nothing", "the factory made a int: it must return"),
    ],
)
def test_what_goes_wrong_in_it_is_told_with_its_name(folder: Path, factory: str, said: str) -> None:
    with pytest.raises(ModelError, match=said), RUNTIMES["torch"].load(source(folder, factory), threads=1) as session:
        session(FRAMES[0])
    with (
        pytest.raises(ModelError, match=said),
        load_apart("torch", source(folder, factory), Resources("cpu", 1)) as one,
    ):
        one(FRAMES[0])


def test_other_runtimes_say_that_they_do_not_run_it(folder: Path) -> None:
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(RuntimeUnavailable, match=f"{name} does not run models in Python"):
            RUNTIMES[name].load(source(folder, "module"))
    with pytest.raises(RuntimeUnavailable, match="is for networks, and 'mine function' is a function"):
        RUNTIMES["torch:channels-last"].load(source(folder, "function"))


def test_in_a_comparison_it_costs_its_own_rows_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for factory in ("module", "raising"):
        source(folder, factory)
    models = [str(folder / f"{factory}.toml") for factory in ("module", "raising")]
    size = ["--videos", "stroll", "--size", "64x48", "--frames", "3", "--runtimes", "torch", "--rounds", "1"]
    options = [*size, "--speed-budget", "0", "--no-pictures", "-o", str(folder / "run")]
    cli.main(["compare", "--models", *models, *options])
    captured = capsys.readouterr()
    assert "mine module" in captured.out
    assert "skipped mine raising in torch: 'mine raising': RuntimeError: no such weights" in captured.err
