"""What the core asks of sockets, histories and clocks, and what they tell their owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.messages import Bar, SymbolStatus
from engine.ports.values import ClockOffset, Quote, Trade, VenueUpdate
from engine.values import AssetClass


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

    def on_updates(self, bars: Sequence[Bar], ts_recv: int) -> None:
        """Bars of one frame that late trades have changed since they were sent, as they are now."""
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
        """Venue time as of the last reading, without asking: for liveness and to hold back what is late."""
        ...

    def look_s(self, every_s: float) -> float | None:
        """Give how long to wait for a message before looking at what is due by the clock.

        Args:
            every_s: How often that is looked at, s.

        Returns:
            As given; None where time stands still between two steps: there only messages may cause anything.
        """
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

    async def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Subscribe to what is new of these, on the connections there are; the listener hears when it is connected.

        Args:
            symbols: Bars, halts and price bands of these; what is followed already stays so.
            marked: Trades and quotes of these, which are among `symbols`.
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
        self,
        asset_class: AssetClass,
        symbols: Sequence[str],
        timeframe: str,
        from_ns: int,
        to_ns: int,
        *,
        is_adjusted: bool = False,
    ) -> Sequence[Bar]:
        """Bars whose close lies in (from_ns, to_ns], sorted by (ts_event, symbol); complete intervals only.

        With `is_adjusted` in the shares of now, whatever was split since.
        """
        ...

    def ticks(
        self, asset_class: AssetClass, symbols: Sequence[str], from_ns: int, to_ns: int
    ) -> Sequence[Trade | Quote]:
        """Trades that count and quotes in (from_ns, to_ns], sorted by time; of one moment by symbol, quotes first."""
        ...
