"""Plays a seed: sets the stage, runs the world, checks it."""

from __future__ import annotations

import contextlib

import msgspec

from tests.simulation import invariants
from tests.simulation.loop import Livelock
from tests.simulation.mends import waiting
from tests.simulation.patching import Patch, patched
from tests.simulation.stage import staged
from tests.simulation.world import Failure, World


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
        except Failure as err:
            world.failures.append(str(err))

    world.exchange.on_post = on_post
    failure = ""
    with staged(world):
        try:
            world.run()
            invariants.check(world)
        except (Failure, Livelock) as err:
            failure = str(err)
    return Result(seed, failure, world)


@contextlib.contextmanager
def mended(*mutants: Patch):  # noqa: ANN201
    """The code with the mends it waits for, and with mutants."""
    with patched(*waiting(), *mutants):
        yield
