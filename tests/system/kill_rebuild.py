"""Runs `tapeline rebuild` on a data directory and kills it with -9 at a named point: DIR POINT."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.rebuild import run_rebuild


class KillAt:
    def __init__(self, point: str) -> None:
        self.point = point

    def hit(self, name: str) -> None:
        if name == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run_rebuild(Path(sys.argv[1]), KillAt(sys.argv[2])))
