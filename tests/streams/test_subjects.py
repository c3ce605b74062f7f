from __future__ import annotations

import typing
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import AnyBody, Bar, Fee, MarketBody, Signal, decode
from streams.subjects import escape, subject_of, unescape
from streams.topology import Topology
from tests.engine.build import T0, D, bar
from tests.engine.test_messages import GOLDEN
from tests.streams.wire import topology_of

BODIES: dict[str, AnyBody] = {
    type(body).__name__: body for line in GOLDEN.read_bytes().splitlines() for body in [decode(line).body]
}
SUBJECTS = {
    "Bar": "tape.updates.1m.BRK%2EB",
    "Gap": "tape.gaps.BTC%2FUSD",
    "Ticks": "tape.ticks.BRK%2EB",
    "PastBars": "tape.past.1d.BRK%2EB",
    "AccountOpened": "tape.opened",
    "Sessions": "tape.sessions.us_equity",
    "Signal": "tape.signals.demo.BRK%2EB",
    "OrderIntent": "tape.intents.demo.BRK%2EB",
    "RiskDenied": "tape.denials.demo.BRK%2EB",
    "VenueFunds": "tape.funds",
    "TargetReached": "tape.reached.demo.BRK%2EB",
    "OrderSubmitted": "tape.orders.demo.BRK%2EB",
    "OrderAccepted": "tape.orders.demo.BRK%2EB",
    "OrderRejected": "tape.orders.demo.BRK%2EB",
    "OrderFilled": "tape.orders.demo.BRK%2EB",
    "OrderCanceled": "tape.orders.demo.BRK%2EB",
    "OrderExpired": "tape.orders.demo.BRK%2EB",
    "OrderReplaced": "tape.orders.demo.BRK%2EB",
    "OrderAdopted": "tape.orders.demo.BRK%2EB",
    "CancelOrder": "tape.commands",
    "ReplaceOrder": "tape.commands",
    "Split": "tape.splits.BRK%2EB",
    "Correction": "tape.corrections.unattributed.BRK%2EB",
    "Mark": "tape.marks.BRK%2EB",
    "BarMarks": "tape.barmarks",
    "SymbolStatus": "tape.status.statuses.BRK%2EB",
    "Protection": "tape.protections.demo.BRK%2EB",
    "Fill": "tape.fills.demo.BRK%2EB",
    "Fee": "tape.fees.demo.BTC%2FUSD",
    "Position": "tape.positions.demo.BTC%2FUSD",
    "Account": "tape.account",
    "Command": "tape.commands",
    "ChangeBot": "tape.changes.demo",
    "BotDefined": "tape.bots.demo",
    "BotRefused": "tape.refusals.demo",
    "Timer": "tape.timers.demo",
    "FillTold": "tape.told.demo.BTC%2FUSD",
    "IndicatorValues": "tape.indicators.demo.BTC%2FUSD",
    "DerivedBar": "tape.derived_updates.5m.BRK%2EB",
    "Shadowed": "tape.shadows.demo.BRK%2EB",
    "TradingState": "tape.state",
    "Alert": "tape.alerts.error",
}


def _is_token(text: str) -> bool:
    """One token of a subject that anybody may publish on (NATS ADR-6)."""
    return bool(text) and not set(text) & set(".*> \t\r\n\f\0") and text.isascii() and text.isprintable()


@pytest.mark.parametrize(
    ("symbol", "token"),
    [("AAPL", "AAPL"), ("BRK.B", "BRK%2EB"), ("BTC/USD", "BTC%2FUSD"), ("A B", "A%20B"), ("100%", "100%25")],
)
def test_symbols_by_hand(symbol: str, token: str) -> None:
    assert escape(symbol) == token
    assert unescape(token) == symbol


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_every_symbol_becomes_one_token_and_comes_back(symbol: str) -> None:
    token = escape(symbol)
    assert _is_token(token)
    assert unescape(token) == symbol
    if symbol:
        assert unquote(token) == symbol  # as any language's standard library reads it


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(st.characters(exclude_categories=("Cs",))))
def test_different_symbols_have_different_tokens(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) is (one == other)


def _matches(pattern: str, subject: str) -> bool:
    wanted, tokens = pattern.split("."), subject.split(".")
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_body_has_its_subject_in_exactly_one_stream(name: str) -> None:
    body = BODIES[name]
    subject = subject_of("tape", body)
    assert subject == SUBJECTS[name]
    assert all(_is_token(token) for token in subject.split("."))
    topology = topology_of("tape")
    holders = [
        config.name for config in topology.streams() for pattern in config.subjects or [] if _matches(pattern, subject)
    ]
    market = type(body) in typing.get_args(MarketBody)
    assert holders == [topology.market if market else topology.trading]


def test_bars_as_first_made_are_apart_from_their_corrections() -> None:
    first = {name: msgspec.structs.replace(BODIES[name], revision=0) for name in ("Bar", "DerivedBar")}
    assert [subject_of("tape", body) for body in first.values()] == ["tape.bars.1m.BRK%2EB", "tape.derived.5m.BRK%2EB"]


def test_the_signals_of_guards_are_apart_from_those_of_strategies() -> None:
    """A restarted signals takes the last one on a subject for what its own strategy said last."""
    said = BODIES["Signal"]
    assert isinstance(said, Signal)
    assert subject_of("tape", msgspec.structs.replace(said, strategy="guard")) == "tape.guards.demo.BRK%2EB"


def test_no_body_is_forgotten() -> None:
    assert set(SUBJECTS) == {of.__name__ for of in typing.get_args(AnyBody)} == set(BODIES)


def test_a_fee_without_a_symbol_has_a_subject_too() -> None:
    """Interest and transfers name no symbol; an empty token would be refused by the server for ever."""
    subject = subject_of("tape", Fee("a1", "INT", "unattributed", "", D("0.5"), D(0), T0))
    assert all(_is_token(token) for token in subject.split("."))
    assert unescape(subject.split(".")[-1]) == ""


def test_the_prefix_is_the_first_token() -> None:
    assert subject_of("desk7", bar(1.0)) == "desk7.bars.1m.AAPL"
    assert isinstance(BODIES["Bar"], Bar)
    names = {Topology("desk7", 1, 1, 1, 1.0).market, Topology("desk7", 1, 1, 1, 1.0).trading}
    assert names == {"DESK7_MARKET", "DESK7_TRADING"}
