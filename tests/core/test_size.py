"""A frame size is a tuple for code and WxH for people."""

from __future__ import annotations

import pytest

from reconet_bench.core.size import Size


def test_a_size_is_height_and_width_and_prints_as_width_by_height():
    size = Size(436, 1024)
    assert size == (436, 1024)
    assert f"{size}" == str(size) == "1024x436"
    assert size.pixels == 446464


@pytest.mark.parametrize(("text", "size"), [("1024x436", (436, 1024)), ("640×480", (480, 640)), ("256", (256, 256))])
def test_a_size_is_read_as_people_write_it(text, size):
    assert Size.parse(text) == size


@pytest.mark.parametrize("text", ["", "0x4", "4x0", "x", "1024x", "1024x436x3", "-4x4", "4.5x4", "big"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        Size.parse(text)
