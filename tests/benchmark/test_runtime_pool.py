"""One model in several runtimes: who is opened, who is dropped, and what becomes of the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reconet_bench.benchmark.fastest_runtime import Choice, with_auto_chosen
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.core.errors import ModelError, ReconetBenchError, RuntimeUnavailable
from reconet_bench.metrics.measure import Absent
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import ModelSource, SessionHandle
from reconet_bench.runtimes.selection import Resources

CPU = Resources("cpu", 1)
FRAME = np.zeros((32, 48, 3), np.uint8)


class Blur(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(frame, 3, 1, 1)


@pytest.fixture
def model() -> Model:
    return Model(ModelSource("blur", Blur().eval(), Path), "reconet", "")


@pytest.fixture
def dropped() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def pool(model: Model, dropped: list[tuple[str, str]]) -> Iterator[RuntimePool]:
    def drop(name: str, error: ReconetBenchError) -> None:
        dropped.append((name, str(error)))

    with RuntimePool(model, CPU, drop, apart=False) as pool:
        yield pool


def test_what_runs_is_opened_once_and_in_the_order_asked_for(pool: RuntimePool, dropped: list[tuple[str, str]]) -> None:
    first = pool.open(["torch:channels-last", "torch", "torch"])
    assert list(first) == ["torch:channels-last", "torch"]
    assert pool.open(["torch"])["torch"] is first["torch"]
    assert dropped == []


def test_what_cannot_be_loaded_is_told_once_and_not_tried_again(
    pool: RuntimePool, dropped: list[tuple[str, str]]
) -> None:
    for _ in range(2):
        assert list(pool.open(["torch:fp16", "torch"])) == ["torch"]
    assert dropped == [("torch:fp16", "torch:fp16 is for GPUs: on a CPU use torch:bf16")]


def test_what_breaks_off_is_loaded_again_and_what_refuses_a_frame_stays(
    pool: RuntimePool, dropped: list[tuple[str, str]]
) -> None:
    before = pool.open(["torch"])["torch"]
    pool.drop("torch", ModelError("takes frames of 64x64 only"))
    assert pool.open(["torch"])["torch"] is before
    pool.drop("torch", RuntimeUnavailable("worker process died"))
    after = pool.open(["torch"])["torch"]
    assert after is not before
    np.testing.assert_array_equal(after(FRAME), FRAME)
    assert [why for _, why in dropped] == ["takes frames of 64x64 only", "worker process died"]


def test_the_reference_is_the_pools_own_session_or_opened_for_the_purpose(pool: RuntimePool) -> None:
    opened = pool.open(["torch:channels-last"])
    assert not pool.is_reference("torch:channels-last")
    alone = pool.reference()
    assert (alone.runtime, alone.device, alone.threads) == ("torch", "cpu", 1)
    assert alone not in opened.values()
    assert pool.reference() is alone
    torch_session = pool.open(["torch"])["torch"]
    assert pool.reference() is torch_session
    assert pool.is_reference("torch")


def test_a_file_of_ours_is_compared_with_the_network_it_came_from(model: Model) -> None:
    export = Model(ModelSource("blur-int8", None, Path), "reconet", "", origin=model.source)
    with RuntimePool(export, CPU, lambda *_: None) as pool:
        assert pool.reference_name == "torch"
        np.testing.assert_array_equal(pool.reference()(FRAME), FRAME)
        assert not pool.is_reference("torch")


def test_any_other_onnx_file_is_compared_with_onnx_runtime_on_the_cpu() -> None:
    theirs = Model(ModelSource("theirs", None, Path), "theirs", "")
    with RuntimePool(theirs, CPU, lambda *_: None) as pool:
        assert pool.reference_name == "onnxruntime"


def test_a_reference_that_fails_costs_the_parity_and_is_tried_anew(
    model: Model, dropped: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SessionHandle] = []

    def fails(reference: SessionHandle) -> str:
        asked.append(reference)
        raise RuntimeUnavailable("out of memory")

    with RuntimePool(model, CPU, lambda name, error: dropped.append((name, str(error)))) as pool:
        assert pool.ask_reference(fails) == Absent("no parity, the reference failed: out of memory")
        assert pool.ask_reference(lambda reference: reference.runtime) == "torch"
        assert pool.reference() is not asked[0]
    assert dropped == [], "it is no other runtime's fault"


def test_auto_stands_for_the_choice_or_for_nothing() -> None:
    told: list[str] = []
    dropped: list[tuple[str, str]] = []

    def drop(name: str, error: ReconetBenchError) -> None:
        dropped.append((name, str(error)))

    def fails() -> Choice:
        raise RuntimeUnavailable("no runtime passes")

    names = ["torch", "auto", "onnxruntime"]
    choice = Choice("onnxruntime", "onnxruntime: fastest of two")
    assert with_auto_chosen(names, lambda: choice, lambda one: told.append(one.reason), drop) == [
        "torch",
        "onnxruntime",
    ]
    assert told == ["onnxruntime: fastest of two"]
    assert with_auto_chosen(names, fails, lambda one: told.append(one.reason), drop) == ["torch", "onnxruntime"]
    assert dropped == [("auto", "no runtime passes")]
    assert len(told) == 1
