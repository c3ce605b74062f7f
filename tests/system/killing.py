"""Plays a run with kills (kill_run.py) and reads back what it left: for the kill tests and whoever needs a calm run."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tapeline.role_main import ROLES
from tests.system.harness import ROOT, bodies, logs, tables, violations
from tests.system.kill_plan import NATS, Plan, kills_of

SYMBOLS = ["AAA", "BBB", "CCC"]
MINUTES = 45
SETTINGS = {
    "signals.checkpoint_messages": 15,
    "risk.checkpoint_messages": 12,
    "executor.checkpoint_messages": 12,
    "recorder.batch_ms": 50,
    "recorder.snapshot_every_s": 0.5,
    "limits.collar_fraction_max": 0.5,  # so that there are marks
    "daemon.restart_wait_s_max": 0.05,
    "nats.duplicate_window_s": 2.0,
}
EXCHANGE = ["--partial-fills", "0.3"]


@dataclass(frozen=True)
class Played:
    """A run that ended: its summary, the venue's story, who was killed where, how often each point was passed."""

    folder: Path
    seed: int
    summary: dict[str, Any]
    venue: dict[str, Any]
    kills: list[tuple[str, list[str]]]
    passed: Counter[str]
    server_starts: int

    @property
    def killed(self) -> Counter[str]:
        """How often each process was killed."""
        return Counter(victim for _, victims in self.kills for victim in victims)

    @cached_property
    def tables(self) -> dict[str, list]:
        """Every table's rows, without the head's columns."""
        return tables(self.folder)

    @cached_property
    def bodies(self) -> dict[str, list[bytes]]:
        """Every body of both streams, by subject."""
        return bodies(self.folder)


def play(
    folder: Path,
    bars: Path,
    *,
    seed: int = 0,
    plan: Plan | None = None,
    speed: str = "max",
    timed: list[tuple[str, float]] | None = None,
    away_s: float = 0,
    settings: dict[str, object] | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> Played:
    """Play bars while processes are killed; fails the test when the daemon did not live through it.

    Args:
        folder: A new one.
        bars: Bar file.
        seed: What the kills were drawn from, for messages.
        plan: Kills at named points.
        speed: `max` is lock-step, else venue seconds per second.
        timed: Kills by the clock.
        away_s: How long a killed role or nats-server stays away.
        settings: More settings.
        env: More environment.
        timeout: Longest, seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "bars": str(bars), "speed": speed, "data_dir": str(folder / "data"), "settings": SETTINGS | (settings or {}),
        "exchange": EXCHANGE, "timed": timed or [], "server_away_s": away_s, "marks": str(folder),
        "kills": len(kills_of(plan or {})),
    }  # fmt: skip
    hook = {"folder": str(folder), "kills": plan or {}, "away_s": away_s}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TAPELINE_", "ALPACA_", "KILL_"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "kill_run.py"), json.dumps(spec)],
        cwd=ROOT, env=clean | {"KILL_PLAN": json.dumps(hook)} | (env or {}),
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    told = f"seed {seed}, plan {json.dumps(plan or timed)}"
    marks = {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("kill-*"))}
    assert done.returncode == 0, (
        f"{told}\nkilled so far: {marks}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}\n{logs(folder / 'data')}"
    )
    assert violations(folder / "data") == [], "somebody has not the rights for what it does (streams/access.py)"
    result = json.loads(done.stdout.strip().splitlines()[-1])
    kills = [(point, victims) for point, victims in marks.values()]
    kills += [("(by the clock)", [victim]) for victim in result["timed"]]
    passed = Counter(line for path in folder.glob("passed-*") for line in path.read_text().split())
    starts = (folder / "data" / "nats" / "nats.log").read_text().count("Starting nats-server")
    return Played(folder / "data", seed, result["summary"], result["venue"], kills, passed, starts)


def check_kills(played: Played, plan: Plan, timed: list[tuple[str, float]] | None = None) -> None:
    """Every planned kill was done, every dead process was started again, and none died otherwise."""
    planned = Counter((point, *victims) for point, victims in kills_of(plan))
    planned.update(("(by the clock)", victim) for victim, _ in timed or [])
    done = Counter((point, *victims) for point, victims in played.kills)
    assert done == planned, f"never reached: {planned - done}"
    killed = played.killed
    assert played.server_starts == 1 + killed.pop(NATS, 0), "nats-server was started another number of times"
    ended = Counter({role: gave_up(played.folder, role) for role in ROLES}) if NATS in played.killed else Counter()
    assert Counter(played.summary["restarts"]) == killed + ended, "a role died of itself, or one never came back"


def gave_up(folder: Path, role: str) -> int:
    """How often a role that was starting found nats-server gone, and said so in its last words."""
    return (folder / "logs" / f"{role}.log").read_text().count(f"\ntapeline {role}: NATS ")
