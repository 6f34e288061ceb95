"""The package from Python: load a model, stylise arrays or footage, measure what came out.

These names, as ``reconet_bench.load_model`` and so on, are stable; everything below them may move.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor

from reconet_bench.benchmark.evaluate import evaluate
from reconet_bench.benchmark.fastest_runtime import choose_runtime
from reconet_bench.core.errors import DataError, RuntimeUnavailable
from reconet_bench.core.ops import from_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.footage import read_stylized
from reconet_bench.data.selection import Selection
from reconet_bench.metrics.style import painting_style
from reconet_bench.models.loading import load_by_name, stabilised, workspace
from reconet_bench.models.onnx_inspection import OnnxFormat
from reconet_bench.runtimes.base import RUNTIMES, Session
from reconet_bench.runtimes.selection import AUTO, Resources
from reconet_bench.video.stylize import Done, FootageInput, FootageOutput, Look, stylize_file


class StyleModel:
    """A loaded model: a function from frame to stylised frame, both ``(H, W, 3)`` uint8 RGB. Close it, or use ``with``.

    Attributes:
        name: of the model.
    """

    def __init__(
        self,
        name: str,
        folder: tempfile.TemporaryDirectory[str],
        session: Session | None,
        choose: Callable[[Size], Session],
    ) -> None:
        self.name = name
        self._folder, self._session, self._choose = folder, session, choose

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self._session is None:
            self._session = self._choose(Size(*frame.shape[:2]))
        return self._session(frame)

    def reset(self) -> None:
        """The next frame begins a sequence: a model with state, or a stabiliser, forgets the frames so far."""
        if self._session is not None:
            self._session.reset()

    @property
    def session(self) -> Session:
        """What runs the model, see :class:`reconet_bench.runtimes.base.Session`.

        Raises:
            RuntimeUnavailable: the runtime is ``auto``, which is chosen at the first frame, and there was none yet.
        """
        if self._session is None:
            raise RuntimeUnavailable(f"'{self.name}' has no session yet: runtime 'auto' is chosen at the first frame")
        return self._session

    def close(self) -> None:
        """Give back what it holds; it takes no more frames."""
        if self._session is not None:
            self._session.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_model(
    name: str | Path,
    runtime: str = "onnxruntime",
    device: str = "auto",
    threads: int | None = None,
    *,
    input_range: str = "",
    output_range: str = "",
    layout: str = "",
    stabilise: str = "",
    strength: float = 0.8,
) -> StyleModel:
    """A shipped model by name, a checkpoint, an ONNX file, or a description of a model (``MODEL.toml``).

    Args:
        runtime: a runtime or variant by name, or ``auto``: the fastest one whose frames are those of PyTorch fp32,
            found by trying at the size of the first frame and remembered for this machine.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads; all usable cores by default.
        input_range: of an ONNX file: one of :data:`reconet_bench.core.ops.RANGES`; found where it is not said, and a
            guess that may be wrong is a ``UserWarning``.
        output_range: likewise.
        layout: of an ONNX file: ``NCHW`` or ``NHWC``.
        stabilise: ``blend`` or ``average``: what is done to stylised frames so that they flicker less. Frames must then
            come in order; :meth:`StyleModel.reset` begins another sequence.
        strength: of the stabiliser, from 0 to below 1: the most of the past in a frame.

    Raises:
        ReconetBenchError: no such model or runtime, or it does not run here.
    """
    folder = workspace()
    try:
        model = load_by_name(str(name), Path(folder.name), OnnxFormat(input_range, output_range, layout), warnings.warn)
        if stabilise:
            model = stabilised([model], [stabilise], strength)[1]
        resources = Resources(device, threads)

        def load(name: str) -> Session:
            return RUNTIMES[name].load(model.source, device, threads)

        def choose(size: Size) -> Session:
            return load(choose_runtime(model, size, resources).name)

        return StyleModel(model.source.name, folder, None if runtime == AUTO else load(runtime), choose)
    except BaseException:
        folder.cleanup()
        raise


def stylize(
    model: StyleModel | str,
    footage: str | Path,
    output: str | Path,
    *,
    strength: float = 1.0,
    keep_colors: bool = False,
    side_by_side: bool = False,
    start: float = 0.0,
    end: float | None = None,
    max_size: int | None = None,
) -> Done:
    """A video, folder of frames or image into another, as ``reconet-bench stylize`` does.

    Args:
        model: from :func:`load_model`, or what it takes as a name.
        strength: 0 is the content, 1 the style.
        start: where the part to stylise begins, seconds.
        end: where it ends; the end of the footage by default.
        max_size: longest side, pixels.

    Raises:
        ReconetBenchError: the footage is broken or the model does not take it; nothing is left behind.
    """
    if not isinstance(model, StyleModel):
        with load_model(model) as loaded:
            return stylize(
                loaded,
                footage,
                output,
                strength=strength,
                keep_colors=keep_colors,
                side_by_side=side_by_side,
                start=start,
                end=end,
                max_size=max_size,
            )
    look = Look(strength, keep_colors, side_by_side)
    return stylize_file(model, FootageInput(footage, start, end), FootageOutput(Path(output), look, max_size))


def measure(
    video: str | Path,
    stylized: str | Path | Sequence[np.ndarray],
    *,
    style: str | Path | None = None,
    flow: str = "",
    frames: int | None = None,
    sintel: str | Path | None = None,
    vgg: str | Path | None = None,
    metrics: Sequence[str] = (),
) -> dict[str, float]:
    """The metrics that can be measured on a stylised clip, by name; the documentation says what they mean.

    Args:
        video: the content: a built-in clip, a Sintel sequence, a video or a folder of frames. A built-in clip is
            rendered in the size and length of the stylised frames.
        stylized: video, folder, or frames ``(H, W, 3)`` uint8 RGB, as many as the content has.
        style: the painting, for ``style_distance``.
        flow: ``dis``, ``raft`` or ``none``; by default true flow where it is known, else ``dis``.
        frames: at most so many.
        metrics: which, by name; ``default`` are the usual ones, which are also taken if none are named, ``all`` every
            one.

    Frames that seem to lag behind the content, or to run ahead of it, are told by a ``UserWarning``.

    Raises:
        ReconetBenchError: no such metric; or the two clips do not belong together, or cannot be read.
    """
    wanted = Selection(sintel=Path(sintel) if sintel else None, frames=frames, flow=flow)
    if isinstance(stylized, str | Path):
        ours: Sequence[Tensor] = read_stylized(Path(stylized), frames)
    else:
        for frame in stylized:
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
                raise DataError(f"a frame is (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
        ours = [from_uint8(frame) for frame in stylized]
    painting = painting_style(Path(style), 384, Path(vgg) if vgg else None) if style else None
    evaluation = evaluate(str(video), ours, wanted, painting, metrics=metrics)
    if evaluation.warning:
        warnings.warn(f"{evaluation.warning}: leave out frames until both begin with the same", stacklevel=2)
    return {name: e.value for name, e in evaluation.estimates.items()}
