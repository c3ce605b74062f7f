"""`tapeline halt` and `tapeline resume`: whether orders may leave.

Halting sets the latch file first: executor looks at it before each POST and cancels what is open, with or without NATS.
Then the command is stored, so that risk denies and everybody sees why. Resuming goes the other way and needs a daemon.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import sys
import time
from pathlib import Path

from adapters.clock import wall_ns
from config.settings import NatsSettings, Settings
from engine.errors import TapelineError, UnreachableError
from engine.messages import Command
from engine.values import TradingMode
from streams.commanding import obeyed
from streams.connection import connect
from streams.latch import Latch
from streams.probe import Probe
from streams.role import topology_of
from tapeline import folders

_OBEYED_S_MAX = 10.0
_ENDED_S_MAX = 30.0


def run_halt(data_dir: Path | None, reason: str, *, reduce_only: bool) -> int:
    """Halt; 0 when risk obeys and nothing is open, 1 when only the latch is known to hold."""
    folder, settings = _where(data_dir)
    mode = TradingMode.REDUCING if reduce_only else TradingMode.HALTED
    command = _command(mode, reason)
    if folder is not None and not reduce_only:
        note = Latch(folder).set(reason, command.by, command.ts_event)
        command = Command(note.id or command.id, mode, note.reason, note.by, note.ts_event)
        sys.stdout.write(f"latch set in {folder}: no order leaves from here on\n")
    if settings is None:
        sys.stdout.write("no daemon runs there; one that is started finds the latch and stays halted\n")
        return 0
    try:
        return asyncio.run(_halt(settings, command))
    except UnreachableError as err:
        if folder is None or reduce_only:
            raise
        sys.stderr.write(f"tapeline: {err}; the latch holds, and executor cancels what is open without NATS\n")
        return 1


def run_resume(data_dir: Path | None, reason: str) -> int:
    """End a halt; 0 when risk obeys."""
    folder, settings = _where(data_dir)
    if settings is None:
        msg = f"no daemon runs in {folder}: start it (it stays halted), then resume"
        raise UnreachableError(msg)
    return asyncio.run(_resume(settings, folder, _command(TradingMode.ACTIVE, reason)))


def _where(data_dir: Path | None) -> tuple[Path | None, Settings | None]:
    """Give the data directory, if it is here, and the settings of the daemon, if one runs."""
    url = os.environ.get("TAPELINE_NATS__URL", "") if data_dir is None else ""
    if url:
        return None, Settings(nats=NatsSettings(url=url, prefix=os.environ.get("TAPELINE_NATS__PREFIX", "tape")))
    folder = folders.resolve(data_dir)
    return folder, folders.running_settings(folder) if folders.is_running(folder) else None


def _command(mode: TradingMode, reason: str) -> Command:
    return Command(secrets.token_hex(16), mode, reason, getpass.getuser(), wall_ns())


async def _halt(settings: Settings, command: Command) -> int:
    nc = await connect(settings.nats.url, "tapeline-halt", first_timeout_s=3)
    try:
        topology = topology_of(settings)
        if not await obeyed(nc, topology, command, wall_ns(), _OBEYED_S_MAX):
            sys.stderr.write("tapeline: the command is stored, but risk does not answer: see `tapeline status`\n")
            return 1
        sys.stdout.write(f"trading is {command.mode.value}: {command.reason}\n")
        if command.mode is TradingMode.REDUCING:
            return 0
        left = await _wait_for_end(Probe(nc, topology))
        if left:
            sys.stderr.write(f"tapeline: {left} orders are still open at the venue: see `tapeline status`\n")
            return 1
        sys.stdout.write("no order is open\n")
        return 0
    finally:
        await nc.close()


async def _wait_for_end(probe: Probe) -> int:
    """Wait until no order is open; give how many are at last."""
    deadline = time.monotonic() + _ENDED_S_MAX
    while True:
        status = (await probe.statuses(("executor",))).get("executor")
        left = -1 if status is None else status.counters["unwanted"]
        if left == 0 or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.1)


async def _resume(settings: Settings, folder: Path | None, command: Command) -> int:
    nc = await connect(settings.nats.url, "tapeline-resume", first_timeout_s=3)
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
