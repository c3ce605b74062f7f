"""Plays a seed: sets the stage, runs the world, checks it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator

import msgspec

from tests.simulation import invariants
from tests.simulation.loop import LivelockError
from tests.simulation.mends import waiting
from tests.simulation.patching import Patch, patched
from tests.simulation.stage import staged
from tests.simulation.world import FoundError, World


class Result(msgspec.Struct, frozen=True):
    """How a seed went; `failure` is empty when every promise held."""

    seed: int
    failure: str
    world: World


def play(seed: int) -> Result:
    """Play one seed, with the code as it is patched now."""
    world = World(seed)

    def on_post(intent: object) -> None:
        try:
            invariants.on_post(world, intent)  # type: ignore[arg-type]
        except FoundError as err:
            world.failures.append(str(err))

    world.exchange.on_post = on_post
    world.on_rest = lambda: invariants.at_rest(world)
    failure = ""
    with staged(world):
        try:
            world.run()
            invariants.check(world)
        except (FoundError, LivelockError) as err:
            failure = str(err)
    return Result(seed, failure, world)


def digest(result: Result) -> str:
    """Everything that was stored, and every fault, as one number: equal for equal runs."""
    hashed = hashlib.blake2b(result.failure.encode(), digest_size=16)
    for stream in result.world.server.streams.values():
        for stored, subject, msg_id in zip(stream.messages, stream.subjects, stream.ids, strict=True):
            hashed.update(f"{stored.seq}|{subject}|{msg_id}|".encode() + stored.data)
    hashed.update(repr(sorted(result.world.faults.seen.items())).encode())
    return hashed.hexdigest()


@contextlib.contextmanager
def mended(*mutants: Patch, without: str = "") -> Generator[None]:
    """The code with the mends it waits for, but one, and with mutants."""
    with patched(*waiting(without), *mutants):
        yield
