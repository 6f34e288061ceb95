"""Numbers on the command line are checked by the parser: one line and exit code 2, before any work."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from reconet_bench import cli
from reconet_bench.commands.base import COMMANDS, at_least, between


def typed_options() -> dict[str, argparse.Action]:
    """Every option of every command that has a type of its own, as ``command --option``."""
    found = {}
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        COMMANDS[name].add_options(parser)
        for action in parser._actions:
            if action.type not in (None, str, Path):
                found[" ".join((name, *action.option_strings[:1]))] = action
    return found


OPTIONS = typed_options()
#: Options whose numbers may be negative.
SIGNED = {"evaluate --offset": -2, "compare --offset": ("", -2)}


def test_the_options_that_count_are_known():
    assert {"compare --frames", "evaluate --frames", "train --steps", "train --learning-rate"} <= OPTIONS.keys()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("text", ["x", "", "nan", "inf", "-2"])
def test_what_is_no_number_or_too_small_is_refused_with_what_to_give(option, text):
    if option in SIGNED and text == "-2":
        assert OPTIONS[option].type(text) == SIGNED[option]
        return
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}': give "):
        OPTIONS[option].type(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--stylized", "s", "--video", "stroll", "--frames", "0"], "'0': give a whole number, at least 2"),
        (
            ["evaluate", "--stylized", "s", "--video", "stroll", "--frames", "-2"],
            "'-2': give a whole number, at least 2",
        ),
        (["compare", "--frames", "1"], "'1': give a whole number, at least 2"),
        (["train", "--style", "a.png", "--size", "31"], "'31': give a whole number, at least 32"),
        (["train", "--style", "a.png", "--learning-rate", "1"], "'1': give a number above 0 and below 1"),
        (["stylize", "a.mp4", "-o", "b.mp4", "--strength", "1.5"], "'1.5': give a number from 0 to 1"),
    ],
)
def test_a_command_ends_in_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert f"{message} (see: reconet-bench {words[0]} --help)" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_limits_themselves():
    assert at_least(2)("2") == 2
    assert [between(0, 1)(text) for text in ("0", "0.5", "1")] == [0, 0.5, 1]
    assert between(0, 1, ends=False)("0.5") == 0.5
    for text in ("0", "1"):
        with pytest.raises(argparse.ArgumentTypeError):
            between(0, 1, ends=False)(text)
