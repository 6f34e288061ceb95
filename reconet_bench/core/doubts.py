"""Reasons not to take a number as it stands; a record carries them, and reports judge and colour by them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Doubt(StrEnum):
    """A reason not to take a number as it stands.

    The value is its short name, in files and charts; ``sentence`` is what a note says.
    """

    sentence: str

    def __new__(cls, short: str, sentence: str) -> Self:
        member = str.__new__(cls, short)
        member._value_ = short
        member.sentence = sentence
        return member

    CHANGED_OUTPUT = "changed output", "changed output: the frames differ from the reference by more than rounding"
    NO_PARITY = "no parity", "no parity: the reference failed, so the frames were not compared with it"
    COLD = "not warm", "not warm: frame times had not settled when the warm-up ended"
    UNSTABLE = "unstable", "unstable: rounds differ by over 10 %"
    UNRESOLVED = "unresolved", "unresolved: the interval of the speed ratio is wider than ±3 %"
    BUSY = "busy", "busy: other programs used over 10 % of the processor"
    REFERENCE_COLD = "reference not warm", "the reference was not warm when it was timed"
    REFERENCE_UNSTABLE = "reference unstable", "the reference's timing is unstable"
    REFERENCE_BUSY = "reference busy", "other programs used over 10 % of the processor while the reference was timed"
    TRAINED_ON_VIDEO = "trained on video", "the model was trained on this video: not a fair test"
    TRAINED_ON_PHOTOGRAPHS = (
        "trained on photographs",
        "the model was trained on the photographs in this clip: not a fair test",
    )
    RESIZED = "resized", "the frames were resized to the only size that the file takes, and back"
    RESIZED_RESULT = "resized result", "the rendered frames had another size and were resized to the clip's"
    LAG = "lag", "the frames seem to be those of other content frames, so the numbers are wrong"
    FIXED_BATCH = "fixed batch", "the file computes several frames at once, but one at a time was asked for"
    ESTIMATED_FLOW = "estimated flow", "motion is estimated, not true"
    SOFTWARE_GPU = "software GPU", "WebGPU was computed in software: this is not the speed of a GPU"
    TRUE_FLOW = "true flow given", "the model was given the clip's true flow, which footage does not have"
    UNKNOWN = "unknown", "a doubt that this version of reconet-bench does not know"

    @classmethod
    def _missing_(cls, value: object) -> Doubt:
        """A newer version may have doubts of its own; they are kept as :attr:`UNKNOWN`."""
        return cls.UNKNOWN

    @property
    def of_reference(self) -> Doubt:
        """The same doubt about the reference, for a number that is a ratio to it."""
        return {
            Doubt.COLD: Doubt.REFERENCE_COLD,
            Doubt.UNSTABLE: Doubt.REFERENCE_UNSTABLE,
            Doubt.BUSY: Doubt.REFERENCE_BUSY,
        }[self]
