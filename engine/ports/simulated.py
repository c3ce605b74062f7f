"""What a `Desk` asks of a venue that is simulated in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engine.messages import Bar, OrderIntent, Sessions, Split
from engine.ports.values import Accepted, Rejected, VenueAccount, VenueActivity, VenueUpdate


class Worth(NamedTuple):
    """What an account is worth, USD; `exposure` is what is held, long and short added."""

    equity: float
    cash: float
    exposure: float


class SimulatedVenue(Protocol):
    """An order book that is moved by bars. No clock, no waiting: every answer is the last word on its question."""

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the calendar."""
        ...

    def submit(self, intent: OrderIntent, now_ns: int) -> Accepted | Rejected:
        """Take an order in; nothing happens to it before `advance`."""
        ...

    def replace(self, intent: OrderIntent, now_ns: int) -> Accepted | Rejected:
        """Put an order in the place of the open one that `intent.replaces` names."""
        ...

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Ask for the end of an order; one that has ended stays as it is."""
        ...

    def acknowledge(self) -> Sequence[VenueUpdate]:
        """Tell what came of requests since the last call."""
        ...

    def advance(self, bars: Sequence[Bar], now_ns: int) -> Sequence[VenueUpdate]:
        """Tell what came of requests, then decide the minute that ends now with these 1-minute bars."""
        ...

    def split(self, split: Split) -> Sequence[VenueUpdate]:
        """Exchange what is held, and restate or end open orders, as the venue does."""
        ...

    def activities(self) -> Sequence[VenueActivity]:
        """Give what moved the account beside fills since the last call, oldest first."""
        ...

    def worth(self) -> Worth:
        """Say what the account is worth now."""
        ...

    def account(self) -> VenueAccount:
        """Cash, worth and positions now."""
        ...
