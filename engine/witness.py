"""Where minutes stand among the signals: of symbols that a shadow trades, each is told before what was said at it.

Bars and signals are in two streams, without an order between them; what a shadow's order is filled at must follow from
one order. Each minute is told once, as it was first published, and none that comes late. Part of engine.signals.
"""

from __future__ import annotations

from engine.bots import BotStatus
from engine.messages import Bar, BotDefined


class Witness:
    """The minutes that are told."""

    def __init__(self) -> None:
        self._since: dict[str, dict[str, int]] = {}
        self._told: dict[str, int] = {}
        self._wanted: dict[str, int] = {}
        self._seen: list[Bar] = []

    def state(self) -> object:
        """Give everything, for pickling."""
        return self._since, self._told, self._wanted

    def restore(self, state: object) -> None:
        """Take a state back."""
        self._since, self._told, self._wanted = state  # type: ignore[misc]

    def define(self, defined: BotDefined) -> None:
        """Take in a bot's version; what a shadow traded before may be held still."""
        if defined.definition.shadow_of and defined.status is not BotStatus.REMOVED:
            known = self._since.setdefault(defined.bot, {})
            for symbol in defined.definition.symbols:
                known.setdefault(symbol, defined.from_ts)
        elif self._since.pop(defined.bot, None) is None:
            return
        self._wanted = {}
        for known in self._since.values():
            for symbol, since in known.items():
                self._wanted[symbol] = min(since, self._wanted.get(symbol, since))

    def on_bar(self, bar: Bar) -> None:
        """Note a minute that is about to be decided."""
        since = self._wanted.get(bar.symbol)
        if since is not None and bar.ts_event > max(since, self._told.get(bar.symbol, 0)):
            self._told[bar.symbol] = bar.ts_event
            self._seen.append(bar)

    def on_told(self, minute: Bar) -> None:
        """Learn from the stream what was told already."""
        self._told[minute.symbol] = max(self._told.get(minute.symbol, 0), minute.ts_event)

    def take(self) -> list[Bar]:
        """Give the minutes to be told since the last call."""
        seen, self._seen = self._seen, []
        return seen
