"""`tapeline halt` and `tapeline resume`: whether orders may leave.

Halting sets the latch file first: executor looks at it before each POST and cancels what is open, with or without NATS.
Then the command is stored, so that risk denies and everybody sees why. With `--flatten` or `--suspend` the account
itself is dealt with from this process, by REST, while the command is on its way (tapeline.fence). Resuming goes the
other way and needs a daemon.
"""

from __future__ import annotations

# Nothing that speaks with NATS or the venue is imported before the latch is set: that would be half a second.
import asyncio
import getpass
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.clock import wall_ns
from config.settings import Settings
from engine.errors import ConfigError, TapelineError, UnreachableError
from engine.messages import Command
from engine.values import TradingMode
from streams.latch import Latch
from tapeline import folders

if TYPE_CHECKING:
    from streams.connection import Client
    from streams.probe import Probe
    from streams.role import Points

_OBEYED_S_MAX = 10.0
_ENDED_S_MAX = 30.0
_NOBODY = "no daemon runs there; one that is started finds the latch and stays halted\n"


class HaltOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is to happen besides the halt.

    Attributes:
        reduce_only: Let orders pass that make a position smaller, instead of halting.
        flatten: Cancel what is open, then close every position, by REST from here.
        suspend: Let the account refuse new orders afterwards; False lifts that before anything else.
    """

    reduce_only: bool = False
    flatten: bool = False
    suspend: bool | None = None

    @property
    def needs_fence(self) -> bool:
        """Whether this process speaks with the venue."""
        return self.flatten or self.suspend is not None


def run_halt(data_dir: Path | None, reason: str, options: HaltOptions, points: Points | None = None) -> int:
    """Halt; 0 when what was asked for is known to be so.

    Without `--flatten` and `--suspend`: risk obeys and nothing is open; 1 when only the latch is known to hold. With
    them: the account is as asked, whether or not NATS answers.
    """
    if options.reduce_only and options.needs_fence:
        msg = "--reduce-only leaves positions and the account alone: give it without --flatten and --suspend"
        raise ConfigError(msg)
    folder, settings = folders.commanded(data_dir, needs_folder=options.needs_fence)
    mode = TradingMode.REDUCING if options.reduce_only else TradingMode.HALTED
    command = _command(mode, reason)
    if folder is not None and not options.reduce_only:
        note = Latch(folder).set(reason, command.by, command.ts_event)
        command = Command(note.id or command.id, mode, note.reason, note.by, note.ts_event)
        sys.stdout.write(f"latch set in {folder}: no order leaves from here on\n")
        sys.stdout.flush()
    if options.needs_fence and folder is not None:
        from streams.role import NoPoints
        from tapeline.fence.act import act

        return _beside(settings, command, lambda: act(folder, command.id, options, points or NoPoints()))
    if settings is None:
        sys.stdout.write(_NOBODY)
        return 0
    try:
        return asyncio.run(_halt(settings, command))
    except (UnreachableError, ConfigError) as err:
        if folder is None or options.reduce_only:
            raise
        sys.stderr.write(f"tapeline: {err}; the latch holds, and executor cancels what is open without NATS\n")
        return 1


def _beside(settings: Settings | None, command: Command, work: Callable[[], int]) -> int:
    """Work on the account without waiting for NATS; the command is told meanwhile, if anybody listens."""
    told = [""]

    def tell() -> None:
        told[0] = asyncio.run(_told(settings, command))

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    wait_s = 3 * _OBEYED_S_MAX
    try:
        return work()
    except KeyboardInterrupt:
        wait_s = 0.0
        raise
    finally:
        telling.join(wait_s)
        sys.stdout.write(told[0])


async def _told(settings: Settings | None, command: Command) -> str:
    """Store the command; say how that went. Never raises for want of a daemon, and ends within a bounded time."""
    from streams.commanding import obeyed
    from streams.role import topology_of

    if settings is None:
        return _NOBODY
    try:
        async with asyncio.timeout(2 * _OBEYED_S_MAX):
            nc = await _connect(settings)
            try:
                has_obeyed = await obeyed(nc, topology_of(settings), command, wall_ns(), _OBEYED_S_MAX)
            finally:
                await nc.close()
    except (UnreachableError, ConfigError, TimeoutError) as err:
        why = str(err) or "NATS does not answer"
        return f"the daemon was not told ({why}); the latch holds: executor sends nothing, and tells risk later\n"
    if not has_obeyed:
        return "the command is stored, but risk does not answer: see `tapeline status`\n"
    return f"trading is {command.mode.value}: {command.reason}\n"


def run_resume(data_dir: Path | None, reason: str, *, unsuspend: bool = False) -> int:
    """End a halt; 0 when risk obeys."""
    folder, settings = folders.commanded(data_dir, needs_folder=unsuspend)
    if settings is None:
        msg = f"no daemon runs in {folder}: start it (it stays halted), then resume"
        raise UnreachableError(msg)
    if folder is not None:
        from tapeline.fence.act import lift_or_tell

        lift_or_tell(folder, lift=unsuspend)
    return asyncio.run(_resume(settings, folder, _command(TradingMode.ACTIVE, reason)))


def _command(mode: TradingMode, reason: str) -> Command:
    return Command(secrets.token_hex(16), mode, reason, getpass.getuser(), wall_ns())


async def _connect(settings: Settings) -> Client:
    from streams.connection import connect
    from streams.keys import OPERATOR, identity

    who = identity(settings.nats.nkey_file, OPERATOR)
    return await connect(settings.nats.url, "tapeline-command", identity=who, first_timeout_s=3)


async def _halt(settings: Settings, command: Command) -> int:
    from streams.commanding import obeyed
    from streams.probe import Probe
    from streams.role import topology_of

    nc = await _connect(settings)
    try:
        topology = topology_of(settings)
        if not await obeyed(nc, topology, command, wall_ns(), _OBEYED_S_MAX):
            sys.stderr.write("tapeline: the command is stored, but risk does not answer: see `tapeline status`\n")
            return 1
        sys.stdout.write(f"trading is {command.mode.value}: {command.reason}\n")
        if command.mode is TradingMode.REDUCING:
            return 0
        left = await _wait_for_end(Probe(nc, topology))
        if left < 0:
            sys.stderr.write("tapeline: executor does not answer, its orders are not known: see `tapeline status`\n")
            return 1
        if left:
            sys.stderr.write(f"tapeline: {left} orders are still open at the venue: see `tapeline status`\n")
            return 1
        sys.stdout.write("no order is open but those of others and those that protect or close positions\n")
        risk = (await Probe(nc, topology).statuses(("risk",))).get("risk")
        for problem in [] if risk is None else risk.problems:
            sys.stdout.write(f"{problem}\n")
        return 0
    finally:
        await nc.close()


async def _wait_for_end(probe: Probe) -> int:
    """Wait until no order is open; give how many are at last, -1 when executor does not answer."""
    deadline = time.monotonic() + _ENDED_S_MAX
    while True:
        status = (await probe.statuses(("executor",))).get("executor")
        left = -1 if status is None else status.counters["unwanted"]
        if left == 0 or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.1)


async def _resume(settings: Settings, folder: Path | None, command: Command) -> int:
    from streams.commanding import obeyed
    from streams.role import topology_of

    nc = await _connect(settings)
    try:
        if folder is not None:
            Latch(folder).clear()
        if not await obeyed(nc, topology_of(settings), command, wall_ns(), _OBEYED_S_MAX):
            msg = "the command is stored, but risk does not answer: see `tapeline status`"
            raise TapelineError(msg)
        sys.stdout.write(f"trading is {command.mode.value}: {command.reason}\n")
        return 0
    finally:
        await nc.close()
