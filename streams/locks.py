"""Locks of a data directory: held by the kernel, gone with the process, so never stale."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from engine.errors import BusyError


class FolderLock:
    """An exclusive lock on a folder, kept while the object lives.

    Raises:
        BusyError: Another process holds it; names the folder and the process.
    """

    def __init__(self, folder: Path, name: str = "lock", what: str = "daemon") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            msg = (
                f"data directory {folder} is in use by another {what} (process {holder}): "
                "stop that one, or choose another --data-dir"
            )
            raise BusyError(msg) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds, it only does not say who has it
            os.ftruncate(self._file, 0)
            os.write(self._file, str(os.getpid()).encode("ascii"))

    def release(self) -> None:
        """Give the lock up."""
        os.close(self._file)
