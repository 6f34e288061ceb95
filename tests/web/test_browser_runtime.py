"""Networks in a real browser: the runtime onnxruntime-web, and the live page with a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import ARGUMENTS, CHROMIUM

from reconet_bench import cli
from reconet_bench.commands.live import _clip, _models
from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, session_parity
from reconet_bench.runtimes.onnxruntime_web import WebSession
from reconet_bench.web import ort
from reconet_bench.web.live import pieces, served
from reconet_bench.web.server import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one or set RECONET_BENCH_CHROMIUM"),
    pytest.mark.skipif(ort.missing() is not None, reason=ort.missing() or ""),
]
MODEL = "reconet-small-starry_night"
#: Where they are; tests have a cache folder of their own.
FILES = ort.folder()


@pytest.fixture(scope="module", autouse=True)
def _files() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ort.ENVIRONMENT_VARIABLE, str(FILES))
        yield


@pytest.fixture(scope="module")
def source() -> Iterator[ModelSource]:
    with workspace() as folder:
        yield load_by_name(MODEL, Path(folder)).source


def frames(size: tuple[int, int]) -> list[np.ndarray]:
    clip = synthetic_clip("stroll", size, 3)
    return [to_uint8(clip.frame(index))[0] for index in range(3)]


@pytest.mark.parametrize(("backend", "size", "least"), [("wasm", (66, 90), 60), ("webgpu", (36, 50), 50)])
def test_the_frames_are_those_of_pytorch(
    source: ModelSource, backend: str, size: tuple[int, int], least: float
) -> None:
    shown = frames(size)
    with (
        RUNTIMES["torch"].load(source, threads=1) as reference,
        RUNTIMES[f"onnxruntime-web:{backend}"].load(source, threads=2) as session,
    ):
        assert session_parity(reference, session, shown).psnr >= least
        for frame in shown:  # by ImageData, and at a size that is no multiple of four
            assert np.abs(session(frame).astype(int) - reference(frame)).max() <= 1
        assert session.timed(shown[0], "device") > 0
        assert session.timed(shown[0], "end_to_end") > 0
        assert session.peak() > 2**20
        assert len(session.placement) == 1
        if backend == "webgpu":
            assert session.device.startswith("webgpu")


def test_two_browsers_in_one_process_and_one_that_is_closed_twice(source: ModelSource) -> None:
    with RUNTIMES["onnxruntime-web:wasm"].load(source, threads=1) as first:
        with RUNTIMES["onnxruntime-web:wasm"].load(source, threads=1) as second:
            assert np.array_equal(first(frames((36, 50))[0]), second(frames((36, 50))[0]))
        second.close()
        first(frames((36, 50))[1])


def test_a_browser_that_dies_costs_its_own_rows(source: ModelSource) -> None:
    with RUNTIMES["onnxruntime-web:wasm"].load(source, threads=1) as session:
        assert isinstance(session, WebSession)
        session(frames((36, 50))[0])
        session._driven.browser.close()
        with pytest.raises(RuntimeUnavailable, match="the browser died"):
            session(frames((36, 50))[0])


def test_one_table_with_the_native_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--models", MODEL, "--videos", "stroll", "--size", "96x64", "--frames", "3", "--rounds", "1"]
    runtimes = ["--runtimes", "onnxruntime", "onnxruntime-web:wasm", "--speed-budget", "0", "--no-pictures"]
    cli.main([*words, *runtimes, "-o", str(tmp_path / "run")])
    shown = capsys.readouterr().out
    assert "onnxruntime fp32" in shown
    assert "onnxruntime-web:wasm fp32" in shown
    assert "changed output" not in shown


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with workspace() as folder:
        found = pieces(_models([MODEL, "reconet-lite-wave"], Path(folder)), _clip(Path(folder)))
        with Server(served(found)) as server:
            yield server.address


@pytest.fixture
def opened(address: str) -> Iterator[tuple]:
    """The live page with a fake camera, and all that it said and asked for."""
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *camera])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page, said, asked
        browser.close()


def counted(page) -> int:
    return int(page.evaluate("document.documentElement.dataset.frames ?? 0"))


def wait_for(page, count: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while counted(page) < count:
        assert time.monotonic() < end, f"{counted(page)} frames, notice: {page.inner_text('#notice')}"
        page.wait_for_timeout(50)


def test_the_live_page_paints_clip_and_camera_and_counts_right(opened: tuple, address: str) -> None:
    page, said, asked = opened
    wait_for(page, 10)
    page.click("#camera")
    page.select_option("#size", "160")
    wait_for(page, counted(page) + 30)
    shown, start, before = [], time.monotonic(), counted(page)
    while time.monotonic() - start < 6:
        page.wait_for_timeout(250)
        shown.append(float(page.evaluate("document.documentElement.dataset.fps")))
    rate = (counted(page) - before) / (time.monotonic() - start)
    late = shown[8:]  # what is shown is of the last two seconds
    assert abs(sum(late) / len(late) / rate - 1) < 0.15
    assert said == []
    assert all(url.startswith((address, "blob:")) for url in asked)


def test_the_live_page_by_keyboard_and_on_a_phone(opened: tuple) -> None:
    page, said, _ = opened
    wait_for(page, 5)
    page.focus("#stage")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.get_attribute("#stage", "aria-valuenow") == "20"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"
    still = counted(page)
    page.wait_for_timeout(400)
    assert counted(page) <= still + 1
    page.keyboard.press("Space")
    wait_for(page, still + 3)
    page.check("#meter")
    wait_for(page, counted(page) + 4)
    assert page.inner_text("#flicker") != "–"
    page.keyboard.press("Escape")
    page.click("#record")
    wait_for(page, counted(page) + 6)
    page.click("#record")
    page.wait_for_selector("#save:not([hidden])", state="attached", timeout=10_000)
    page.select_option("#model", "reconet-lite-wave")
    wait_for(page, counted(page) + 3)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []


#: Notes what is painted, and every rate that the page shows, by the clock of the page and beside its own counting.
WATCH = """
window.seen = { painted: [], shown: [] };
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...words) {
  seen.painted.push(performance.now());
  return put.apply(this, words);
};
new MutationObserver(() => {
  seen.shown.push([performance.now(), Number(document.documentElement.dataset.fps)]);
}).observe(document, { subtree: true, attributeFilter: ["data-fps"] });
"""
#: Bytes of the page, its worker and the memory of WebAssembly, after everything that is unused has gone.
MEMORY = "performance.measureUserAgentSpecificMemory().then(({ bytes }) => bytes)"


@pytest.fixture
def watched(address: str) -> Iterator[tuple]:
    """The live page on the small camera picture, with a second look at what it counts, and all that went wrong."""
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *camera])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(WATCH)
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith((address, "blob:")) else wrong.append(request.url),
        )
        page.goto(address)
        wait_for(page, 4)
        page.evaluate("document.getElementById('size').options[1].value = '96'")
        page.select_option("#size", index=1)
        page.click("#camera")
        wait_for(page, counted(page) + 8)
        yield page
        browser.close()
    assert wrong == []


@pytest.mark.slow
def test_the_rate_on_the_live_page_is_that_of_the_frames_painted(watched) -> None:
    """What is shown is the rate of the last two seconds: on average within 5 % of the frames painted in them."""
    watched.wait_for_timeout(3000)
    begin = watched.evaluate("performance.now()")
    watched.wait_for_timeout(10_000)
    seen = watched.evaluate("seen")
    assert counted(watched) == pytest.approx(len(seen["painted"]), abs=2)
    painted = np.array(seen["painted"])
    shown = [(now, fps) for now, fps in seen["shown"] if now > begin]
    assert len(shown) >= 5
    # A window that ends with a frame holds half a frame more than its length has room for.
    real = [((painted > now - 2000) & (painted <= now)).sum() / 2 - 0.25 for now, _ in shown]
    assert np.mean([fps for _, fps in shown]) == pytest.approx(np.mean(real), rel=0.05)


@pytest.mark.slow
def test_the_live_pages_memory_is_flat(watched) -> None:
    wait_for(watched, counted(watched) + 60)
    before, first = watched.evaluate(MEMORY), counted(watched)
    wait_for(watched, first + 300, 240)
    grown = watched.evaluate(MEMORY) - before
    assert before > 10 * 2**20, "the memory of WebAssembly is in it"
    assert grown < 300 * 96 * 4 * 4, "less than a row of pixels for each frame"


@pytest.mark.slow
def test_a_recording_of_the_live_page_plays(watched, tmp_path: Path) -> None:
    """Every frame of it is decoded, by us and by the browser, and it shows the painting."""
    from reconet_bench.video.reader import VideoReader

    watched.click("#record")
    wait_for(watched, counted(watched) + 30, 120)
    watched.click("#record")
    watched.wait_for_selector("#save:not([hidden])", state="attached", timeout=20_000)
    with watched.expect_download() as download:
        watched.click("#save")
    file = tmp_path / "painted.webm"
    download.value.save_as(file)
    assert download.value.suggested_filename == "painted.webm"
    with VideoReader(file) as reader:
        pictures = [frame.image for frame in reader]
    assert len(pictures) >= 10
    assert pictures[0].shape == tuple(watched.evaluate("[shown.height, shown.width, 3]"))
    last = pictures[-1].astype(float)
    assert last.std() > 10
    playing = """async () => {
        const video = document.createElement("video");
        Object.assign(video, { muted: true, src: document.getElementById("save").href });
        await video.play();
        await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
        await new Promise((resolve, reject) => Object.assign(video, { onended: resolve, onerror: reject }));
        return [video.videoWidth, video.currentTime, video.error];
    }"""
    width, seconds, error = watched.evaluate(playing)
    assert width == last.shape[1]
    assert seconds > 0.3
    assert error is None


def test_without_a_camera_there_is_a_clear_word(address: str) -> None:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(address)
        wait_for(page, 2)
        page.click("#camera")
        page.wait_for_selector("#notice:not([hidden])", state="attached")
        assert page.inner_text("#notice").startswith("No camera: ")
        browser.close()
