"""The page: one file that asks for nothing, where every name is text, made of whatever the run folder holds."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import html
import io
import json
import re
import runpy
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from run_folders import DIFFERENCES, MODELS, NASTY, PROVENANCE, quality, record, speed

from reconet_bench import cli
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.core.images import write_image
from reconet_bench.core.record import Record, to_jsonl
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.metrics.base import METRICS
from reconet_bench.report import figures, player, tables, terminal
from reconet_bench.report.flow_agreement import flow_markdown
from reconet_bench.report.latex import latex, latex_table
from reconet_bench.report.markdown import as_text, markdown, unmarked
from reconet_bench.report.numbers import significant
from reconet_bench.report.page import Page, page
from reconet_bench.report.ranking import overall
from reconet_bench.report.run import Run, load_run
from reconet_bench.report.run_folder import write_reports, write_run
from reconet_bench.report.summary import spreadsheet
from reconet_bench.report.verdict import verdict

OLD = Path(__file__).parent / "old_runs"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A whole run with samples, speed, curves and pictures of one video."""
    samples = {
        SampleKey(m, v, "torch", "temporal_error"): {i: 0.01 * (i + 1) for i in range(4)}
        for m in MODELS.values()
        for v in ("alley_2", "stroll")
    }
    records = [
        *quality(),
        speed("fps_device", 12.5),
        speed("parity_psnr", 61.0),
        speed("fps_device", 25.0, runtime="onnxruntime", doubts=(Doubt.UNSTABLE,)),
    ]
    timings = [
        TimedFrame("reconet-wave", "torch", Size(436, 1024), "device", number, 0.08, number) for number in range(3)
    ]
    target = tmp_path / "run"
    for kind, count in (
        ("content", 4),
        ("stylised/reconet-wave", 4),
        ("stylised/johnson-wave", 4),
        ("error/reconet-wave", 3),
        ("long/reconet-wave", 3),
    ):
        for number in range(1, count + 1):
            write_image(
                target / "pictures" / kind / "stroll" / f"{number:04d}.webp",
                np.full((20, 32, 3), 40 * number, np.uint8),
            )
    write_run(
        target,
        records,
        samples,
        timings,
        DIFFERENCES,
        PROVENANCE,
        {"reconet-wave": "step,content,style\n25,3.5,2.5\n50,nan,1.5\n75,2.5,"},
    )
    return target


def test_the_page_holds_every_part_and_asks_for_nothing(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    for part in (
        "quality",
        "player-section",
        "pictures",
        "trade-off",
        "curves",
        "speed",
        "published",
        "losses",
        "provenance",
        "warnings",
    ):
        assert f'<section id="{part}">' in text, part
    assert "reconet flickers least" in text
    assert not re.search(r"""(?:src|href|url\()=?["']?(?!data:)(?:https?:|//|\w+\.(?:js|css))""", text)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "reconet-bench compare --videos alley_2" in text
    assert "unstable: rounds differ" in text


def test_every_chart_is_well_formed(folder):
    charts = re.findall(r'<svg class="chart".*?</svg>', (folder / "report.html").read_text(encoding="utf-8"), re.S)
    assert len(charts) >= 6
    for chart in charts:
        ET.fromstring(chart)
        assert "nan" not in chart


def test_the_page_is_the_same_each_time(folder):
    assert page(load_run(folder)) == page(load_run(folder))


# --- what stands in it ----------------------------------------------------------------------------------


def test_a_mean_is_over_videos_with_the_interval_of_few_videos():
    (row,) = [row for row in overall(quality()) if row.model == "reconet-wave"]
    cell = row.cells["temporal_error"]
    assert cell.value == pytest.approx(0.055)
    # Two videos, 0.05 and 0.06: 12.706 standard errors of 0.005, in ratio to the mean.
    assert (cell.low, cell.high) == pytest.approx((0.055 / np.exp(1.15511), 0.055 * np.exp(1.15511)), rel=1e-4)
    assert cell.videos == 2


def test_a_mean_over_one_video_has_the_interval_of_that_video():
    (row,) = [row for row in overall(quality(("alley_2",))) if row.model == "reconet-wave"]
    cell = row.cells["temporal_error"]
    assert (cell.value, cell.low, cell.high) == pytest.approx((0.05, 0.047, 0.054))


def test_no_model_is_spared_a_difficult_video():
    some = [r for r in quality() if (r.model, r.video) != ("johnson-wave", "stroll")]
    assert {row.cells["temporal_error"].videos for row in overall(some)} == {1}


@pytest.mark.parametrize(
    ("difference", "low", "high", "standing"),
    [(-0.05, -0.06, -0.04, "worse"), (-0.02, -0.06, 0.01, "tie"), (0.05, 0.04, 0.06, "tie"), (-0.05, None, None, "")],
)
def test_in_a_run_of_an_older_version_the_interval_says_what_is_shown(difference, low, high, standing):
    pair = dataclasses.replace(DIFFERENCES[0], difference=difference, ci_low=low, ci_high=high)
    marks = {row.model: row.cells["temporal_error"].standing for row in overall(quality(), [pair])}
    assert marks == {"reconet-wave": "best", "johnson-wave": standing, "identity": ""}


@pytest.mark.parametrize(
    ("difference", "p", "corrected", "standing"),
    [(-0.05, 0.01, 0.04, "worse"), (-0.05, 0.01, 0.06, "tie"), (0.05, 0.01, 0.04, "tie"), (-0.05, 0.01, None, "")],
)
def test_a_difference_to_the_best_is_shown_by_its_corrected_p_value(difference, p, corrected, standing):
    pair = dataclasses.replace(DIFFERENCES[0], difference=difference, p=p, p_corrected=corrected)
    marks = {row.model: row.cells["temporal_error"].standing for row in overall(quality(), [pair])}
    assert marks == {"reconet-wave": "best", "johnson-wave": standing, "identity": ""}


@pytest.mark.parametrize(("samples", "known"), [(2, False), (3, True)])
def test_a_mean_over_two_videos_needs_six_samples_for_an_interval(samples, known):
    (row,) = [
        row for row in overall([dataclasses.replace(r, n=samples) for r in quality()]) if row.model == "reconet-wave"
    ]
    assert (row.cells["temporal_error"].low is not None) == known


@pytest.mark.parametrize(("distance", "said"), [(0.03, False), (0.039, False), (0.041, True), (0.2, True)])
def test_stability_that_was_bought_with_style_is_called_so(distance, said):
    """Twice the best style distance, which is 0.02, is the limit."""
    some = [
        dataclasses.replace(r, value=distance) if (r.model, r.metric) == ("reconet-wave", "style_distance") else r
        for r in quality()
    ]
    assert ("because it stylises less" in verdict(some, overall(some), [], []).cards[0].detail) == said


def test_who_paints_nothing_does_not_win_unmeasured():
    copy = [
        dataclasses.replace(r, model="copy", method="copy", value=0.01)
        for r in quality()
        if (r.model, r.metric) == ("reconet-wave", "temporal_error")
    ]
    rows = overall([*quality(), *copy])
    assert {row.model: row.cells["temporal_error"].standing for row in rows}["copy"] == ""
    said = verdict([*quality(), *copy], rows, [], [])
    assert "reconet flickers least" in said.sentence
    assert "copy not ranked: style not measured" in said.cards[0].detail


def test_changed_frames_are_not_the_fastest():
    """Frames that are not the reference's may come from half the work."""
    changed = speed("fps_device", 99.0, runtime="openvino:int8", doubts=(Doubt.CHANGED_OUTPUT,))
    changed = dataclasses.replace(changed, model="johnson-wave", method="johnson")
    faithful = speed("fps_device", 10.0, doubts=(Doubt.UNSTABLE,))
    for some in ([*quality(), changed, faithful], [*quality(), faithful, changed]):
        said = verdict(some, overall(some), [], [])
        (card,) = [card for card in said.cards if card.question == "Fastest"]
        assert card.answer == "10 fps"
        assert "; reconet in torch is fastest with 10 frames per second" in said.sentence
    alone = [*quality(), changed]
    assert "fastest" not in verdict(alone, overall(alone), [], []).sentence


def test_trust_names_only_what_was_measured():
    rows = overall(quality())
    assert verdict(quality(), rows, [], []).cards[-1].detail == "no warning: no leakage, speed not measured"
    assert verdict(quality(), rows, [], [], ["frames.csv is missing"]).cards[-1].answer == "With care"
    timed = [*quality(), speed("fps_device", 10.0), speed("latency_device_spread", 0.05)]
    assert "stable timing" in verdict(timed, rows, [], []).cards[-1].detail
    assert "reconet in torch is fastest" in verdict(timed, rows, [], []).sentence
    same = [*timed, speed("fps_device", 9.8, model="johnson-wave", method="johnson")]
    assert "; torch is fastest" in verdict(same, rows, [], []).sentence


def test_a_frame_is_shown_in_the_unit_of_its_metric():
    squared = {name for name, metric in METRICS.items() if float(metric.reduce(np.array([0.25]))) == 0.5}
    assert set(tables.SQUARED) == squared


def test_ticks_are_round_and_within_the_axis():
    for low, high in ((0, 0.11), (3.2, 47), (-5, 5), (0.98, 1.0)):
        ticks = figures.Axis(low, high, 0, 100).ticks()
        assert 3 <= len(ticks) <= 8
        assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert figures.Axis(0.015, 1.3, 0, 1, log=True).ticks() == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5, 1])


def test_published_numbers_stand_beside_ours_with_what_differs(folder):
    text = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    section = text[text.index('id="published"') : text.index('id="provenance"')]
    for part in (
        "proposed 0.0821",
        "Johnson 0.4, Dougherty 0.59, proposed 0.66",
        "0.52",
        "47",
        "Tesla P100",
        "not measured: needs MPI-Sintel",
    ):
        assert part in section, part


def beside(records: list[Record]) -> dict[str, tuple[str, str]]:
    """What stands beside each published quantity: ours, and what differs."""
    return {
        row.what: (row.ours, row.differs)
        for row in Page(Run(Path("run"), records)).beside
        if "Mahakalkar" in row.source
    }


def test_beside_a_published_number_stands_the_first_runtime_and_what_was_shown_to_it():
    sintel = [dataclasses.replace(r, source="sintel-final") for r in quality(("alley_2",)) if r.model != "identity"]
    later = [dataclasses.replace(r, runtime="openvino", value=0.9) for r in sintel]
    ours, differs = beside([*sintel, *later])["temporal error, alley_2"]
    assert ours == "reconet 0.05, johnson 0.1"
    assert differs.endswith("trained on this sequence; here 50 frames at 1024x436, final pass")
    assert "here" not in beside(sintel)["temporal error, market_6"][1]


# --- names are text -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_a_name_is_text_everywhere(tmp_path, name):
    some = [
        dataclasses.replace(r, model=name, method=name, note=name) if r.method == "reconet" else r
        for r in quality(("stroll", name))
    ]
    some.append(speed("fps_device", 3.0, model=name, method=name, runtime=name))
    pair = [dataclasses.replace(DIFFERENCES[0], first=name, verdict=f"{name} is better")]
    write_run(
        tmp_path,
        some,
        {SampleKey(name, name, name, "temporal_error"): {0: 0.1, 1: 0.2}},
        [],
        pair,
        {**PROVENANCE, "command": name, "cpu": name},
    )
    write_reports(load_run(tmp_path), tmp_path, latex=True)
    texts = {
        file: (tmp_path / file).read_text(encoding="utf-8")
        for file in ("report.html", "summary.md", "records.csv", "table.tex")
    }
    assert "<script>alert" not in texts["report.html"]
    seen = html.unescape(re.sub(r"<(?:style|script).*?</(?:style|script)>", "", texts["report.html"], flags=re.S))
    assert name in seen
    assert name in {row["model"] for row in csv.DictReader(io.StringIO(texts["records.csv"], newline=""))}
    tabled = [line for line in texts["summary.md"].splitlines() if line.startswith("|")]
    assert all("<" not in re.sub(r"\\.", "", line) for line in tabled)
    quality_table = texts["summary.md"].split("## Quality")[1].split("\n## ")[0]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in quality_table.splitlines() if line.startswith("|")}
    assert len(widths) == 1, "a name opens no new column"
    body = texts["table.tex"].split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in body.strip().splitlines())
    assert not re.search(r"(?<!\\)[%#]", body)


@pytest.mark.parametrize("name", [name for name in NASTY if "\n" not in name], ids=range(len(NASTY) - 1))
def test_markdown_shows_a_name_as_it_is(name):
    shown = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(f"| a |\n| --- |\n| {as_text(name).replace('|', chr(92) + '|')} |\n")
    )
    (cell,) = re.findall(r"<td>(.*?)</td>", shown)
    assert html.unescape(cell) == name


def test_a_name_is_no_formula_in_the_table_for_people(tmp_path):
    some = [dataclasses.replace(r, model="=1+2") if r.method == "reconet" else r for r in quality()]
    write_run(tmp_path, some, {}, [], [], PROVENANCE)
    assert "'=1+2" in (tmp_path / "summary.csv").read_text()
    assert ",=1+2" in (tmp_path / "records.csv").read_text()


def test_numbers_that_are_only_recalled_stand_apart_on_the_page():
    sintel = [dataclasses.replace(r, source="sintel-clean") for r in quality(("alley_2",))]
    shown = Page(Run(Path("run"), sintel))
    assert not [row for row in shown.beside if "Gao" in row.source]
    assert shown.recalled
    assert all("as recalled from the paper" in row.source for row in shown.recalled)
    assert all("not checked against the paper" in row.differs for row in shown.recalled)


def test_a_speed_of_another_size_stands_beside_no_published_one(tmp_path):
    same = speed("fps_device", 33.0, height=256, width=256)
    write_run(tmp_path, [*quality(), speed("fps_device", 12.5), same], {}, [], [], PROVENANCE)
    rows = {row.what: row.ours for row in Page(load_run(tmp_path)).beside}
    assert rows["frames a second, 256x256"] == f"up to 33 ({same.runtime}, {same.device})"
    assert rows["frames a second, 512x512"] == "not measured at this size"


MARKED = [
    "[a](http://b.c)",
    "![a](b.png)",
    "[a][b]",
    "[a]: http://b.c",
    "[^1]",
    "**a** *b*",
    "_a_ __b__ a_b",
    "`a`",
    "``",
    "~~a~~ ~b~",
    "# a",
    "- a",
    "+ a",
    "1. a",
    "12) a",
    "> a",
    "\\*a\\*",
    "a\\",
    "\\|",
    "<b>a</b>",
    "<http://b.c>",
    "&lt;",
    "| a | b |",
    "```",
    "---",
    "- [ ] a",
    "[0.1, 0.2]",
    "temporal_error",
    "*_*_a_*_*",
    "_",
]


class Seen(HTMLParser):
    """Elements and cells of a table or of list items."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag in ("td", "th", "li"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and data.strip():
            self.cells[-1] += data


@pytest.mark.parametrize(
    "name", [*MARKED, *(name.replace("\n", " ") for name in NASTY)], ids=range(len(MARKED) + len(NASTY))
)
def test_a_name_is_text_in_markdown(name):
    table = Seen(markdown([name, "b"], [[name, name], ["c", f"{name} {name}"]]))
    assert table.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert table.cells == [name, "b", name, name, "c", f"{name} {name}"]
    listed = Seen(f"- {as_text(name)}\n- {as_text(f'{name} on {name}')}\n")
    assert listed.tags == {"ul", "li"}
    assert [cell.strip() for cell in listed.cells] == [name, f"{name} on {name}"]


@pytest.mark.parametrize(
    "text",
    [
        "0.03 [0.02, 0.04]",
        "-0.004 [-0.005, -0.003]",
        "temporal_error",
        "reconet-starry_night − johnson",
        "all",
        "E(V) ↓",
        "× torch",
    ],
)
def test_what_is_no_markup_is_left_as_people_read_it(text):
    assert unmarked(text) == text


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1"])
def test_a_spreadsheet_computes_no_name_of_the_summary(tmp_path, name):
    write_run(
        tmp_path, [record("temporal_error", -0.5, model=name), record(name, 0.5, model=name)], {}, [], [], PROVENANCE
    )
    people, machines = (
        list(csv.DictReader(io.StringIO((tmp_path / f"{file}.csv").read_text(encoding="utf-8"))))
        for file in ("summary", "records")
    )
    assert (people[0]["model"], people[0]["temporal_error"], people[0][f"'{name}"]) == (f"'{name}", "-0.5", "0.5")
    assert {row["model"] for row in machines} == {name}


def test_the_latex_table_marks_what_was_not_tested_and_names_the_videos_of_its_means():
    some = [*quality(("stroll", "a_b")), *quality(("alley",)), *quality(("alley",), flow="raft")]
    text = latex_table([r for r in some if (r.metric, r.video) != ("style_distance", "a_b")], DIFFERENCES)
    assert r"Mean over stroll, a\_b, alley (E(V)); stroll, alley (style dist.), its" in text
    reconet, johnson, rule, identity = (
        line.split("&") for line in text.split(r"\midrule", 1)[1].strip().splitlines()[:4]
    )
    assert [cell.strip() for cell in rule] == [r"\midrule"], "the content is no competitor"
    assert r"\dagger" not in reconet[1] + johnson[1] + johnson[2], (
        "the best of a column, and what was tested against it"
    )
    assert r"\textbf" in johnson[2]
    assert r"$^{\dagger}$" in reconet[2]
    assert not any("^" in cell for cell in identity)
    assert r"$^{\dagger}$: never tested" in text
    alone = latex_table([r for r in quality() if r.model == "reconet-wave"])
    assert r"\dagger" not in alone, "no other to be tested against"
    assert "Mean over alley\\_2, stroll, its" in alone


def test_a_straight_quote_needs_no_package_in_latex():
    assert latex('say "no"') == r"say {\char34}no{\char34}"


def test_a_very_long_name_leaves_the_numbers_of_a_terminal_room():
    console = Console(width=100, file=io.StringIO())
    console.print(
        terminal.plain_table(
            ["model", "runtime", "fps"],
            [["m" * 150, "onnxruntime fp32", "12.3"], ["[b]x", "torch", "4.56"]],
            left=(0, 1),
        )
    )
    printed = console.file.getvalue()
    assert "".join(line.split("│")[1].strip() for line in printed.splitlines() if "│" in line) == "m" * 150 + "[b]x"
    assert all(text in printed for text in ("12.3", "4.56", "onnxruntime fp32", "[b]x"))


def test_signs_stay_apart_in_latex():
    assert latex("a--b ''c !`d - e'-f") == r"a-{}-b '{}'c !\textasciigrave{}d - e'{}-f"


def test_a_name_in_the_players_data_cannot_end_its_element(folder):
    run = load_run(folder)
    found, _ = player.find_clips(folder / "pictures", run.clips, run.models)
    found[0].video = "</script><script>alert(1)</script>"
    data = player.player_data(found, {})
    assert "<" not in data
    assert json.loads(data)[0]["video"] == found[0].video


def test_a_name_that_points_outside_the_folder_finds_no_pictures(folder):
    assert player.find_clips(folder / "pictures" / "content", ["../content/stroll", ".."], ["../stylised"])[0] == []


# --- what is missing or broken --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frames.csv", "timings.csv", "differences.csv", "provenance.json"])
def test_a_missing_file_is_said_and_the_rest_reported(folder, name):
    (folder / name).unlink()
    run = load_run(folder)
    assert any(name in problem for problem in run.problems)
    assert f"{name} is missing" in page(run)


def test_a_record_file_cut_in_the_middle_gives_what_is_whole(folder):
    path = folder / "records.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) * 2 // 3], encoding="utf-8")
    run = load_run(folder)
    assert 0 < len(run.records) < len(text.splitlines())
    assert "records.jsonl is damaged, line" in page(run)


def test_a_table_cut_in_the_middle_loses_its_last_row_alone(folder):
    path = folder / "frames.csv"
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n").rpartition(",")[0], encoding="utf-8")
    run = load_run(folder)
    assert "frames.csv: 1 broken row left out" in run.problems
    assert sum(map(len, run.samples.values())) == 23


@pytest.mark.parametrize("name", ["cpu", "versions", "skipped"])
def test_a_fact_that_is_null_is_unknown(folder, name):
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**facts, name: None}))
    write_reports(load_run(folder), folder)
    assert "None on" not in (folder / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"), [("cpu", True), ("gpu", ["a"]), ("command", 1), ("versions", "torch"), ("skipped", 1.5)]
)
def test_a_fact_of_another_type_is_said_and_unknown(folder, name, value):
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**facts, name: value}))
    run = load_run(folder)
    write_reports(run, folder)
    assert f"provenance.json: {name} cannot be read and is unknown" in run.problems
    (folder / "provenance.json").write_text("[1]")
    assert (
        "provenance.json is not a JSON object: machine, versions and command are unknown" in load_run(folder).problems
    )


def test_a_number_that_is_no_measurement_is_left_out(folder):
    """What a double still holds, and of which no chart has an axis."""
    (folder / "curves" / "reconet-wave.csv").write_text("step,content\n25,3.5\n50,1e308\n75,2.5\n")
    with (folder / "frames.csv").open("a") as file:
        file.write("reconet-wave,alley_2,torch,temporal_error,9,1e308\n")
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(to_jsonl([record("temporal_error", value, video="rush") for value in (1e308, 10**400)]))
    run = load_run(folder)
    write_reports(run, folder, latex=True)
    assert "rush" not in run.clips
    assert any("<= 1e+100 - at `$.value`) and 1 more" in problem for problem in run.problems)
    assert "frames.csv: 1 broken row left out" in run.problems


def test_a_record_of_quality_that_names_no_video_hides_no_other(folder):
    (folder / "records.jsonl").write_text(
        to_jsonl([*quality(), record("temporal_error", 0.5, video="")]), encoding="utf-8"
    )
    assert "0.05 [0.047, 0.054]" in tables.quality_markdown(load_run(folder).records)
    write_reports(load_run(folder), folder, latex=True)


def test_speed_alone_is_reported(folder):
    (folder / "records.jsonl").write_text(to_jsonl([speed("fps_device", 12.5)]), encoding="utf-8")
    write_reports(load_run(folder), folder, latex=True)
    assert "12.5" in (folder / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "column"), [("frames.csv", "model"), ("timings.csv", "model"), ("differences.csv", "first")]
)
def test_a_table_without_a_column_is_said(folder, file, column):
    path = folder / file
    path.write_text(path.read_text(encoding="utf-8").replace(column, "other", 1), encoding="utf-8")
    assert f"{file} has no column {column}" in page(load_run(folder))


def test_a_table_whose_quotes_never_end_is_said(folder):
    path = folder / "frames.csv"
    path.write_text(path.read_text(encoding="utf-8") + '"' + "x" * 200_000, encoding="utf-8")
    assert any("frames.csv, line" in problem for problem in load_run(folder).problems)


@pytest.mark.parametrize(
    "fields", [{"value": "0.5"}, {"ci_low": "x"}, {"time": None}, {"source": None}, {"metric": None}]
)
def test_a_record_of_other_types_is_left_out(folder, fields):
    path = folder / "records.jsonl"
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **fields}), *rest]) + "\n", encoding="utf-8")
    run = load_run(folder)
    assert len(run.records) == len(rest)
    (problem,) = run.problems
    assert "line 1: not a record (Expected" in problem
    assert f"`$.{next(iter(fields))}`" in problem
    assert html.escape(problem, quote=False) in page(run)


def test_a_metric_of_a_newer_version_is_shown(folder):
    records = [*quality(), record("depth_error", 0.123, better="sideways")]
    (folder / "records.jsonl").write_text(to_jsonl(records), encoding="utf-8")
    text = page(load_run(folder))
    assert "depth_error" in text
    assert "0.123" in text


def test_missing_pictures_are_counted_and_an_empty_one_is_missing(folder):
    (folder / "pictures" / "stylised" / "reconet-wave" / "stroll" / "0002.webp").unlink()
    (folder / "pictures" / "stylised" / "johnson-wave" / "stroll" / "0003.webp").write_bytes(b"")
    text = page(load_run(folder))
    assert "1 of 4 pictures of reconet-wave on stroll are missing" in text
    assert "1 of 4 pictures of johnson-wave on stroll are missing" in text


def test_pictures_beyond_the_budget_stay_out_and_are_named(folder, monkeypatch):
    monkeypatch.setattr(player.within_budget, "__defaults__", (100,))
    assert "stroll is not in the player" in page(load_run(folder))


@pytest.mark.parametrize("version", ["format-1", "format-2"])
def test_runs_of_every_format_are_read(version):
    run = load_run(OLD / version)
    assert run.records[0].metric == "temporal_error"
    text = page(run)
    assert significant(run.records[0].value) in text
    assert "frames.csv is missing" in text


def test_a_folder_without_a_record_is_no_run(tmp_path):
    for content, reason in ((None, "no records.jsonl"), ("", "contains no record"), ("{", "line 1")):
        if content is not None:
            (tmp_path / "records.jsonl").write_text(content)
        with pytest.raises(DataError, match=reason):
            load_run(tmp_path)
    with pytest.raises(DataError, match="no such run folder"):
        load_run(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A small run without pictures, and the text of each file that a report is made from."""
    target = tmp_path_factory.mktemp("whole") / "run"
    records = [
        *quality(("alley",)),
        *quality(("alley",), flow="raft"),
        speed("fps_device", 12.5),
        record("ssim_adjacent", None, note="2 frames", source="sintel-clean"),
    ]
    samples = {SampleKey(model, "alley", "torch", "temporal_error"): {0: 0.01, 1: 0.02} for model in MODELS.values()}
    timings = [
        TimedFrame("reconet-wave", "torch", Size(436, 1024), "device", number, 0.08, number) for number in range(3)
    ]
    facts = {**PROVENANCE, "dirty": True, "skipped": ["tensorrt: no GPU"], "interrupted": False}
    write_run(
        target,
        records,
        samples,
        timings,
        DIFFERENCES,
        facts,
        {"reconet-wave": "step,content,style\n25,3.5,2.5\n50,2.5,1.5\n"},
    )
    read = (
        "records.jsonl",
        "frames.csv",
        "timings.csv",
        "differences.csv",
        "provenance.json",
        "curves/reconet-wave.csv",
    )
    return target, {name: (target / name).read_text(encoding="utf-8") for name in read}


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**400,
        "",
        "x",
        "nan",
        "-inf",
        "٣",
        "²",
        "\0",
        "=1",
        [],
        ["x"],
        [[]],
        {},
        {"x": None},
        {"torch": []},
    ]
)


def swapped(text: str, name: str, draw: st.DrawFn) -> str:
    """A value of a file in another type."""
    lines = text.splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    if name.endswith(".json"):
        lines, at = [text], 0
    if name.endswith(".csv"):
        cells = lines[at].split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = str(draw(VALUES))
        lines[at] = ",".join(cells)
    else:
        try:
            found = json.loads(lines[at])
        except ValueError:  # harmed before
            return text
        if isinstance(found, dict) and found:
            found[draw(st.sampled_from(sorted(found)))] = draw(VALUES)
        lines[at] = json.dumps(found)
    return "\n".join(lines) + "\n"


@st.composite
def harmed(draw: st.DrawFn, texts: dict[str, str]) -> dict[str, str]:
    """The files with up to four harms: a line gone, the rest cut off, or a value of another type."""
    found = dict(texts)
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(found)))
        text, how = found[name], draw(st.sampled_from(["swap", "swap", "line", "cut"]))
        if not text:
            continue
        if how == "cut":
            found[name] = text[: draw(st.integers(0, len(text) - 1))]
        elif how == "line":
            lines = text.splitlines(keepends=True)
            del lines[draw(st.integers(0, len(lines) - 1))]
            found[name] = "".join(lines)
        else:
            found[name] = swapped(text, name, draw)
    return found


@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_a_harmed_run_is_reported_or_refused(whole, data):
    folder, texts = whole
    for name, text in data.draw(harmed(texts)).items():
        (folder / name).write_text(text, encoding="utf-8")
    with contextlib.suppress(ReconetBenchError):
        write_reports(load_run(folder), folder, latex=True)


def test_pictures_are_webp_that_opencv_reads_back(folder):
    path = folder / "pictures" / "content" / "stroll" / "0001.webp"
    assert cv2.imread(str(path)).shape == (20, 32, 3)
    assert player.data_uri(path).startswith("data:image/webp;base64,UklGR")


def test_a_page_is_not_replaced_by_one_without_its_pictures(folder, tmp_path, capsys):
    before = (folder / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(folder / "pictures")
    (folder / "summary.md").unlink()
    cli.main(["report", str(folder), "--latex"])
    said = capsys.readouterr()
    assert (folder / "report.html").read_text(encoding="utf-8") == before
    assert (folder / "summary.md").is_file()
    assert (folder / "table.tex").is_file()
    assert f"{folder / 'report.html'} is kept because" in said.err
    assert "-o DIR" in said.err
    assert "report.html" not in said.out
    cli.main(["report", str(folder), "-o", str(tmp_path / "other")])
    assert "this run has no pictures" in capsys.readouterr().err
    assert 'id="player"' not in (tmp_path / "other" / "report.html").read_text(encoding="utf-8")


def test_the_sample_reports_tables_are_what_its_records_give():
    sample = Path(__file__).resolve().parents[2] / "reports" / "sample"
    if not sample.is_dir():
        pytest.skip("no checkout: the sample report is not part of the package")
    run = load_run(sample)
    made = {
        "summary.md": tables.report_markdown(run.records, run.differences, run.provenance, flow_markdown(run.records)),
        "summary.csv": spreadsheet(run.records),
    }
    for name, text in made.items():
        assert (sample / name).read_text(encoding="utf-8") == text, "make it again: reconet-bench report reports/sample"


def test_the_readmes_table_is_that_of_the_sample_report():
    root = Path(__file__).resolve().parents[2]
    sample = root / "reports" / "sample"
    script = root / "tools" / "readme_table.py"
    if not (sample.is_dir() and script.is_file()):
        pytest.skip("no checkout: the sample report and docs are not part of the package")
    tool = runpy.run_path(str(script))
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert tool["with_table"](readme, load_run(sample)) == readme, "make it again: python tools/readme_table.py"
