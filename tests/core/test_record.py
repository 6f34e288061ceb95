"""Records: what is written is read back, old and new files alike, and nothing that is no number gets in."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError
from reconet_bench.core.record import COLUMNS, Record, records_to_csv, to_csv, to_jsonl
from reconet_bench.core.record_reading import old_title, salvage_jsonl, updated_title

FULL = Record(
    "20260101-120000",
    "2026-01-01T12:00:00+00:00",
    "reconet",
    "wave",
    "alley_2",
    "onnxruntime",
    "fp32",
    "cpu",
    436,
    1024,
    "temporal_error",
    "",
    "lower",
    0.1 + 0.2,
    0.0123456789012345,
    0.5,
    49,
    "reconet-wave",
    "sintel-clean",
    'a "note", with; all | of it – é',
    "raft",
    (Doubt.TRAINED_ON_VIDEO, Doubt.ESTIMATED_FLOW),
    "node-7",
)
ABSENT = dataclasses.replace(
    FULL, metric="style_distance", value=None, ci_low=None, ci_high=None, n=0, note="no weights"
)


def test_columns_are_those_of_the_design_and_come_first():
    assert COLUMNS[:17] == (
        "run",
        "time",
        "method",
        "style",
        "video",
        "runtime",
        "precision",
        "device",
        "height",
        "width",
        "metric",
        "unit",
        "better",
        "value",
        "ci_low",
        "ci_high",
        "n",
    )
    assert COLUMNS[17:] == ("model", "source", "note", "flow", "doubts", "node")


def test_json_lines_give_back_the_same_records():
    text = to_jsonl([FULL, ABSENT])
    assert text.count("\n") == 2
    assert salvage_jsonl(text) == ([FULL, ABSENT], [])
    assert list(json.loads(text.splitlines()[0])) == list(COLUMNS)
    assert json.loads(text.splitlines()[1])["value"] is None
    assert salvage_jsonl("") == ([], [])


def test_csv_has_a_row_each_and_empty_cells_for_what_is_absent():
    rows = list(csv.DictReader(io.StringIO(records_to_csv([FULL, ABSENT]))))
    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert float(rows[0]["value"]) == pytest.approx(FULL.value, rel=1e-8)
    assert rows[0]["ci_low"] == "0.0123456789"
    assert (rows[0]["n"], rows[0]["height"], rows[0]["width"]) == ("49", "436", "1024")
    assert rows[0]["note"] == FULL.note
    assert (rows[1]["value"], rows[1]["ci_low"], rows[1]["n"]) == ("", "", "0")


def test_csv_never_says_nan():
    assert to_csv([[float("nan"), float("inf"), 0.0, None, 1]], ["a", "b", "c", "d", "e"]) == "a,b,c,d,e\n,,0,,1\n"


def test_keys_of_a_newer_version_are_dropped():
    line = json.dumps({**dataclasses.asdict(FULL), "watts": 42.0, "notes": ["x"]})
    assert salvage_jsonl(line) == ([FULL], [])


def test_keys_that_an_older_version_did_not_have_take_their_default():
    fields = dataclasses.asdict(FULL)
    for name in ("ci_low", "ci_high", "n", "model", "source", "note", "flow", "doubts"):
        del fields[name]
    (record,), _ = salvage_jsonl(json.dumps(fields))
    assert record == dataclasses.replace(
        FULL, ci_low=None, ci_high=None, n=0, model="reconet", source="", note="", flow="", doubts=()
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "truncated"),
        ("", "truncated"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ("null", "Expected `object`, got `null`"),
        ('{"run": "x"}', "missing required field"),
        (to_jsonl([FULL]).replace("0.5,", "NaN,").strip(), "malformed"),
        (to_jsonl([FULL]).replace("0.5,", "-Infinity,").strip(), "malformed"),
        (to_jsonl([FULL]).replace("0.5,", "1e400,").strip(), "out of range"),
        (to_jsonl([FULL]).replace("0.5,", "1e101,").strip(), "<= 1e+100 - at `$.ci_high`"),
        (to_jsonl([FULL]).replace("0.5,", '"0.5",').strip(), "Expected `float | null`, got `str` - at `$.ci_high`"),
        (to_jsonl([FULL]).replace("0.5,", "true,").strip(), "got `bool` - at `$.ci_high`"),
        (to_jsonl([FULL]).replace('"fp32"', "null").strip(), "Expected `str`, got `null` - at `$.precision`"),
    ],
)
def test_a_broken_line_is_named_by_its_number_and_the_others_are_read(line, reason):
    records, (broken,) = salvage_jsonl(to_jsonl([FULL]) + line + "\n" + to_jsonl([ABSENT]))
    assert records == [FULL, ABSENT]
    assert broken.startswith("line 2: not a record (")
    assert reason in broken


OLD = {
    "unstable: rounds differ by over 10 %": (Doubt.UNSTABLE,),
    "changed output; never got warm: frames had not settled when the warm-up was over": (
        Doubt.CHANGED_OUTPUT,
        Doubt.COLD,
    ),
    "other work took 31 % of the processor meanwhile; torch: unstable: rounds differ by over 10 %": (
        Doubt.BUSY,
        Doubt.REFERENCE_UNSTABLE,
    ),
    "trained on this sequence: not a fair test; estimated flow (dis)": (Doubt.TRAINED_ON_VIDEO, Doubt.ESTIMATED_FLOW),
    "trained on the photographs in this clip: not a fair test": (Doubt.TRAINED_ON_PHOTOGRAPHS,),
}


@pytest.mark.parametrize(("note", "doubts"), OLD.items())
def test_the_notes_of_older_versions_become_doubts(note, doubts):
    fields = {key: value for key, value in dataclasses.asdict(FULL).items() if key not in ("flow", "doubts")}
    (record,), _ = salvage_jsonl(json.dumps({**fields, "note": f"{note}; and more", "video": "my~pan~dis"}))
    assert (record.doubts, record.note) == (doubts, "and more")
    assert (record.video, record.flow, record.clip) == ("my~pan", "dis", "my~pan (DIS flow)")


def test_a_note_of_this_version_stays_as_it_is():
    record = dataclasses.replace(FULL, note="unstable: rounds differ by over 10 %", doubts=())
    assert salvage_jsonl(to_jsonl([record])) == ([record], [])


def test_a_doubt_of_a_newer_version_is_kept_as_one_that_is_not_known():
    line = json.dumps({**dataclasses.asdict(FULL), "doubts": ["unstable", "haunted"]})
    (record,), _ = salvage_jsonl(line)
    assert record.doubts == (Doubt.UNSTABLE, Doubt.UNKNOWN)


def test_titles_of_older_versions_and_back():
    assert updated_title("alley~raft") == "alley (RAFT flow)"
    assert old_title("alley (RAFT flow)") == "alley~raft"
    for title in ("alley", "a~b"):
        assert updated_title(title) == old_title(title) == title


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(field, number):
    with pytest.raises(DataError, match="temporal_error of reconet-wave on alley_2 is not finite"):
        to_jsonl([FULL, dataclasses.replace(FULL, **{field: number})])


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.value = 0.0  # type: ignore[misc]
