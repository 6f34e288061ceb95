"""Sessions without PyTorch give the frames of the runtimes that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reconet_bench.core.errors import DataError
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.checkpoint import find_checkpoint, load_checkpoint
from reconet_bench.models.export import export_onnx
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.runtimes.light import light_session

NAME = "reconet-small-starry_night"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("light") / "model.onnx"
    return export_onnx(load_checkpoint(find_checkpoint(NAME)), path).read_bytes()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "openvino:bf16"])
def test_frames_are_those_of_the_runtime_bit_for_bit_at_every_size(runtime: str, content: bytes) -> None:
    if reason := RUNTIMES[runtime].missing() or RUNTIMES[runtime].unusable(torch.device("cpu")):
        pytest.skip(reason)
    light = light_session(runtime, NAME, content, 16, 1)
    assert light is not None
    assert light.runtime == runtime
    with workspace() as folder, RUNTIMES[runtime].load(load_by_name(NAME, Path(folder)).source, "cpu", 1) as session:
        for size in ((48, 64), (45, 51), (48, 64)):
            frame = to_uint8(synthetic_clip("stroll", size, 2).frame(1))[0]
            assert np.array_equal(light(frame), session(frame))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_frame_that_is_too_small_is_refused(runtime: str, content: bytes) -> None:
    if reason := RUNTIMES[runtime].missing():
        pytest.skip(reason)
    light = light_session(runtime, NAME, content, 16, 1)
    assert light is not None
    with pytest.raises(DataError, match=f"frame of 20x12 pixels is too small: '{NAME}' needs 16 a side"):
        light(np.zeros((12, 20, 3), np.uint8))


def test_other_runtimes_have_no_such_form(content: bytes) -> None:
    assert light_session("torch", NAME, content, 16, 1) is None
    assert light_session("openvino:int8", NAME, content, 16, 1) is None
