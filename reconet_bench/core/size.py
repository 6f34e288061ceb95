"""The size of a frame: height and width, written WxH for people."""

from __future__ import annotations

import re
from typing import NamedTuple, Self


class Size(NamedTuple):
    """Height and width of a frame, in pixels.

    It is a tuple ``(height, width)``, the order of array shapes, and prints as people write it: ``1024x436`` is 1024
    wide and 436 high.
    """

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The size that ``text`` means: ``WIDTHxHEIGHT``, or one number for a square.

        Raises:
            ValueError: ``text`` is something else, or a side is zero.
        """
        match = re.fullmatch(r"([1-9]\d*)(?:[x×]([1-9]\d*))?", text.strip())
        if match is None:
            raise ValueError(f"'{text}' is not a frame size: give WIDTHxHEIGHT, such as 1024x436")
        width = int(match[1])
        return cls(int(match[2] or width), width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
