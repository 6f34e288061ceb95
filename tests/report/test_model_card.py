"""Model cards: the section on what was measured, from a run's records alone."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from reconet_bench.core.record import Record
from reconet_bench.report.model_card import measured_section, model_card
from reconet_bench.report.run import Run, load_run

ROOT = Path(__file__).parents[2]


def record(model: str, video: str, metric: str, value: float | None, runtime: str = "torch", **other) -> Record:
    return Record(
        "r",
        "2026-01-02T03:04:05+00:00",
        model,
        "wave",
        video,
        runtime,
        "fp32",
        "cpu",
        40,
        56,
        metric,
        "",
        "lower",
        value,
        model=model,
        **other,
    )


@pytest.fixture
def run() -> Run:
    records = [
        record("a", "stroll", "temporal_error", 0.065432, ci_low=0.0621, ci_high=0.0689, n=11),
        record("a", "stroll", "style_distance", None, note="no loss-network weights"),
        record("a", "rush", "temporal_error", 0.07, n=1),
        record("a", "stroll", "temporal_error", 0.5, runtime="openvino", n=11),
        record("b", "stroll", "temporal_error", 0.9, n=11),
    ]
    return Run(Path("run"), records, provenance={"command": "reconet-bench compare"})


def test_the_section_says_value_interval_number_and_command(run):
    text = measured_section(run, "a")
    assert text.startswith("## Measured\n\n| video | E(V) ↓ | five apart ↓ | style distance ↓ | content SSIM ↑ |\n")
    assert "| stroll | 0.0654 [0.0621, 0.0689], n=11 | – | – (no loss-network weights) | – |" in text
    assert "| rush | 0.07, n=1 | – | – | – |" in text
    assert "56x40, torch fp32; `reconet-bench compare`, 2026-01-02." in text
    assert "0.5" not in text
    assert "0.9" not in text
    assert measured_section(run, "c") == ""


def test_it_stands_in_the_card_before_the_loss_curve(run):
    curves = "step,content\n1,2\n"
    with_it = model_card("a", "s", {}, curves, measured=measured_section(run, "a"))
    assert "Licence" not in with_it, "whoever trained it says that"
    assert with_it.index("# a\n") < with_it.index("## Measured") < with_it.index("## Loss curve")
    assert with_it.replace(measured_section(run, "a") + "\n", "") == model_card("a", "s", {}, curves)


def test_a_cards_command_is_code_and_its_other_facts_are_text():
    card = model_card(
        "*m*",
        "[o](http://b.c)",
        {"command": "reconet-bench train --style `a_*b*`", "style_file": "_s_.jpg"},
        "step,content\n25,1.5",
    )
    assert "# \\*m\\*\n" in card
    assert "| Command | `reconet-bench train --style 'a_*b*'` |" in card
    assert r"| Objective | \[o\](http://b.c) |" in card
    assert r"| Style | \_s\_.jpg," in card


def test_the_script_makes_the_cards_of_what_ships():
    card = runpy.run_path(str(ROOT / "tools" / "cards.py"))["card"]
    sample = load_run(ROOT / "reports" / "sample")
    for path in sorted((ROOT / "models").glob("*.safetensors")):
        text = card(path, sample)
        assert f"# {path.stem}\n" in text
        assert "| Licence | MIT |" in text
        if path.stem in sample.models:
            assert all(f"| {video} | 0." in text for video in sample.clips)
