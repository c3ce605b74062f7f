"""Takes in what bots are: each definition where it was answered, in this life and in every later one.

Invariants:
1. A definition counts for bars that close after its `from_ts`. What its strategies know by then follows from the
   place at which it was answered: bars, moments and fills that came before that. A life that decides bars again takes
   it in at the same place (`BotDefined.market_seq`), not when it reads it: `expect`, then `expected`.
2. What the stream knows of an expected bot is not lost: its slots and its bars have a place before it is taken in.
Part of signals; pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from engine.asking import FAULTS_MAX, Asking
from engine.bots import Bot, BotStatus
from engine.filling import Filling
from engine.frames import FrameTable, frames_of
from engine.messages import Bar, BotDefined, Signal
from engine.renewing import Renewing, minutes_of
from engine.slots import Slots, looks, rehearse
from engine.speech import Speech
from engine.splits import SplitBook
from engine.values import PAST_SYMBOLS_MAX, is_derived, is_seconds
from engine.versions import Slot, Version
from engine.witness import Witness

SpeakAt = Callable[[Slot, int, list[Signal]], None]
TimerPlace = tuple[int, int, int, int]

_NONE: TimerPlace = (0, 0, 0, 0)


class Defining:
    """Definitions taken in, and those of a former life that are to come.

    Args:
        slots: Every bot in every symbol.
        frames: Bars made of others.
        asking: Asks strategies.
        filling: Tells strategies of fills.
        renewing: Splits and corrections.
        speech: Makes what is said.
        witness: The minutes that shadows want.
        speak_at: Lets a bot in a symbol speak at a moment without a bar.
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
        speak_at: SpeakAt,
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
        self._speak_at = speak_at
        self._expected: deque[tuple[BotDefined, dict[str, int], dict[tuple[str, str], TimerPlace]]] = deque()

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

    def define(self, defined: BotDefined, history: Iterable[Bar], pending: Iterable[Bar], newest_ns: int) -> None:
        """Take in a bot's new version; a revision that is known changes nothing."""
        if defined.revision <= self._slots.revision(defined.bot):
            return
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

    def _bars_of(self, slot: Slot, version: Version, past: Sequence[Bar], newest_ns: int) -> Sequence[Bar]:
        """Have the bars that a version looks at made from now on; give those that there were."""
        timeframe, since = version.bot.timeframe, version.from_ts
        if is_seconds(timeframe):
            self._frames.seconds.want(slot.symbol, timeframe, since)
            return self._frames.seconds.kept((slot.symbol,), timeframe)
        if is_derived(timeframe):
            return self._frames.learn(slot.symbol, timeframe, past, newest_ns, since)
        return past

    # --- what a former life took in ----------------------------------------------------------------------------------

    def expect(self, defined: BotDefined) -> None:
        """Learn from the stream of a definition; one that is not known yet is given by `expected` at its place."""
        if defined.revision <= self._slots.revision(defined.bot):
            return
        self._slots.expect(defined)
        timers = {(slot.bot, slot.symbol): slot.timers[-1] for slot in self._slots.known() if slot.timers}
        self._expected.append((defined, self._filling.told_by_now(defined.bot), timers))

    @property
    def is_expecting(self) -> bool:
        """Whether definitions of a former life are still to come."""
        return bool(self._expected)

    def expected(self, market_seq: int, signals: list[Signal]) -> BotDefined | None:
        """Give the next definition that was answered when all up to a position was decided; come to its place before.

        Args:
            market_seq: All messages of the market stream up to this one are decided.
            signals: To which what is said on the way is added.
        """
        if not self._expected or self._expected[0][0].market_seq > market_seq:
            return None
        defined, told, timers = self._expected.popleft()
        for slot in list(self._slots.every()):
            number_max = told.get(slot.symbol, 0) if slot.bot == defined.bot else None
            self._filling.come(slot, number_max)
            last = timers.get((slot.bot, slot.symbol), _NONE)
            while slot.timers and slot.timers[0] <= last and slot.is_reached(slot.timers[0]):
                self._speak_at(slot, slot.timers.pop(0)[1], signals)
                self._filling.come(slot, number_max)
        return defined
