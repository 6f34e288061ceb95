"""Video files out: timestamps (also of a variable frame rate), colour description and sound of the source are kept."""

from __future__ import annotations

import contextlib
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.size import Size
from reconet_bench.video.frames import BT709, FULL, SWSCALE, Frame, StreamFormat, one_line
from reconet_bench.video.sound import Sound

#: The codec implied by each file suffix.
SUFFIXES = {".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9", ".gif": "gif"}
#: FFmpeg's encoder of each codec, with options that keep brush strokes crisp and use little of the processor.
#: No B-frames: MP4 stores durations in decoding order, so the last shown frame would get the duration of another.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "18", "bf": "0"}),
    "hevc": ("libx265", {"preset": "veryfast", "crf": "22", "x265-params": "log-level=none:bframes=0"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "5", "crf": "28", "b": "0", "row-mt": "1"}),
    "gif": ("gif", {}),
}


class VideoWriter:
    """Writes frames into a video file, which has a temporary name until :meth:`close`.

    Args:
        size: of the frames.
        codec: one of :data:`ENCODERS`; by default the file suffix decides.
        sound: a video file whose sound goes along; its packets are copied, or encoded again if the container does not
            hold their codec.
        origin, end: times in that file, seconds, at which the frames begin and the sound stops; without ``end`` the
            sound runs to its own end.

    Attributes:
        remark: one line if the sound could not be kept as it was; else empty.

    Raises:
        DataError: no such kind of file, a folder that cannot be written to, or frames that the codec does not take.
        UnknownName: no such codec.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        stream_format: StreamFormat,
        codec: str = "",
        sound: Path | None = None,
        origin: Fraction = Fraction(0),
        end: Fraction | None = None,
    ) -> None:
        import av

        self.path, self.size, self.format = Path(path), size, stream_format
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise DataError(f"cannot write {path}: the suffix of a video is one of {', '.join(SUFFIXES)}")
        if self.path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder")
        codec = codec or SUFFIXES[suffix]
        if codec not in ENCODERS:
            raise UnknownName("codec", codec, ENCODERS)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.stem}-", suffix=suffix)
        os.close(handle)
        self._temporary, self._stack = Path(name), contextlib.ExitStack()
        self._stack.callback(self._temporary.unlink, missing_ok=True)
        self._durations: dict[int, int] = {}
        self._palette: Any = None
        self._sound: Sound | None = None
        self.remark, self._end = "", Fraction(0)
        try:
            with one_line(self.path, f"cannot write {Size(*size)} {codec}"):
                ticks = str(stream_format.time_base.denominator)
                options = (
                    {"movflags": "+faststart", "video_track_timescale": ticks}
                    if suffix in (".mp4", ".m4v", ".mov")
                    else {}
                )
                self._container = self._stack.enter_context(av.open(name, "w", options=options))
                if codec not in _codecs_of(self._container):
                    raise DataError(
                        f"cannot write {path}: {suffix} files cannot hold {codec}; "
                        f"use {', '.join(s for s, c in SUFFIXES.items() if c == codec) or '.mp4'}"
                    )
                self._stream = self._add_video(codec, size)
                if sound is not None:
                    self._sound = self._stack.enter_context(Sound(sound, self._container, origin, end))
                    self.remark = self._sound.remark
                self._container.start_encoding()
        except BaseException:
            self.abandon()
            raise

    def _add_video(self, codec: str, size: tuple[int, int]) -> Any:
        encoder, options = ENCODERS[codec]
        stream_format = self.format
        stream: Any = self._container.add_stream(
            encoder, rate=stream_format.rate.limit_denominator(1001 * 240), options=options
        )
        height, width = size
        stream.width, stream.height = width, height
        # Halved chroma needs even sides; full chroma keeps an odd size exactly.
        stream.pix_fmt = "pal8" if codec == "gif" else "yuv444p" if width % 2 or height % 2 else "yuv420p"
        context: Any = stream.codec_context
        ticks = context.time_base = Fraction(1, 100) if codec == "gif" else stream_format.time_base
        context.sample_aspect_ratio = stream_format.aspect
        if codec == "gif":
            self._palette = _palette(size, ticks)
        else:
            context.colorspace, context.color_range = stream_format.matrix, stream_format.color_range
            context.color_primaries, context.color_trc = stream_format.primaries, stream_format.transfer
        return stream

    def write(self, frame: Frame) -> None:
        """Encode one frame; its timestamp must be larger than the last one's."""
        import av

        if frame.image.shape[:2] != self.size:
            size = Size(*frame.image.shape[:2])
            raise DataError(f"{self.path}: cannot encode a frame of {size} in a video of {Size(*self.size)}")
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
        with one_line(self.path, "cannot encode"):
            if self._palette is None:
                picture = picture.reformat(
                    format=self._stream.pix_fmt,
                    dst_colorspace=SWSCALE.get(self.format.matrix, BT709),
                    src_color_range=FULL,
                    dst_color_range=self.format.color_range,
                    interpolation="BICUBIC",
                )
            picture.pts, picture.time_base = frame.pts, self.format.time_base
            if self._palette is not None:
                picture = self._palette(picture)
            self._durations[picture.pts] = round(frame.duration * self.format.time_base / picture.time_base)
            self._mux(self._stream.encode(picture))
            self._end = (frame.pts + max(frame.duration, 1)) * self.format.time_base
            if self._sound:
                self._sound.copy_until(frame.pts * self.format.time_base)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            # Encoders drop durations, and players would guess that of the last frame.
            if packet.pts is not None and (duration := self._durations.pop(packet.pts, 0)):
                packet.duration = duration
            self._container.mux(packet)

    def close(self, whole: bool = True) -> None:
        """Finish the file and give it its name.

        Args:
            whole: the frames reached the end of the source, so the rest of the sound is copied too.
        """
        try:
            with one_line(self.path, "cannot finish"):
                self._mux(self._stream.encode(None))
                if self._sound:
                    self._sound.copy_until(None if whole else self._end)
                    self._sound.finish()
                self._container.close()
            self._temporary.chmod(0o644)
            self._temporary.replace(self.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Delete the temporary file; after :meth:`close` there is none."""
        with contextlib.suppress(Exception):  # the trailer may fail, and the file is removed anyway
            self._stack.close()
        self._temporary.unlink(missing_ok=True)


def _codecs_of(container: Any) -> set[str]:
    """Codecs of :data:`ENCODERS` that a container supports."""
    return set(ENCODERS) & set(container.supported_codecs)


def _palette(size: tuple[int, int], time_base: Fraction) -> Any:
    """A function from RGB frames to frames of 256 colours, which are chosen for each frame."""
    import av

    graph = av.filter.Graph()
    source = graph.add_buffer(width=size[1], height=size[0], format=av.VideoFormat("rgb24"), time_base=time_base)
    split, make = graph.add("split"), graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use, sink = graph.add("paletteuse", "new=1:dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(make, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    last = -1

    def convert(picture: Any) -> Any:
        nonlocal last
        # Two frames may get the same time, a hundredth of a second; both are kept.
        last = max(last + 1, round(picture.pts * picture.time_base / time_base))
        picture.pts, picture.time_base = last, time_base
        graph.push(picture)
        return graph.pull()

    return convert
