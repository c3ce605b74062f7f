"""Trades, quotes, halts and price bands: recorded payloads, junk, and the subscription that brings them."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.alpaca.frames import FrameReader
from adapters.alpaca.parse import Problem, time_ns
from adapters.alpaca.ticks import parse_status, parse_tick
from engine.messages import SymbolStatus
from engine.ports import Quote, Trade
from tests.alpaca.test_bars import running
from tests.alpaca.wire import Wire, bar_record, relaxed, until

# As in Alpaca's documentation of the streams.
TRADE = {
    "T": "t", "i": 96921, "S": "AAPL", "x": "D", "p": 126.55, "s": 100, "t": "2021-02-22T15:51:44.208Z",
    "c": ["@"], "z": "C",
}  # fmt: skip
COIN = {
    "T": "t", "S": "AVAX/USD", "p": 47.299, "s": 29.205707815, "t": "2024-03-12T10:27:48.858228144Z",
    "i": 3447222699101865076, "tks": "S",
}  # fmt: skip
QUOTE = {
    "T": "q", "S": "AMD", "bx": "U", "bp": 87.66, "bs": 1, "ax": "Q", "ap": 87.68, "as": 4,
    "t": "2021-02-22T15:51:45.335689322Z", "c": ["R"], "z": "C",
}  # fmt: skip
HALT = {
    "T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12",
    "rm": "Trading Halted; For information requested by NASDAQ", "t": "2021-02-22T19:15:00Z", "z": "C",
}  # fmt: skip
BANDS = {"T": "l", "S": "IONM", "u": 3.24, "d": 2.65, "i": "B", "t": "2023-04-06T13:34:45.565004401Z", "z": "C"}
CORRECTION = {
    "T": "c", "S": "EEM", "x": "M", "oi": 52983525033527, "op": 39.1582, "os": 440000, "oc": [" ", "7"],
    "ci": 52983525034326, "cp": 39.1809, "cs": 440000, "cc": [" ", "7"], "z": "B", "t": "2023-04-06T14:25:06.542305024Z",
}  # fmt: skip
CANCEL = {
    "T": "x", "S": "GOOGL", "i": 465, "x": "D", "p": 105.31, "s": 300, "a": "C", "z": "C",
    "t": "2023-04-06T13:15:42.83540958Z",
}  # fmt: skip


def ns(text: str) -> int:
    found = time_ns(text)
    assert found is not None
    return found


def packed(*records: dict[str, Any]) -> bytes:
    """As on the wire: msgpack, times as Timestamp."""
    stamped = []
    for record in records:
        at = record.get("t")
        if isinstance(at, str):
            at = msgpack.Timestamp(*divmod(time_ns(at) or 0, 10**9)) if time_ns(at) else at
        stamped.append(record | {"t": at})
    return msgpack.packb(stamped)


def test_recorded_ticks_are_read() -> None:
    frame = FrameReader(has_ticks=True).read(packed(TRADE, COIN, QUOTE))
    assert frame.ticks == [
        Trade("AAPL", 1614009104208000000, 126.55, 100.0),
        Trade("AVAX/USD", 1710239268858228144, 47.299, 29.205707815),
        Quote("AMD", 1614009105335689322, 87.66, 87.68),
    ]
    assert (frame.bars, frame.problems, frame.has_data) == ([], [], True)


def test_the_order_of_ticks_is_kept_among_bars_and_whatever_else_stands_in_the_frame() -> None:
    records = [QUOTE, bar_record("SPY"), TRADE, bar_record("QQQ"), COIN]
    typed = FrameReader(has_ticks=True).read(packed(*records))
    assert [(type(tick), tick.symbol) for tick in typed.ticks] == [(Quote, "AMD"), (Trade, "AAPL"), (Trade, "AVAX/USD")]
    assert [bar.symbol for bar in typed.bars] == ["SPY", "QQQ"]
    careful = FrameReader(has_ticks=True).read(packed(*records, CORRECTION, CANCEL, HALT, BANDS))
    assert (careful.bars, careful.ticks, careful.problems) == (typed.bars, typed.ticks, [])
    assert [status.source for status in careful.statuses] == ["statuses", "lulds"]
    text = FrameReader(has_ticks=True).read(json.dumps([QUOTE, TRADE, COIN]))
    assert text.ticks == typed.ticks


def test_ticks_that_nobody_asked_for_only_show_life() -> None:
    frame = FrameReader().read(packed(TRADE, QUOTE | {"bp": None}))
    assert (frame.ticks, frame.problems, frame.has_data) == ([], [], True)


@pytest.mark.parametrize(
    ("conditions", "tape", "counts"),
    [
        (["@"], "C", True),
        ([" "], "A", True),
        (["@", "I"], "C", False),  # odd lot
        ([" ", "I"], "B", False),
        (["@", "F"], "C", True),  # intermarket sweep
        (["@", "O", "X"], "C", True),  # opening cross
        (["6"], "A", True),  # closing print
        (["B"], "A", False),  # average price on tapes A and B
        (["B"], "C", True),  # bunched on tape C
        (["W"], "C", False),  # average price on tape C
        (["W"], "A", True),
        (["Z"], "C", False),  # sold out of sequence
        (["U"], "C", False),
        (["@", "T"], "C", False),  # extended hours
        (["4"], "A", False),  # derivatively priced
        (["7"], "C", False),  # qualified contingent
        (["P"], "C", False),  # prior reference price
        (["M"], "C", False),
        (["Q"], "C", False),
        (["9"], "C", False),
        (["L"], "C", True),  # reported late, in sequence
        ([], "C", True),
        (None, None, True),
        (["@", "I"], None, False),
    ],
)
def test_only_trades_that_update_the_last_price_count(conditions: list[str] | None, tape: str, counts: bool) -> None:
    record = TRADE | {"c": conditions, "z": tape}
    read = FrameReader(has_ticks=True).read(packed(record))
    assert (len(read.ticks), read.problems) == (int(counts), [])
    assert (parse_tick(record) is not None) is counts


@pytest.mark.parametrize(
    ("base", "damage", "says"),
    [
        (TRADE, {"p": 0.0}, "trade of AAPL: p must be"),
        (TRADE, {"p": -1.0}, "trade of AAPL: p must be"),
        (TRADE, {"p": math.nan}, "trade of AAPL: p must be"),
        (TRADE, {"p": math.inf}, "trade of AAPL: p must be"),
        (TRADE, {"p": None}, "trade of AAPL: p must be"),
        (TRADE, {"p": "126"}, "trade of AAPL: p must be"),
        (TRADE, {"S": None}, "trade: S must be"),
        (TRADE, {"t": "soon"}, "trade of AAPL: t must be"),
        (TRADE, {"t": msgpack.ExtType(5, b"abcd")}, "trade of AAPL: t must be"),
        (TRADE, {"t": None}, "trade of AAPL: t must be"),
        (QUOTE, {"bp": -0.01}, "quote of AMD: bp and ap must be"),
        (QUOTE, {"ap": math.nan}, "quote of AMD: bp and ap must be"),
        (QUOTE, {"ap": None}, "quote of AMD: bp and ap must be"),
        (QUOTE, {"t": True}, "quote of AMD: t must be"),
        (HALT, {"S": 5}, "status: S must be"),
        (HALT, {"t": "soon"}, "status: S must be"),
        (HALT, {"sc": "?"}, "status of AAPL: code '?' of tape 'C' is unknown"),
        (HALT, {"sc": "3"}, "status of AAPL: code '3' of tape 'C' is unknown"),
        (HALT, {"sc": None}, "is unknown"),
        (BANDS, {"u": math.nan}, "price bands of IONM"),
        (BANDS, {"d": -1}, "price bands of IONM"),
        (BANDS, {"d": "x"}, "price bands of IONM"),
    ],
)
def test_junk_costs_itself_only(base: dict[str, Any], damage: dict[str, Any], says: str) -> None:
    frame = FrameReader(has_ticks=True).read(packed(TRADE, QUOTE, base | damage))
    assert len(frame.ticks) == 2
    assert frame.statuses == []
    (problem,) = frame.problems
    assert says in problem


def test_a_missing_side_of_the_quote_is_no_junk() -> None:
    frame = FrameReader(has_ticks=True).read(packed(QUOTE | {"bp": 0}))
    assert frame.ticks == [Quote("AMD", ns(str(QUOTE["t"])), 0.0, 87.68)]


_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@relaxed
@given(
    st.sampled_from([TRADE, QUOTE, HALT, BANDS]),
    st.dictionaries(st.sampled_from([*"SptczTud", "bp", "ap", "sc", "rc", "rm"]), _anything, max_size=4),
    st.booleans(),
)
def test_no_record_raises(base: dict[str, Any], damage: dict[str, Any], has_ticks: bool) -> None:
    record = base | damage
    FrameReader(has_ticks=has_ticks).read(msgpack.packb([record]))
    parse_tick(record)
    parse_status(record)


def test_a_number_beyond_all_floats_is_junk() -> None:
    text = json.dumps([TRADE]).replace("126.55", "1" + "0" * 400)
    assert "p must be a number" in FrameReader(has_ticks=True).read(text).problems[0]


@relaxed
@given(
    st.lists(
        st.builds(lambda px, nanoseconds: TRADE | {"p": px, "t": msgpack.Timestamp(1614009104, nanoseconds)},
                  st.floats(), st.integers(0, 999_999_999))
        | st.builds(lambda bid, ask: QUOTE | {"bp": bid, "ap": ask, "t": msgpack.Timestamp(2**34, 5)},
                    st.floats(), st.integers(-1, 10**9)),
        max_size=6,
    )
)  # fmt: skip
def test_typed_and_careful_reading_agree(records: list[dict[str, Any]]) -> None:
    typed = FrameReader(has_ticks=True).read(msgpack.packb(records))
    careful = [parse_tick(record) for record in records]
    assert typed.ticks == [tick for tick in careful if not isinstance(tick, Problem)]
    assert typed.problems == [tick.what for tick in careful if isinstance(tick, Problem)]


# --- halts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "tape", "is_halted"),
    [
        ("H", "C", True), ("P", "C", True), ("T", "C", False), ("H", "O", True), ("2", "A", True), ("F", "B", True),
        ("3", "A", False), ("Q", "C", None), ("5", "A", None), ("E", "B", None), ("D", "A", None),
    ],
)  # fmt: skip
def test_codes_of_both_tapes(code: str, tape: str, is_halted: bool | None) -> None:
    found = parse_status(HALT | {"sc": code, "z": tape})
    assert not isinstance(found, Problem)
    assert (None if found is None else found.is_halted) is is_halted


def test_a_halt_says_why() -> None:
    why = "T12 Trading Halted; For information requested by NASDAQ"
    at = ns("2021-02-22T19:15:00Z")
    assert parse_status(HALT) == SymbolStatus("AAPL", "statuses", why, at, is_halted=True)
    bare = parse_status(HALT | {"rc": "", "rm": None})
    assert isinstance(bare, SymbolStatus)
    assert bare.reason == "Trading Halt"


def test_bands_are_exact_and_a_missing_one_is_none() -> None:
    at = ns(str(BANDS["t"]))
    bands = SymbolStatus("IONM", "lulds", "price bands", at, low_px=Decimal("2.65"), high_px=Decimal("3.24"))
    assert parse_status(BANDS) == bands
    half = parse_status(BANDS | {"u": 0})
    assert isinstance(half, SymbolStatus)
    assert (half.low_px, half.high_px) == (Decimal("2.65"), None)


# --- the subscription -----------------------------------------------------------------------------------------------


async def test_ticks_and_halts_are_asked_for_after_the_bars_and_told_apart(wire: Wire) -> None:
    async with running(wire, ["SPY", "BTC/USD", "AAPL"], marked=["AAPL", "BTC/USD"]) as run:
        await run.connected(2)
        asked = {socket.request.path: socket.received[1:] for socket in wire.sockets}
        assert asked["/v2/iex"] == [
            {"bars": ["SPY", "AAPL"], "action": "subscribe"},
            {"trades": ["AAPL"], "quotes": ["AAPL"], "action": "subscribe"},
            {"statuses": ["SPY", "AAPL"], "lulds": ["SPY", "AAPL"], "action": "subscribe"},
            {"updatedBars": ["SPY", "AAPL"], "action": "subscribe"},
        ]
        assert asked["/v1beta3/crypto/us"] == [
            {"bars": ["BTC/USD"], "action": "subscribe"},
            {"trades": ["BTC/USD"], "quotes": ["BTC/USD"], "action": "subscribe"},
            {"updatedBars": ["BTC/USD"], "action": "subscribe"},
        ]
        assert sorted(run.ear.of("connected")) == [(("BTC/USD",), ("BTC/USD",)), (("SPY", "AAPL"), ("AAPL",))]
        stocks = next(socket for socket in wire.sockets if socket.request.path == "/v2/iex")
        stocks.send_raw(packed(bar_record("SPY"), TRADE, QUOTE, HALT))
        await until(lambda: run.ear.bars)
        assert [entry[0] for entry in run.ear.log if entry[0] not in ("connected", "problem")] == [
            "statuses", "ticks", "bars",
        ]  # fmt: skip
        stocks.drop()
        await until(lambda: run.ear.of("disconnected"))
        assert run.ear.of("disconnected") == [(("SPY", "AAPL"),)]


async def test_what_comes_before_the_last_acknowledgement_waits_for_it(wire: Wire) -> None:
    wire.more_answer = lambda asked: (
        [{"T": "subscription", **asked}] if "statuses" in asked or "trades" not in asked else None
    )

    async with running(wire, ["AAPL"], marked=["AAPL"], ack_s_max=5.0) as run:
        await until(lambda: wire.sockets and len(wire.sockets[0].received) == 3)
        wire.sockets[0].send_raw(packed(TRADE))
        wire.sockets[0].send_raw(packed(bar_record("AAPL")))
        wire.sockets[0].send([{"T": "subscription", "bars": ["AAPL"], "trades": ["AAPL"], "quotes": ["AAPL"]}])
        await until(lambda: run.ear.bars)
    assert [entry[0] for entry in run.ear.log] == ["connected", "ticks", "bars", "disconnected"]


async def test_bars_go_on_when_ticks_are_refused(wire: Wire) -> None:
    refused = [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
    wire.more_answer = lambda asked: refused if "statuses" not in asked else [{"T": "subscription", **asked}]
    async with running(wire, ["AAPL", "SPY"], marked=["AAPL", "SPY"], ack_s_max=5.0) as run:
        await run.connected()
        assert (await run.problem("no trades and quotes of 2 (AAPL, SPY) symbols"))[0] == "error"
        assert await run.problem("symbol limit exceeded (405)")
        # The answer to the halts holds the whole subscription, ticks too if the venue thought better of it.
        assert run.ear.of("connected") == [(("AAPL", "SPY"), ("AAPL", "SPY"))]
        assert wire.connects == 1


async def test_symbols_without_ticks_are_named(wire: Wire) -> None:
    def partly(asked: dict[str, Any]) -> Any:
        return [{"T": "subscription", **asked, "trades": ["AAPL", "SPY"], "quotes": ["AAPL"]}]

    wire.more_answer = partly
    async with running(wire, ["AAPL", "SPY"], marked=["AAPL", "SPY"], ack_s_max=0.05) as run:
        await run.connected()
        assert run.ear.of("connected") == [(("AAPL", "SPY"), ("AAPL",))]
        assert (await run.problem("no trades and quotes of 1 (SPY) symbols"))[0] == "error"
        wire.sockets[0].send([bar_record("AAPL")])
        await until(lambda: run.ear.bars)
