"""The dead man's switch: cancels every open order when executor has been dead for too long. Runs as its own process.

Started by the supervisor, which tells it executor's process id through its standard input; the end of that input means
that the supervisor itself is gone, and Linux takes the roles along. It outlives both, and ends when it has canceled,
when it is told to, or when another daemon runs in the data directory. Positions stay as they are.
"""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

import msgspec
import structlog

from config import logs
from config.secrets import guard_tracebacks
from config.settings import Settings
from engine.errors import TapelineError, UnreachableError
from tapeline import folders
from tapeline.fence.access import check_account, open_access
from tapeline.fence.act import cancel_everything
from tapeline.fence.watch import STOP

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LOOK_S = 0.2
_AGAIN_S = 5.0
_TRY_S_MAX = 3600.0


class DeadMan:
    """The watch.

    Args:
        settings: Those of the daemon.
        orders: File descriptor that says whom to watch, a process id per line, or `stop`.
    """

    def __init__(self, settings: Settings, orders: int) -> None:
        self._settings = settings
        self._orders = orders
        self._has_parent = True
        self._pid = 0
        self._is_armed = False
        self._buffer = b""

    def run(self) -> None:
        """Watch until there is nothing left to watch."""
        seen_at = time.monotonic()
        while self._listen():
            if _lives(self._pid):
                seen_at = time.monotonic()
            elif self._is_armed and time.monotonic() - seen_at >= self._settings.daemon.cancel_on_death_s:
                self._is_armed = False
                self._fire()
            if not self._has_parent and not self._is_armed:
                return

    def _listen(self) -> bool:
        """Wait a little for orders; False when told to stop."""
        readable, _, _ = select.select([self._orders] if self._has_parent else [], [], [], _LOOK_S)
        if readable:
            data = os.read(self._orders, 4096)
            self._has_parent = bool(data)
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                if line + b"\n" == STOP:
                    return False
                self._pid, self._is_armed = int(line), True  # it may have died before we came up
        return True

    def _fire(self) -> None:
        """Cancel everything; try for an hour where the venue does not answer."""
        deadline = time.monotonic() + _TRY_S_MAX
        while time.monotonic() < deadline:
            if not self._has_parent and folders.is_running(self._settings.data_path):
                log.warning("another daemon runs here: its executor looks after the orders")
                return
            try:
                access = open_access(self._settings)
                account = check_account(access)
                log.critical("no executor lives: canceling every open order", account=account)
                if cancel_everything(access, log.critical):
                    return
            except UnreachableError as err:
                log.warning("the venue does not answer, trying again", reason=str(err))
            except TapelineError as err:
                log.critical("orders are not canceled", reason=str(err))
                return
            time.sleep(_AGAIN_S)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be buried does not."""
    if not pid:
        return False
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:1]
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or not ours to signal: it is there
        return True
    return state != ["Z"]


def main(argv: list[str]) -> int:
    """Watch with the settings in the file named; orders come by standard input."""
    guard_tracebacks()
    settings = msgspec.json.decode(Path(argv[0]).read_bytes(), type=Settings)
    logs.configure(settings.log.level, "deadman")
    DeadMan(settings, sys.stdin.fileno()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
