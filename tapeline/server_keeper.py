"""Keeps the daemon's own nats-server up: started again when it died, and when it cannot write although there is room.

Tried with nats-server 2.15: after one failed write (full disk) a stream takes nothing more until the server is started
again, also when there is room; reading goes on, and what was acknowledged is there. It says so in its log, at each
attempt to store. Called by the supervisor.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import structlog

from engine.errors import TapelineError
from streams.server import NatsServer

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_FAILED = re.compile(rb"Critical write error|failed to store a msg|no space left on device", re.IGNORECASE)
_LOOK_S = 1.0
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0)
_PROBE_BYTES = 4 * 1024 * 1024


class ServerKeeper:
    """Looks after one nats-server.

    Args:
        server: The server.
        folder: Where its log and its store are.
    """

    def __init__(self, server: NatsServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._log = folder / "nats.log"
        self._read_until = 0
        self._cannot_write = False
        self._failures = 0
        self._next_at = 0.0
        self._look_at = 0.0
        self.restarts = 0

    def start(self) -> None:
        """Start it; what its log said before does not count."""
        self._server.start()
        self._cannot_write = False
        self._read_until = self._size()

    def poll(self) -> str:
        """Look once; say what was done, nothing when nothing was.

        Raises:
            UnreachableError: It did not start five times in a row, and not for want of room.
        """
        now = time.monotonic()
        if not self._server.is_running:
            return self._start_again("nats-server died and was started again") if now >= self._next_at else ""
        if now < self._look_at:
            return ""
        self._look_at = now + _LOOK_S
        self._cannot_write = self._cannot_write or self._failed_to_write()
        if not self._cannot_write or not has_room(self._folder):
            return ""
        self._server.stop()
        return self._start_again("nats-server could not write; there is room now, and it was started again")

    def _start_again(self, what: str) -> str:
        try:
            self.start()
        except (TapelineError, OSError) as err:
            if self._failures == len(_BACKOFF_S):
                raise
            log.warning("nats-server did not start, trying again", error=str(err))
            self._next_at = time.monotonic() + _BACKOFF_S[self._failures]
            self._failures += has_room(self._folder)  # a full disk is waited for
            return ""
        self._failures = 0
        self.restarts += 1
        return what

    def _failed_to_write(self) -> bool:
        size = self._size()
        if size < self._read_until:  # it began a new log
            self._read_until = 0
        if size == self._read_until:
            return False
        with self._log.open("rb") as file:
            file.seek(self._read_until)
            text = file.read(size - self._read_until)
        self._read_until = size
        return _FAILED.search(text) is not None

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0


def has_room(folder: Path) -> bool:
    """Whether a few megabytes can be written there; tried, because quotas and reserves are told by nobody."""
    probe = folder / "room.probe"
    try:
        with probe.open("wb") as file:
            file.write(os.urandom(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
