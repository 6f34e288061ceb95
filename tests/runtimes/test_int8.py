"""The 8-bit form of trained networks passes the gate on pictures that it was not calibrated on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reconet_bench.benchmark.speed_records import GATE_PSNR
from reconet_bench.core.images import scikit_image_texture
from reconet_bench.core.ops import from_uint8, resize_frame, to_uint8
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES, session_parity


@pytest.mark.quantisation
@pytest.mark.parametrize("name", ["reconet-starry_night", "reconet-lite-starry_night"])
def test_convolutions_in_int8_keep_the_picture(name: str) -> None:
    if (
        reason := RUNTIMES["openvino:int8"].missing() or RUNTIMES["openvino:int8"].unusable(torch.device("cpu"))
    ) is not None:
        pytest.skip(reason)
    frames = [
        to_uint8(resize_frame(from_uint8(scikit_image_texture(photograph)), 96, 160))[0]
        for photograph in ("astronaut", "coffee")
    ]
    with workspace() as folder:
        source = load_by_name(name, Path(folder)).source
        with (
            RUNTIMES["torch"].load(source, "cpu") as reference,
            RUNTIMES["openvino:int8"].load(source, "cpu") as session,
        ):
            assert session_parity(reference, session, frames).psnr > GATE_PSNR
            assert session.precision == "int8"
