"""Runs a role with a hook that kills it with -9 at named points; the composition root's way in for tests.

KILL_PLAN is JSON: {"folder": ..., "role": ..., "kills": [["executor.before_post", 2], ...], "sleep_s": 0}. Kills happen
in this order, each counted from the start of its own process; a file per kill says that it was reached, so that a
point that is never hit fails the test, and the restarted process goes on with the next kill.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.role_main import main


class KillAt:
    def __init__(self, plan: dict) -> None:
        self.folder = Path(plan["folder"])
        done = len(list(self.folder.glob("kill-*")))
        self.next = done
        self.kills = plan["kills"][done:]
        self.hits = 0
        if done and plan.get("sleep_s"):
            time.sleep(plan["sleep_s"])  # down for longer than the server remembers ids

    def hit(self, name: str) -> None:
        if not self.kills or name != self.kills[0][0]:
            return
        self.hits += 1
        if self.hits < self.kills[0][1]:
            return
        marker = self.folder / f"kill-{self.next:03d}"
        with marker.open("x") as file:
            file.write(f"{name} {self.hits}")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


def run() -> int:
    role = sys.argv[1]
    plan = json.loads(os.environ.get("KILL_PLAN", "{}"))
    if plan.get("role") != role:
        return main(sys.argv[1:])
    return main(sys.argv[1:], KillAt(plan))


if __name__ == "__main__":
    sys.exit(run())
