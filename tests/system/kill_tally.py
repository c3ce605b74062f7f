"""What this test session killed: told at its end, and demanded of a full run."""

from collections import Counter
from typing import Any

from tests.system.kill_plan import NATS, VICTIMS
from tests.system.killing import Played


class Tally:
    """Kills and passings of named points, over all tests of the session."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.killed_at: Counter[str] = Counter()
        self.server_killed_at: Counter[str] = Counter()
        self.victims: Counter[str] = Counter()
        self.seeds: list[str] = []

    def add(self, name: str, played: Played) -> None:
        """Count a run; a failing one counts too."""
        self.seeds.append(f"{name}: seed {played.seed}, {sum(played.killed.values())} kills")
        self.passed.update(played.passed)
        self.victims.update(played.killed)
        for point, victims in played.kills:
            role = point.partition(".")[0]
            self.killed_at[point] += role in victims
            self.server_killed_at[point] += NATS in victims

    def add_point(self, victim: str, point: str, passed: Counter[str]) -> None:
        """Count one kill of a process that is not part of a run."""
        self.victims[victim] += 1
        self.killed_at[point] += 1
        self.passed.update(passed)

    def state(self) -> list[dict[str, int] | list[str]]:
        """Give everything, for the process that reports."""
        counters = self.passed, self.killed_at, self.server_killed_at, self.victims
        return [*map(dict, counters), self.seeds]

    def take(self, state: list[Any]) -> None:
        """Take in what another process counted."""
        *counts, seeds = state
        for counter, more in zip(
            (self.passed, self.killed_at, self.server_killed_at, self.victims), counts, strict=True
        ):
            counter.update(more)
        self.seeds += seeds

    def lines(self) -> list[str]:
        """A report: seeds, kills by victim, and each point with its hits."""
        if not self.seeds:
            return []
        total = ", ".join(f"{victim} {self.victims[victim]}" for victim in (*VICTIMS, "rebuild", "mend"))
        found = [*self.seeds, f"{sum(self.victims.values())} kills: {total}"]
        found.append(f"{'point':<28}{'hits':>8}{'kills':>8}{'nats-server':>14}")
        for point in sorted(set(self.passed) | set(self.killed_at)):
            if "." in point:
                counts = (self.passed[point], self.killed_at[point], self.server_killed_at[point])
                found.append(f"{point:<28}{counts[0]:>8}{counts[1]:>8}{counts[2]:>14}")
        found.append("replay with KILL_SEED=<seed> uv run pytest tests/system/test_kill.py")
        return found


TALLY = Tally()
