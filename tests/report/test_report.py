"""Reports: made from records alone, every value in its row, every absence with its reason."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys

import pytest
from rich.console import Console
from run_folders import DIFFERENCES, PROVENANCE, record, speed

from reconet_bench import cli
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.record import COLUMNS, UNKNOWN_METHOD, Record, to_jsonl
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.report import tables, terminal
from reconet_bench.report.markdown import markdown
from reconet_bench.report.numbers import significant, with_interval
from reconet_bench.report.parquet import write_parquet
from reconet_bench.report.published_results import PUBLISHED, published_for
from reconet_bench.report.run import load_run
from reconet_bench.report.run_folder import FILES, GrowingRun, write_run
from reconet_bench.report.summary import spreadsheet, summary


@pytest.fixture
def records() -> list[Record]:
    """Two methods and the identity, two videos, two runtimes; long pairs missing on one of the videos; speed."""
    found = []
    number = 0
    for method, model in (("reconet", "reconet-wave"), ("johnson", "johnson-wave"), ("identity", "identity")):
        for video, source in (("alley_2", "sintel-clean"), ("stroll", "synthetic")):
            for runtime in ("torch", "onnxruntime"):
                number += 1
                row = {"method": method, "model": model, "video": video, "source": source, "runtime": runtime}
                row["style"] = "" if method == "identity" else "wave"
                leak = (Doubt.TRAINED_ON_VIDEO,) if (method, video) == ("johnson", "alley_2") else ()
                found.append(
                    record(
                        "temporal_error", number / 1000, ci_low=number / 2000, ci_high=number / 500, doubts=leak, **row
                    )
                )
                found.append(record("ssim_adjacent", 1 - number / 100, **row))
                if video == "alley_2":
                    note = "alley_2 has 2 frames, pairs 5 apart need 6"
                    found.append(record("temporal_error_long", None, n=0, note=note, **row))
                else:
                    found.append(record("temporal_error_long", number / 100, **row))
                found.append(record("style_distance", None, n=0, note="no loss-network weights", **row))
    for runtime, fps in (("torch", 12.5), ("onnxruntime", 25.0)):
        found.append(speed("fps_device", fps, runtime=runtime, doubts=(Doubt.UNSTABLE,) if fps > 20 else ()))
        found.append(
            speed("parity_psnr", 61.25 if fps > 20 else None, runtime=runtime, note="" if fps > 20 else "identical")
        )
        found.append(speed("temporal_error_change", 0.125, runtime=runtime, better="reference"))
    return found


def cells(text: str) -> list[list[str]]:
    """Rows of the Markdown tables in a text, headers included, ruling lines left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def plain(renderable, width: int = 140) -> str:
    """What a terminal of a given width shows, without colour."""
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(renderable)
    return console.file.getvalue()


# --- tables ---------------------------------------------------------------------------------------------


def test_the_summary_has_one_row_per_method_video_and_runtime(records):
    rows = summary(records)
    keys = [(row.place.video, row.place.model, row.place.runtime) for row in rows]
    assert len(keys) == len(set(keys)) == 12
    # Rows to be compared stand together, in order of appearance.
    assert keys[:4] == [("alley_2", m, r) for m in ("reconet-wave", "johnson-wave") for r in ("torch", "onnxruntime")]
    assert keys[6][0] == "stroll"
    row = rows[keys.index(("stroll", "johnson-wave", "torch"))]
    error = row.quality["temporal_error"]
    assert (error.value, error.ci_low, error.ci_high) == (0.007, 0.0035, 0.014)
    assert row.value("ssim_adjacent") == pytest.approx(0.93)
    assert row.place.style == "wave"


def test_speed_stands_on_every_row_of_its_model_runtime_and_size(records):
    shown = {
        (row.place.model, row.place.runtime): row.speed["fps_device"].value for row in summary(records) if row.speed
    }
    assert shown == {("reconet-wave", "torch"): 12.5, ("reconet-wave", "onnxruntime"): 25.0}
    smaller = [dataclasses.replace(one, height=64, width=96) for one in records if one.video == ""]
    assert not any(row.speed for row in summary([one for one in records if one.video] + smaller))


def test_the_spreadsheet_holds_every_digit_and_both_kinds_of_a_metric(records):
    some = [
        record("temporal_error", 0.1 + 0.2, ci_low=0.1, ci_high=0.5),
        record("style_distance", None, n=0),
        speed("fps_device", 12.5),
        speed("temporal_error", 7.0),
    ]
    (row,) = csv.DictReader(io.StringIO(spreadsheet(some)))
    assert row["temporal_error"] == "0.30000000000000004"
    assert (row["temporal_error_low"], row["temporal_error_high"]) == ("0.1", "0.5")
    assert (row["style_distance"], row["fps_device"], row["temporal_error_of_no_video"]) == ("", "12.5", "7.0")
    assert (row["video"], row["height"]) == ("alley_2", "436")


def test_directions_come_from_the_records(records):
    assert tables.directions(records)["ssim_adjacent"] == "higher"
    turned = [
        dataclasses.replace(one, better={"higher": "lower", "lower": "higher"}.get(one.better, one.better))
        for one in records
    ]
    before, after = (cells(tables.quality_markdown(some))[0] for some in (records, turned))
    assert before[3:] == ["E(V) ↓", "E(V) long ↓", "SSIM adj. ↑"]
    assert after[3:] == ["E(V) ↑", "E(V) long ↑", "SSIM adj. ↓"]
    reference = tables.quality_markdown([record("content_temporal_error", 0.01)])
    assert cells(reference)[0][3:] == ["content E(V)"]


def test_absent_values_are_dashes_and_listed_with_their_reasons(records):
    header, *rows = cells(tables.quality_markdown(records))
    long = {(row[0], row[1], row[2]): row[header.index("E(V) long ↓")] for row in rows}
    assert len(rows) == len(long) == 12
    assert {value for key, value in long.items() if key[0] == "alley_2"} == {"–"}
    assert long["stroll", "reconet", "torch"] == "0.03"
    assert "style dist. ↓" not in header, "a column without any value is left out"
    assert tables.absences(records) == [
        ("temporal_error_long", "alley_2", "alley_2 has 2 frames, pairs 5 apart need 6"),
        ("style_distance", "alley_2, stroll", "no loss-network weights"),
        ("parity_psnr", "torch", "identical"),
    ]


def test_zero_is_a_value_and_no_absence():
    table = tables.quality_markdown([record("temporal_error", 0.0)])
    assert cells(table)[1][3] == "0"
    assert tables.absences([record("temporal_error", 0.0, note="x")]) == []


def test_a_row_that_lacks_a_metric_altogether_has_a_dash():
    table = tables.quality_markdown(
        [record("temporal_error", 0.5), record("ssim_adjacent", 0.25, model="other", method="johnson")]
    )
    assert [row[3:] for row in cells(table)] == [["E(V) ↓", "SSIM adj. ↑"], ["0.5", "–"], ["–", "0.25"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0312345, "0.0312"),
        (0.5, "0.5"),
        (12.345, "12.3"),
        (999.4, "999"),
        (1234.5, "1234"),
        (123456.0, "123456"),
        (0.00012345, "0.000123"),
        (1.234e-06, "1.2e-06"),
        (-0.00456, "-0.00456"),
        (-2000.0, "-2000"),
    ],
)
def test_three_significant_digits(value, text):
    assert significant(value) == text


def test_intervals_stand_in_brackets():
    assert with_interval(0.03, 0.02, 0.04) == "0.03 [0.02, 0.04]"
    assert with_interval(0.03, None, None) == "0.03"
    assert with_interval(None, None, None) == with_interval(None, 1, 2) == "–"


def test_models_of_one_method_are_told_apart_by_name(records):
    more = [*records, record("temporal_error", 0.1, model="reconet-night")]
    names = {row[1] for row in cells(tables.quality_markdown(more))[1:]}
    assert names == {"reconet-wave", "reconet-night", "johnson", "identity"}


def test_speed_rows_carry_their_parity_and_their_warning(records):
    header, *rows = cells(tables.speed_markdown(records))
    assert header == ["model", "runtime", "size", "fps ↑", "PSNR dB ↑", "ΔE(V) %", "note"]
    assert rows == [
        ["reconet-wave", "torch fp32", "1024x436", "12.5", "identical", "0.125", ""],
        ["reconet-wave", "onnxruntime fp32", "1024x436", "25", "61.2", "0.125", "unstable: rounds differ by over 10 %"],
    ]
    assert tables.speed_markdown([one for one in records if one.video]) == ""
    on_gpu = [speed("fps_device", 100.0, device="cuda:0")]
    assert cells(tables.speed_markdown(on_gpu))[1][1] == "torch fp32 cuda:0"


def test_pipes_are_escaped_so_that_tables_stay_tables():
    text = markdown(["a", "b|c"], [["1|2", "x"], ["", "|"]])
    assert text.splitlines()[0] == "| a | b\\|c |"
    assert [len(row) for row in cells(text)] == [2, 2, 2]
    with_pipe = tables.report_markdown([record("temporal_error", None, note="a | b", video="x|y")], [], PROVENANCE)
    assert {len(row) for row in cells(with_pipe[with_pipe.index("## Not measured") :])} == {3}


# --- published numbers ----------------------------------------------------------------------------------


def test_the_founding_works_numbers_are_beside_ours():
    found = {(p.method, p.video): p.value for p in PUBLISHED if p.source.startswith("Mahakalkar 2022")}
    assert found == {
        ("ReCoNet (dissertation)", "alley_2"): 0.0821,
        ("Chen et al. 2017", "alley_2"): 0.0934,
        ("ReCoNet (dissertation)", "market_6"): 0.0801,
        ("Chen et al. 2017", "market_6"): 0.1030,
    }
    assert {p.metric for p in PUBLISHED} == {"temporal_error"}
    assert [p.video for p in published_for(["market_6", "stroll", "alley_2"])] == sorted(
        p.video for p in PUBLISHED if p.video in ("alley_2", "market_6") and not p.recalled
    )


def test_published_numbers_are_shown_for_the_sintel_videos_measured_and_no_others(records):
    text = tables.report_markdown(records, [], PROVENANCE)
    section = text[text.index("## Published numbers") :].split("\n## ")[0]
    rows = cells(section)
    assert rows[0] == ["video", "method", "style", "metric", "published value", "source"]
    assert {row[0] for row in rows[1:]} == {"alley_2"}
    values = {(row[1], row[4]) for row in rows[1:]}
    assert {("ReCoNet (dissertation)", "0.0821"), ("Chen et al. 2017", "0.0934")} <= values
    assert all(row[5] for row in rows[1:]), "each with where it is from"
    assert "for orientation only" in section
    synthetic = [dataclasses.replace(one, source="synthetic" if one.video else "") for one in records]
    assert "Published" not in tables.report_markdown(synthetic, [], PROVENANCE)
    assert "Published" not in plain(terminal.comparison(synthetic, []))


def test_numbers_that_are_only_recalled_stand_by_themselves_and_say_so(records):
    assert {p.recalled for p in PUBLISHED if p.source.startswith("Gao")} == {True}
    text = tables.report_markdown(records, [], PROVENANCE)
    sections = {part.split("\n")[0]: part for part in text.split("\n## ")}
    assert "Gao" not in sections["Published numbers on these videos"]
    recalled = cells(sections["Recalled from papers, not checked against them"])
    assert len(recalled) == 1 + len(published_for(["alley_2"], recalled=True))
    assert all("as recalled from the paper" in row[5] for row in recalled[1:])
    assert "Gao" not in plain(terminal.comparison(records, []))
    for line in text.splitlines():
        assert "Gao" not in line or "as recalled from the paper" in line


def test_published_numbers_never_enter_the_quality_table_or_the_summary(records):
    assert "0.0821" not in tables.quality_markdown(records)
    assert "dissertation" not in spreadsheet(records)


# --- the page and the terminal --------------------------------------------------------------------------


def test_the_page_has_every_part(records):
    text = tables.report_markdown(records, DIFFERENCES, PROVENANCE)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Comparison",
        "## Quality",
        "## Paired differences",
        "## Speed and parity",
        "### CPU",
        "## Published numbers on these videos",
        "## Recalled from papers, not checked against them",
        "## Not measured, and why",
        "## Remarks",
    ]
    assert "`reconet-bench compare --videos alley_2` on A processor (2 threads); torch 2.9.1, onnxruntime 1.23." in text
    assert [
        "temporal_error",
        "all",
        "reconet-wave − johnson-wave",
        "-0.004 [-0.005, -0.003]",
        "98",
        "–",
        "reconet-wave is better",
    ] in cells(text)
    assert "- johnson-wave on alley_2: the model was trained on this video: not a fair test\n" in text
    assert text.count("not a fair test") == 1, "said once, not for each runtime and metric"
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_page_is_shorter_where_there_is_less():
    text = tables.report_markdown([record("temporal_error", 0.5, source="synthetic")], [], {})
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Comparison", "## Quality"]
    assert "unknown CPU" in text


def test_the_terminal_shows_the_same_and_fits(records):
    text = plain(terminal.comparison(records, DIFFERENCES), width=140)
    assert all(len(line) <= 140 for line in text.splitlines())
    for part in (
        "johnson",
        "identity",
        "0.001",
        "reconet-wave is better",
        "0.0821",
        "not a fair test",
        "no loss-network weights",
        "25",
        "unstable",
    ):
        assert part in text
    assert "style dist" not in text


def test_the_best_trained_value_is_bold_and_the_identity_is_never_best():
    some = [
        record("temporal_error", value, method=method, model=method)
        for method, value in (("reconet", 0.03), ("johnson", 0.05), ("identity", 0.01))
    ]
    console = Console(width=100, file=io.StringIO(), highlight=False, force_terminal=True, color_system="standard")
    console.print(terminal.comparison(some, []))
    bold = {
        number for number in ("0.03", "0.05", "0.01") if re.search(rf"\x1b\[1m\s*{number}", console.file.getvalue())
    }
    assert bold == {"0.03"}


def test_the_terminal_calls_no_model_the_best_that_the_page_refuses():
    """Its style was not measured: it may paint nothing."""
    some = [
        record("temporal_error", value, method=method, model=method)
        for method, value in (("reconet", 0.03), ("johnson", 0.05), ("mine", 0.01))
    ]
    some += [record("style_distance", 0.5, method=method, model=method) for method in ("reconet", "johnson")]
    console = Console(width=100, file=io.StringIO(), highlight=False, force_terminal=True, color_system="standard")
    console.print(terminal.quality(some))
    bold = {
        number for number in ("0.03", "0.05", "0.01") if re.search(rf"\x1b\[1m\s*{number}", console.file.getvalue())
    }
    assert bold == {"0.03"}


def test_a_file_of_unknown_method_goes_by_its_own_name():
    some = [
        record("temporal_error", value, method=method, model=model)
        for method, model, value in (("johnson", "johnson-wave", 0.03), (UNKNOWN_METHOD, "johnson", 0.05))
    ]
    assert [row.label for row in summary([some[1]])] == ["johnson"]
    some[1] = record("temporal_error", 0.05, method=UNKNOWN_METHOD, model="mine")
    assert [row.label for row in summary(some)] == ["johnson", "mine"]


def test_a_model_that_runs_in_one_runtime_only_is_in_the_terminal_too():
    some = [
        record("temporal_error", 0.0301, runtime="torch"),
        record("temporal_error", 0.0302, runtime="onnxruntime"),
        record("temporal_error", 0.0777, runtime="onnxruntime", model="mine", method="mine", style=""),
    ]
    assert "0.0777" in plain(terminal.comparison(some, []))


# --- the run folder -------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path, records):
    samples = {SampleKey("reconet-wave", "alley_2", "torch", "temporal_error"): {0: 0.25, 3: 0.125}}
    timings = [TimedFrame("reconet-wave", "torch", Size(436, 1024), "device", 0, 0.08, 2)]
    folder = tmp_path / "deep" / "run"
    write_run(folder, records, samples, timings, DIFFERENCES, PROVENANCE)
    return folder


def test_the_run_folder_holds_every_file_and_nothing_else(run_folder, records):
    assert sorted(path.name for path in run_folder.iterdir()) == sorted(FILES)
    assert load_run(run_folder).records == records
    assert json.loads((run_folder / "provenance.json").read_text()) == PROVENANCE

    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((run_folder / name).read_text(encoding="utf-8"))))

    assert len(rows("records.csv")) == len(records)
    assert len(rows("summary.csv")) == 12
    assert [(row["frame"], row["value"]) for row in rows("frames.csv")] == [("0", "0.25"), ("3", "0.125")]
    assert rows("differences.csv")[0]["verdict"] == "reconet-wave is better"
    assert rows("timings.csv")[0] == {
        "model": "reconet-wave",
        "runtime": "torch",
        "size": "1024x436",
        "boundary": "device",
        "number": "0",
        "seconds": "0.08",
        "round": "2",
    }


def test_a_report_needs_the_run_folder_alone(run_folder):
    """On a machine without torch, OpenCV, data or models, and in the time that Python and Student's t take to load."""
    written = {name: (run_folder / name).read_bytes() for name in ("report.html", "summary.md", "summary.csv")}
    for name in written:
        (run_folder / name).unlink()
    rebuild = """
import sys
for name in ("torch", "cv2", "pandas", "onnx", "onnxruntime", "skimage", "av", "matplotlib"):
    sys.modules[name] = None
from reconet_bench.cli import main
main(["report", sys.argv[1]])
main(["runs", sys.argv[1]])
"""
    done = subprocess.run([sys.executable, "-c", rebuild, str(run_folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: (run_folder / name).read_bytes() for name in written} == written


# --- a run that grows -----------------------------------------------------------------------------------


def test_a_run_that_ends_at_any_moment_leaves_what_there_was(tmp_path, records):
    samples = {SampleKey("reconet-wave", "alley_2", "torch", "temporal_error"): {0: 0.25, 1: 0.5}}
    timings = [TimedFrame("reconet-wave", "torch", Size(40, 56), "device", n, 0.1 * (n + 1), 0) for n in range(3)]
    growing = GrowingRun(tmp_path, lambda: {"seed": 7, "metrics": {"style_distance": 2}})
    growing.grow([], {}, [], [])
    assert not list(tmp_path.iterdir())
    growing.grow(records[:2], {}, timings[:1], [])
    growing.grow(records, samples, timings, ["mine in torch: no"])
    growing.grow(records, samples, timings, ["mine in torch: no"])
    run = load_run(tmp_path)
    assert run.records == records
    assert run.samples == samples
    assert run.timings == {timings[0].key: [pytest.approx([0.1, 0.2, 0.3])]}
    assert run.provenance.pop("metrics") == {"style_distance": 2}
    assert run.provenance == {"seed": 7, "skipped": ["mine in torch: no"], "interrupted": True}
    assert run.problems == ["differences.csv is missing: no significance"]
    with (tmp_path / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write(to_jsonl(records)[:100])  # in the middle of a line
    assert load_run(tmp_path).records == records


def test_an_earlier_run_stays_until_there_are_numbers(tmp_path, records):
    write_run(tmp_path, records, {}, [], [], {})
    (tmp_path / "curves").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    growing = GrowingRun(tmp_path, dict)
    growing.grow([], {}, [], ["skipped"])
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "curves", "mine.txt"}
    growing.grow(records[:1], {}, [], [])
    kept = {"records.jsonl", "frames.csv", "timings.csv", "provenance.json", "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert load_run(tmp_path).records == records[:1]


def test_a_metric_of_another_definition_is_never_taken_for_todays(tmp_path):
    """A run that does not note the version of style_distance has the first."""
    folder = tmp_path / "run"
    folder.mkdir()
    steady, styled = record("temporal_error", 0.05), record("style_distance", 0.02)
    (folder / "records.jsonl").write_text(to_jsonl([steady, styled]))
    place = f"{steady.model},{steady.video},{steady.runtime}"
    (folder / "frames.csv").write_text(f"model,video,runtime,metric,frame,value\n{place},style_distance,0,0.02\n")
    (folder / "provenance.json").write_text('{"seed": 0}')
    old = load_run(folder)
    assert [one.metric for one in old.records] == ["temporal_error", "style_distance_v1"]
    assert [key.metric for key in old.samples] == ["style_distance_v1"]
    (folder / "provenance.json").write_text('{"seed": 0, "metrics": {"style_distance": 2}}')
    assert [one.metric for one in load_run(folder).records] == ["temporal_error", "style_distance"]


def test_parquet_holds_the_same_records(tmp_path, records):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "records.parquet", records)
    rows = parquet.read_table(tmp_path / "records.parquet").to_pylist()
    assert [list(row) for row in rows] == [list(COLUMNS)] * len(records)
    assert rows == [{**dataclasses.asdict(record), "doubts": list(record.doubts)} for record in records]


def test_without_pyarrow_the_line_to_install_it_comes_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit):
        cli.main(["report", str(tmp_path / "run"), "--parquet"])
    assert 'pip install "reconet-bench[parquet]"' in capsys.readouterr().err
