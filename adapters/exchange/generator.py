"""A seeded market: minute bars with an intraday volume shape, gaps between sessions and quiet minutes of small names.

Each symbol has its own random stream from (seed, symbol), so its bars do not depend on which other symbols are there.
Prices move on whole ticks (0.01), never reach zero, and always satisfy low <= open, close <= high. Stocks trade in
regular hours, symbols with a slash around the clock. Bars are made minute by minute when taken; nothing is read ahead.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import Session, VenueCalendar
from adapters.exchange.ids import digest
from engine.errors import ConfigError
from engine.values import NS_PER_MINUTE

DEFAULT_SYMBOLS: tuple[str, ...] = ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "TSLA", "META", "BRK.B", "UNH", "JNJ")
_START_PRICES = {
    "AAPL": 240.0, "MSFT": 430.0, "GOOGL": 190.0, "AMZN": 220.0, "NVDA": 135.0, "TSLA": 400.0, "META": 600.0,
    "BRK.B": 455.0, "UNH": 510.0, "JNJ": 145.0, "BTC/USD": 65000.0, "ETH/USD": 3200.0,
}  # fmt: skip
_TICKS = 100


def generator_symbols(count: int) -> tuple[str, ...]:
    """The ten well-known names first, then made-up ones (QAAAA, QAAAB, ...)."""
    names = list(DEFAULT_SYMBOLS[:count])
    for number in range(count - len(names)):
        letters = "".join(chr(65 + number // 26**place % 26) for place in (3, 2, 1, 0))
        names.append("Q" + letters)
    return tuple(sorted(names))


class _Walk:
    """The state of one symbol: its price in ticks and its own randomness."""

    __slots__ = ("base_volume", "is_crypto", "random", "symbol", "ticks", "volatility")

    def __init__(self, symbol: str, seed: int) -> None:
        self.symbol = symbol
        self.random = random.Random(digest("generator", seed, symbol))
        self.is_crypto = "/" in symbol
        start = _START_PRICES.get(symbol) or math.exp(self.random.uniform(math.log(5), math.log(400)))
        self.ticks = max(1, round(start * _TICKS))
        self.volatility = self.random.uniform(0.0006, 0.0015)
        self.base_volume = self.random.uniform(2, 20) if self.is_crypto else self.random.uniform(2_000, 60_000)

    def gap(self) -> None:
        """Move overnight."""
        self.ticks = max(1, round(self.ticks * math.exp(self.random.gauss(0.0, 0.008))))

    def minute(self, open_ns: int, shape: float) -> VenueBar:
        """Make the bar of one minute; `shape` scales volume and range."""
        rng = self.random
        spread = self.volatility * shape**0.5
        opened = max(1, self.ticks + round(self.ticks * rng.gauss(0.0, spread * 0.2)))
        closed = max(1, round(opened * math.exp(rng.gauss(0.0, spread))))
        high = max(opened, closed) + int(opened * abs(rng.gauss(0.0, spread * 0.4)))
        low = max(1, min(opened, closed) - int(opened * abs(rng.gauss(0.0, spread * 0.4))))
        volume = self.base_volume * shape * math.exp(rng.gauss(0.0, 0.5))
        self.ticks = closed
        volume = round(volume, 4) if self.is_crypto else float(max(1, round(volume)))
        return VenueBar(
            self.symbol, open_ns, opened / _TICKS, high / _TICKS, low / _TICKS, closed / _TICKS, volume,
            max(1, int(volume / 100)), round((high + low + closed) / (3 * _TICKS), 6),
        )  # fmt: skip


class GeneratedBars:
    """The generator as a source of minutes.

    Args:
        symbols: What to trade.
        seed: Equal seeds give equal bars.
        calendar: Sessions of stocks.
        sessions: The trading days to play, in order.
        history_minutes: Minutes of the market before the first one that is played, given by `history`.
        start_ns: Play minutes that open at or after this, ns UTC; None: from the first session's opening on.
        end_ns: Play minutes that open before this, ns UTC; None: to the last session's close.

    Raises:
        ConfigError: There is no minute to play.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        seed: int,
        calendar: VenueCalendar,
        sessions: list[Session],
        history_minutes: int,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> None:
        self._walks = [_Walk(symbol, seed) for symbol in sorted(symbols)]
        self._calendar = calendar
        self._has_crypto = any(walk.is_crypto for walk in self._walks)
        minutes = [
            open_ns for open_ns in self._minutes(sessions)
            if (start_ns is None or open_ns >= start_ns) and (end_ns is None or open_ns < end_ns)
        ]  # fmt: skip
        if not minutes:
            msg = "the generator has no minute between the chosen start and end; widen --from and --to"
            raise ConfigError(msg)
        before = self._calendar.sessions[: self._calendar.sessions.index(sessions[0]) + 1] if history_minutes else []
        earlier = self._minutes(before[-(history_minutes // 200 + 2) :]) if before else []
        self._history = [open_ns for open_ns in earlier if open_ns < minutes[0]][-history_minutes:]
        self._opens = minutes
        self._next = 0
        self._last_open = 0

    def _minutes(self, sessions: list[Session]) -> list[int]:
        if self._has_crypto:
            return list(range(sessions[0].open_ns, sessions[-1].close_ns, NS_PER_MINUTE))
        return [ns for session in sessions for ns in range(session.open_ns, session.close_ns, NS_PER_MINUTE)]

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        return tuple(walk.symbol for walk in self._walks)

    def history(self) -> Iterator[list[VenueBar]]:
        """The minutes before the start; read once, before the first `take`."""
        for open_ns in self._history:
            yield self._make(open_ns)

    def next_open(self) -> int | None:
        """Open of the next minute; None at the end."""
        return self._opens[self._next] if self._next < len(self._opens) else None

    def take(self) -> list[VenueBar]:
        """Bars of the next minute, sorted by symbol."""
        open_ns = self._opens[self._next]
        self._next += 1
        return self._make(open_ns)

    def _make(self, open_ns: int) -> list[VenueBar]:
        is_open = self._calendar.is_regular(open_ns)
        is_new_session = open_ns - self._last_open > 60 * NS_PER_MINUTE
        shape = 1.0
        if is_open:
            session = self._calendar.session_for(open_ns, extended=False)
            shape = volume_shape((open_ns - session.open_ns) / (session.close_ns - session.open_ns))
            is_new_session = is_new_session or open_ns == session.open_ns
        bars: list[VenueBar] = []
        for walk in self._walks:
            if walk.is_crypto:
                bars.append(walk.minute(open_ns, 1.0))
            elif is_open:
                if is_new_session and self._last_open:
                    walk.gap()
                bars.append(walk.minute(open_ns, shape))
        self._last_open = open_ns
        return bars


def volume_shape(part_of_day: float) -> float:
    """The U of a trading day: 2.5 at the open, 0.6 at noon, 2.0 at the close."""
    if part_of_day < 0.5:
        return 0.6 + 1.9 * (1 - 2 * part_of_day) ** 2
    return 0.6 + 1.4 * (2 * part_of_day - 1) ** 2


class SyntheticBars:
    """The synthetic stream of `/v2/test`: one bar of FAKEPACA per minute.

    Args:
        seed: Equal seeds give equal bars.
    """

    def __init__(self, seed: int) -> None:
        self._walk = _Walk("FAKEPACA", seed)

    def minute(self, open_ns: int) -> VenueBar:
        """The bar that opens at `open_ns`."""
        return self._walk.minute(open_ns, 1.0)
