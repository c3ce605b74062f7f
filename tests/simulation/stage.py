"""Puts the simulation's time, its log and its `last_per_subject` where the services' modules look for the real ones."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import streams.executing.canceling
import streams.executing.reconciling
import streams.executing.sending
import streams.feeding.following
import streams.feeding.health
import streams.feeding.holding
import streams.feeding.market
import streams.feeding.warming
import streams.pipeline
import streams.publisher
import streams.rest
import streams.services.executor
import streams.services.feed
import streams.services.risk
import streams.services.signals
import streams.shadowing
from tests.simulation.world import World, quiet

_LOOK_S = 9.0
"""At the latch and at what should not be open; ten times a second would be most of what happens here."""


@contextlib.contextmanager
def staged(world: World) -> Generator[None]:
    """For the duration of one world."""

    async def last_per_subject(context: Any, stream: str, subject: str) -> list[bytes]:
        return world.server.streams[stream].last_per_subject(subject)

    canceling, latching = streams.executing.canceling, streams.executing.latching
    executor, feed, signals = streams.services.executor, streams.services.feed, streams.services.signals
    holding, warming = streams.feeding.holding, streams.feeding.warming
    scenery: list[tuple[Any, str, Any]] = []
    for name, stand_in, modules in (
        (
            "time",
            SimpleNamespace(monotonic=world.loop.time),
            (streams.pipeline, streams.rest, streams.feeding.health, canceling, executor),
        ),
        (
            "log",
            quiet(),
            (
                streams.publisher,
                streams.feeding.market,
                warming,
                streams.executing.reconciling,
                canceling,
                executor,
                feed,
                signals,
                streams.shadowing,
            ),
        ),
        ("_LATCH_S", _LOOK_S, (latching,)),
        ("_LOOK_S", _LOOK_S, (canceling, streams.services.risk)),
        (
            "last_per_subject",
            last_per_subject,
            (
                feed,
                holding,
                streams.feeding.market,
                streams.feeding.following,
                signals,
                streams.asking,
                streams.shadowing,
            ),
        ),
        ("_BATCH_MAX", world.faults.batch_max, (streams.services.risk, signals, executor, streams.shadowing)),
        # Liveness is judged by real time, which does not pass here: said rarely, believed for ever.
        ("_CONFIRM_S", 25.0, (streams.services.risk,)),
        ("_CONFIRMED_S_MAX", 1e9, (streams.executing.sending,)),
    ):
        scenery += [(module, name, stand_in) for module in modules]
    before = [(module, name, getattr(module, name)) for module, name, _ in scenery]
    try:
        for module, name, stand_in in scenery:
            setattr(module, name, stand_in)
        yield
    finally:
        for module, name, real in before:
            setattr(module, name, real)
