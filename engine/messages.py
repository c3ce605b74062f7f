"""Every message on the wire: a `head` (how and when it travelled) and a `body` (what happened).

The wire is msgspec JSON: `{"head": {...}, "body": {"type": "Bar", ...}}`, one tagged union, Decimals as strings, times
as integer nanoseconds UTC. All promises of equality (replay, determinism, parity, kill tests) are about bodies; what
may differ between two runs stands in the head. Called by services (encode, decode) and by every decision.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from engine.values import AssetClass, Direction, OrderType, Side, TimeInForce, TradingMode

SCHEMA = 1
"""Version of the wire form; a reader refuses a higher one."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a message travelled.

    Attributes:
        ts_init: When this message was made, wall clock, ns UTC.
        ts_recv: When the market data that led to it was received by feed, wall clock, ns UTC; 0 if none did.
        trace: Key of the bar (or order) at the start of the chain; empty on the bar itself.
        schema: Version of the wire form.
        refs: Names others give the same thing: execution_id, activity_id, via.
    """

    ts_init: int
    ts_recv: int = 0
    trace: str = ""
    schema: Annotated[int, msgspec.Meta(le=SCHEMA)] = SCHEMA
    refs: dict[str, str] = {}


class Body(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of everything that can happen; the tag is the class name, in the field `type`."""


# --- market stream ---------------------------------------------------------------------------------------------------


class Bar(Body, frozen=True):
    """OHLCV over one interval.

    Attributes:
        ts_event: Close of the interval, ns UTC (Alpaca's `t` is the open).
        revision: 0 as first published; grows with each correction.
        is_backfill: Fetched after the fact and too old to trade on: moves indicators, yields no entries.
    """

    symbol: str
    timeframe: str
    ts_event: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int | None = None
    vwap: float | None = None
    revision: int = 0
    is_backfill: bool = False


class Gap(Body, frozen=True):
    """A span for which bars may exist and could not be fetched. `ts_from` exclusive, `ts_to` inclusive (bar closes)."""

    symbol: str
    timeframe: str
    ts_from: int
    ts_to: int
    reason: str


# --- trading stream --------------------------------------------------------------------------------------------------


class AccountOpened(Body, frozen=True):
    """First message of a trading stream: whose it is, and cash, holdings and prices that the ledger starts from."""

    venue: str
    account_number: str
    run: str
    cash: Decimal
    ts_event: int
    positions: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}


class Sessions(Body, frozen=True):
    """Regular sessions as the venue's calendar gives them: pairs (open, close) in ns UTC, ascending."""

    asset_class: AssetClass
    spans: tuple[tuple[int, int], ...]
    ts_event: int


class Signal(Body, frozen=True):
    """A target: what a bot wants to hold in a symbol, as a direction and a share of its capital. No quantity.

    Attributes:
        id: Hash of (account, run, bot, bar key, ordinal).
        strength: 0..1, share of the bot's allocation for this symbol.
        price: Close of the bar that caused it.
        bar: Key of that bar (engine.ids.bar_key).
        indicators: Every indicator value the decision saw.
    """

    id: str
    bot: str
    symbol: str
    strategy: str
    direction: Direction
    strength: float
    price: float
    reason: str
    bar: str
    ts_event: int
    indicators: dict[str, float] = {}


class OrderIntent(Body, frozen=True):
    """An approved wish to trade, with a quantity and no status.

    Attributes:
        id: Hash of (account, run, bot, signal id, ordinal); also the client_order_id.
        ref_px: Price the sizing used; the reservation is quantity x ref_px x (1 + price_buffer).
        reserved: Cash reserved for it, 0 when it reduces the position.
        decided_ns: The `now_ns` the verdict was made with.
        valid_until: After this venue time it must not be sent any more.
    """

    id: str
    signal_id: str
    bot: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    ref_px: Decimal
    reserved: Decimal
    decided_ns: int
    valid_until: int
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    extended_hours: bool = False


class RiskDenied(Body, frozen=True):
    """Risk's refusal. `limit` and `observed` are what the rule compared, as text with its unit in the rule's name."""

    id: str
    signal_id: str
    bot: str
    symbol: str
    rule: str
    reason: str
    limit: str
    observed: str
    decided_ns: int
    side: Side | None = None
    quantity: Decimal | None = None


class TargetReached(Body, frozen=True):
    """Risk's answer when target minus position minus working quantity is nothing to trade."""

    id: str
    signal_id: str
    bot: str
    symbol: str
    reason: str
    decided_ns: int


class OrderSubmitted(Body, frozen=True):
    """The executor is about to send the order; stored before the request leaves."""

    client_order_id: str
    bot: str
    symbol: str
    ts_event: int


class OrderAccepted(Body, frozen=True):
    """The venue has the order."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    ts_event: int


class OrderRejected(Body, frozen=True):
    """The venue refused the order; terminal."""

    client_order_id: str
    bot: str
    symbol: str
    code: str
    reason: str
    ts_event: int
    venue_order_id: str = ""


class OrderFilled(Body, frozen=True):
    """The whole quantity is filled; terminal."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    filled_qty: Decimal
    avg_px: Decimal
    ts_event: int


class OrderCanceled(Body, frozen=True):
    """The venue canceled the rest; terminal, though a late fill may still follow."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    filled_qty: Decimal
    ts_event: int


class OrderExpired(Body, frozen=True):
    """The order's time ended; terminal. `reason` is `venue` or `not_sent`."""

    client_order_id: str
    bot: str
    symbol: str
    reason: str
    ts_event: int
    venue_order_id: str = ""
    filled_qty: Decimal = Decimal(0)


class Fill(Body, frozen=True):
    """One execution. Key: (venue_order_id, cum_qty after it)."""

    venue_order_id: str
    cum_qty: Decimal
    client_order_id: str
    bot: str
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    ts_event: int
    commission: Decimal = Decimal(0)


class Fee(Body, frozen=True):
    """A ledger event that moves cash or a holding without a trade, from the venue's activities (CFEE, FEE).

    Attributes:
        id: The venue's activity id.
        cash: Change of cash, negative for a cost.
        quantity: Change of the holding in `symbol`, negative for a fee taken in the asset; 0 if none.
    """

    id: str
    kind: str
    bot: str
    symbol: str
    cash: Decimal
    quantity: Decimal
    ts_event: int


class Position(Body, frozen=True):
    """Net holding of a bot in a symbol after a fill or fee. `cause` is the fill key or activity id."""

    bot: str
    symbol: str
    signed_qty: Decimal
    avg_px_open: Decimal
    realized_pnl: Decimal
    cause: str
    ts_event: int


class Account(Body, frozen=True):
    """The ledger's cash after a fill or fee, and what is reserved for working orders."""

    cash: Decimal
    reserved: Decimal
    realized_pnl: Decimal
    cause: str
    ts_event: int


class Command(Body, frozen=True):
    """What a person wants of the account: `active` (resume), `reducing` or `halted`.

    Attributes:
        id: Chosen once by who commands; a command of a known id is a repetition.
        by: Who: a user name, or the role that found the latch file.
    """

    id: str
    mode: TradingMode
    reason: str
    by: str
    ts_event: int


class TradingState(Body, frozen=True):
    """The trading mode of the account, or of one bot, from here on.

    Attributes:
        cause: Id of the command, or of the denial that latched it.
        bot: Name of the bot; empty for the account.
    """

    mode: TradingMode
    reason: str
    cause: str
    ts_event: int
    bot: str = ""


class Alert(Body, frozen=True):
    """Something a person should look at. `level`: info, warning, error, critical."""

    id: str
    level: str
    role: str
    what: str
    ts_event: int


MarketBody = Bar | Gap
OrderEvent = OrderSubmitted | OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | OrderExpired
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
    | Fill
    | Fee
    | Position
    | Account
    | Command
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
    """Write a message as JSON."""
    return _encoder.encode(Message(head, body))


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
