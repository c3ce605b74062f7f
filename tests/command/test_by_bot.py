"""`tapeline strategies` and `tapeline bots`: what they print and write."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import bots as bot_files
from engine.errors import ConfigError
from engine.strategies import names
from tapeline import bots, strategies


def test_each_strategy_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert strategies.run_list() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", names())
def test_each_strategy_shows_its_rule_and_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert strategies.run_show(name) == 0
    said = capsys.readouterr().out
    assert "Rule: " in said
    assert "Warm-up" in said
    assert "Parameters: " in said


def test_parameters_are_those_of_a_bot_file(capsys: pytest.CaptureFixture[str]) -> None:
    strategies.run_show("rsi")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-4:]] == [
        ["period", "default", "14"], ["oversold", "default", "30.0"], ["overbought", "default", "70.0"],
        ["allow_short", "default", "false"],
    ]  # fmt: skip
    strategies.run_show("multi")
    assert "  parts            needed" in capsys.readouterr().out.splitlines()


def test_an_unknown_strategy_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown strategy 'martingale': choose one of bollinger_reversion, "):
        strategies.run_show("martingale")


def test_there_is_a_template_of_each_strategy() -> None:
    loaded = [bot_files.load(bot_files.SHIPPED / f"{name}.toml") for name in bot_files.templates()]
    assert [bot.strategy for bot in loaded] == bot_files.templates() == names()
    assert all(bot.stops is not None for bot in loaded)
    bot_files.validate_all(loaded)


@pytest.mark.parametrize("template", bot_files.templates())
def test_a_new_file_is_a_bot_and_is_never_written_over(template: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert bots.run_new("my-bot", template, path) == 0
    bot = bot_files.load(path)
    assert (bot.name, bot.strategy) == ("my-bot", template)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists: give another name"):
        bots.run_new("my-bot", template, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "template", "what"),
    [
        ("my-bot", "martingale", "unknown template 'martingale': choose one of bollinger_reversion, "),
        ("My Bot", "rsi", "bot name 'My Bot' cannot be used"),
        ("manual", "rsi", "bot name 'manual' cannot be used"),
        ("../x", "rsi", "cannot be used"),
    ],
)
def test_a_file_that_would_be_no_bot_is_not_written(name: str, template: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=what):
        bots.run_new(name, template, tmp_path / "x.toml")
    assert list(tmp_path.iterdir()) == []


def test_validating_says_each_fault_and_each_bot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, twice, wrong = (tmp_path / f"{name}.toml" for name in ("good", "twice", "wrong"))
    bots.run_new("one", "rsi", good)
    bots.run_new("one", "breakout", twice)
    wrong.write_text(good.read_text().replace("period = 14", "period = 0"))
    capsys.readouterr()
    assert bots.run_validate([good]) == 0
    assert capsys.readouterr().out == f"{good}: bot one, rsi on AAPL, MSFT, AMZN\n"
    assert bots.run_validate([good, twice, wrong, tmp_path / "none.toml"]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert [line[:9] for line in said.err.splitlines()] == ["tapeline:"] * 3
    assert "'one' is defined twice" in said.err
    assert "period must be 2..10000 bars, was 0" in said.err
    assert "does not exist" in said.err
