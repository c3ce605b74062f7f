"""Every message on the wire: a `head` (how and when it travelled) and a `body` (what happened).

The wire is msgspec JSON: `{"head": {...}, "body": {"type": "Bar", ...}}`, one tagged union, Decimals as strings, times
as integer nanoseconds UTC. All promises of equality (replay, determinism, parity, kill tests) are about bodies; what
may differ between two runs stands in the head. Called by services (encode, decode) and by every decision.

Read `base`, then `market`, `decisions`, `orders`, `ledger`, `control`; the wire form is here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.errors import BrokenPromiseError
from engine.messages.base import SCHEMA, Body, Head
from engine.messages.control import (
    Alert,
    BotDefined,
    BotRefused,
    ChangeBot,
    Command,
    FillTold,
    Sessions,
    Timer,
    TradingState,
)
from engine.messages.decisions import IndicatorValues, OrderIntent, Protection, RiskDenied, Signal, TargetReached
from engine.messages.ledger import Account, AccountOpened, Correction, Fee, Fill, Position, Split, VenueFunds
from engine.messages.market import (
    Bar,
    BarMarks,
    DerivedBar,
    Gap,
    Mark,
    OldBar,
    OldQuote,
    OldTrade,
    PastBars,
    SymbolStatus,
    Ticks,
)
from engine.messages.orders import (
    NOTHING_TO_CLOSE,
    CancelOrder,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    ReplaceOrder,
)
from engine.messages.shadow import ShadowBody, Shadowed

__all__ = [
    "NOTHING_TO_CLOSE",
    "SCHEMA",
    "Account",
    "AccountOpened",
    "Alert",
    "AnyBody",
    "Bar",
    "BarMarks",
    "Body",
    "BotDefined",
    "BotRefused",
    "CancelOrder",
    "ChangeBot",
    "Command",
    "Correction",
    "DerivedBar",
    "Fee",
    "Fill",
    "FillTold",
    "Gap",
    "Head",
    "IndicatorValues",
    "Mark",
    "MarketBody",
    "MarketMessage",
    "Message",
    "OldBar",
    "OldQuote",
    "OldTrade",
    "OrderAccepted",
    "OrderAdopted",
    "OrderCanceled",
    "OrderEvent",
    "OrderExpired",
    "OrderFilled",
    "OrderIntent",
    "OrderRejected",
    "OrderReplaced",
    "OrderSubmitted",
    "PastBars",
    "Position",
    "Protection",
    "ReplaceOrder",
    "RiskDenied",
    "Sessions",
    "ShadowBody",
    "Shadowed",
    "Signal",
    "Split",
    "SymbolStatus",
    "TargetReached",
    "Ticks",
    "Timer",
    "TradingBody",
    "TradingState",
    "VenueFunds",
    "Verdict",
    "body_json",
    "decode",
    "decode_market",
    "encode",
    "to_plain",
]

MarketBody = Bar | Gap | PastBars | Ticks
OrderEvent = OrderSubmitted | OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | OrderExpired | OrderReplaced
Verdict = OrderIntent | RiskDenied | TargetReached
TradingBody = (
    AccountOpened
    | Sessions
    | Signal
    | OrderIntent
    | RiskDenied
    | TargetReached
    | OrderSubmitted
    | OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCanceled
    | OrderExpired
    | OrderReplaced
    | OrderAdopted
    | CancelOrder
    | ReplaceOrder
    | Fill
    | Fee
    | Split
    | Correction
    | Mark
    | BarMarks
    | SymbolStatus
    | Protection
    | VenueFunds
    | Position
    | Account
    | Command
    | ChangeBot
    | BotDefined
    | BotRefused
    | Timer
    | FillTold
    | IndicatorValues
    | DerivedBar
    | Shadowed
    | TradingState
    | Alert
)
AnyBody = MarketBody | TradingBody


class Message(msgspec.Struct, frozen=True):
    """What travels on a subject."""

    head: Head
    body: AnyBody


class MarketMessage(msgspec.Struct, frozen=True):
    """A message of the market stream, decoded by a narrower and so faster decoder."""

    head: Head
    body: MarketBody


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Message)
_market_decoder = msgspec.json.Decoder(MarketMessage)


def encode(head: Head, body: AnyBody) -> bytes:
    """Write a message as JSON.

    Raises:
        BrokenPromiseError: A number in it is none: JSON has no NaN, so nobody could read the message back.
    """
    data = _encoder.encode(Message(head, body))
    if b"null" in data:  # None is left out wherever it is the default; here it is a number that JSON cannot write
        try:
            _decoder.decode(data)
        except msgspec.ValidationError as err:
            msg = f"a {type(body).__name__} cannot be stored, nobody could read it ({err}): {body}"
            raise BrokenPromiseError(msg) from None
    return data


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        msgspec.ValidationError: Unknown type, missing field, wrong form, later schema.
    """
    return _decoder.decode(data)


def decode_market(data: bytes) -> MarketMessage:
    """Read a message of the market stream."""
    return _market_decoder.decode(data)


def body_json(body: AnyBody) -> bytes:
    """Write a body alone: the part two equal runs agree on."""
    return _encoder.encode(body)


def to_plain(body: AnyBody) -> dict[str, Any]:
    """Give a body as built-in types (Decimals as strings), for tables and logs."""
    return msgspec.to_builtins(body)
