"""What the core asks of a venue by REST. Blocking; called by services in bounded thread pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.messages import OrderIntent
from engine.ports.values import (
    CancelOutcome,
    LookupOutcome,
    OpenOrder,
    SubmitOutcome,
    VenueAccount,
    VenueActivity,
    VenueAsset,
    VenueExecution,
    VenueOrder,
    VenueSplit,
)
from engine.values import AssetClass


class Venue(Protocol):
    """Blocking REST of a venue; safe to call from several threads. Raises UnreachableError where no value says it."""

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        """Send the order once, with `intent.id` as client_order_id. Never retries."""
        ...

    def replace(self, intent: OrderIntent) -> SubmitOutcome:
        """Put an order in the place of the open one whose client_order_id is `intent.replaces`. Never retries.

        `intent.id` is the new client_order_id, `intent.quantity` the whole quantity: what the old order has filled
        counts as filled of the new one. Only what differs is sent. Accepted is no promise: if the old order fills
        first, the new one is rejected afterwards, by an event.
        """
        ...

    def lookup(self, client_order_id: str) -> LookupOutcome:
        """Ask for an order by our id."""
        ...

    def orders(self, after_ns: int) -> Sequence[VenueOrder]:
        """Every open order and every one submitted at or after this venue time, legs in their parent, oldest first."""
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

    def assets(self, symbols: Sequence[str]) -> Sequence[VenueAsset]:
        """What the venue says of these symbols, one each, in their order."""
        ...

    def universe(self, asset_class: AssetClass) -> Sequence[str]:
        """Name every symbol of a class that the venue trades, of crypto those priced in USD; sorted."""
        ...

    def splits(self, symbols: Sequence[str], from_ns: int, to_ns: int) -> Sequence[VenueSplit]:
        """Splits and changes of name of these symbols that take effect in the span (both ends in), oldest first."""
        ...

    def sessions(self, from_ns: int, to_ns: int) -> Sequence[tuple[int, int]]:
        """Regular sessions (open, close) in ns UTC that overlap the span, from the venue's calendar."""
        ...


class Fence(Protocol):
    """The emergency side of a venue's REST: few requests, nothing needed but keys. Safe to call from several threads.

    Raises UnreachableError where the venue gives no usable answer, TapelineError where it refuses.
    """

    def account_number(self) -> str:
        """Whose account the keys are of."""
        ...

    def open_orders(self) -> tuple[Sequence[OpenOrder], bool]:
        """Every open order of the account, legs included, and whether the answer holds them all."""
        ...

    def cancel_all(self) -> None:
        """Ask for the end of every open order of the account, in one request."""
        ...

    def cancel(self, venue_order_id: str) -> None:
        """Ask for the end of one order; one that has ended already is fine."""
        ...

    def is_suspended(self) -> bool:
        """Whether the account refuses every new order because its owner wished so."""
        ...

    def suspend(self, wanted: bool) -> None:
        """Let the account refuse every new order, or take them again; certain when this returns."""
        ...
