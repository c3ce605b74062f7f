"""Whoever is killed and when: what is stored in the end, and what strategies know, is as if nobody had been.

A failure names the seed of the story and the number of the try; both follow from these alone.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from engine.bots import BotStatus
from engine.messages import BotDefined, ChangeBot, Split, body_json
from engine.slots import Snapshot
from tests.engine.lives import Life
from tests.engine.stories import Story
from tests.engine.world import Checkpoint, Filled, Look, Market, World

SEEDS = range(12)
SOAK_SEEDS = range(100, 160)
TRIES = 16


class Mark(NamedTuple):
    """How it is after a step: what a later life may go on from, how much is stored, at which mark a split came last."""

    checkpoint: Checkpoint
    market: int
    trading: int
    split: int


class Kill(NamedTuple):
    """When a life is killed, and what comes until a later one has caught up.

    Attributes:
        kept: Mark of the checkpoint that the later life goes on from.
        killed: Mark to which the life came.
        cut: So many of the last bodies are not stored: it was killed in its last step.
        waiting: So many messages of the market come before the later life starts.
        meanwhile: So many more come before it decides any.
        batch_max: So many messages it decides at once while it catches up.
        again: Share of them that it decides before it is killed, too; None: it is not.
        further: So many steps it goes on before that, where it decides them all.
        is_same: Whether the life after it goes on from the same checkpoint; else from its own last one.
    """

    kept: int
    killed: int
    cut: int
    waiting: int
    meanwhile: int
    batch_max: int
    again: float | None
    further: int
    is_same: bool


class Told:
    """A story, and the life that nobody disturbed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.steps = Story(seed).steps
        self.world = World()
        self.life = Life(self.world)
        self.marks = [Mark(self.life.checkpoint(), 0, 0, 0)]
        for number, step in enumerate(self.steps, 1):
            self.life.step(step)
            split = number if isinstance(step, Split) else self.marks[-1].split
            stored = len(self.world.market), len(self.world.trading)
            self.marks.append(Mark(self.life.checkpoint(), *stored, split))

    def kill(self, number: int) -> Kill:
        """Give the kill of a try; never from before a split, for with each a checkpoint is written."""
        draw = random.Random(f"{self.seed} {number}")
        places = range(1, len(self.steps) + 1)
        killed = draw.choice([place for place in places if self._said_at(place)] if draw.random() < 0.5 else places)
        split = self.marks[killed].split
        kept = draw.randint(split, killed) if draw.random() < 0.8 else split
        cut = self._said_at(killed) if kept < killed and draw.random() < 0.5 else 0
        cut = draw.randint(1, cut) if cut else 0
        comes = 0 if cut and not isinstance(self.steps[killed - 1], Market) else self._market_after(killed)
        waiting = min(comes, draw.choice((0, 0, 1, 5)))
        meanwhile = min(comes - waiting, draw.choice((0, 0, 1, 3)))
        again = draw.random() if draw.random() < 0.4 else None
        rest = draw.choice((1, 3, 250)), again, draw.randint(0, 40), draw.random() < 0.3
        return Kill(kept, killed, cut, waiting, meanwhile, *rest)

    def _said_at(self, place: int) -> int:
        """Count what was stored at a step one by one, and comes again where it is lost."""
        stored = self.marks[place].trading - self.marks[place - 1].trading
        step = self.steps[place - 1]
        if isinstance(step, Filled):
            return stored - 2  # fill and position are stored by another
        return 0 if isinstance(step, Split) else stored

    def _market_after(self, place: int) -> int:
        """Count the messages of the market that come next."""
        others = (number for number, step in enumerate(self.steps[place:]) if not isinstance(step, Market))
        return next(others, len(self.steps) - place)


class Again:
    """The same story with a kill.

    Attributes:
        world: What is stored in it.
        life: The last one.
    """

    def __init__(self, told: Told, kill: Kill) -> None:
        mark = told.marks[kill.killed]
        self._told, self._place = told, kill.killed
        stored = mark.trading - told.marks[kill.killed - 1].trading
        match told.steps[kill.killed - 1]:
            case Look():
                self._is_step_due = kill.cut > 0  # whatever was stored of it, the clock is looked at again
            case ChangeBot():
                self._is_step_due = kill.cut == stored  # else it is answered
            case _:
                self._is_step_due = False
        self.world = World(told.world.market[: mark.market], told.world.trading[: mark.trading - kill.cut])
        checkpoint = told.marks[kill.kept].checkpoint
        self._come(kill.waiting)
        self.life = Life(self.world, checkpoint)
        self._come(kill.meanwhile)
        if kill.again is not None:
            to_decide = len(self.world.market) - self.life.moved
            self.life.read(kill.batch_max, until=self.life.moved + round(kill.again * to_decide))
            checkpoint = checkpoint if kill.is_same else self.life.checkpoint()
            if self.life.moved == len(self.world.market):
                self._go_on(min(self._place + kill.further, self._next_split()))
            self.life = Life(self.world, checkpoint)
        self.life.read(kill.batch_max)
        assert self.life.has_caught_up
        assert not self.life.engine.is_expecting
        self._go_on(len(told.steps))

    def _come(self, count: int) -> None:
        """Let messages of the market come that nobody decides yet."""
        known = len(self.world.market)
        self.world.market += self._told.world.market[known : known + count]
        self._place += count

    def _go_on(self, until: int) -> None:
        if self._is_step_due:
            self.life.step(self._told.steps[self._place - 1])
            self._is_step_due = False
        for step in self._told.steps[self._place : until]:
            self.life.step(step)
        self._place = max(self._place, until)

    def _next_split(self) -> int:
        places = range(self._place, len(self._told.steps))
        return next((place for place in places if isinstance(self._told.steps[place], Split)), len(self._told.steps))


def difference(told: Told, kill: Kill) -> str:
    """Say what differs first from the life that nobody disturbed; empty: nothing."""
    again = Again(told, kill)
    expected, found = said(told.world, told, kill), said(again.world, told, kill)
    for place in range(max(len(expected), len(found))):
        if (one := expected[place : place + 1]) != (other := found[place : place + 1]):
            return f"body {place} of {len(expected)} is {other}, not {one}"
    known, knows = told.life.engine.snapshots(), again.life.engine.snapshots()
    differ = (f"{other}, not {one}" for one, other in zip(known, knows, strict=True) if not is_same(one, other))
    return next(differ, "")


def said(world: World, told: Told, kill: Kill) -> list[bytes]:
    """Give what is stored, in order.

    Where a look at the clock is stored in part, a later life does the moments that are stored first, each with what is
    said at it.
    """
    lines = [*map(body_json, world.trading)]
    if kill.cut and isinstance(told.steps[kill.killed - 1], Look):
        first, last = (told.marks[place].trading for place in (kill.killed - 1, kill.killed))
        lines[first:last] = sorted(lines[first:last])
    return lines


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots are the same, but for the last digits of their numbers."""
    return one[:4] == other[:4] and one[4] == pytest.approx(other[4], rel=1e-9, abs=1e-12)


def check(seed: int) -> None:
    told = Told(seed)
    for number in range(TRIES):
        kill = told.kill(number)
        place = f"seed {seed}, try {number}, {kill}"
        try:
            what = difference(told, kill)
        except Exception as err:
            err.add_note(place)
            raise
        assert not what, f"{place}: {what}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_changes_nothing(seed: int) -> None:
    check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_a_kill_changes_nothing_in_many_stories(seed: int) -> None:
    check(seed)


def test_stories_and_kills_are_of_every_kind() -> None:
    stored, kills = set[str](), set[str]()
    for told in map(Told, SEEDS):
        stored |= {type(body).__name__ for body in (*told.world.market, *told.world.trading)}
        stored |= {body.status for body in told.world.trading if isinstance(body, BotDefined)}
        for kill in map(told.kill, range(TRIES)):
            kills |= {name for name, value in kill._asdict().items() if value}
            kills |= {type(told.steps[kill.killed - 1]).__name__} if kill.cut else set()
    assert stored >= {"Bar", "PastBars", "Ticks", "DerivedBar", "IndicatorValues", "Signal", "Alert"}
    assert stored >= {"BotDefined", *BotStatus, "BotRefused", "Timer", "Split"}
    assert stored >= {"Fill", "Position", "FillTold", "Shadowed"}
    assert kills >= {*Kill._fields, "Bar", "Ticks", "Look", "Filled", "ChangeBot"}
