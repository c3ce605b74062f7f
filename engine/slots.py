"""Every bot in every symbol that it trades or traded. Kept by engine.signals; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from engine.bots import Bot, BotStatus
from engine.messages import Bar, BotDefined, FillTold
from engine.strategies import Strategy, checked, fault_text, make, tell_fill, tell_session
from engine.values import PAST_SYMBOLS_MAX, AssetClass, Direction, asset_class_of
from engine.versions import Slot, Version

Snapshot = tuple[str, str, int, tuple[Direction, float] | None, dict[str, float]]


class Slots:
    """Slots by symbol, and which revision of each bot they have heard of."""

    def __init__(self) -> None:
        self._slots: dict[str, list[Slot]] = {}
        self._revisions: dict[str, int] = {}

    def state(self) -> tuple[dict[str, list[Slot]], dict[str, int]]:
        """Give everything, for pickling."""
        return self._slots, self._revisions

    def restore(self, state: tuple[dict[str, list[Slot]], dict[str, int]]) -> None:
        """Take a state back; bots that it does not know stay as they were made."""
        known, revisions = state
        for symbol in dict.fromkeys((*known, *self._slots)):
            own = [slot for slot in self._slots.get(symbol, []) if slot.bot not in revisions]
            self._slots[symbol] = [*known.get(symbol, []), *own]
        self._revisions |= revisions

    def of(self, symbol: str) -> list[Slot] | None:
        """Give the slots of a symbol; None: nobody ever traded it."""
        return self._slots.get(symbol)

    def timeframes(self, symbol: str) -> set[str]:
        """Name the timeframes that bots look at in a symbol."""
        slots = self._slots.get(symbol, ())
        versions = (version for slot in slots for version in slot.versions())
        return {one.bot.timeframe for one in versions if looks(one.status) and one.bot.trades(symbol)}

    def are_many(self) -> bool:
        """Whether bots look at so many symbols that no past of them is read."""
        looked = (
            sum(bool(self.timeframes(symbol)) for symbol in self._slots) if len(self._slots) > PAST_SYMBOLS_MAX else 0
        )
        return looked > PAST_SYMBOLS_MAX

    def every(self) -> Iterator[Slot]:
        """Give them all."""
        return (slot for slots in self._slots.values() for slot in slots)

    def find(self, bot: str, symbol: str) -> Slot | None:
        """Give one bot's in one symbol."""
        return next((slot for slot in self._slots.get(symbol, ()) if slot.bot == bot), None)

    def revision(self, bot: str) -> int:
        """Give the newest revision of a bot that is known; 0: none."""
        return self._revisions.get(bot, 0)

    def bots(self) -> list[Bot]:
        """Give the definitions whose strategies are in the state."""
        versions = (version for slot in self.every() for version in slot.versions() if version.strategy is not None)
        return list({(version.bot.name, version.revision): version.bot for version in versions}.values())

    def fresh(self, bot: Bot) -> set[str]:
        """Name the symbols in which a definition gets a strategy that knows nothing yet."""
        slots = {symbol: self.find(bot.name, symbol) for symbol in bot.symbols}
        return {symbol for symbol, slot in slots.items() if slot is None or not slot.goes_on(bot)}

    def add(self, defined: BotDefined, life: str) -> list[tuple[Slot, Version]]:
        """Take in a bot's new version, of a life of a shadow, in every symbol that it or an older one trades."""
        self._revisions[defined.bot] = defined.revision
        held = [slot.symbol for slot in self.every() if slot.bot == defined.bot]
        added: list[tuple[Slot, Version]] = []
        for symbol in dict.fromkeys((*defined.definition.symbols, *held)):
            slot = self.find(defined.bot, symbol) or Slot(defined.bot, symbol)
            if slot not in (known := self._slots.setdefault(symbol, [])):
                known.append(slot)
            added.append((slot, slot.add(defined, life)))
            if defined.flatten:
                slot.silent_until, slot.wish, slot.owes_flat = defined.from_ts, None, False
        return added

    def unkept(self, keep: Callable[[object], object]) -> dict[str, str]:
        """Take out the strategies that cannot be kept over a restart.

        Args:
            keep: Raises for what cannot be kept.

        Returns:
            Why, by bot; of bots whose newest version has such a strategy.
        """
        found: dict[str, str] = {}
        for slot in self.every():
            for version in slot.versions():
                try:
                    keep(version.strategy)
                except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever a user's attributes raise)
                    version.strategy = None
                    if version.revision == self.revision(slot.bot):
                        what = f"strategy {version.bot.strategy} cannot be kept over a restart ({fault_text(fault)})"
                        found[slot.bot] = what
        return found

    def snapshots(self) -> list[Snapshot]:
        """Give of every bot in every symbol the close of its last bar, the last target said, and its values."""
        return sorted(
            (slot.bot, slot.symbol, newest.last_ts, slot.published, newest.strategy.snapshot())
            for slot in self.every()
            for newest in slot.versions()[-1:]
            if newest.strategy is not None
        )


def looks(status: BotStatus) -> bool:
    """Whether a bot of a status looks at bars."""
    return status in (BotStatus.RUNNING, BotStatus.PAUSED)


def rehearse(
    bot: Bot,
    history: Iterable[Bar],
    faults_max: int,
    session_of: Callable[[AssetClass, int], tuple[int, int]],
    slots: Slots,
) -> str:
    """Say why a definition's strategy cannot be warmed up; empty if it can.

    Args:
        bot: The definition.
        history: Past bars of its symbols, by time.
        faults_max: It raises at so many of them, or of the fills that it knows of.
        session_of: Gives the session of a bar by its close.
        slots: Which fills its bot knows of.
    """
    strategies: dict[str, Strategy] = {}
    told: dict[str, int] = {}
    faults = 0
    fills = {slot.symbol: slot.fills for symbol in bot.symbols if (slot := slots.find(bot.name, symbol)) is not None}
    for event in _in_order((bar for bar in history if bot.trades(bar.symbol)), fills):
        symbol = event.symbol
        try:
            if symbol not in strategies:
                strategies[symbol] = make(bot.source, bot.params)
        except (Exception, SystemExit):  # noqa: BLE001  (whoever looks at the definition says it better)
            return ""
        try:
            if isinstance(event, FillTold):
                tell_fill(strategies[symbol], event)
                continue
            session = session_of(asset_class_of(symbol), event.ts_event)
            told[symbol] = tell_session(strategies[symbol], told.get(symbol, 0), session)
            checked(strategies[symbol].on_bar(event))
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever a user's class raises)
            faults += 1
            if faults >= faults_max:
                return f"strategy {bot.strategy} raised at {faults} past bars and fills, {symbol}: {fault_text(fault)}"
    return ""


def _in_order(bars: Iterable[Bar], fills: Mapping[str, Iterable[FillTold]]) -> Iterator[Bar | FillTold]:
    """Give fills, by symbol, where they came among bars."""
    waiting = {symbol: list(known) for symbol, known in fills.items()}
    for bar in bars:
        due = waiting.get(bar.symbol, [])
        while due and max(due[0].bar_ts, due[0].frame_ts) < bar.ts_event:
            yield due.pop(0)
        yield bar
    for rest in waiting.values():
        yield from rest
