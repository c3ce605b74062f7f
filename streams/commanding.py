"""The commanding side: store a command and wait until risk obeys, or a wish about an order and wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from engine.messages import (
    AnyBody,
    BotDefined,
    CancelOrder,
    ChangeBot,
    Command,
    Head,
    ReplaceOrder,
    TradingState,
    decode,
    encode,
)
from streams.publisher import Outgoing, Publisher
from streams.subjects import escape, state_subject, subject_of
from streams.topology import Topology


async def obeyed(nc: Client, topology: Topology, command: Command, wall_ns: int, wait_s: float) -> bool:
    """Store a command (a known id is stored once) and wait for risk to say the mode it asks for.

    Risk answers the command itself, which may be superseded before it says its mode again; of a known id only the mode
    is said.

    Returns:
        Whether risk said so within `wait_s`; the command is stored either way.
    """
    said = asyncio.Event()

    async def on_answer(msg: Msg) -> None:
        body = decode(msg.data).body
        if isinstance(body, TradingState) and body.cause == command.id:
            said.set()

    async def on_state(msg: Msg) -> None:
        if msgspec.json.decode(msg.data, type=TradingState).mode is command.mode:
            said.set()

    answers = subject_of(topology.prefix, TradingState(command.mode, "", "", 0))
    subs = [await nc.subscribe(answers, cb=on_answer), await nc.subscribe(state_subject(topology.prefix), cb=on_state)]
    try:
        await nc.flush()
        message = Outgoing(subject_of(topology.prefix, command), encode(Head(wall_ns), command), command.id)
        await Publisher(nc, topology.trading, "command").one(message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(said.wait(), wait_s)
        return said.is_set()
    finally:
        for sub in subs:
            await sub.unsubscribe()


async def follow[T](
    nc: Client,
    topology: Topology,
    wish: CancelOrder | ReplaceOrder | ChangeBot,
    take: Callable[[AnyBody], T | None],
    *,
    wall_ns: int,
    wait_s: float,
) -> T | None:
    """Store a wish and hand every event of what it is about to `take` until it gives an end.

    Args:
        nc: A connection.
        topology: Names of the streams.
        wish: What to store.
        take: Gives the end, or None for an event that is none.
        wall_ns: For the head of the message.
        wait_s: How long to wait.

    Returns:
        The end; None when none came within `wait_s`. The wish is stored either way.
    """
    ended: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def on_event(msg: Msg) -> None:
        end = take(decode(msg.data).body)
        if end is not None and not ended.done():
            ended.set_result(end)

    prefix = topology.prefix
    kinds = ("bots", "refusals") if isinstance(wish, ChangeBot) else ("orders", "intents", "denials")
    subs = [await nc.subscribe(f"{prefix}.{kind}.>", cb=on_event) for kind in kinds]
    try:
        await nc.flush()
        message = Outgoing(subject_of(prefix, wish), encode(Head(wall_ns), wish), wish.id)
        await Publisher(nc, topology.trading, "wish").one(message)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(ended, wait_s)
        return None
    finally:
        for sub in subs:
            await sub.unsubscribe()


async def definitions(nc: Client, topology: Topology, bot: str = "") -> list[BotDefined]:
    """Give every revision of one bot, or of all, oldest first; the last of each counts."""
    js, seq = nc.jetstream(timeout=5), 1
    subject = f"{topology.prefix}.bots.{escape(bot) if bot else '*'}"
    found: list[BotDefined] = []
    while True:
        try:
            raw = await js.get_msg(topology.trading, seq, subject=subject, next=True, direct=True)
        except NotFoundError:
            return found
        seq = (raw.seq or 0) + 1
        body = decode(raw.data or b"").body
        if isinstance(body, BotDefined):
            found.append(body)
