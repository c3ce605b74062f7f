"""A command is answered by risk itself: heard also where another mode follows at once, and no other answer counts."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from engine.messages import Command, Head, TradingState, decode, encode
from engine.values import TradingMode
from streams.commanding import obeyed
from streams.publisher import Outgoing, Publisher
from streams.subjects import state_subject, subject_of
from streams.topology import Topology

RESUME = Command("resume-1", TradingMode.ACTIVE, "looked at it", "operator", 17)


async def _answers(nc: Client, topology: Topology, *states: TradingState) -> None:
    """Be risk: when the command is stored, store these states, and say only the last one, as risk may."""
    publisher = Publisher(nc, topology.trading, "risk")
    sub = await nc.subscribe(subject_of(topology.prefix, RESUME))
    await nc.flush()
    assert decode((await sub.next_msg(5)).data).body == RESUME
    for number, state in enumerate(states):
        await publisher.one(Outgoing(subject_of(topology.prefix, state), encode(Head(18), state), f"state-{number}"))
    await nc.publish(state_subject(topology.prefix), msgspec.json.encode(states[-1]))
    await sub.unsubscribe()


@pytest.mark.parametrize(
    ("cause", "last", "heard"),
    [
        ("resume-1", TradingMode.REDUCING, True),  # answered, then superseded at once
        ("other", TradingMode.REDUCING, False),  # the answer to another command
        ("other", TradingMode.ACTIVE, True),  # the mode is the one asked for
    ],
)
async def test_an_answer_counts_even_when_another_mode_follows_at_once(
    nc: Client, js: JetStreamContext, topology: Topology, cause: str, last: TradingMode, *, heard: bool
) -> None:
    states = TradingState(TradingMode.ACTIVE, "", cause, 18), TradingState(last, "budget", "rule", 18)
    risk = asyncio.create_task(_answers(nc, topology, *states))
    assert await obeyed(nc, topology, RESUME, 17, 1.0) is heard
    await risk
    assert (await js.stream_info(topology.trading)).state.messages == 3
