"""The latch: a file that stops every order, read before each POST, so that halting needs neither NATS nor a daemon.

It is there or it is not; a file that cannot be read counts as there. Written whole to a temporary name, fsynced and
linked or renamed: kill -9 leaves it there or not there, never half. Where there is no room for its words, an empty one
is made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import msgspec

from engine.ids import make_id

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
            self._path.lstat()  # a link to nowhere is there too
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def read(self) -> LatchNote | None:
        """Give what it says; None when it is not there."""
        found = self._look()
        return found and found[0]

    def named(self, ts_event: int) -> LatchNote | None:
        """Give what it says, as `read`; one made by hand gets a name first, so that everybody can be told of it."""
        note = self.read()
        if note is not None and not note.id:
            with contextlib.suppress(OSError):
                return self.set("by hand", note.by, ts_event)
        return note

    def set(self, reason: str, by: str, ts_event: int) -> LatchNote:
        """Write it, durable when this returns; one that is there stays and is returned, also to two who halt at once.

        One without an id, made by hand, gets one: orders of a flattening are named by it. It is never away meanwhile.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            found = self._look()
            if found is None:
                note = LatchNote(secrets.token_hex(16), reason, by, ts_event)
            else:
                there, name = found
                if there.id:
                    return there
                if not self._path.is_file():  # a folder, a pipe, a link to nowhere: it holds, and takes no words
                    if not self.is_set():
                        continue  # taken away meanwhile
                    return LatchNote(name, f"{reason} ({there.reason})", by, ts_event)
                note = LatchNote(name, f"{reason} ({there.reason})", by, ts_event)
            if self._write(note, is_new=found is None):
                return note

    def _look(self) -> tuple[LatchNote, str] | None:
        """Give what the file says and a name for it: whoever looks at the same file gets the same name."""
        try:
            self._path.lstat()
            if not self._path.is_file():  # reading a pipe waits for ever
                self._path.lstat()  # it was no file, and not one that was not there yet or any more
                note = LatchNote("", "the latch cannot be read: it is no file", "unknown", 0)
                return note, make_id("latch", str(self._path))
            with self._path.open("rb") as file:
                seen = os.fstat(file.fileno())
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as err:
            note = LatchNote("", f"the latch file cannot be read: {err}", "unknown", 0)
            return note, make_id("latch", str(self._path))
        name = make_id("latch", seen.st_ino, seen.st_mtime_ns)
        try:
            return msgspec.json.decode(data, type=LatchNote), name
        except msgspec.MsgspecError:
            return LatchNote("", "a latch file that somebody wrote by hand", "unknown", 0), name

    def _write(self, note: LatchNote, *, is_new: bool) -> bool:
        """Write the file whole; False when somebody else was first to make a new one."""
        temporary = self._path.with_suffix(f".{os.getpid()}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(note))
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # the disk is full: a name needs no room, and an empty file stops every order too
            if not self.is_set():  # one that is there keeps its time: its name is made of that
                self._path.touch()
            temporary.unlink(missing_ok=True)
            return True
        if is_new:
            try:
                self._path.hardlink_to(temporary)
            except FileExistsError:
                temporary.unlink()
                return False
            temporary.unlink()
        else:
            temporary.replace(self._path)
        self._sync_folder()
        return True

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
