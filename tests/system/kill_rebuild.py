"""Runs `tapeline rebuild` on a data directory and kills it with -9 at a named point: DIR POINT PASSED.

Every point that is passed on the way is a line in the file PASSED.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.rebuild import run_rebuild


class KillAt:
    def __init__(self, point: str, passed: Path) -> None:
        self.point = point
        self.passed = passed

    def hit(self, name: str) -> None:
        with self.passed.open("a") as file:
            file.write(f"{name}\n")
        if name == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run_rebuild(Path(sys.argv[1]), KillAt(sys.argv[2], Path(sys.argv[3]))))
