"""`python -m tests.simulation --seeds 5000 [--first N] [--mutant NAME] [--stop]`: play seeds, print what failed.

`--find` plays every mutant until a seed finds it, and prints what belongs into `mutants.SEEDS`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter

from tests.simulation.faults import CHANCES
from tests.simulation.mutants import MUTANTS
from tests.simulation.play import Result, digest, mended, play

_COLLECT_EVERY = 50
"""A world is one knot of references; collecting them one by one takes a quarter of the time."""


class Report:
    """What was seen over all seeds."""

    def __init__(self) -> None:
        self.played = 0
        self.failed: list[int] = []
        self.passed: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def add(self, result: Result) -> None:
        """Count one seed."""
        self.played += 1
        self.seen += result.world.faults.seen
        self.passed += result.world.points
        if result.failure:
            self.failed.append(result.seed)

    def lines(self) -> list[str]:
        """Say it."""
        took, used = time.perf_counter() - self._began, time.process_time() - self._cpu
        killed = {point: self.seen[f"kill at {point}"] for point in sorted(self.passed)}
        happened = sorted(name for name in self.seen if name not in CHANCES and not name.startswith("kill at "))
        speed = f"{self.played / took:.0f} seeds/s, {self.played / used:.0f} per second of CPU"
        return [
            f"{self.played} seeds, {len(self.failed)} failed; {speed}",
            "points (passed, killed at): " + ", ".join(f"{name} {self.passed[name]} {n}" for name, n in killed.items()),
            "faults: " + ", ".join(f"{name} {self.seen[name]}" for name in sorted(CHANCES)),
            "beside them: " + ", ".join(f"{name} {self.seen[name]}" for name in happened),
        ]


def _play(options: argparse.Namespace) -> Report:
    report = Report()
    mutants = MUTANTS[options.mutant] if options.mutant else ()
    with mended(*mutants, without=options.without):
        for seed in range(options.first, options.first + options.seeds):
            result = play(seed)
            report.add(result)
            if options.digest:
                print(f"seed {seed} is {digest(result)}")
            if result.failure:
                print(f"seed {seed}: {result.failure}")
                if options.verbose:
                    print("   ", dict(result.world.faults.seen))
                if mutants or options.stop:
                    break
            if seed % _COLLECT_EVERY == 0:
                gc.collect()
    return report


def _find(first: int, count: int) -> int:
    """Print the first seed that finds each mutant; how many were not found."""
    missed = 0
    for name in MUTANTS:
        found, failure = 0, "not found"
        try:
            with mended(*MUTANTS[name]):
                for seed in range(first, first + count):
                    result = play(seed)
                    if seed % _COLLECT_EVERY == 0:
                        gc.collect()
                    if result.failure:
                        found, failure = seed, result.failure[:100]
                        break
        except LookupError as err:
            failure = str(err)
        missed += not found
        print(f'    "{name}": {found},  # {failure}', flush=True)
    return missed


def main() -> int:
    """Return 0 when every seed held, or, with a mutant, when one did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, help="how many to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="break the code by this; stops at the first find")
    parser.add_argument("--find", action="store_true", help="find the first seed of every mutant")
    parser.add_argument("--without", default="", help="leave this mend in waiting out (mends.py)")
    parser.add_argument("--stop", action="store_true", help="stop at the first failing seed")
    parser.add_argument("--digest", action="store_true", help="print a number of each seed's whole outcome")
    parser.add_argument("--verbose", action="store_true", help="print which faults each failing seed saw")
    options = parser.parse_args()
    gc.disable()
    if options.find:
        return _find(options.first, options.seeds)
    report = _play(options)
    print("\n".join(report.lines()))
    if report.failed:
        extra = f" --mutant {options.mutant}" if options.mutant else ""
        print(f"replay: python -m tests.simulation --seeds 1 --first {report.failed[0]}{extra} --verbose")
    return int(bool(report.failed) != bool(options.mutant))


if __name__ == "__main__":
    sys.exit(main())
