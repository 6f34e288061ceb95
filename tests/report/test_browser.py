"""The page in a real browser: nothing fails, nothing is asked for, nothing overflows, keys and slider work."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from browser import ARGUMENTS, CHROMIUM
from run_folders import DIFFERENCES, NASTY, PROVENANCE, quality, speed

from reconet_bench.core.images import write_image
from reconet_bench.core.samples import SampleKey
from reconet_bench.report.run_folder import write_run

#: Colour of each lane in every picture, and of every error map; its brightness tells the frame.
LANES = {
    "content": (200, 0, 0),
    "stylised/reconet-wave": (0, 200, 0),
    "stylised/johnson-wave": (0, 0, 200),
    "error/reconet-wave": (160, 160, 160),
}

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one or set RECONET_BENCH_CHROMIUM"),
]


def until(page, expression: str, seconds: float = 30) -> None:
    """Waits for an expression to be true; Playwright's own way evaluates text, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """A run with pictures of two videos, one of whose models has a very long name and odd letters."""
    folder = tmp_path_factory.mktemp("page") / "run"
    for video in ("stroll", "alley_2"):
        for kind, colour in LANES.items():
            for number in range(1, 5):
                write_image(
                    folder / "pictures" / kind / video / f"{number:04d}.webp",
                    np.full((36, 64, 3), np.array(colour) * (5 + number) // 9, np.uint8),
                )
    records = [
        *quality(("stroll", "alley_2")),
        speed("fps_device", 12.5),
        speed("fps_device", 3.0, model="x" * 200, runtime=NASTY[0], note=NASTY[2]),
    ]
    samples = {
        SampleKey(m, "stroll", "torch", "temporal_error"): dict.fromkeys(range(3), 0.01)
        for m in ("reconet-wave", "johnson-wave")
    }
    write_run(
        folder,
        records,
        samples,
        [],
        DIFFERENCES,
        {**PROVENANCE, "command": "y" * 400},
        {"reconet-wave": "step,style\n1,3\n2,2\n"},
    )
    return (folder / "report.html").resolve().as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def opened(browser, address, request) -> Iterator:
    """The page at a width and in a colour scheme; whatever went wrong or was asked for fails the test."""
    width, scheme = getattr(request, "param", (1440, "light"))
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(15_000)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith("data:") or asked.url == address else wrong.append(asked.url),
    )
    page.goto(address)
    until(page, "document.getElementById('wipe').width === 64")
    yield page
    context.close()
    assert wrong == []


def pixel(page, x: float) -> list[int]:
    """Colour of the wipe's canvas at a fraction of its width."""
    return page.evaluate(
        "x => { const c = document.getElementById('wipe');"
        " return [...c.getContext('2d').getImageData(x * (c.width - 1), 18, 1, 1).data].slice(0, 3) }",
        x,
    )


def frame(page) -> str:
    return page.text_content("#frame")


@pytest.mark.parametrize("opened", [(1440, "light"), (390, "dark")], indirect=True)
def test_nothing_overflows(opened):
    opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide, window = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window
    beyond = opened.evaluate(
        "[...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.scroll, svg, .stage') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []


@pytest.mark.parametrize("opened", [(900, "light"), (900, "dark")], indirect=True)
def test_text_is_readable_in_light_and_dark(opened):
    """WCAG's 4.5 : 1 for body text and for what is quiet."""
    ratio = """selector => {
        const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(n => n / 255)
            .map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
                             return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
        const [a, b] = [light(getComputedStyle(document.querySelector(selector)).color),
            light(getComputedStyle(document.body).backgroundColor)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }"""
    for selector in ("h1", ".quiet", ".warning", ".best .value", ".eyebrow", "td small"):
        assert opened.evaluate(ratio, selector) >= 4.5, selector


def test_keys_step_and_play(opened):
    assert frame(opened) == "1 / 4"
    for key, shown in (
        ("ArrowRight", "2 / 4"),
        ("ArrowRight", "3 / 4"),
        ("ArrowLeft", "2 / 4"),
        ("End", "4 / 4"),
        ("ArrowRight", "1 / 4"),
        ("ArrowLeft", "4 / 4"),
        ("Home", "1 / 4"),
    ):
        opened.keyboard.press(key)
        assert frame(opened) == shown, key
    opened.keyboard.press(" ")
    assert opened.text_content("#play") == "Pause"
    until(opened, "document.getElementById('frame').textContent !== '1 / 4'")
    opened.keyboard.press(" ")
    assert opened.text_content("#play") == "Play"


def test_the_picture_on_screen_is_that_of_the_frame_and_lane(opened):
    first = pixel(opened, 0.9)
    assert first[1] > 100 > max(first[0], first[2]), "right: the first model"
    opened.keyboard.press("End")
    assert pixel(opened, 0.9)[1] > first[1] + 30, "the last frame is brighter"
    opened.select_option("#right", label="johnson")
    assert pixel(opened, 0.9)[2] > 100
    opened.click("#lanes button:nth-child(1)")
    assert pixel(opened, 0.9)[0] > 100


def test_the_wipe_follows_slider_keys_and_pointer(opened):
    assert pixel(opened, 0.25)[0] > 100 > pixel(opened, 0.75)[0]
    opened.evaluate(
        "() => { const s = document.getElementById('slider'); s.value = 900; s.dispatchEvent(new Event('input')) }"
    )
    assert pixel(opened, 0.75)[0] > 100
    for _ in range(20):
        opened.keyboard.press("[")
    assert pixel(opened, 0.25)[0] < 50
    opened.locator("#wipe").scroll_into_view_if_needed()
    box = opened.locator("#wipe").bounding_box()
    opened.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 50)
    opened.mouse.down()
    opened.mouse.up()
    assert pixel(opened, 0.7)[0] > 100


def test_the_error_goes_on_and_off(opened):
    before = pixel(opened, 0.9)
    opened.keyboard.press("e")
    assert opened.is_checked("#error")
    after = pixel(opened, 0.9)
    assert after != before
    assert min(after) > 60, "the map is grey and lies on the picture"
    opened.keyboard.press("e")
    assert pixel(opened, 0.9) == before


def test_videos_change_and_the_curves_follow(opened):
    shown = (
        "() => [...document.querySelectorAll('.cursor')].filter(c => c.style.display !== 'none')"
        ".map(c => [c.dataset.video, +c.getAttribute('x1')])"
    )
    ((video, x),) = opened.evaluate(shown)
    assert video == "stroll"
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate(shown)[0][1] > x
    opened.keyboard.press("v")
    assert opened.get_attribute("#videos button:nth-child(2)", "aria-pressed") == "true"
    until(opened, "[...document.querySelectorAll('.cursor')].every(c => c.style.display === 'none')")


def test_the_page_is_whole_without_script(browser, address):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.goto(address)
    assert page.locator("table.main tbody tr").count() == 3
    assert page.locator("svg.chart").count() > 3
    context.close()
