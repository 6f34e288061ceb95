"""Two processes over gloo take the steps of one process with the batch of both."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import picture
from training_runs import windows

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.images import write_image
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.report.loss_curves import PACE
from reconet_bench.training.distributed import Group, joined, local_device
from reconet_bench.training.loop import train
from reconet_bench.training.run_folder import CURVES_FILE


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / CURVES_FILE).open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if key not in PACE} for row in csv.DictReader(file)]


@pytest.mark.process
def test_two_processes_are_one_with_the_doubled_batch(tmp_path, stand_in_weights):
    style = tmp_path / "wave.png"
    write_image(style, picture(0, (0.0, 0.0), (64, 64)))
    shared = [
        "train",
        "--style",
        style,
        "--vgg",
        stand_in_weights,
        "--steps",
        3,
        "--size",
        32,
        "--style-size",
        64,
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--save-every",
        1,
        "--set",
        "sample_every=0",
    ]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "reconet_bench.cli"]

    def run(words: list[object], name: str, batch: int) -> Path:
        command = [sys.executable, *map(str, [*words, *shared, "--batch", batch, "-o", tmp_path / name])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Written:") == 1, "one process writes"
        return tmp_path / name

    one = run(["-m", "reconet_bench.cli"], "one", 2)
    two = run(launch, "two", 1)
    # Losses, not weights: a bias before a norm has a gradient of rounding errors, and Adam steps by its sign.
    for first, second in zip(rows(one), rows(two), strict=True):
        assert first == pytest.approx(second, rel=2e-3)
    alone = run(["-m", "reconet_bench.cli"], "alone", 1)
    assert rows(alone)[-1]["content"] != pytest.approx(rows(one)[-1]["content"], rel=2e-2), (
        "half the batch is not the batch"
    )
    assert load_checkpoint(two / "reconet-wave.safetensors").info["processes"] == 2
    assert load_checkpoint(one / "reconet-wave.safetensors").info["processes"] == 1
    assert "batch 1 in each of 2 processes: 2 a step" in (two / "reconet-wave.md").read_text()
    assert "3, batch 2, 32x32 pixels" in (one / "reconet-wave.md").read_text()


@pytest.mark.process
def test_a_signal_stops_the_group_at_one_step_and_saves(tmp_path, stand_in_weights):
    """torchrun hands on what it gets; the processes agree on the step, and the first of them saves."""
    write_image(tmp_path / "wave.png", picture(0, (0.0, 0.0), (64, 64)))
    words = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        2,
        "-m",
        "reconet_bench.cli",
        "train",
        "--style",
        tmp_path / "wave.png",
        "--vgg",
        stand_in_weights,
        "--steps",
        5000,
        "--size",
        32,
        "--style-size",
        64,
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--save-every",
        5000,
        "--set",
        "sample_every=0",
        "-o",
        tmp_path / "run",
    ]
    with subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        until = time.monotonic() + 120
        while not (tmp_path / "run" / CURVES_FILE).exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    steps = re.findall(r"stopped at step (\d+): step (\d+) is saved in", said)
    assert len(steps) == 2, said
    assert len({step for pair in steps for step in pair}) == 1
    assert read_tensors(tmp_path / "run" / "state.safetensors")[1]["step"] == steps[0][0]


def test_one_process_alone_is_a_group_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    network = torch.nn.Linear(1, 1)
    with joined(torch.device("cpu")) as group:
        assert group == Group(0, 1)
        assert group.main
        assert group.wrap(network, torch.device("cpu")) is network
        assert group.mean(torch.tensor([2.0])) == 2.0
        assert group.any(True, torch.device("cpu"))
        assert not group.any(False, torch.device("cpu"))
        group.wait()


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert local_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert local_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(TrainingError, match="--device cuda:1 names one for all: use --device cuda"):
        local_device(torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(
        TrainingError, match="process 4 of this machine has no GPU, since there are only 3: lower --nproc-per-node"
    ):
        local_device(torch.device("cuda"))


def test_a_process_is_on_its_gpu_before_it_joins(monkeypatch):
    """NCCL would guess the device by the rank among all machines."""
    done = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(device))
    for name in ("init_process_group", "destroy_process_group", "get_rank"):
        monkeypatch.setattr(
            torch.distributed, name, lambda *words, name=name, **named: done.append((name, *words, *named.items())) or 1
        )
    with joined(torch.device("cuda", 1)) as group:
        assert group == Group(1, 2)
    assert done[:2] == [torch.device("cuda", 1), ("init_process_group", "nccl", ("device_id", torch.device("cuda", 1)))]


def test_a_state_that_only_another_machine_has_is_said(settings, tmp_path, monkeypatch):
    """Else one machine would go on from its step, the other from none."""
    quick = replace(settings, steps=3, save_every=1, sample_every=0)
    monkeypatch.setattr(Group, "any", lambda group, flag, device: True)
    with pytest.raises(
        TrainingError,
        match="has a saved state on another machine but not on this one: "
        "--output must be on a disk that all machines share",
    ):
        train(quick, windows(), tmp_path / "run", resume=True)
