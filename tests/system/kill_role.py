"""Runs a role with a hook that kills at named points; the composition root's way in for tests.

KILL_PLAN is JSON: {"folder": ..., "kills": {ROLE: [[POINT, PASSING, VICTIMS], ...]}, "away_s": 0}. What stands under a
role is done in its process, in this order; PASSING counts from the start of the process or from the kill before. VICTIMS
are roles and "nats-server"; the process itself dies last. A file per kill says that it was done, so a restarted process
goes on with the next one; `passed-ROLE` gets a line per passing of any point, so that a point nobody passes is seen.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.role_main import main

NATS = "nats-server"
_DEAD_S_MAX = 5.0


class KillAt:
    def __init__(self, role: str, plan: dict) -> None:
        self.role = role
        self.folder = Path(plan["folder"])
        self.done = len(list(self.folder.glob(f"kill-{role}-*")))
        self.kills = plan["kills"].get(role, [])[self.done :]
        self.passings = 0
        self.lock = threading.Lock()  # executor passes points in threads
        self.passed = os.open(self.folder / f"passed-{role}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hit(self, name: str) -> None:
        with self.lock:
            os.write(self.passed, f"{name}\n".encode())
            if not self.kills or name != self.kills[0][0]:
                return
            self.passings += 1
            if self.passings >= self.kills[0][1]:
                self._kill(name, self.kills[0][2])

    def _kill(self, name: str, victims: list[str]) -> None:
        pids = {victim: pid for victim, pid in processes(self.folder).items() if victim in victims}
        if len(pids) < len(victims) or not self._claim(list(pids.values())):
            return  # one of them is away: at the next passing
        with (self.folder / f"kill-{self.role}-{self.done:03d}").open("x") as file:
            file.write(json.dumps([name, victims]))
            file.flush()
            os.fsync(file.fileno())
        own = pids.pop(self.role, 0)
        for pid in pids.values():
            kill_and_wait(pid)
        if own:
            os.kill(own, signal.SIGKILL)
        self.done += 1
        self.passings = 0
        del self.kills[0]

    def _claim(self, pids: list[int]) -> bool:
        """Whether nobody else is killing one of these processes: each death is counted once."""
        claimed: list[Path] = []
        for pid in pids:
            claim = self.folder / f"claimed-{pid}"
            try:
                claim.touch(exist_ok=False)
            except FileExistsError:
                for mine in claimed:
                    mine.unlink()
                return False
            claimed.append(claim)
        return True


def processes(folder: Path) -> dict[str, int]:
    """Process ids of nats-server and the roles that live, all children of our parent, the supervisor.

    A nats-server is there when it has said so in its log: one killed before its first line would be a start nobody sees.
    """
    parent = os.getppid()
    found: dict[str, int] = {}
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].endswith(NATS):
            if f"[{child}]" in _ready(folder):
                found[NATS] = int(child)
        elif len(words) > 2 and words[1].endswith("kill_role.py"):
            found[words[2]] = int(child)
    return found


def _ready(folder: Path) -> set[str]:
    """Process ids, in brackets, of the nats-servers that once were ready."""
    try:
        lines = (folder / "data" / "nats" / "nats.log").read_text().splitlines()
    except FileNotFoundError:
        return set()
    return {line.split()[0] for line in lines if line.endswith("Server is ready")}


def kill_and_wait(pid: int) -> None:
    """kill -9, and see it dead: what comes next meets no server."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEAD_S_MAX
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return


def run() -> int:
    role = sys.argv[1]
    plan = json.loads(os.environ["KILL_PLAN"])
    hook = KillAt(role, plan)
    if hook.done and plan.get("away_s"):
        time.sleep(plan["away_s"])  # down for longer than the server remembers ids
    return main(sys.argv[1:], hook)


if __name__ == "__main__":
    sys.exit(run())
