"""What stylize writes plays in a real browser: sound, size, length, every frame, and the very picture."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from browser import ARGUMENTS, CHROMIUM
from clips import make_clip, scene

from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one or set RECONET_BENCH_CHROMIUM"),
]

TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".m4v": "video/mp4"}
#: Plays a video to its end; tells what was seen, and the first picture that came to the screen with its time.
PLAY = """async source => {
  const video = document.createElement('video');
  video.muted = true; video.src = source; document.body.replaceChildren(video);
  const first = name => new Promise((done, wrong) => { video.addEventListener(name, done, {once: true});
    video.addEventListener('error', () => wrong(new Error(video.error.message)), {once: true}); });
  await first('loadeddata');
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  let shown = null;
  video.requestVideoFrameCallback((now, facts) => {
    context.drawImage(video, 0, 0);
    shown = {time: facts.mediaTime, pixels: [...context.getImageData(0, 0, canvas.width, canvas.height).data]};
  });
  const ended = first('ended');
  await video.play();
  await ended;
  const heard = video.webkitAudioDecodedByteCount;
  return {width: video.videoWidth, height: video.videoHeight, duration: video.duration, heard, shown,
          frames: video.getVideoPlaybackQuality().totalVideoFrames};
}"""


@pytest.fixture(scope="module")
def page() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page()
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.mark.parametrize(
    ("source", "sound", "target", "size"),
    [
        (".mp4", "aac", ".mp4", (72, 96)),
        (".mov", "pcm_s16le", ".mp4", (72, 96)),
        (".mp4", "aac", ".webm", (72, 96)),
        (".mkv", "", ".mp4", (96, 72)),
        (".mkv", "libopus", ".webm", (41, 57)),
        (".mkv", "libopus", ".m4v", (72, 96)),
    ],
)
def test_it_plays_in_chromium(tmp_path, page, source, sound, target, size):
    times = [0, 24, 55, 60, 130, 190, 240, 264]  # a variable frame rate
    clip = make_clip(tmp_path / f"a{source}", times, size, pixels="yuv444p" if size[0] % 2 else "yuv420p", sound=sound)
    stylize_file(lambda image: 255 - image, FootageInput(clip), FootageOutput(tmp_path / f"b{target}"))
    data = base64.b64encode((tmp_path / f"b{target}").read_bytes()).decode()
    seen = page.evaluate(PLAY, f"data:{TYPES[target]};base64,{data}")
    assert (seen["height"], seen["width"]) == size
    assert seen["duration"] == pytest.approx(288 / 600, abs=0.1)
    assert seen["frames"] == len(times)
    assert bool(seen["heard"]) == bool(sound)
    number = int(np.abs(np.array(times) / 600 - seen["shown"]["time"]).argmin())
    picture = np.array(seen["shown"]["pixels"], np.uint8).reshape(*size, 4)[..., :3]
    assert np.abs(picture.astype(int) - (255 - scene(number, size))).mean() < 8
