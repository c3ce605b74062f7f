"""`python -m tests.simulation --seeds 5000 [--first N] [--mutant NAME] [--stop]`: play seeds, print what failed."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter

from tests.simulation.mutants import MUTANTS
from tests.simulation.play import digest, mended, play


def main() -> int:
    """Return 0 when every seed held, or, with a mutant, when one did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, help="how many to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="break the code by this; stops at the first find")
    parser.add_argument("--without", default="", help="leave this mend in waiting out (mends.py)")
    parser.add_argument("--stop", action="store_true", help="stop at the first failing seed")
    parser.add_argument("--digest", action="store_true", help="print a number of each seed's whole outcome")
    parser.add_argument("--verbose", action="store_true", help="print which faults each failing seed saw")
    options = parser.parse_args()
    mutants = [MUTANTS[options.mutant]] if options.mutant else []
    failed: list[int] = []
    seen: Counter[str] = Counter()
    gc.disable()
    began, cpu = time.perf_counter(), time.process_time()
    played = 0
    with mended(*mutants, without=options.without):
        for seed in range(options.first, options.first + options.seeds):
            result = play(seed)
            played += 1
            seen += result.world.faults.seen
            if options.digest:
                print(f"seed {seed} is {digest(result)}")
            if result.failure:
                failed.append(seed)
                print(f"seed {seed}: {result.failure}")
                if options.verbose:
                    print("   ", dict(result.world.faults.seen))
                if mutants or options.stop:
                    break
            if seed % 50 == 0:
                gc.collect()
    took, used = time.perf_counter() - began, time.process_time() - cpu
    print(f"{played} seeds, {len(failed)} failed; {played / took:.0f} seeds/s, {played / used:.0f} per second of CPU")
    print("kills: " + ", ".join(f"{n[8:]} {c}" for n, c in sorted(seen.items()) if n.startswith("kill at")))
    if failed:
        extra = f" --mutant {options.mutant}" if options.mutant else ""
        print(f"replay: python -m tests.simulation --seeds 1 --first {failed[0]}{extra} --verbose")
    return int(bool(failed) != bool(mutants))


if __name__ == "__main__":
    sys.exit(main())
