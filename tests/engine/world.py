"""What is stored in the two streams of a ledger, without a broker; steps by which that becomes more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from engine.bots import BotStatus
from engine.messages import AnyBody, Bar, BotDefined, ChangeBot, Fill, PastBars, Position, Shadowed, Split, Ticks
from streams.history import History

Market = Bar | PastBars | Ticks
Key = tuple[int, str, str, str]


class Look(NamedTuple):
    """The clock is looked at."""

    now_ns: int


class Filled(NamedTuple):
    """A bot's order is filled, and what it holds then."""

    fill: Fill
    position: Position


Step = Market | Look | Filled | ChangeBot | Split


class World(msgspec.Struct):
    """What is stored, in order."""

    market: list[Market] = []
    trading: list[AnyBody] = []

    def store(self, bodies: Iterable[AnyBody]) -> None:
        """Store what is said."""
        self.trading += bodies


class Checkpoint(NamedTuple):
    """State of an engine, and up to where it has decided the market stream."""

    state: bytes
    moved: int


def shadowed(world: World, filled: Filled) -> list[Shadowed]:
    """Give a fill of a shadow as it is stored: with the life that it is of."""
    bot, life, ordinal = filled.fill.bot, "", 0
    for body in world.trading:
        if isinstance(body, BotDefined) and body.bot == bot:
            life = "" if body.status is BotStatus.REMOVED else life or body.cause
        ordinal += isinstance(body, Shadowed) and (body.bot, body.life) == (bot, life)
    return [Shadowed(bot, one.symbol, life, number, one, one.ts_event) for number, one in enumerate(filled, ordinal)]


def bars_until(world: World, symbols: Iterable[str], seq_max: int) -> History:
    """Give the stored bars of symbols up to a position of the market stream, as streams.history does."""
    found, past, pending = dict[Key, Bar](), dict[Key, Bar](), list[Bar]()
    for symbol in symbols:
        newest, waiting = 0, list[Bar]()
        for body in world.market[:seq_max]:
            if body.symbol != symbol:
                continue
            if isinstance(body, PastBars):
                past |= {(bar.ts_event, bar.symbol, bar.timeframe, bar.of): bar for bar in body.every()}
            elif isinstance(body, Bar) and body.revision:
                waiting.append(body)
            elif isinstance(body, Bar):
                if body.ts_event > newest:
                    newest = body.ts_event
                    _count(found, waiting)
                    waiting.clear()
                _count(found, (body,))
        pending += waiting
    found = past | found
    return History([found[key] for key in sorted(found)], pending)


def _count(found: dict[Key, Bar], bars: Iterable[Bar]) -> None:
    for bar in bars:
        key = bar.ts_event, bar.symbol, bar.timeframe, ""
        if bar.revision >= found.setdefault(key, bar).revision:
            found[key] = bar
