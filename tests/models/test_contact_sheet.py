"""The picture of all models on one frame."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import picture

from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models
from reconet_bench.models.contact_sheet import BAR, contact_sheet

NAMES = ("johnson-lite-wave", "reconet-lite-wave", "reconet-small-starry_night")


def test_every_model_has_its_picture_under_its_name():
    image = picture(0, (0.0, 0.0), (40, 56))
    models = {name: shipped_models()[name] for name in NAMES}
    sheet = contact_sheet(image, models, 3)
    assert sheet.shape == (2 * (40 + BAR), 3 * 56, 3)
    assert np.array_equal(sheet[BAR : BAR + 40, :56], image)
    painted = to_uint8(load_checkpoint(models["johnson-lite-wave"]).network(from_uint8(image)).detach())[0]
    assert np.array_equal(sheet[BAR : BAR + 40, 56:112], painted)
    assert (sheet[40 + BAR :, 56:] == 255).all(), "no picture, no bar"
    assert (sheet[:BAR, :56] < 128).any(), "a name"


def test_no_models_are_told():
    with pytest.raises(ModelError, match="there are no models to draw"):
        contact_sheet(picture(0, (0.0, 0.0), (40, 56)), {})
