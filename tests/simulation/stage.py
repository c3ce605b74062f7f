"""Puts the simulation's time, its log and its `last_per_subject` where the services' modules look for the real ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import streams.pipeline
import streams.publisher
import streams.rest
import streams.services.executor
import streams.services.feed
import streams.services.risk
import streams.services.signals
from tests.simulation.world import World, quiet


@contextlib.contextmanager
def staged(world: World) -> Iterator[None]:
    """For the duration of one world."""
    clock = SimpleNamespace(monotonic=world.loop.time)

    async def last_per_subject(context: Any, stream: str, subject: str) -> list[bytes]:
        return world.server.streams[stream].last_per_subject(subject)

    log = quiet()
    with contextlib.ExitStack() as stack:
        for module in (streams.pipeline, streams.rest, streams.services.executor):
            stack.enter_context(patch.object(module, "time", clock))
        for module in (streams.publisher, streams.services.executor, streams.services.feed):
            stack.enter_context(patch.object(module, "log", log))
        for module in (streams.services.feed, streams.services.signals):
            stack.enter_context(patch.object(module, "last_per_subject", last_per_subject))
        for module in (streams.services.risk, streams.services.signals, streams.services.executor):
            stack.enter_context(patch.object(module, "_BATCH_MAX", world.faults.batch_max))
        yield
