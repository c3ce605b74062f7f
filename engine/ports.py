"""What the core asks of the outside world, as values and protocols; adapters implement them, services call them.

Outcomes of a request to the venue are values: an order that was refused, or one whose fate is unknown, is no exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from engine.messages import Bar, OrderIntent, SymbolStatus
from engine.values import AssetClass, OrderClass, OrderType, Side, TimeInForce


class VenueOrder(msgspec.Struct, frozen=True):
    """An order as the venue reports it. `status` is the venue's own word; the engine maps it (engine.orders).

    Attributes:
        quantity: None for a notional order.
        trail_percent: 1.5 is 1.5 %.
        legs: Orders of its group that wait for it or for each other; the venue names them itself.
        replaced_by: venue_order_id of the order that took its place.
        replaces: venue_order_id of the order it took the place of.
    """

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    status: str
    quantity: Decimal | None
    filled_qty: Decimal
    avg_px: Decimal | None
    submitted_ns: int
    updated_ns: int
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    notional: Decimal | None = None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
    legs: tuple[VenueOrder, ...] = ()
    replaced_by: str = ""
    replaces: str = ""


class VenueExecution(msgspec.Struct, frozen=True):
    """One execution as the venue reports it, by trade_updates or by the FILL activities."""

    venue_order_id: str
    cum_qty: Decimal
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    ts_event: int
    execution_id: str = ""
    activity_id: str = ""
    client_order_id: str = ""


class VenueUpdate(msgspec.Struct, frozen=True):
    """One trade_updates event: what happened, the order after it, and the execution if it was one.

    `event` is the venue's own word (new, fill, partial_fill, canceled, expired, rejected, replaced, ...).
    """

    event: str
    order: VenueOrder
    ts_event: int
    execution: VenueExecution | None = None
    reason: str = ""


class VenueActivity(msgspec.Struct, frozen=True):
    """A non-trade activity (CFEE, FEE, DIV, ...). `cash` and `quantity` are changes, negative for a cost."""

    id: str
    kind: str
    symbol: str
    cash: Decimal
    quantity: Decimal
    ts_event: int


class VenueAsset(msgspec.Struct, frozen=True):
    """What the venue says of a symbol. Steps and sizes are None where it does not say."""

    symbol: str
    is_tradable: bool
    is_shortable: bool
    is_fractionable: bool
    qty_min: Decimal | None = None
    qty_step: Decimal | None = None
    price_step: Decimal | None = None


class VenueSplit(msgspec.Struct, frozen=True):
    """A split or change of name that the venue announces: `ratio` shares of `new_symbol` for one of `symbol`."""

    id: str
    symbol: str
    new_symbol: str
    ratio: Decimal
    effective_ns: int


class ClockOffset(msgspec.Struct, frozen=True):
    """How far this machine's clock is ahead of the venue's, ns (negative: behind), and how far that may be wrong."""

    offset_ns: int
    error_ns: int


class VenueAccount(msgspec.Struct, frozen=True):
    """The account as the venue reports it; by canonical symbol (BTC/USD) signed quantities and prices in USD."""

    account_number: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    positions: dict[str, Decimal]
    prices: dict[str, Decimal] = {}


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade that counts for the last price: odd lots, late and averaged ones are left out by the adapter."""

    symbol: str
    ts_event: int
    px: float


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask now; 0 where there is none on that side."""

    symbol: str
    ts_event: int
    bid_px: float
    ask_px: float


class Accepted(msgspec.Struct, frozen=True):
    """The venue has the order (also the answer to a duplicate client_order_id, after a lookup)."""

    order: VenueOrder


class Rejected(msgspec.Struct, frozen=True):
    """The venue refused the order for good."""

    code: str
    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """The request may or may not have reached the venue (timeout, reset, 5xx): look it up, never send it blindly."""

    reason: str


class RateLimited(msgspec.Struct, frozen=True):
    """Not processed, for the rate; ask again after `retry_after_s`."""

    retry_after_s: float


class NotFound(msgspec.Struct, frozen=True):
    """The venue knows no such order (yet)."""


class CancelRequested(msgspec.Struct, frozen=True):
    """The venue took the request; the order's end comes as an event, and a fill may still come before it."""

    venue_order_id: str


CancelOutcome = CancelRequested | NotFound | Rejected | Unknown | RateLimited
SubmitOutcome = Accepted | Rejected | Unknown | RateLimited
LookupOutcome = VenueOrder | NotFound | Unknown | RateLimited


class Venue(Protocol):
    """Blocking REST of a venue; safe to call from several threads. Raises UnreachableError where no value says it."""

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        """Send the order once, with `intent.id` as client_order_id. Never retries."""
        ...

    def lookup(self, client_order_id: str) -> LookupOutcome:
        """Ask for an order by our id."""
        ...

    def cancel(self, client_order_id: str) -> CancelOutcome:
        """Ask for the end of an order, named by our id."""
        ...

    def account(self) -> VenueAccount:
        """Cash and positions now."""
        ...

    def executions(self, after_ns: int) -> Sequence[VenueExecution]:
        """Every execution at or after this venue time, oldest first."""
        ...

    def activities(self, after_ns: int) -> Sequence[VenueActivity]:
        """Every non-trade activity at or after this venue time, oldest first."""
        ...

    def sessions(self, from_ns: int, to_ns: int) -> Sequence[tuple[int, int]]:
        """Regular sessions (open, close) in ns UTC that overlap the span, from the venue's calendar."""
        ...


class VenueListener(Protocol):
    """What an update stream of a venue tells its owner, on the event loop, never blocking and never raising."""

    def on_connected(self) -> None:
        """Subscribed (again); whatever happened before may have been missed."""
        ...

    def on_disconnected(self) -> None:
        """The stream is down."""
        ...

    def on_update(self, update: VenueUpdate) -> None:
        """One event, possibly a repeated or late one."""
        ...


class BarListener(Protocol):
    """What a bar stream tells its owner, on the event loop, never blocking and never raising."""

    def on_connected(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """The venue acknowledged the subscription; what came before now may have been missed.

        Args:
            symbols: Symbols whose bars come.
            marked: Those of them whose trades and quotes come.
        """
        ...

    def on_disconnected(self, symbols: Sequence[str]) -> None:
        """The connection of these symbols is down."""
        ...

    def on_bars(self, bars: Sequence[Bar], ts_recv: int) -> None:
        """Bars of one frame, in the venue's order; `ts_recv` is the wall clock at reception, ns UTC."""
        ...

    def on_ticks(self, ticks: Sequence[Trade | Quote], ts_recv: int) -> None:
        """Trades and quotes of one frame, in the venue's order; in a frame that has bars too, they come before."""
        ...

    def on_statuses(self, statuses: Sequence[SymbolStatus], ts_recv: int) -> None:
        """Halts, resumptions and price bands of one frame."""
        ...

    def on_problem(self, level: str, what: str) -> None:
        """Something a person should see: an in-band error, a refused symbol, a bar that could not be read."""
        ...


class Clock(Protocol):
    """The venue's time. Which one it is, is decided once, in the composition root."""

    async def now_ns(self) -> int:
        """Venue time now, ns UTC."""
        ...

    def estimate_ns(self) -> int:
        """Venue time as of the last reading, without asking: for liveness, never for a decision."""
        ...

    def observe(self, ts_event: int) -> None:
        """Learn that the venue has reached `ts_event`; only a clock that runs after a virtual one cares."""
        ...

    async def close(self) -> None:
        """Give up what it holds open."""
        ...


class BarStream(Protocol):
    """The socket side of a bar source."""

    async def run(self, symbols: Sequence[str], marked: Sequence[str], listener: BarListener) -> None:
        """Be connected and subscribed until `stop`. Raises ConfigError where no reconnect can help.

        Args:
            symbols: Bars, halts and price bands of these.
            marked: Trades and quotes of these, which are among `symbols`.
            listener: Who is told.
        """
        ...

    async def stop(self) -> None:
        """Disconnect at once."""
        ...


class UpdateStream(Protocol):
    """The socket on which the venue reports what happens to orders."""

    async def run(self, listener: VenueListener) -> None:
        """Be connected until `stop`."""
        ...

    async def stop(self) -> None:
        """Disconnect at once."""
        ...


class VenueTime(Protocol):
    """The venue's own clock, asked over the network. Blocking."""

    def offset(self) -> ClockOffset:
        """Compare this machine's clock with it. Raises UnreachableError, ConfigError."""
        ...


class BarHistory(Protocol):
    """Blocking REST history of bars and ticks; all that was asked for, or an UnreachableError."""

    def bars(
        self, asset_class: AssetClass, symbols: Sequence[str], timeframe: str, from_ns: int, to_ns: int
    ) -> Sequence[Bar]:
        """Bars whose close lies in (from_ns, to_ns], sorted by (ts_event, symbol); complete intervals only."""
        ...

    def ticks(
        self, asset_class: AssetClass, symbols: Sequence[str], from_ns: int, to_ns: int
    ) -> Sequence[Trade | Quote]:
        """Trades that count and quotes in (from_ns, to_ns], sorted by time; of one moment by symbol, quotes first."""
        ...
