"""What a former life did and stored: done again at its place, and not stored again. Part of signals; pure.

Invariants:
1. What happens beside the bars (definitions, moments without a bar, fills told) is stored with the position of the
   market stream up to which all was decided (`market_seq`), in order. A later life that decides bars again does each at
   its place: the same calls in the same order, so it comes to the same state.
2. What follows from that comes again, too, and is known by its id: up to the last that the stream has nothing is said.
3. Where life cannot be told again as it was (bars were lost, a strategy is another one), what the stream says was said
   last is what counts from there on, when all is decided that was decided before; until then nothing is said anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.filling import Filling
from engine.messages import Alert, BotDefined, FillTold, IndicatorValues, Signal, Timer
from engine.pacing import FLAT
from engine.slots import Slots
from engine.versions import Slot

SpeakAt = Callable[[Slot, int, list[Signal]], None]


class FormerLife:
    """What the stream knows, and the state it is read into does not.

    Args:
        slots: Every bot in every symbol.
        filling: Tells strategies of fills.
        speak_at: Lets a bot in a symbol speak at a moment without a bar.
    """

    def __init__(self, slots: Slots, filling: Filling, speak_at: SpeakAt) -> None:
        self._slots = slots
        self._filling = filling
        self._speak_at = speak_at
        self._expected = deque[BotDefined | Timer | FillTold]()
        self._timers = set[str]()  # ids of those among them that bars did not bring about again
        self._said: dict[tuple[str, str], Signal] = {}
        self._shown: dict[tuple[str, str], int] = {}
        self._alerts: set[str] = set()
        self._is_over = False

    # --- what it did beside the bars ---------------------------------------------------------------------------------

    def expect(self, body: BotDefined | Timer | FillTold) -> None:
        """Learn from the stream of something that is to be done again at its place, unless the state knows of it."""
        if self._is_over:
            return  # it is of this life
        match body:
            case BotDefined():
                is_known = body.revision <= self._slots.revision(body.bot)
            case FillTold():
                self._filling.know(body)
                slot = self._slots.find(body.bot, body.symbol)
                is_known = slot is not None and body.number <= slot.told
            case Timer():
                slots = (self._slots.find(body.bot, symbol) for symbol in body.symbols)
                is_known = all(slot is not None and body.ts_event <= slot.seen for slot in slots)
                self._timers |= set() if is_known else {body.id}
        if not is_known:
            self._expected.append(body)

    @property
    def is_expected(self) -> bool:
        """Whether something is still to be done again."""
        return bool(self._expected)

    def come_to(self, market_seq: int, signals: list[Signal]) -> BotDefined | None:
        """Do again what was done when all up to a position was decided, as far as the next definition; give that.

        Args:
            market_seq: All messages of the market stream up to this one are decided.
            signals: To which what is said on the way is added.
        """
        while self._expected and self._expected[0].market_seq <= market_seq:
            match body := self._expected.popleft():
                case BotDefined():
                    return body
                case FillTold():
                    self._filling.hear(body)
                case Timer() if body.id in self._timers:
                    self._timers.discard(body.id)
                    for symbol in body.symbols:
                        slot = self._slots.find(body.bot, symbol)
                        if slot is not None and slot.seen < body.ts_event:
                            self._speak_at(slot, body.ts_event, signals)
                case _:
                    pass  # bars brought it about
        return None

    # --- what it said -------------------------------------------------------------------------------------------------

    def on_signal(self, signal: Signal) -> None:
        """Learn from the stream what a bot said last in a symbol."""
        known = self._said.get((signal.bot, signal.symbol))
        if known is None or signal.ts_event >= known.ts_event:
            self._said[signal.bot, signal.symbol] = signal

    def on_values(self, shown: IndicatorValues) -> None:
        """Learn from the stream what a strategy saw last."""
        key = shown.bot, shown.symbol
        self._shown[key] = max(self._shown.get(key, 0), shown.ts_event)

    def on_alert(self, alert: Alert) -> None:
        """Learn from the stream what a person was told."""
        if not self._is_over:
            self._alerts.add(alert.id)

    def forget_unsaid(self) -> list[tuple[str, str]]:
        """Take back what the state calls said and the stream lost; give bot and symbol of each.

        Called when all that was said last is known, and before anything is decided.
        """
        found: list[tuple[str, str]] = []
        for slot in self._slots.every():
            key = slot.bot, slot.symbol
            said = self._said.get(key)
            is_lost = slot.emitted_until > (0 if said is None else said.ts_event)
            if is_lost:
                slot.emitted_until = 0 if said is None else said.ts_event
                slot.published = FLAT if said is None else (said.direction, said.strength)
                found.append(key)
            if said is not None and (is_lost or slot.said == said.id):
                del self._said[key]
        return found

    def news_of(self, signals: list[Signal]) -> list[Signal]:
        """Give those of the signals that follow which the stream does not have: after the one that it has last.

        Where that does not come, life is told otherwise than it was, and nothing is said before it is all told.
        """
        news: list[Signal] = []
        for signal in signals:
            key = signal.bot, signal.symbol
            slot, last = self._slots.find(*key), self._said.get(key)
            if slot is None or last is None or slot.said == last.id:
                self._said.pop(key, None)  # it was come to
                news.append(signal)
            if slot is not None:
                slot.said = signal.id
        return news

    def new_timers(self, timers: list[Timer]) -> list[Timer]:
        """Give those of the moments that follow which the stream does not have."""
        news = [timer for timer in timers if timer.id not in self._timers] if self._timers else timers
        self._timers.difference_update(timer.id for timer in timers)
        return news

    def new_values(self, shown: list[IndicatorValues]) -> list[IndicatorValues]:
        """Give those of the values that strategies see which the stream does not have."""
        return [one for one in shown if one.ts_event > self._shown.get((one.bot, one.symbol), 0)]

    def new_alerts(self, alerts: list[Alert]) -> list[Alert]:
        """Give those alerts that the stream does not have."""
        return [alert for alert in alerts if alert.id not in self._alerts] if self._alerts else alerts

    def caught_up(self) -> None:
        """Go on from what the stream says, when all is decided that was decided before; else it was come to already."""
        for key, said in self._said.items():
            if (slot := self._slots.find(*key)) is not None and slot.said != said.id:
                slot.published, slot.said = (said.direction, said.strength), said.id
                slot.emitted_until = max(slot.emitted_until, said.ts_event)
                slot.wish, slot.owes_flat = None, False
        self._said.clear()
        self._alerts.clear()
        self._is_over = True
