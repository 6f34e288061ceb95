"""Real video files for tests, made on the spot: moving pictures, timestamps, sound, rotation, any pixel format."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from conftest import SIZE

#: Seconds of a tick of the clips made here.
TICK = Fraction(1, 600)


def scene(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Picture ``number`` of a soft, colourful pan, ``(H, W, 3)`` uint8, which survives chroma subsampling."""
    height, width = size
    colours = np.random.default_rng(4).integers(30, 226, (4, 6, 3)).astype(np.float32)
    wide = cv2.resize(colours, (width + 40, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(np.round(wide[:, number % 40 : number % 40 + width]).astype(np.uint8))


def make_clip(
    path: Path,
    times: Sequence[int] = range(0, 24 * 8, 24),
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str = "",
    rotation: int = 0,
    full: bool = False,
    grey: bool = False,
    sounds_longer: float = 0.0,
) -> Path:
    """A video of :func:`scene`.

    Args:
        times: of each frame, in 1/600 s.
        sound: audio encoder such as ``aac``, as long as the pictures; empty is silent.
        rotation: degrees counter-clockwise that a player has to turn it by.
        full: full colour range instead of the limited one.
        grey: the red channel of the scene in all three.
        sounds_longer: seconds that the sound goes on after the pictures.
    """
    height, width = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options={"crf": "8"} if codec in ("libx264", "libx265") else {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        context = stream.codec_context
        context.time_base, context.colorspace, context.color_range = TICK, 1, 2 if full else 1
        if rotation:
            stream.set_display_rotation(rotation)
        audio = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number, time in enumerate(times):
            image = scene(number, size)
            frame = av.VideoFrame.from_ndarray(np.repeat(image[..., :1], 3, 2) if grey else image, format="rgb24")
            frame = frame.reformat(format=pixels, dst_colorspace=1, src_color_range=2, dst_color_range=2 if full else 1)
            frame.pts, frame.time_base = time, TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if audio is not None:
            count = int(48000 * ((times[-1] + 24) * TICK + Fraction(sounds_longer)))
            wave = (np.sin(np.arange(count) * 0.05) * 0.3).astype(np.float32)
            for start in range(0, count - 1023, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
                file.mux(audio.encode(block))
            file.mux(audio.encode(None))
    return path


def make_sound(path: Path) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w") as file:
        audio = file.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 8 * 1024, 1024):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
            file.mux(audio.encode(block))
        file.mux(audio.encode(None))
    return path


def remux(source: Path, target: Path, start: Fraction = Fraction(0), index_first: bool = False) -> Path:
    """The packets of a file in another, its pictures all, its sound from ``start`` on; that is the target's zero."""
    options = {"movflags": "+faststart"} if index_first else {}
    with av.open(str(source)) as file, av.open(str(target), "w", options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in file.streams}
        for packet in file.demux():
            shift = round(start / packet.time_base)
            if packet.dts is not None and (packet.stream.type == "video" or packet.pts >= shift):
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - shift,
                    packet.dts - shift,
                    streams[packet.stream.index],
                )
                out.mux(packet)
    return target


def sound_end(path: Path) -> float:
    """When the last packet of sound ends, seconds."""
    with av.open(str(path)) as file:
        return max(
            float((packet.pts + packet.duration) * packet.time_base)
            for packet in file.demux(audio=0)
            if packet.pts is not None
        )


def sound_packets(path: Path) -> list[bytes]:
    """All audio packets of a file, as they are."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def times(path: Path) -> list[Fraction]:
    """When each frame of a file is shown, seconds; read by PyAV alone."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]
