"""A share of the seeds, each mutant with the seed known to find it, and that a seed is always the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.faults import CHANCES
from tests.simulation.mutants import MUTANTS, SEEDS
from tests.simulation.play import digest, mended, play

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 5_000
POINTS = {
    f"{role}.{when}_{what}"
    for role, steps in {
        "feed": ("publish", "tell"),
        "signals": ("publish", "checkpoint"),
        "risk": ("publish", "checkpoint"),
        "executor": ("publish", "checkpoint", "post"),
    }.items()
    for what in steps
    for when in ("before", "after")
}
RARE = {"fill_before_replace", "replace_rejected"}
"""A person must have changed an order right then."""


def _hold(first: int, count: int) -> tuple[set[str], Counter[str]]:
    """Play seeds; every promise holds in each. Returns the points passed and the faults seen."""
    failed: list[str] = []
    points: set[str] = set()
    seen: Counter[str] = Counter()
    with mended():
        for seed in range(first, first + count):
            result = play(seed)
            points |= set(result.world.points)
            seen += result.world.faults.seen
            if result.failure:
                failed.append(f"seed {seed}: {result.failure} (python -m tests.simulation --seeds 1 --first {seed})")
    assert not failed, "\n".join(failed)
    return points, seen


def test_every_promise_holds_in_110_seeds() -> None:
    points, seen = _hold(41, 110)  # in which every fault happens
    assert points == POINTS
    assert set(CHANCES) - RARE <= set(seen), "a fault that never happened"
    killed_at = {name.removeprefix("kill at ") for name in seen if name.startswith("kill at ")}
    assert {name.partition(".")[0] for name in killed_at} == {"feed", "signals", "risk", "executor"}


@pytest.mark.soak
def test_every_promise_holds_in_250_more() -> None:
    points, seen = _hold(14_001, 250)
    killed_at = {name.removeprefix("kill at ") for name in seen if name.startswith("kill at ")}
    assert killed_at == points == POINTS
    assert set(CHANCES) <= set(seen), "a fault that never happened, rare ones too"
    assert set(CHANCES) <= set(seen), "a fault that never happened"
    assert {"halt", "flat", "wish to replace", "wish to cancel", "slip"} <= set(seen)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found(name: str) -> None:
    """By the seed that is noted; by another one where a change moved what the seeds stand for (`--find` notes anew)."""
    with mended(*MUTANTS[name]):
        assert any(play(seed).failure for seed in (SEEDS[name], *range(1, SEEDS_MAX))), MUTANTS[name][0].why


def test_no_mutant_is_found_where_nothing_is_broken() -> None:
    with mended():
        assert {seed: play(seed).failure for seed in set(SEEDS.values()) if seed > 150} == dict.fromkeys(
            (seed for seed in SEEDS.values() if seed > 150), ""
        )


def test_a_seed_is_the_same_in_another_process_with_other_hashes() -> None:
    count = 6
    with mended():
        here = [f"seed {seed} is {digest(play(seed))}" for seed in range(1, count + 1)]
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(count), "--digest"]
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    there = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert there.returncode == 0, there.stderr
    assert there.stdout.splitlines()[:count] == here
