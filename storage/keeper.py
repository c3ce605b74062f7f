"""The recorder's file, whatever somebody does to it: opened, watched, brought back, or set aside and begun anew.

Everything in it comes from the streams, so a file that is gone costs a reading, not data; only rows whose messages aged
out are nowhere else, so no file is ever removed here and one that is open is copied out. Called by the recorder.

    1. A file that cannot be read is renamed to `<name>.broken-<UTC time>`, its log with it; never overwritten. Where
       only the log (`.wal`) cannot be read, or belongs to another file, that is renamed alone.
    2. A file that was deleted while it was open is copied out whole, under its name again; killed in between, the next
       start puts the copy there.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import duckdb

from engine.errors import TapelineError
from storage.instance import DamagedFileError, DiskFullError
from storage.snapshot import sync, take
from storage.tables import TABLES
from storage.writer import Writer


class Keeper:
    """Keeps one file open for writing.

    Args:
        path: The file.
        copy: Where it is copied to, before the copy gets its name; in the snapshot folder.
        open_writer: Opens it.
        stamp: Gives the UTC time, for names.
    """

    def __init__(self, path: Path, copy: Path, open_writer: Callable[[], Writer], stamp: Callable[[], str]) -> None:
        self._path = path
        self._copy = copy
        self._open_writer = open_writer
        self._stamp = stamp
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        """The open file."""
        assert self._writer is not None  # noqa: S101  (opened first)
        return self._writer

    def open(self) -> str:
        """Open the file, a new one where the old one cannot be read; say what was done, nothing when nothing was.

        Raises:
            BusyError: Another process holds it.
            ConfigError: It is a newer version's, or may not be written.
            DiskFullError, StoppedFileError: There is no room to open it.
        """
        self._put_copy()
        try:
            self._writer = self._open_writer()
        except DamagedFileError as err:
            return self._open_what_is_left(err)
        return ""

    def _open_what_is_left(self, err: DamagedFileError) -> str:
        if self._log.exists():
            kept = self._log.replace(self._kept_name(self._log))
            try:
                self._writer = self._open_writer()
            except DamagedFileError as still:
                err = still
            else:
                return f"{err}; its log is kept as {kept}, and what that held is read from the streams again"
        kept = self._set_aside()
        self._put_copy()
        self._writer = self._open_writer()
        return f"{err}; it is kept as {kept}, and a new one is made from the streams"

    def is_in_place(self) -> bool:
        """Whether the open file still is the one under its name."""
        return self.writer.instance.is_in_place

    def bring_back(self) -> str:
        """Put the file that was deleted, moved or replaced under its name again and close it; say what was done.

        Raises:
            DiskFullError: There is no room for a copy; the file is still open.
        """
        try:
            take(self.writer.instance, self._copy.name)
        except DiskFullError:
            raise
        except TapelineError:
            self._copy.unlink(missing_ok=True)  # it cannot be read either
        self.close()
        what = f"database {self._path} was deleted or moved while it was open"
        if self._path.exists():
            what = f"database {self._path} was replaced while it was open (what was put there: {self._set_aside()})"
        how = "it was copied out whole and is there again" if self._put_copy() else "a new one is made from the streams"
        return f"{what}; {how}"

    def check(self, why: str) -> str:
        """Read all of the file, and close it; where it cannot be read it is set aside. Say what was done."""
        self.close()
        if said := self.open():
            self.close()
            return said
        try:
            with self.writer.instance.reading() as cursor:
                for table in TABLES:
                    cursor.execute(f"SELECT bit_xor(hash(t)) FROM {table.name} t").fetchall()  # noqa: S608
        except duckdb.Error:
            return self.set_aside(why)
        self.close()
        return ""

    def set_aside(self, why: str) -> str:
        """Close the file, which cannot be read or written any more, and rename it; say what was done."""
        self.close()
        return f"{why}; it is kept as {self._set_aside()}, and a new one is made from the streams"

    def reopen(self) -> str:
        """Close the file, so that `open` begins with what is on disk; there is nothing to say."""
        self.close()
        return ""

    def close(self) -> None:
        """Close the file, as far as it lets itself be closed. Idempotent."""
        if self._writer is not None:
            with contextlib.suppress(duckdb.Error):
                self._writer.close()

    @property
    def _log(self) -> Path:
        return self._path.with_name(self._path.name + ".wal")

    def _put_copy(self) -> bool:
        """Put a whole copy under the file's name where there is no file; a log there is of the one that is gone."""
        if self._path.exists() or not self._copy.exists():
            return False
        self._log.unlink(missing_ok=True)
        self._copy.replace(self._path)
        sync(self._path.parent)
        return True

    def _set_aside(self) -> Path:
        kept = self._kept_name(self._path)
        if self._log.exists():
            self._log.replace(kept.with_name(kept.name + ".wal"))
        self._path.replace(kept)
        sync(self._path.parent)
        return kept

    def _kept_name(self, path: Path) -> Path:
        first = path.with_name(f"{path.name}.broken-{self._stamp()}")
        names = itertools.chain([first], (first.with_name(f"{first.name}-{number}") for number in itertools.count(2)))
        return next(name for name in names if not name.exists())
