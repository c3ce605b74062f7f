"""The supervisor's side of the dead man's switch: starts it, tells it whom to watch, tells it to stop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from streams.process import spawn, stop

log: structlog.stdlib.BoundLogger = structlog.get_logger()

STOP = b"stop\n"
_STOP_S_MAX = 5.0


class Watch:
    """A process that watches executor and outlives us.

    Args:
        settings_file: The daemon's settings, as written for the roles.
        environment: With the venue's keys.
        log_file: Where it says what it does.
    """

    def __init__(self, settings_file: Path, environment: Mapping[str, str], log_file: Path) -> None:
        self._settings_file = settings_file
        self._environment = environment
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0

    def tell(self, executor_pid: int) -> None:
        """Say whom to watch; start the watching process, again if it died."""
        if self._process is not None and self._process.poll() is None and executor_pid == self._told:
            return
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._write(f"{executor_pid}\n".encode())
        self._told = executor_pid

    def stop(self) -> None:
        """End it without a word to the venue."""
        if self._process is not None:
            self._write(STOP)
            stop(self._process, _STOP_S_MAX)
            self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def _start(self) -> None:
        self._close()
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as file:
            self._process = spawn(
                [sys.executable, "-m", "tapeline.fence.deadman", str(self._settings_file)],
                environment=self._environment, stdin=subprocess.PIPE, stdout=file, stderr=file, death_signal=None,
            )  # fmt: skip

    def _write(self, data: bytes) -> None:
        """A line of a few bytes fits into any pipe: this never waits."""
        pipe = self._process.stdin if self._process is not None else None
        try:
            if pipe is not None:
                os.write(pipe.fileno(), data)
        except OSError as err:
            log.warning("the dead man's switch does not listen, starting it again", error=str(err))
