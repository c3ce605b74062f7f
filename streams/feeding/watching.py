"""Compares this machine's clock with the venue's now and then; a clock that is wrong by too much stops new positions.

Ages, sessions and lives of orders are reckoned by this clock. Beyond the limit: a problem in the status, an alert, and
a stored command that makes trading REDUCING. It never makes a mode laxer: it commands only while trading is active, and
only as the next command after the last one it saw (compare-and-set). Only a person's `tapeline resume` ends it.
Called by streams/services/feed, where the composition root gave it a venue's clock: a virtual one has no offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from engine.errors import TapelineError
from engine.ids import make_id
from engine.messages import Command, TradingState, decode
from engine.offsets import is_beyond, words
from engine.ports import VenueTime
from engine.values import TradingMode
from streams.role import Context
from streams.subjects import state_subject, subject_of

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_MODE_S_MAX = 5.0
"""Risk says the mode twice a second; while it does not, executor sends nothing."""
_AGAIN_S = 10.0
_WRONG_LAST_SEQUENCE = 10071


class ClockWatch:
    """The watch of one feed.

    Args:
        context: The role's.
        venue_time: The clock that counts.
        report: Takes level and text of what a person should see.

    Attributes:
        problem: What is wrong; empty while the clocks agree.
        note: What was found last.
    """

    def __init__(self, context: Context, venue_time: VenueTime, report: Callable[[str, str], None]) -> None:
        self._context = context
        self._settings = context.settings.daemon
        self._venue_time = venue_time
        self._report = report
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="clock")
        self.problem = ""
        self.note = ""

    async def run(self) -> None:
        """Look again and again until canceled."""
        every_s = self._settings.clock_every_s
        while True:
            is_done = await self.look()
            await asyncio.sleep(every_s if is_done else min(every_s, _AGAIN_S))

    def close(self) -> None:
        """Give up the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> bool:
        """Compare once, and do what follows; give whether there is nothing left to do."""
        try:
            offset = await asyncio.get_running_loop().run_in_executor(self._pool, self._venue_time.offset)
        except TapelineError as err:
            self.note = f"clock not compared: {err}"
            log.warning("clock not compared", error=str(err))
            return True
        self.note = f"clock {words(offset)}"
        was = self.problem
        if not is_beyond(offset, self._settings.clock_offset_ms_max):
            self.problem = ""
            if was:
                self._report(
                    "info", f"this machine's clock agrees again: {words(offset)}; `tapeline resume` when ready"
                )
            return True
        limit = f"limit {self._settings.clock_offset_ms_max} ms"
        self.problem = f"this machine's clock is {words(offset)}, {limit}: set it (timedatectl set-ntp true)"
        if not was:
            self._report("critical", self.problem)
        try:
            return await self._reduce()
        except (NatsError, OSError, TimeoutError) as err:
            log.warning("trading is not made reducing yet", error=str(err))
            return False

    async def _reduce(self) -> bool:
        """Let positions only become smaller, unless the mode is as strict already; False while it is not known."""
        while True:
            seq, last = await self._last_command()
            mode = last if last is not TradingMode.ACTIVE else await self._mode()
            if mode is not TradingMode.ACTIVE:
                return mode is not None
            now = await self._context.clock.now_ns()
            command_id = make_id(self._context.account, self._context.run, "clock", seq)
            command = Command(command_id, TradingMode.REDUCING, self.problem, "feed", now)
            if await self._store(command, seq):
                return True

    async def _last_command(self) -> tuple[int, TradingMode]:
        """Give the sequence of the last message among the commands, and the mode it asks for; active if none does."""
        topology = self._context.topology
        try:
            found = await self._context.js.get_last_msg(topology.trading, f"{topology.prefix}.commands")
        except NotFoundError:
            return 0, TradingMode.ACTIVE
        body = decode(found.data or b"").body
        return found.seq or 0, body.mode if isinstance(body, Command) else TradingMode.ACTIVE

    async def _mode(self) -> TradingMode | None:
        """Give the account's mode as risk says it now; None when risk says nothing."""
        said: asyncio.Future[TradingMode] = asyncio.get_running_loop().create_future()

        async def on_state(msg: Msg) -> None:
            if not said.done():
                said.set_result(msgspec.json.decode(msg.data, type=TradingState).mode)

        sub = await self._context.nc.subscribe(state_subject(self._context.topology.prefix), cb=on_state)
        try:
            return await asyncio.wait_for(said, _MODE_S_MAX)
        except TimeoutError:
            return None
        finally:
            await sub.unsubscribe()

    async def _store(self, command: Command, after: int) -> bool:
        """Store the command as the next one after sequence `after`; False where another came first."""
        outgoing = self._context.outgoing(command, command.id)
        headers = {"Nats-Msg-Id": command.id, "Nats-Expected-Last-Subject-Sequence": str(after)}
        subject = subject_of(self._context.topology.prefix, command)
        try:
            await self._context.js.publish(
                subject, outgoing.data, stream=self._context.topology.trading, headers=headers, timeout=5
            )
        except APIError as err:
            if err.err_code == _WRONG_LAST_SEQUENCE:
                return False
            raise
        return True
