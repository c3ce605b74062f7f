"""The wire: every body through JSON and back, exact; what a reader tolerates; and the golden lines other programs read."""

from __future__ import annotations

import json
import types
import typing
from decimal import Decimal
from enum import Enum
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import messages
from engine.bots import Bot, OrderStyle, Stops
from engine.errors import BrokenPromiseError
from engine.messages import (
    SCHEMA,
    AnyBody,
    Bar,
    Fill,
    Gap,
    Head,
    MarketBody,
    TradingBody,
    body_json,
    decode,
    decode_market,
    encode,
    to_plain,
)
from engine.values import Side
from tests.engine.build import D, bar, bot, fill, intent, signal

BODIES: tuple[type[messages.Body], ...] = typing.get_args(AnyBody)
GOLDEN = Path(__file__).with_name("golden_messages.jsonl")

_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_decimals = st.decimals(min_value=-(10**15), max_value=10**15, places=9) | st.sampled_from(
    [D(0), D("1E+5"), D("1E-9"), D("0.10"), D("123456789012345678901234567890.123456789")]
)

_BOTS = [
    bot(),
    bot(
        symbols=("BRK.B", "BTC/USD"),
        params={"fast": 1, "parts": [{"strategy": "rsi"}]},
        capital=D("0.10"),
        stops=Stops(stop_loss=0.1),
        order=OrderStyle(limit_offset_bps=-1.5),
    ),
]


def _values(annotation: object) -> st.SearchStrategy[object]:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    match annotation:
        case _ if origin is typing.Annotated:
            return _values(args[0])
        case _ if origin in (types.UnionType, typing.Union):
            return st.one_of([_values(arg) for arg in args])
        case _ if origin is dict:
            return st.dictionaries(_values(args[0]), _values(args[1]), max_size=3)
        case _ if origin is tuple and args[-1] is Ellipsis:
            return st.lists(_values(args[0]), max_size=3).map(tuple)
        case _ if origin is tuple:
            return st.tuples(*map(_values, args))
        case type() if issubclass(annotation, Enum):
            return st.sampled_from(list(annotation))
        case type() if issubclass(annotation, messages.Body):
            return _bodies(annotation)
        case _:
            plain: dict[object, st.SearchStrategy[object]] = {
                str: _text,
                bool: st.booleans(),
                int: st.integers(-(2**62), 2**62),
                float: st.floats(allow_nan=False, allow_infinity=False),
                Decimal: _decimals,
                types.NoneType: st.none(),
                Bot: st.sampled_from(_BOTS),
            }
            return plain[annotation]


def _bodies(of: type[messages.Body]) -> st.SearchStrategy[messages.Body]:
    hints = typing.get_type_hints(of, include_extras=True)
    return st.builds(of, **{name: _values(hints[name]) for name in of.__struct_fields__})


@pytest.mark.parametrize("of", BODIES, ids=lambda of: of.__name__)
@given(data=st.data())
def test_every_body_comes_back_as_it_was(of: type[messages.Body], data: st.DataObject) -> None:
    body = typing.cast("AnyBody", data.draw(_bodies(of)))
    head = Head(ts_init=1, ts_recv=2, trace="t", refs={"via": "x"})
    message = decode(encode(head, body))
    assert type(message.body) is of
    assert message.body == body
    assert message.head == head
    # Equal is not enough for money: the digits are the same too (0.10 stays 0.10).
    assert body_json(message.body) == body_json(body)
    assert json.loads(encode(head, body))["body"] == json.loads(json.dumps(to_plain(body)))


@given(_bodies(Bar) | _bodies(Gap))
def test_the_market_decoder_reads_what_the_general_one_reads(body: messages.Body) -> None:
    data = encode(Head(1), typing.cast("MarketBody", body))
    assert decode_market(data).body == decode(data).body == body


def test_the_unions_hold_every_body_once() -> None:
    declared = {thing for thing in vars(messages).values() if _is_body(thing)}
    assert set(BODIES) == declared
    market, trading = typing.get_args(MarketBody), typing.get_args(TradingBody)
    assert not set(market) & set(trading)
    assert set(market) | set(trading) == declared


def _is_body(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, messages.Body) and thing is not messages.Body


# --- golden lines: the contract with every other reader -----------------------------------------------------------------


def _golden() -> dict[str, str]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["body"]["type"]: line for line in lines}


def test_there_is_a_golden_line_for_every_body() -> None:
    assert sorted(_golden()) == sorted(of.__name__ for of in BODIES)


@pytest.mark.parametrize("of", BODIES, ids=lambda of: of.__name__)
def test_golden_lines_are_read_whole_and_written_equally(of: type[messages.Body]) -> None:
    line = _golden()[of.__name__]
    message = decode(line.encode())
    assert encode(message.head, message.body).decode() == line
    # A golden line shows every field, so that none can be renamed without notice.
    assert set(json.loads(line)["body"]) == {"type", *of.__struct_fields__}


def test_numbers_of_a_golden_line_have_their_types() -> None:
    body = decode(_golden()["Fill"].encode()).body
    assert isinstance(body, Fill)
    assert (body.last_qty, body.last_px, body.commission) == (D("1.5"), D("412.35"), D("0.01"))
    assert body.side is Side.SELL
    assert isinstance(body.last_px, Decimal)
    assert isinstance(body.ts_event, int)


# --- what a reader tolerates ---------------------------------------------------------------------------------------------


def _edited(body: AnyBody, head: dict[str, object] | None = None, **changes: object) -> bytes:
    tree = json.loads(encode(Head(1), body))
    tree["body"] |= {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if value is None:
            del tree["body"][name]
    tree["head"] |= head or {}
    return json.dumps(tree).encode()


def test_a_field_from_a_later_version_is_passed_over() -> None:
    of = intent()
    assert decode(_edited(of, liquidity="maker")).body == of
    assert decode(_edited(of, head={"hops": 3})).body == of


def test_defaults_are_left_out_and_come_back() -> None:
    tree = json.loads(encode(Head(1), bar(100.0)))
    assert tree["head"] == {"ts_init": 1}
    assert "is_backfill" not in tree["body"]
    assert "vwap" not in tree["body"]
    assert decode(encode(Head(1), bar(100.0))).head.schema == SCHEMA


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"type": "Rumor"}, "Rumor"),
        ({"type": None}, "type"),
        ({"symbol": None}, "symbol"),
        ({"symbol": 7}, "symbol"),
        ({"ts_event": 1.5}, "ts_event"),
        ({"ts_event": "1"}, "ts_event"),
        ({"last_px": "ten"}, "last_px"),
        ({"side": "long"}, "side"),
    ],
)
def test_a_malformed_body_is_refused_and_the_field_named(changes: dict[str, object], what: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=what):
        decode(_edited(fill(intent(), "1", "1"), **changes))


def test_a_later_schema_is_refused() -> None:
    """A field may come; a new schema number says that reading on would misunderstand."""
    data = _edited(bar(100.0), head={"schema": SCHEMA + 1})
    for read in (decode, decode_market):
        with pytest.raises(msgspec.ValidationError, match="schema"):
            read(data)


def test_the_market_decoder_refuses_bodies_of_the_other_stream() -> None:
    with pytest.raises(msgspec.ValidationError, match="OrderIntent"):
        decode_market(encode(Head(1), intent()))


@pytest.mark.parametrize("junk", [b"", b"{", b"null", b"[]", b'{"head":{"ts_init":1}}', b"\xff\xfe"])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(junk)


def test_messages_cannot_be_changed_and_can_be_compared() -> None:
    one = bar(100.0)
    with pytest.raises(AttributeError):
        one.close = 1.0  # type: ignore[misc]
    for of in BODIES:
        assert of.__struct_config__.frozen, of  # repeated on every subclass: msgspec does not inherit it


# --- numbers that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "body", [signal(), msgspec.structs.replace(signal(), indicators={"rsi(14)": 1.0}), bar(1.0)], ids=["s", "i", "b"]
)
def test_what_nobody_could_read_back_is_not_written(body: AnyBody, value: float) -> None:
    name = next(name for name in ("indicators", "price", "close") if getattr(body, name, None))
    wrong = msgspec.structs.replace(body, **{name: {"rsi(14)": value} if name == "indicators" else value})
    with pytest.raises(BrokenPromiseError, match=f"a {type(body).__name__} cannot be stored"):
        encode(Head(1), wrong)


def test_the_word_null_in_a_text_is_no_missing_number() -> None:
    said = msgspec.structs.replace(signal(), reason="null")
    assert decode(encode(Head(1), said)).body == said
