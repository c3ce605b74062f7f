"""Takes in what bots are.

A definition counts for bars that close after its `from_ts`. What its strategies know by then follows from the place at
which it was answered: bars, moments and fills that came before that; a later life takes it in there (engine.former).
Part of signals; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.asking import FAULTS_MAX, Asking
from engine.bots import Bot, BotStatus
from engine.filling import Filling
from engine.frames import FrameTable, frames_of
from engine.messages import Bar, BotDefined, Signal
from engine.pacing import FLAT
from engine.renewing import Renewing, minutes_of
from engine.slots import Slots, looks, rehearse
from engine.speech import Speech
from engine.splits import SplitBook
from engine.strategies import Target
from engine.values import PAST_SYMBOLS_MAX, is_derived, is_seconds
from engine.versions import Slot, Version
from engine.witness import Witness


class Defining:
    """Definitions taken in.

    Args:
        slots: Every bot in every symbol.
        frames: Bars made of others.
        asking: Asks strategies.
        filling: Tells strategies of fills.
        renewing: Splits and corrections.
        speech: Makes what is said.
        witness: The minutes that shadows want.
    """

    def __init__(
        self,
        slots: Slots,
        frames: FrameTable,
        asking: Asking,
        filling: Filling,
        renewing: Renewing,
        *,
        speech: Speech,
        witness: Witness,
    ) -> None:
        self._slots = slots
        self._frames = frames
        self._asking = asking
        self._pace = asking.pace
        self._speech = speech
        self._filling = filling
        self._renewing = renewing
        self._splits: SplitBook = renewing.splits
        self._witness = witness

    def must_learn(self, bot: Bot, status: BotStatus) -> set[str]:
        """Name the symbols whose past bars `define` needs: those that get a strategy which knows nothing yet."""
        fresh = self._slots.fresh(bot) if looks(status) and not is_seconds(bot.timeframe) else set[str]()
        return set() if len(fresh) > PAST_SYMBOLS_MAX else fresh

    def rehearse(self, bot: Bot, history: Iterable[Bar]) -> str:
        """Say why a definition's strategy cannot be warmed up; empty if it can, as far as `history` can tell."""
        bars: Sequence[Bar] = list(map(self._splits.chained, history))
        if is_seconds(bot.timeframe):
            bars = self._frames.seconds.kept(bot.symbols, bot.timeframe)
        elif is_derived(bot.timeframe):
            bars = frames_of(self._pace.sessions, bot.timeframe, bars)
        else:
            bars = minutes_of(bars)
        return rehearse(bot, bars, FAULTS_MAX, self._pace.session_of, self._slots)

    def define(
        self, defined: BotDefined, history: Iterable[Bar], pending: Iterable[Bar], newest_ns: int
    ) -> list[Signal]:
        """Take in a bot's new version, and give what it says at once; a revision that is known changes nothing."""
        if defined.revision <= self._slots.revision(defined.bot):
            return []
        self._witness.define(defined)
        self._asking.failed.pop(defined.bot, None)  # what an older one could not do
        past: dict[str, list[Bar]] = {}
        for bar in map(self._splits.chained, history):
            past.setdefault(bar.symbol, []).append(bar)
        added = self._slots.add(defined, self._filling.life_of(defined))
        self._renewing.on_revisions(pending)
        fresh = sum(version.is_fresh for _, version in added)
        if fresh > PAST_SYMBOLS_MAX and not past:
            what = f"bot {defined.bot}: its {fresh} new symbols warm up from now on: "
            what += f"the past of at most {PAST_SYMBOLS_MAX} is read"
            self._asking.alerts.append(self._speech.notice(defined, what))
        for slot, version in added:
            if version.fault:
                self._asking.failed[defined.bot] = version.fault
            bars: Sequence[Bar] = past.get(slot.symbol, [])
            if looks(version.status) and version.bot.trades(slot.symbol):
                bars = self._bars_of(slot, version, bars, newest_ns)
            if version.is_fresh:
                self._asking.learn(slot, version, version.known_of(bars))
            self._pace.plan(slot)
        return self._flatten(defined) if defined.flatten else []

    def _flatten(self, defined: BotDefined) -> list[Signal]:
        """Say flat at once wherever the bot may hold something, at the last price known; else its next bar says so."""
        signals: list[Signal] = []
        for slot in self._slots.every():
            if slot.bot != defined.bot or slot.last is None or slot.published == FLAT:
                continue
            target = Target(*FLAT, f"{defined.status} by {defined.by}, with its positions closed")
            signal = self._speech.flat(slot, Version(defined, is_fresh=False), target)
            slot.published, slot.emitted_until = FLAT, max(slot.emitted_until, slot.last[0], defined.from_ts)
            signals += [] if signal is None else [signal]
            self._pace.plan(slot)
        return signals

    def _bars_of(self, slot: Slot, version: Version, past: Sequence[Bar], newest_ns: int) -> Sequence[Bar]:
        """Have the bars that a version looks at made from now on; give those that there were."""
        timeframe, since = version.bot.timeframe, version.from_ts
        if is_seconds(timeframe):
            self._frames.seconds.want(slot.symbol, timeframe, since)
            return self._frames.seconds.kept((slot.symbol,), timeframe)
        if is_derived(timeframe):
            return self._frames.learn(slot.symbol, timeframe, past, newest_ns, since)
        return past
