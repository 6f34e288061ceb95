"""Copy the sound of a video into another: packets unchanged, or encoded again if the container lacks the codec."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.video.frames import SEARCH_MARGIN

#: How sound is encoded again for each container that lacks its codec: FFmpeg's encoder, and the codec's name.
SUBSTITUTES = {
    "mp4": ("aac", "aac"),
    "ipod": ("aac", "aac"),
    "mov": ("aac", "aac"),
    "matroska": ("flac", "flac"),
    "webm": ("libopus", "opus"),
}
#: Codecs that FFmpeg offers but its muxer or players refuse; ``pcm`` stands for all kinds of it.
_REFUSED = {"mp4": {"pcm", "truehd"}, "ipod": {"pcm", "truehd"}, "mov": {"opus", "flac", "vorbis", "truehd"}}
#: Bits per second and channel of sound that is encoded again: transparent to most ears in AAC and Opus.
_BIT_RATE = 96_000
#: Sampling rates that an encoder supports; any other rate becomes the first one.
_RATES = {
    "aac": (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 96000, 88200, 64000),
    "libopus": (48000,),
    "flac": (),
}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class Sound:
    """Copies the audio streams of a file into another, in step with its pictures.

    It opens the file a second time, so that sound never waits in memory for pictures.

    Args:
        path: of the source.
        output: an open PyAV container whose streams are being added.
        origin: time in the source, seconds, that is zero in the output.
        end: time in the source, seconds, after which sound is left out; ``None``: its end.

    Attributes:
        remark: one line if sound could not be kept as it was; else empty.
    """

    def __init__(self, path: Path, output: Any, origin: Fraction, end: Fraction | None = None) -> None:

        self._path, self._output, self._stack = Path(path), output, contextlib.ExitStack()
        self._open()
        self._origin, self._end = origin, None if end is None else end - origin
        #: Where each stream of the source goes, and whether it is encoded again.
        self._streams: dict[int, tuple[Any, bool]] = {}
        self._next: dict[int, int] = {}
        remarks: dict[str, None] = {}
        for stream in self._input.streams.audio:
            kind, container = _codec(stream), output.format.name
            encoder, codec = SUBSTITUTES.get(container, ("", ""))
            if _held(kind, container, output.supported_codecs):
                self._streams[stream.index] = (output.add_stream_from_template(stream), False)
            elif encoder and kind:
                self._streams[stream.index] = (_encoder(output, encoder, stream), True)
                remarks[f"sound encoded again as {codec}: {container} files cannot hold {kind}"] = None
            else:
                remarks[f"sound left out: {container} files cannot hold {kind or 'this codec'}"] = None
        self.remark = "; ".join(remarks)
        self._from_origin()

    def _open(self) -> None:
        import av

        self._stack.close()
        self._input: Any = self._stack.enter_context(av.open(str(self._path.absolute()), metadata_errors="replace"))

    def _from_origin(self) -> None:
        """Start reading at the origin, or a little before it."""
        import av

        if self._origin and self._streams:
            with contextlib.suppress(PermissionError):  # a raw stream has no index
                self._input.seek(int(max(Fraction(0), self._origin - SEARCH_MARGIN) * av.time_base))
        self._demux()
        first = self._waiting
        # Only a packet before the origin proves that nothing was missed.
        if self._origin and not (first and first.dts is not None and first.dts * first.time_base <= self._origin):
            self._open()
            self._demux()

    def _demux(self) -> None:
        taken = [stream for stream in self._input.streams.audio if stream.index in self._streams]
        self._packets: Iterator[Any] = self._input.demux(taken) if taken else iter(())
        self._waiting: Any = next(self._packets, None)

    def copy_until(self, time: Fraction | None) -> None:
        """Copy the sound up to ``time`` seconds from the origin, at most to the end; ``None`` copies all of it."""
        if self._end is not None:
            time = self._end if time is None else min(time, self._end)
        while (packet := self._waiting) is not None:
            if packet.dts is not None:
                at = packet.dts * packet.time_base - self._origin
                if time is not None and at >= time:
                    return
                target, anew = self._streams[packet.stream.index]
                if anew:
                    self._encode(packet, target)
                # Sound before the cut is left out; a codec's lead-in, before time 0 of the file, is kept.
                elif not self._origin or at >= 0:
                    self._copy(packet, target)
            self._waiting = next(self._packets, None)

    def finish(self) -> None:
        """Write what encoders still hold; no sound can be copied afterwards."""
        for target, anew in self._streams.values():
            if anew:
                self._output.mux(target.encode(None))

    def _copy(self, packet: Any, target: Any) -> None:
        shift = round(self._origin / packet.time_base)
        packet.dts -= shift
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.stream = target
        self._output.mux(packet)

    def _encode(self, packet: Any, target: Any) -> None:
        for frame in _decoded(packet):
            if frame.pts is None or frame.time_base is None:
                continue
            due = round((frame.pts * frame.time_base - self._origin) * frame.sample_rate)
            if due + frame.samples <= 0:
                continue
            if due < 0:
                frame, due = _without(frame, -due), 0
            # Times are counted in samples, so that rounded timestamps cause no gaps or overlaps.
            index = packet.stream.index
            known = self._next.get(index, due)
            frame.pts = known if abs(due - known) < frame.sample_rate // 10 else max(due, known)
            frame.time_base = Fraction(1, frame.sample_rate)
            self._next[index] = frame.pts + frame.samples
            self._output.mux(target.encode(frame))

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _codec(stream: Any) -> str:
    """The name of the codec, such as ``mp3``; empty if FFmpeg has no decoder for it."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else ""


def _held(kind: str, container: str, supported: set[str]) -> bool:
    refused = _REFUSED.get(container, set())
    return kind in supported and kind not in refused and not (kind.startswith("pcm_") and "pcm" in refused)


def _encoder(output: Any, encoder: str, source: Any) -> Any:
    rates = _RATES[encoder]
    rate = source.rate if not rates or source.rate in rates else rates[0]
    channels = source.channels if source.channels in _LAYOUTS else 2
    stream = output.add_stream(encoder, rate=rate, layout=_LAYOUTS[channels])
    if encoder != "flac":
        stream.codec_context.bit_rate = _BIT_RATE * channels
    return stream


def _without(frame: Any, count: int) -> Any:
    """A frame without its first ``count`` samples."""
    import av

    step = 1 if frame.format.is_planar else len(frame.layout.channels)
    samples = np.ascontiguousarray(frame.to_ndarray()[:, count * step :])
    rest = av.AudioFrame.from_ndarray(samples, format=frame.format.name, layout=frame.layout.name)
    rest.sample_rate = frame.sample_rate
    return rest


def _decoded(packet: Any) -> Iterator[Any]:
    """Samples of a packet; a damaged packet is silent, as in a player."""
    import av

    with contextlib.suppress(av.error.InvalidDataError):
        yield from packet.decode()
