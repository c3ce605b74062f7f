"""A role's own command that makes trading REDUCING, because something it watches is not as it must be.

It never makes a mode laxer: it commands only while trading is active, and only as the next command after the last one
it saw (compare-and-set). Only a person's `tapeline resume` ends it. Called by the watches of clock and room.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from nats.aio.msg import Msg
from nats.js.errors import APIError, NotFoundError

from engine.ids import make_id
from engine.messages import Command, TradingState, decode
from engine.values import TradingMode
from streams.subjects import state_subject, subject_of

if TYPE_CHECKING:
    from streams.role import Context

_MODE_S_MAX = 5.0
"""Risk says the mode twice a second; while it does not, executor sends nothing."""
_WRONG_LAST_SEQUENCE = 10071


async def reduce(context: Context, reason: str, watch: str, role: str) -> bool:
    """Let positions only become smaller, unless the mode is as strict already; False while it is not known.

    Args:
        context: The role's.
        reason: Stored with the command.
        watch: What found it; part of the command's id.
        role: Who commands.
    """
    while True:
        seq, last = await _last_command(context)
        mode = last if last is not TradingMode.ACTIVE else await _mode(context)
        if mode is not TradingMode.ACTIVE:
            return mode is not None
        now = await context.clock.now_ns()
        command_id = make_id(context.account, context.run, watch, seq)
        if await _store(context, Command(command_id, TradingMode.REDUCING, reason, role, now), seq):
            return True


async def _last_command(context: Context) -> tuple[int, TradingMode]:
    """Give the sequence of the last message among the commands, and the mode it asks for; active if none does."""
    topology = context.topology
    try:
        found = await context.js.get_last_msg(topology.trading, f"{topology.prefix}.commands")
    except NotFoundError:
        return 0, TradingMode.ACTIVE
    body = decode(found.data or b"").body
    return found.seq or 0, body.mode if isinstance(body, Command) else TradingMode.ACTIVE


async def _mode(context: Context) -> TradingMode | None:
    """Give the account's mode as risk says it now; None when risk says nothing."""
    said: asyncio.Future[TradingMode] = asyncio.get_running_loop().create_future()

    async def on_state(msg: Msg) -> None:
        if not said.done():
            said.set_result(msgspec.json.decode(msg.data, type=TradingState).mode)

    sub = await context.nc.subscribe(state_subject(context.topology.prefix), cb=on_state)
    try:
        return await asyncio.wait_for(said, _MODE_S_MAX)
    except TimeoutError:
        return None
    finally:
        await sub.unsubscribe()


async def _store(context: Context, command: Command, after: int) -> bool:
    """Store the command as the next one after sequence `after`; False where another came first."""
    outgoing = context.outgoing(command, command.id)
    headers = {"Nats-Msg-Id": command.id, "Nats-Expected-Last-Subject-Sequence": str(after)}
    subject = subject_of(context.topology.prefix, command)
    try:
        await context.js.publish(subject, outgoing.data, stream=context.topology.trading, headers=headers, timeout=5)
    except APIError as err:
        if err.err_code == _WRONG_LAST_SEQUENCE:
            return False
        raise
    return True
