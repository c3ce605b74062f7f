"""What a feed says of its sockets: silence counts in monotonic seconds, and only while a market is open."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import streams.feeding.health as module
from config.settings import parse
from engine.messages import Sessions
from engine.sessions import SessionTable
from engine.values import AssetClass
from streams.feeding.health import Health
from tests.engine.build import minute
from tests.streams.feeding import StillClock


class Hands:
    """Both clocks, moved by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *symbols: str) -> None:
        self.seconds = 1_000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.seconds))
        self.clock = StillClock()
        sessions = SessionTable()
        sessions.add(Sessions(AssetClass.US_EQUITY, ((minute(10), minute(400)),), 0))
        bots = [{"name": "a", "strategy": "rsi", "symbols": list(symbols), "capital": "1"}]
        settings = parse({"bots": bots, "feed": {"mute_s_max": 150}})
        self.health = Health(settings, self.clock, sessions)
        self.health.follow(settings.symbols, settings.marked_symbols)
        self.health.up(symbols, ())

    def at(self, number: float) -> list[str]:
        """Move both to so many minutes after T0 and ask."""
        self.clock.ns, self.seconds = minute(0) + int(number * 60e9), 1_000.0 + number * 60
        return self.health.problems()


def test_a_silent_stream_is_named_while_its_market_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, "AAPL", "BTC/USD")
    hands.health.heard("BTC/USD")
    assert hands.at(2) == []
    assert hands.at(3) == ["crypto: no data for 180 s in an open market"]
    hands.health.heard("BTC/USD")
    assert hands.at(5) == []
    hands.at(14)
    hands.health.heard("BTC/USD")
    hands.health.heard("AAPL")
    assert hands.at(16) == []
    hands.health.heard("BTC/USD")
    assert hands.at(17) == ["stocks: no data for 180 s in an open market"]
    hands.health.heard("AAPL")
    assert hands.at(17) == []


def test_a_market_that_has_just_opened_was_not_silent_all_night(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, "AAPL")
    assert hands.at(12) == [], "nobody asked before, and nothing was due"
    assert hands.at(13) == ["stocks: no data for 180 s in an open market"]
    assert hands.at(401) == []


def test_a_clock_that_jumps_makes_no_stream_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, "AAPL")
    hands.at(20)
    hands.health.heard("AAPL")
    hands.clock.ns = minute(300)
    assert hands.health.problems() == []


def test_an_error_is_shown_for_a_while_and_a_warning_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, "AAPL")
    hands.health.say("warning", "connection lost")
    hands.health.say("error", "symbol limit exceeded")
    hands.health.say("critical", "the key is refused")
    assert hands.at(9) == ["error: symbol limit exceeded", "critical: the key is refused"]
    assert hands.at(10.5) == []


def test_each_stream_is_connected_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, "AAPL", "MSFT", "BTC/USD")
    assert hands.at(0) == []
    hands.health.down(("AAPL", "MSFT"))
    assert hands.at(0) == ["not connected to the venue's market data: stocks"]
    assert hands.health.connected == {"BTC/USD"}
    hands.health.up(("AAPL",), ())
    assert hands.at(0) == []
