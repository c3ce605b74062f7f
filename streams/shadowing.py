"""Shadows beside risk: a reader of its own over the trading stream, from its beginning, and what follows, stored.

There is no checkpoint: what shadows did follows from the stream (engine.shadows), and is made again at each start. What
is stored already is not stored twice: it is known by its place in its shadow's life. As long as there is no shadow
nothing but definitions of bots is read. Whatever goes wrong here is told and ends here: risk goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from nats.errors import Error as NatsError

from engine.errors import UnreachableError
from engine.ids import make_id
from engine.messages import Alert, AnyBody, BotDefined, Shadowed, body_json, decode
from engine.shadows import MakeVenue, Shadows
from streams.publisher import Publisher
from streams.reader import Reader, Stored, read
from streams.role import Context, last_per_subject

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_AGAIN_S = 0.5
_BATCH_MAX = 50
"""Decided at once; between two batches risk has its turn."""


class Shadowing:
    """The shadows of an account, in risk's process.

    Args:
        context: Risk's.
        make_venue: Gives each shadow its venue.
        announce: Called when it got further.

    Attributes:
        problem: Why shadows stand still; empty while they do not.
        stored: How many messages it stored since the start.
    """

    def __init__(self, context: Context, make_venue: MakeVenue, announce: Callable[[], Awaitable[None]]) -> None:
        self._context, self._announce = context, announce
        self._make_venue, self._readers = make_venue, list[Reader]()
        self._shadows = Shadows(context.settings.limits, make_venue)
        self._publisher = Publisher(context.nc, context.topology.trading, "shadows")
        self._position: int | None = None
        self._made: dict[tuple[str, int], Shadowed] = {}
        self._differs: set[str] = set()
        self._faulty: dict[str, str] = {}
        self.problem = ""
        self.stored = 0

    @property
    def names(self) -> list[str]:
        """The shadows there are."""
        return self._shadows.names

    @property
    def last_seq(self) -> int:
        """Sequence of the last message it stored."""
        return self._publisher.last_seq

    def behind(self, position: int) -> int:
        """Give how far both readers of the trading stream are: risk's position, or less where shadows are behind."""
        return position if self._position is None or self.problem else min(position, self._position)

    async def run(self) -> None:
        """Follow the stream for ever, from when there is a shadow on."""
        try:
            while True:
                try:
                    await self._follow()
                except (NatsError, OSError, TimeoutError, UnreachableError) as err:  # NATS is away: all is made again
                    log.warning("shadows are made again", reason=str(err) or type(err).__name__)
                    await self._begin_anew()
        except asyncio.CancelledError:
            raise
        except Exception as err:
            log.exception("shadows stand still")
            self.problem = (
                f"shadows stand still ({type(err).__name__}: {err}): look at the log, then restart the daemon"
            )
            with contextlib.suppress(Exception):
                await self._tell(self.problem, await self._context.clock.now_ns())

    async def _follow(self) -> None:
        context, trading = self._context, self._context.topology.trading
        await self._await_shadow()
        self._position = 0
        await self._publisher.sync()
        end = await context.end(trading)
        reader = self._reader(0, [f"{context.topology.prefix}.>"])
        await reader.start()
        while True:
            batch = await reader.batch(max(1, _BATCH_MAX // max(1, len(self.names))))
            for item in batch:
                self._take(item)
            await self._tell_faults()
            seq = batch[-1].seq
            if seq >= end:
                await self._store()
            self._position = seq
            await self._announce()
            await asyncio.sleep(0)

    async def _begin_anew(self) -> None:
        """Forget everything but what was told."""
        await asyncio.sleep(_AGAIN_S)
        while self._readers:
            reader = self._readers.pop()
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                await reader.stop()
            self._context.readers.remove(reader)
        self._shadows = Shadows(self._context.settings.limits, self._make_venue)
        self._position, self._made = None, {}

    def _reader(self, after: int, subjects: list[str]) -> Reader:
        made = self._context.reader(self._context.topology.trading, after, subjects)
        self._readers.append(made)
        return made

    async def _await_shadow(self) -> None:
        """Come back when there is a shadow."""
        context, topology = self._context, self._context.topology
        seq, subject = await context.end(topology.trading), f"{topology.prefix}.bots.>"
        for data in await last_per_subject(context, topology.trading, subject):
            if _is_shadow(decode(data).body):  # one that was removed, too: what it did last may not be stored
                return
        reader = self._reader(seq, [subject])
        await reader.start()
        while True:
            for item in await reader.batch(_BATCH_MAX):
                if _is_shadow(read(item, topology.trading, decode).body):
                    await reader.stop()
                    return

    def _take(self, item: Stored) -> None:
        body = read(item, self._context.topology.trading, decode).body
        if isinstance(body, Shadowed):
            mine = self._made.pop((body.life, body.ordinal), None)
            if mine is not None and body_json(mine) != body_json(body):
                self._differs.add(body.bot)
            return
        for said in self._shadows.apply(body):
            self._made[said.life, said.ordinal] = said

    async def _tell_faults(self) -> None:
        """Tell of shadows that stand still, once each."""
        for bot, fault in self._shadows.faults.items():
            if bot not in self._faulty:
                what = f"shadow {bot} stands still ({fault}): remove it, and add it again when that is mended"
                self._faulty[bot] = what
                log.error("a shadow stands still", bot=bot, fault=fault)
                await self._tell(what, await self._context.clock.now_ns())
        self._faulty = {bot: what for bot, what in self._faulty.items() if bot in self._shadows.faults}

    @property
    def problems(self) -> list[str]:
        """What a person should know: why shadows stand still."""
        return [self.problem] if self.problem else [*self._faulty.values()]

    async def _store(self) -> None:
        """Store what is made and not stored; what was told since a start that differs from before is named once."""
        context = self._context
        made, self._made = list(self._made.values()), {}
        while self._differs:
            bot = self._differs.pop()
            now = await context.clock.now_ns()
            what = f"what shadow {bot} did comes out otherwise than it is stored: begin it anew to compare it"
            await self._tell(f"{what} (another version of Tapeline, other limits, or a mended stream)", now)
        outgoing = [context.outgoing(said, self._id(said), trace=_trace(said)) for said in made]
        if outgoing:
            await self._publisher.atomic(outgoing)
            self.stored += len(outgoing)

    async def _tell(self, what: str, now_ns: int) -> None:
        context = self._context
        alert = Alert(make_id(context.account, context.run, "shadows", what, now_ns), "error", "risk", what, now_ns)
        await self._publisher.atomic([context.outgoing(alert, alert.id)])

    def _id(self, said: Shadowed) -> str:
        return make_id(self._context.account, self._context.run, "shadow", said.life, said.ordinal)


def _is_shadow(body: AnyBody) -> bool:
    return isinstance(body, BotDefined) and body.definition.shadow_of != ""


def _trace(said: Shadowed) -> str:
    of = msgspec.structs.asdict(said.of)
    return str(of.get("signal_id") or of.get("client_order_id") or of.get("id") or "")
