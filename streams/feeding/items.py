"""What waits in feed's inbox, in the order in which it came. Put there by its listener, taken by its service."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.messages import Bar, SymbolStatus
from engine.ports import Quote, Trade


class Up(msgspec.Struct, frozen=True):
    """The venue acknowledged subscriptions: of bars, and of trades and quotes."""

    symbols: tuple[str, ...]
    marked: tuple[str, ...]


class Down(msgspec.Struct, frozen=True):
    """The connection of these symbols is lost."""

    symbols: tuple[str, ...]


class Bars(msgspec.Struct, frozen=True):
    """Bars of a frame, and when it came, wall clock, ns UTC."""

    bars: Sequence[Bar]
    ts_recv: int


class Updates(msgspec.Struct, frozen=True):
    """Bars that late trades have changed."""

    bars: Sequence[Bar]
    ts_recv: int


class Ticked(msgspec.Struct, frozen=True):
    """Trades and quotes of a frame."""

    ticks: Sequence[Trade | Quote]
    ts_recv: int


class Statuses(msgspec.Struct, frozen=True):
    """Halts, resumptions and price bands of a frame."""

    statuses: Sequence[SymbolStatus]
    ts_recv: int


class NatsBack(msgspec.Struct, frozen=True):
    """The connection to NATS came back."""


class Defined(msgspec.Struct, frozen=True):
    """A bot was defined: other symbols may be wanted."""


class Told(msgspec.Struct, frozen=True):
    """Something was stored beside: only a reason to say how far we are."""
