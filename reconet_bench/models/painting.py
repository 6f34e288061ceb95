"""The style of models that do not bring it themselves: from a painting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.metrics.style import painting_style
from reconet_bench.models.loading import Model


def paint(models: Sequence[Model], size: int, vgg: Path | None) -> None:
    """The style targets of models whose description names a painting.

    Raises:
        DataError: the painting cannot be read.
    """
    made: dict[Path, dict[str, Tensor]] = {}
    for model in models:
        if model.painting is not None:
            if model.painting not in made:
                made[model.painting] = painting_style(model.painting, size, vgg).targets
            model.style_targets = made[model.painting]


def give_style(models: Sequence[Model], painting: Path, size: int, vgg: Path | None) -> None:
    """The painting's style to those that bring none: ONNX files of others, and the content beside them.

    Raises:
        ModelError: each brings its own.
        DataError: no such painting.
    """
    targets = painting_style(painting, size, vgg).targets
    others = [model for model in models if not model.style_targets and model.painting is None]
    if not others:
        raise ModelError(
            "--style is for ONNX files of your own, but every model here knows its style: leave --style out"
        )
    for model in others:
        model.style_targets = targets
        model.style = "" if model.is_content else painting.stem
