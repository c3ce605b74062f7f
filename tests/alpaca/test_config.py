"""Settings: defaults, refusals, and secrets that stay secret. And what of alpaca-py the adapter leans on."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from alpaca.data.live.websocket import DataStream
from alpaca.trading.stream import TradingStream
from rich.pretty import pretty_repr

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.reporter import Reporter
from engine.errors import ConfigError


def test_defaults_are_paper_and_iex() -> None:
    config = AlpacaConfig(key="k", secret="s")
    assert config.rest_url == "https://paper-api.alpaca.markets"
    assert config.trading_ws_url == "wss://paper-api.alpaca.markets/stream"
    assert config.stock_ws_url == "wss://stream.data.alpaca.markets/v2/iex"
    assert AlpacaConfig(key="k", secret="s", feed="sip").stock_ws_url.endswith("/v2/sip")


def test_secrets_are_shown_nowhere() -> None:
    config = AlpacaConfig(key="PK-visible", secret="hush-hush")
    changed = msgspec.structs.replace(config, feed="sip")
    for text in (repr(config), str(config), f"{config}", pretty_repr(config), repr([changed]), f"{config!s}"):
        assert "hush-hush" not in text
        assert "PK-visible" not in text
        assert "rest_url" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": ""}, "ALPACA_API_KEY"),
        ({"secret": ""}, "ALPACA_SECRET_KEY"),
        ({"rest_url": "paper-api.alpaca.markets"}, "rest_url must start with"),
        ({"stock_ws_url": "https://x"}, "stock_ws_url must start with"),
        ({"mute_s_max": 0}, "mute_s_max must be > 0, was 0"),
        ({"read_attempts_max": -1}, "read_attempts_max must be > 0, was -1"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AlpacaConfig(**({"key": "k", "secret": "s"} | changes))


def test_slash_at_the_end_of_a_url_does_not_matter() -> None:
    assert AlpacaConfig(key="k", secret="s", rest_url="http://x/").rest_url == "http://x"


def test_alpaca_py_still_has_what_is_overridden() -> None:
    """An update of alpaca-py that renames one of these would silently switch our rules off."""
    for name in ("_auth", "_start_ws", "_send_subscribe_msg", "_consume", "close", "stop_ws", "_run_forever"):
        assert inspect.iscoroutinefunction(getattr(DataStream, name)), name
    for name in ("_auth", "_start_ws", "_subscribe_trade_updates", "_consume", "close", "stop_ws", "_run_forever"):
        assert inspect.iscoroutinefunction(getattr(TradingStream, name)), name
    for stream in (DataStream, TradingStream):
        source = inspect.getsource(stream)
        for attribute in ("_ws", "_running", "_should_run", "_data_received", "_reconnect_min_backoff", "_endpoint"):
            assert f"self.{attribute} = " in source, attribute
    assert '"insufficient subscription" in str(e)' in inspect.getsource(DataStream._run_forever)


@pytest.mark.parametrize("module", ["adapters.alpaca", "adapters.alpaca.connect", "adapters.alpaca.config"])
def test_import_is_cheap_until_a_side_is_asked_for(module: str) -> None:
    code = f"import sys, {module}; assert 'alpaca' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_reporter_says_each_thing_once_per_interval_and_counts_the_rest() -> None:
    said: list[tuple[str, str]] = []
    clock = _Clock()
    reporter = Reporter(lambda level, what: said.append((level, what)), 60.0, clock)
    for _ in range(5):
        reporter.report("error", "down")
    for number in range(100):
        reporter.report("warning", f"bar {number}")
    assert len(said) == 20
    reporter.report("critical", "key")
    assert said[-1] == ("critical", "key (and 81 more problems not shown)")
    clock.now = 61.0
    reporter.report("error", "down")
    assert said[-1] == ("error", "down")
    assert len(reporter._said) == 1
