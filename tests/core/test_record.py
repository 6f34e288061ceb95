"""Records: what is written is read back, old and new files alike, and nothing that is no number gets in."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from reconet_bench.core.errors import DataError
from reconet_bench.core.record import COLUMNS, Record, from_jsonl, read_records, records_to_csv, to_csv, to_jsonl

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
    assert COLUMNS[17:] == ("model", "source", "note")


def test_json_lines_give_back_the_same_records():
    text = to_jsonl([FULL, ABSENT])
    assert text.count("\n") == 2
    assert from_jsonl(text) == [FULL, ABSENT]
    assert list(json.loads(text.splitlines()[0])) == list(COLUMNS)
    assert json.loads(text.splitlines()[1])["value"] is None
    assert from_jsonl("") == []


def test_records_are_read_from_a_file(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(to_jsonl([FULL]), encoding="utf-8")
    assert read_records(path) == [FULL]


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
    assert from_jsonl(line) == [FULL]


def test_keys_that_an_older_version_did_not_have_take_their_default():
    fields = dataclasses.asdict(FULL)
    for name in ("ci_low", "ci_high", "n", "model", "source", "note"):
        del fields[name]
    (record,) = from_jsonl(json.dumps(fields))
    assert record == dataclasses.replace(FULL, ci_low=None, ci_high=None, n=0, model="", source="", note="")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("", "Expecting value"),
        ("[1, 2]", "list"),
        ("null", "NoneType"),
        ('{"run": "x"}', "missing"),
        (to_jsonl([FULL]).replace("0.5,", "NaN,").strip(), "NaN is no number"),
        (to_jsonl([FULL]).replace("0.5,", "-Infinity,").strip(), "-Infinity is no number"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, line, reason):
    path = tmp_path / "records.jsonl"
    path.write_text(to_jsonl([FULL]) + line + "\n" + to_jsonl([ABSENT]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert f"{path}, line 2: not a record" in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, data):
    path = tmp_path / "records.jsonl"
    if data:
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read records .*records\.jsonl"):
        read_records(path)


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(field, number):
    with pytest.raises(DataError, match="temporal_error of reconet-wave on alley_2 is not finite"):
        to_jsonl([FULL, dataclasses.replace(FULL, **{field: number})])


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.value = 0.0  # type: ignore[misc]
