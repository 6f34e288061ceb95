"""Speed on the page: grouped by what it is for, and one chart of speed, stability and style."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest
from run_folders import SIZE, quality, speed

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.record import Record
from reconet_bench.core.size import Size
from reconet_bench.report import tables
from reconet_bench.report.figures import Series
from reconet_bench.report.speed_plot import Spot, legend, speed_plot, spots
from reconet_bench.report.speed_section import speed_section
from reconet_bench.report.targets import BROWSER, CPU, GPU, SMALL_DEVICE, by_target, target

MODEL = "reconet-wave"
SERIES = {MODEL: Series("reconet", (), 0), "johnson-wave": Series("johnson", (), 1)}


def timed(runtime: str, device: str = "cpu", fps: float = 10.0, doubts: tuple[Doubt, ...] = ()) -> Record:
    return dataclasses.replace(speed("fps_device", fps, runtime=runtime, doubts=doubts), device=device)


@pytest.mark.parametrize(
    ("runtime", "device", "expected"),
    [
        ("torch", "cpu", CPU),
        ("openvino:int8", "cpu", CPU),
        ("torch", "cuda:0", GPU),
        ("tensorrt:fp16", "cuda", GPU),
        ("onnxruntime-web:wasm", "cpu", BROWSER),
        ("onnxruntime-web:webgpu", "webgpu (software)", BROWSER),
        ("ncnn", "cpu", SMALL_DEVICE),
        ("ncnn:fp16", "cpu", SMALL_DEVICE),
    ],
)
def test_every_runtime_has_its_target(runtime, device, expected):
    assert target(timed(runtime, device)) == expected


def test_targets_come_in_their_order_and_only_where_timed():
    records = [timed("ncnn"), timed("onnxruntime-web:wasm"), *quality(), timed("torch")]
    assert list(by_target(records)) == [CPU, BROWSER, SMALL_DEVICE]


def test_each_target_has_ratio_share_and_parity_in_its_first_table():
    ratio = dataclasses.replace(speed("speed_up", 2.0, runtime="ncnn"), ci_low=1.9, ci_high=2.1)
    share = speed("share_of_limit", 41.0, runtime="ncnn")
    records = [timed("torch"), timed("ncnn"), ratio, share, speed("parity_psnr", 70.0, runtime="ncnn")]
    records.append(dataclasses.replace(speed("load_time", 0.5, runtime="ncnn"), better="lower"))
    cpu, small = speed_section(records, {MODEL: "reconet"}, SERIES)
    assert (cpu.name, small.name) == (CPU, SMALL_DEVICE)
    assert small.first.header[3:] == ["fps ↑", "× torch ↑", "% of limit ↑", "PSNR dB ↑", "note"]
    assert small.first.rows == [["reconet", "ncnn fp32", str(Size(*SIZE)), "10", "2 [1.9, 2.1]", "41", "70", ""]]
    assert small.others.header[3:] == ["load s ↓"]
    assert len(small.charts) == 1
    text = tables.speed_markdown(records)
    assert re.findall("^### (.*)$", text, re.M) == [CPU, SMALL_DEVICE]
    assert text.count("2 [1.9, 2.1]") == 1


def test_a_mark_stands_at_the_speed_and_stability_of_its_own_runtime():
    changed = [
        dataclasses.replace(r, runtime="openvino:int8", precision="int8", value=2 * r.value)
        for r in quality()
        if r.model == MODEL and r.metric == "temporal_error"
    ]
    records = [*quality(), *changed, timed("torch", fps=5), timed("openvino:int8", fps=20)]
    ((size, (first, second)),) = spots(records, SERIES).items()
    assert size == Size(*SIZE)
    assert (first.fps, second.fps) == (5, 20)
    assert second.error == pytest.approx(2 * first.error)
    assert first.style is not None


def test_a_gpu_in_software_has_no_mark():
    slow = timed("onnxruntime-web:webgpu", "webgpu (software)", doubts=(Doubt.SOFTWARE_GPU,))
    ((_, marks),) = spots([*quality(), timed("torch"), slow], SERIES).items()
    assert [mark.target for mark in marks] == [CPU]


def test_a_model_without_stability_has_no_mark():
    assert spots([timed("torch")], SERIES) == {}


def test_the_chart_is_well_formed_and_says_everything_in_words():
    nasty = Series('a<b>&"c', (), 1)
    marks = [
        Spot(SERIES[MODEL], "torch fp32", CPU, 5.0, 0.04, 0.3),
        Spot(SERIES[MODEL], "ncnn fp32", SMALL_DEVICE, 4.0, 0.04, 0.3, open=True),
        Spot(nasty, "onnxruntime-web:wasm fp32", BROWSER, 1.0, 0.05, None),
    ]
    chart = ET.fromstring(speed_plot(Size(4, 8), marks))
    label = chart.get("aria-label") or ""
    assert all(mark.tip in label for mark in marks)
    drawn = [one for one in chart.iter("g") if "mark" in (one.get("class") or "")]
    assert sorted(title.text or "" for one in drawn for title in one.iter("title")) == sorted(m.tip for m in marks)
    assert [one.get("class") for one in drawn if "open" in (one.get("class") or "")] == ["mark open s1"]
    assert {next(iter(one)).tag for one in drawn} == {"circle", "path"}
    assert [name for name, _ in legend(marks)] == [CPU, BROWSER, SMALL_DEVICE]


def test_names_of_marks_in_one_place_do_not_write_over_each_other():
    marks = [Spot(SERIES[MODEL], f"runtime{n}", CPU, 10.0 + n / 100, 0.04, 0.3) for n in range(9)]
    chart = ET.fromstring(speed_plot(Size(4, 8), marks))
    places = [(one.get("x"), one.get("y")) for one in chart.iter("text") if one.get("class") in ("small", "name")]
    rows = [row for _, row in places]
    assert len(rows) == len(set(rows)), "each on a line of its own"
    assert 2 <= len(places) <= 5
