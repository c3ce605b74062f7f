"""The latch: a file that stops every order, read before each POST, so that halting needs neither NATS nor a daemon.

It is there or it is not; a file that cannot be read counts as there. Written whole to a temporary name, fsynced and
renamed: kill -9 leaves it there or not there, never half.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

NAME = "halt.latch"


class LatchNote(msgspec.Struct, frozen=True):
    """Who halted, when (wall clock, ns UTC) and why. `id` is the id of the command that says the same on NATS."""

    id: str
    reason: str
    by: str
    ts_event: int


class Latch:
    """The latch file of a data directory.

    Args:
        folder: The data directory.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run" / NAME

    def is_set(self) -> bool:
        """Whether nothing may be sent. Any doubt says yes."""
        try:
            self._path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def read(self) -> LatchNote | None:
        """Give what it says; None when it is not there."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            return LatchNote("", f"the latch file cannot be read: {err}", "unknown", 0)
        try:
            return msgspec.json.decode(data, type=LatchNote)
        except msgspec.MsgspecError:
            return LatchNote("", "a latch file that somebody wrote by hand", "unknown", 0)

    def set(self, reason: str, by: str, ts_event: int) -> LatchNote:
        """Write it, durable when this returns; one that is there stays and is returned."""
        if (there := self.read()) is not None:
            return there
        note = LatchNote(secrets.token_hex(16), reason, by, ts_event)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(note))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._sync_folder()
        return note

    def clear(self) -> bool:
        """Remove it; whether it was there."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        self._sync_folder()
        return True

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
