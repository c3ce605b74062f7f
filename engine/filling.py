"""Tells strategies of their bot's fills: those that have `on_fill`. Part of signals; pure.

Invariants:
1. A fill is told once, in the order of the trading stream, when what the bot holds after it is known. That it was told,
   and at which place of the market stream, is stored before anything that follows from it (`FillTold`); a later life
   tells it there (engine.former), so the state of strategies does not depend on when fills were heard of.
2. A strategy that is made anew, or new in its bot, is told of the newest fills again, each where it came among the
   bars; in shares of after a split.
3. A shadow is told of its own fills, and of none of a shadow before it under the same name.
"""

from __future__ import annotations

import msgspec

from engine.asking import Asking
from engine.bots import BotStatus
from engine.ids import fill_key
from engine.messages import AnyBody, BotDefined, Fill, FillTold, Position, Shadowed
from engine.slots import Slots
from engine.speech import Speech
from engine.splits import SplitBook
from engine.values import plain
from engine.versions import FILLS_MAX, Slot

_PLACE = ("number", "bar_ts", "frame_ts")


class Filling:
    """What strategies were told of fills.

    Args:
        asking: Asks strategies.
        slots: Every bot in every symbol.
        splits: Every split that is known.
        speech: Makes what is stored.
    """

    def __init__(self, asking: Asking, slots: Slots, splits: SplitBook, speech: Speech) -> None:
        self._asking = asking
        self._slots = slots
        self._splits = splits
        self._speech = speech
        self._lives: dict[str, str] = {}
        self._fills: dict[str, Fill] = {}
        self._stored: set[str] = set()
        self._news: list[FillTold] = []
        self._passed: set[str] = set()

    def state(self) -> dict[str, str]:
        """Give what must survive a restart beside the slots, for pickling."""
        return self._lives

    def restore(self, state: dict[str, str]) -> None:
        """Take a state back."""
        self._lives = state

    def life_of(self, defined: BotDefined) -> str:
        """Give which life of a shadow a definition is of; empty where it is of no shadow."""
        if not defined.definition.shadow_of or defined.status is BotStatus.REMOVED:
            self._lives.pop(defined.bot, None)
            return ""
        return self._lives.setdefault(defined.bot, defined.cause)

    def wanted(self) -> tuple[set[str], bool]:
        """Name the bots of which a strategy wants to be told of fills; and say whether some passed by before it did."""
        bots = {slot.bot for slot in self._slots.every() if slot.hears_fills}
        passed = bots & self._passed
        self._passed -= passed
        return bots, bool(passed)

    def know(self, told: FillTold) -> None:
        """Learn from the stream that a fill was told."""
        self._stored.add(told.fill)

    def hear(self, told: FillTold) -> None:
        """Tell what a former life told, at its place."""
        slot = self._slots.find(told.bot, told.symbol)
        if slot is not None:
            self._hear(slot, told, is_new=True)

    def take(self, body: AnyBody) -> None:
        """Take in a fill, or what is held after it; called when every bar decided in a former life is known."""
        life = ""
        if isinstance(body, Shadowed):
            life, body = body.life, body.of
        if isinstance(body, Fill):
            key, slot = fill_key(body.venue_order_id, plain(body.cum_qty)), self._slots.find(body.bot, body.symbol)
            if key in self._stored or life != self._lives.get(body.bot, ""):
                return
            if slot is not None and slot.hears_fills:
                self._fills[key] = body
            else:
                self._passed.add(body.bot)
        elif isinstance(body, Position) and body.cause in self._fills:
            self._tell(self._fills.pop(body.cause), body, life)

    def take_news(self, market_seq: int = 0) -> list[FillTold]:
        """Give what was told since the last call; to be stored.

        Args:
            market_seq: Position of the market stream up to which all is decided.
        """
        news, self._news = self._news, []
        return [msgspec.structs.replace(told, market_seq=market_seq) for told in news]

    def _tell(self, fill: Fill, position: Position, life: str) -> None:
        slot = self._slots.find(fill.bot, fill.symbol)
        if slot is None:
            return
        told = self._speech.told(slot, fill, position, life)
        known = next((one for one in slot.fills if one.id == told.id), None)
        if known is not None:  # the stream lost that it was told: its place is known, its numbers are of before splits
            told = msgspec.structs.replace(told, **{name: getattr(known, name) for name in _PLACE})
        self._stored.add(told.fill)
        self._news.append(told)
        self._hear(slot, told, is_new=True)

    def _hear(self, slot: Slot, told: FillTold, *, is_new: bool = False) -> None:
        if told.number <= slot.told:
            return
        slot.told = told.number
        told = self._splits.chained_fill(told)
        slot = self._slots.find(slot.bot, told.symbol) or slot  # its name changed since
        slot.fills = [*slot.fills, told][-FILLS_MAX:]
        for version in slot.versions():
            self._asking.tell(slot, version, told, is_new=is_new)
