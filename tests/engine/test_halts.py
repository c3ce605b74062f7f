"""Halts and price bands: news is told once, old words never, and a halt ends with its word or with the next bar."""

from __future__ import annotations

from decimal import Decimal

from engine.halts import BANDS, HALTS, HaltCore
from engine.messages import SymbolStatus
from tests.engine.build import bar, minute

SECOND = 10**9


def _halt(at: int, *, is_halted: bool = True, reason: str = "T1", symbol: str = "AAPL") -> SymbolStatus:
    return SymbolStatus(symbol, HALTS, reason, at, is_halted=is_halted)


def _bands(at: int, low: str, high: str) -> SymbolStatus:
    return SymbolStatus("AAPL", BANDS, "price bands", at, low_px=Decimal(low), high_px=Decimal(high))


def test_a_halt_and_its_end_are_told_once() -> None:
    core = HaltCore("1m", [])
    assert core.on_status(_halt(10)) == _halt(10)
    assert core.halted == ["AAPL"]
    assert core.on_status(_halt(10)) is None
    assert core.on_status(_halt(12)) is None, "the same word later is no news"
    assert core.on_status(_halt(13, reason="T2")) == _halt(13, reason="T2")
    assert core.on_status(_halt(20, is_halted=False, reason="T3")) == _halt(20, is_halted=False, reason="T3")
    assert core.halted == []


def test_an_old_word_does_not_undo_a_newer_one() -> None:
    core = HaltCore("1m", [_halt(20)])
    assert core.on_status(_halt(19, is_halted=False)) is None
    assert core.halted == ["AAPL"]


def test_two_words_of_one_moment_have_keys_of_their_own() -> None:
    core = HaltCore("1m", [])
    core.on_status(_halt(10))
    assert core.on_status(_halt(10, is_halted=False)) == _halt(11, is_halted=False)


def test_that_nothing_is_halted_is_no_news() -> None:
    assert HaltCore("1m", []).on_status(_halt(10, is_halted=False)) is None


def test_bands_and_halts_do_not_replace_each_other() -> None:
    core = HaltCore("1m", [])
    core.on_status(_halt(10))
    assert core.on_status(_bands(11, "95", "105")) == _bands(11, "95", "105")
    assert core.on_status(_bands(12, "95", "105")) is None
    assert core.on_status(_bands(13, "96", "105")) == _bands(13, "96", "105")
    assert core.halted == ["AAPL"]


def test_what_was_stored_is_known_after_a_restart() -> None:
    core = HaltCore("1m", [_halt(10), _bands(11, "95", "105")])
    assert core.halted == ["AAPL"]
    assert core.on_status(_halt(10)) is None
    assert core.on_status(_bands(15, "95", "105")) is None


def test_a_bar_that_was_traded_after_the_halt_ends_it() -> None:
    core = HaltCore("1m", [])
    core.on_status(_halt(minute(2) + SECOND))
    core.on_status(_halt(minute(2), symbol="MSFT"))
    assert core.on_bars([bar(1.0, 3), bar(1.0, 4, "TSLA")]) == []  # the halt began inside its minute
    ended = core.on_bars([bar(1.0, 4), bar(1.0, 3, "MSFT"), bar(1.0, 5)])
    assert [(one.symbol, one.ts_event, one.is_halted) for one in ended] == [
        ("AAPL", minute(4), False), ("MSFT", minute(3), False),
    ]  # fmt: skip
    assert core.halted == []
    assert core.on_status(_halt(minute(3), is_halted=False)) is None, "the word that comes late says nothing new"
