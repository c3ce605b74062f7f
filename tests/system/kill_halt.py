"""Runs `tapeline halt --flatten` with a hook that kills it with -9 at a named point: POINT, passing, DATA_DIR."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tapeline.halt import HaltOptions, run_halt


class KillAt:
    def __init__(self, name: str, passing: int) -> None:
        self.name, self.left = name, passing

    def hit(self, name: str) -> None:
        self.left -= name == self.name
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    point, passing, folder = sys.argv[1:]
    sys.exit(run_halt(Path(folder), "killed on the way", HaltOptions(flatten=True), KillAt(point, int(passing))))
