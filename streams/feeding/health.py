"""How the sockets of a feed are: connected, silent, without some symbols. For its status; decides about no order.

Called by streams/services/feed, which tells it what it hears. Silence is counted in monotonic seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from config.settings import Settings
from engine.liveness import Silence, few, left_behind
from engine.ports import Clock
from engine.sessions import SessionTable
from engine.values import NS_PER_S, AssetClass, asset_class_of

_NAMES = {AssetClass.US_EQUITY: "stocks", AssetClass.CRYPTO: "crypto"}
_SHOWN_S = 600.0
"""How long an error is shown after it was said last."""


class Health:
    """What is known of the sockets.

    Args:
        settings: Limits.
        clock: The venue's time, estimated.
        sessions: When markets are open, kept up by the owner.

    Attributes:
        connected: Symbols whose bars come.
        marked: Symbols whose trades and quotes come.
    """

    def __init__(self, settings: Settings, clock: Clock, sessions: SessionTable) -> None:
        self._feed = settings.feed
        self._clock = clock
        self._sessions = sessions
        self._symbols: dict[AssetClass, list[str]] = {}
        self._wanted = frozenset[str]()
        self._silence = Silence((), time.monotonic())
        self._said: dict[str, tuple[str, float]] = {}
        self.connected: set[str] = set()
        self.marked: set[str] = set()

    def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Expect bars of these symbols from now on, and trades and quotes of those."""
        for kind in AssetClass:
            if names := [symbol for symbol in symbols if asset_class_of(symbol) is kind]:
                if kind not in self._symbols:
                    self._silence.heard(_NAMES[kind], time.monotonic())
                self._symbols[kind] = names
            else:
                self._symbols.pop(kind, None)
        self._wanted = frozenset(marked)

    @property
    def unmarked(self) -> int:
        """How many symbols should be marked and cannot be."""
        return len(self._wanted - self.marked)

    def is_open(self, kind: AssetClass) -> bool:
        """Whether a market is open now, by the estimated time."""
        return self._sessions.is_open(kind, self._clock.estimate_ns())

    def up(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Note what is subscribed."""
        self.connected.update(symbols)
        self.marked.update(marked)

    def down(self, symbols: Sequence[str]) -> None:
        """Note what is lost."""
        self.connected.difference_update(symbols)
        self.marked.difference_update(symbols)

    def heard(self, symbol: str) -> None:
        """Note that data of a symbol came."""
        self._silence.heard(_NAMES[asset_class_of(symbol)], time.monotonic())

    def say(self, level: str, what: str) -> None:
        """Remember something that a person should see."""
        self._said[level] = (what, time.monotonic())

    def problems(self) -> list[str]:
        """Give what is wrong now, and the last error of the last minutes."""
        now_s = time.monotonic()
        problems = [
            f"not connected to the venue's market data: {_NAMES[kind]}"
            for kind, symbols in self._symbols.items()
            if self.connected.isdisjoint(symbols)
        ]
        if self.connected and (missing := self._wanted - self.marked):
            problems.append(f"no trades and quotes, so no marks, of {few(sorted(missing))}")
        problems += [f"{name}: no data for {s:.0f} s in an open market" for name, s in self._silent(now_s)]
        recent = {level: what for level, (what, at_s) in self._said.items() if now_s - at_s < _SHOWN_S}
        return problems + [f"{level}: {recent[level]}" for level in ("error", "critical") if level in recent]

    def notes(self, last: Mapping[str, int], since_ns: int) -> list[str]:
        """Name symbols whose bars stay away while others come: quiet ones, most of the time.

        Args:
            last: Time of the last bar per symbol.
            since_ns: Nobody's bars are due before.
        """
        lag_ns = int(self._feed.symbol_silent_s_max * NS_PER_S)
        behind: list[str] = []
        for kind, symbols in self._symbols.items():
            if self.is_open(kind):
                behind += left_behind(symbols, last, max(since_ns, self._opened_ns(kind)), lag_ns)
        return [f"bars stay away while others come: {few(behind)}"] if behind else []

    def _silent(self, now_s: float) -> list[tuple[str, float]]:
        """Name the streams that are silent for too long while their market was open."""
        venue_ns, longest_s = self._clock.estimate_ns(), self._feed.mute_s_max
        open_s: dict[str, float] = {}
        for kind in self._symbols:
            if not self.is_open(kind):
                self._silence.heard(_NAMES[kind], now_s)
            open_s[_NAMES[kind]] = (venue_ns - self._opened_ns(kind)) / NS_PER_S
        silent = [(name, min(s, open_s[name])) for name, s in self._silence.longer_than(longest_s, now_s)]
        return [(name, s) for name, s in silent if s > longest_s]

    def _opened_ns(self, kind: AssetClass) -> int:
        """When the market opened that is open now; crypto never closed."""
        return self._sessions.opened_ns(self._clock.estimate_ns()) if kind is AssetClass.US_EQUITY else 0
