"""The commanding side of the trading mode: store a command, wait until risk obeys."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.messages import Command, Head, TradingState, encode
from streams.publisher import Outgoing, Publisher
from streams.subjects import state_subject, subject_of
from streams.topology import Topology


async def obeyed(nc: Client, topology: Topology, command: Command, wall_ns: int, wait_s: float) -> bool:
    """Store a command (a known id is stored once) and wait for risk to say the mode it asks for.

    Returns:
        Whether risk said so within `wait_s`; the command is stored either way.
    """
    said = asyncio.Event()

    async def on_state(msg: Msg) -> None:
        if msgspec.json.decode(msg.data, type=TradingState).mode is command.mode:
            said.set()

    sub = await nc.subscribe(state_subject(topology.prefix), cb=on_state)
    try:
        message = Outgoing(subject_of(topology.prefix, command), encode(Head(wall_ns), command), command.id)
        await Publisher(nc, topology.trading, "command").one(message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(said.wait(), wait_s)
        return said.is_set()
    finally:
        await sub.unsubscribe()
