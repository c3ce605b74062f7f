"""Asks strategies, and takes what they raise: an exception or a number that is none harms its own bot only.

Pure; called by engine.signals.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Sequence

import msgspec

from engine.copies import Copies
from engine.messages import Alert, Bar, FillTold, IndicatorValues
from engine.pacing import Pace
from engine.ports import Trade
from engine.slots import Slots
from engine.speech import Speech
from engine.strategies import Target, checked, fault_text, senseless, tell_fill, tell_session, values_of
from engine.values import MINUTE_BAR, Direction
from engine.versions import Slot, Version

FAULTS_MAX = 10
"""After so many in one symbol a bot is given up."""


class SignalCounters(msgspec.Struct):
    """What was seen and refused since start."""

    bars: int = 0
    refused: int = 0
    evaluated: int = 0
    signals: int = 0
    faults: int = 0


class Asking:
    """What strategies said of themselves since somebody asked for it last.

    Attributes:
        failed: Bots to be given up, each with the last fault.
        alerts: What a person should be told.
        shown: What strategies saw, of bots that publish it.
        pace: When bots may speak.
        counters: What was seen and refused.
    """

    def __init__(self, speech: Speech, slots: Slots, pace: Pace, counters: SignalCounters) -> None:
        self._speech = speech
        self._slots = slots
        self.pace = pace
        self.counters = counters
        self.failed: dict[str, str] = {}
        self.alerts: list[Alert] = []
        self.shown: list[IndicatorValues] = []
        self._copies = Copies()

    def take_failed(self) -> dict[str, str]:
        """Give them up, once."""
        failed, self.failed = self.failed, {}
        return failed

    def take_alerts(self) -> list[Alert]:
        """Give them, once."""
        alerts, self.alerts = self.alerts, []
        return alerts

    def take_shown(self) -> list[IndicatorValues]:
        """Give it, once."""
        shown, self.shown = self.shown, []
        return shown

    def move(self, slot: Slot, version: Version, bar: Bar) -> Target | None:
        """Move one version's strategy by a bar that is new to it; nothing comes of a bar at which it raises."""
        if not version.is_news(bar):
            return None
        version.first_ts, version.last_ts = version.first_ts or bar.ts_event, bar.ts_event
        slot.moved = max(slot.moved, bar.ts_event)
        if version.strategy is None:
            return None
        try:
            session = self.pace.session_of(slot.asset_class, bar.ts_event)
            version.session = tell_session(version.strategy, version.session, session)
            return checked(version.strategy.on_bar(bar))
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever it is, it is that bot's alone)
            self._take_fault_at(slot, version, bar, fault)
            return None

    def learn(self, slot: Slot, version: Version, bars: Iterable[Bar]) -> tuple[Target | None, Bar | None]:
        """Move one version's strategy by past bars, and tell it of fills where they came among them.

        Returns:
            What it wants after the last bar, and that bar.
        """
        target, last, fills = None, None, list(slot.fills) if version.hears_fills else []
        is_minute = version.bot.timeframe == MINUTE_BAR
        for last in bars:
            while fills and max(fills[0].bar_ts, 0 if is_minute else fills[0].frame_ts) < last.ts_event:
                self.tell(slot, version, fills.pop(0))
            target = self.move(slot, version, last)
        for told in fills:
            self.tell(slot, version, told)
        return target, last

    def tell(self, slot: Slot, version: Version, told: FillTold, *, is_new: bool = False) -> None:
        """Tell one version's strategy of a fill, if it wants to be; `is_new`: for the first time."""
        if not version.hears_fills or told.life != version.life:
            return
        try:
            tell_fill(version.strategy, told)
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever it is, it is that bot's alone)
            self._take_fault(
                slot, version, told.ts_event, fault, f"fill {told.fill} is missing in it", is_old=not is_new
            )

    def at_tick(
        self, slot: Slot, version: Version, trade: Trade, bars: Sequence[Bar]
    ) -> tuple[Target | None, dict[str, float]]:
        """Ask what a strategy wants at a trade, with what that rests on.

        One that has `on_tick(trade)` is asked itself, and keeps what it learns. Of any other a copy is moved by the
        bars that are forming, so that the strategy itself only knows of bars that are closed.

        Args:
            slot: Bot and symbol.
            version: The one that decides.
            trade: The trade.
            bars: Of its timeframe, that are not closed yet or that their minutes are not; by time.
        """
        if version.strategy is None:
            return None, {}
        try:
            hook = getattr(version.strategy, "on_tick", None)
            if hook is not None:
                strategy, target = version.strategy, checked(hook(trade), "on_tick")
            else:
                strategy, target, told = self._copies.of(slot, version), None, version.session
                for bar in bars:
                    told = tell_session(strategy, told, self.pace.session_of(slot.asset_class, bar.ts_event))
                    target = checked(strategy.on_bar(bar))
            is_news = target is not None and (target.direction, target.strength) != slot.published
            values = values_of(strategy) if is_news else {}
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever it is, it is that bot's alone)
            self._take_fault_at(slot, version, msgspec.structs.replace(bars[-1], ts_event=trade.ts_event), fault)
            return None, {}
        return self.sensible(slot, version, bars[-1], target, values), values

    @contextlib.contextmanager
    def silently(self, version: Version) -> Generator[None]:
        """Ask a strategy that is made anew about bars that it was asked about: what it raises is known."""
        last_ts, faults, alerts = version.last_ts, version.faults, len(self.alerts)
        version.renew()
        version.faults = 0
        yield
        version.last_ts, version.faults = max(version.last_ts, last_ts), max(version.faults, faults)
        del self.alerts[alerts:]

    def values(self, slot: Slot, version: Version, bar: Bar, target: Target | None) -> dict[str, float] | None:
        """Give what a target rests on that would be said; None where the strategy raises at the question."""
        if target is None or version.strategy is None or (target.direction, target.strength) == slot.published:
            return {}
        try:
            return values_of(version.strategy)
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (the same)
            self._take_fault_at(slot, version, bar, fault)
            return None

    def _take_fault_at(self, slot: Slot, version: Version, bar: Bar, fault: BaseException) -> None:
        is_old = bar.is_backfill or bar.ts_event <= slot.emitted_until
        self._take_fault(slot, version, bar.ts_event, fault, "this bar decides nothing", is_old=is_old)

    def _take_fault(
        self, slot: Slot, version: Version, ts_ns: int, fault: BaseException, so: str, *, is_old: bool
    ) -> None:
        version.faults += 1
        self.counters.faults += 1
        what = f"bot {slot.bot}, strategy {version.bot.strategy}, {slot.symbol}: {fault_text(fault)}"
        if version is slot.active and not is_old:
            self.alerts.append(self._speech.alert("fault", slot, f"{what}; {so}", ts_ns))
        if version.revision == self._slots.revision(slot.bot) and version.faults >= FAULTS_MAX:
            self.failed[slot.bot] = f"{what.removeprefix(f'bot {slot.bot}, ')}; it raised {version.faults} times"

    def sensible(
        self, slot: Slot, version: Version, bar: Bar, target: Target | None, values: dict[str, float] | None
    ) -> Target | None:
        """Give the target if it rests on numbers; of one that does not, only that it wants to be flat."""
        if target is None or values is None:
            return None
        fault = senseless(target, values)
        if fault and not slot.is_senseless and not bar.is_backfill and bar.ts_event > slot.emitted_until:
            what = (
                f"bot {slot.bot}, strategy {version.bot.strategy}, {bar.symbol}: {fault}; nothing is opened on that: "
                "mend the strategy or its parameters"
            )
            self.alerts.append(self._speech.alert("senseless", slot, what, bar.ts_event))
        slot.is_senseless = bool(fault)
        if fault:
            return Target(Direction.FLAT, 0.0, target.reason) if target.direction is Direction.FLAT else None
        return target

    def show(self, slot: Slot, version: Version, bar: Bar) -> None:
        """Note what a strategy sees at a bar, unless that was said."""
        if version.strategy is None or bar.ts_event <= slot.shown_until:
            return
        slot.shown_until = bar.ts_event
        try:
            values = values_of(version.strategy)
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever it is, it is that bot's alone)
            self._take_fault_at(slot, version, bar, fault)
            return
        if values:
            self.shown.append(self._speech.values(version, bar, values))
