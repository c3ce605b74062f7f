"""One open database file with its guard rails; hands out cursors.

Decides how a file is opened and what SQL may reach from it: nothing outside the file but the snapshot folder. Never
reads or writes a table. Opened by the writer (read-write) and by storage.sql (read-only, no daemon).

    1. Every cursor has the time zone UTC, no file system but `snapshot_dir`, no extensions, no Python variables as
       tables, and can change no setting but the two memory limits, which storage.guard refuses as every SET.
    2. One connection per thread: `cursor()` may be called from any thread, a cursor is used by one.
    3. `trim` runs only while nobody is in `reading()`: it narrows the memory limit for a moment.
"""

from __future__ import annotations

import re
import resource
import shutil
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from engine.errors import BrokenPromiseError, BusyError, ConfigError, TapelineError

MB = 1024 * 1024
_held: set[Path] = set()
_held_lock = threading.Lock()
"""Files open in this process. DuckDB would hand the same instance to a second caller, who would be a second writer."""
_DUCKDB_MAGIC = b"DUCK"
_HOLDER = re.compile(r"Conflicting lock is held in (.*?) \(PID (\d+)\)")


_DAMAGE = re.compile(r"Could not read|Corrupt|checksum|invalidated|replaying WAL", re.IGNORECASE)
_FULL = re.compile(r"No space left|Disk quota exceeded|File too large", re.IGNORECASE)


class DamagedFileError(ConfigError):
    """The file is not a database any more, or cannot be read: it can be set aside and made anew from the streams."""


class DiskFullError(BrokenPromiseError):
    """There is no room to write; what was committed is there, and the same can be tried again."""


class StoppedFileError(BrokenPromiseError):
    """A full disk made DuckDB give the file up until it is opened again, though it is whole (tried: a checkpoint)."""


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file itself is at fault, and not the query, whatever text that chose."""
    if isinstance(error, duckdb.FatalException | duckdb.InternalException):
        return True
    from_storage = (duckdb.IOException, duckdb.SerializationException, duckdb.TransactionException)
    is_from_storage = isinstance(error, from_storage) or type(error) is duckdb.Error  # of a wrong checksum
    return is_from_storage and _DAMAGE.search(str(error)) is not None


def failure(what: str, error: duckdb.Error | OSError) -> TapelineError:
    """Say what kind of failure an error of the database, or of its disk, is.

    Args:
        what: Which file did not do what.
        error: DuckDB's, or the system's.
    """
    text = f"{what}: {one_line(error)}"
    if _FULL.search(str(error)):
        return StoppedFileError(text) if isinstance(error, duckdb.FatalException) else DiskFullError(text)
    if is_damage(error):
        return DamagedFileError(text)
    return BrokenPromiseError(text)


def one_line(error: Exception) -> str:
    """Give an error's first line; DuckDB adds hints and a drawing below it."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def quoted(text: str | Path) -> str:
    """Write a text as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


class Instance:
    """An open file. Use `open_read_write` or `open_read_only`."""

    def __init__(
        self,
        path: Path,
        root: duckdb.DuckDBPyConnection,
        *,
        memory_limit_mb: int,
        temp_dir: Path,
        snapshot_dir: Path | None = None,
    ) -> None:
        self.path = path
        self.snapshot_dir = snapshot_dir
        self._root = root
        self._memory_limit_mb = memory_limit_mb
        self._temp_dir = temp_dir
        self._readers = 0
        self._lock = threading.Lock()
        self._open = True
        self._identity = _identity(path)

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is open is the one under its name: nobody deleted, moved or replaced it."""
        return self._identity is not None and _identity(self.path) == self._identity

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Open another connection to the same file, for the calling thread alone.

        Raises:
            BusyError: The instance is closed.
        """
        with self._lock:
            if not self._open:
                msg = f"database {self.path} is closed"
                raise BusyError(msg)
            return self._root.cursor()

    @contextmanager
    def reading(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Give a cursor for one query or copy, and keep `trim` away meanwhile.

        Raises:
            BusyError: The instance is closed.
        """
        cursor = self.cursor()
        with self._lock:
            self._readers += 1
        try:
            # A third for one query's sorts and joins, beyond which it spills: the writer needs memory too.
            cursor.execute(f"SET operator_memory_limit = '{max(self._memory_limit_mb // 3, 1)}MiB'")
            yield cursor
        finally:
            with self._lock:
                self._readers -= 1
            cursor.close()

    def trim(self, to_mb: int) -> bool:
        """Give cached blocks back to the system until DuckDB holds `to_mb`, unless somebody reads.

        DuckDB keeps every block it wrote until its memory limit is reached: 4 MB per 100,000 bars, measured. They can
        be read again from the file (and are in the system's cache).

        Returns:
            Whether it was done.
        """
        with self._lock:
            if self._readers or not self._open:
                return False
            try:
                self._root.execute(f"SET GLOBAL memory_limit = '{to_mb}MiB'")
            except duckdb.Error:
                pass  # what is left is in use, or the disk is full; the rest is gone
            finally:
                self._root.execute(f"SET GLOBAL memory_limit = '{self._memory_limit_mb}MiB'")
        return True

    def close(self) -> None:
        """Close the file (the last connection checkpoints) and remove the temporary files. Idempotent."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            try:
                self._root.close()
            finally:
                _release(self.path)
        shutil.rmtree(self._temp_dir, ignore_errors=True)


def open_read_write(
    path: Path, *, memory_limit_mb: int, threads: int, temp_limit_mb: int, snapshot_dir: Path | None
) -> tuple[Instance, duckdb.DuckDBPyConnection]:
    """Open or create a file as its only process.

    Returns:
        The instance, and a first cursor for migrations and the writer.

    Raises:
        BusyError: Another process holds the file.
        ConfigError: Not a DuckDB file, no such folder, no permission.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        msg = f"database {path}: the folder {path.parent} does not exist: create it"
        raise ConfigError(msg)
    if snapshot_dir is not None:
        snapshot_dir = snapshot_dir.resolve()
        try:
            snapshot_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"snapshot folder {snapshot_dir} cannot be made: {error.strerror}"
            raise ConfigError(msg) from error
    root = _connect(path, memory_limit_mb=memory_limit_mb, threads=threads, read_only=False)
    temp_dir = path.with_name(path.name + ".tmp")
    # Under the file's lock nobody else uses this folder: what is in it was left by a process that died.
    shutil.rmtree(temp_dir, ignore_errors=True)
    instance = Instance(path, root, memory_limit_mb=memory_limit_mb, temp_dir=temp_dir, snapshot_dir=snapshot_dir)
    try:
        _fence(root, temp_dir, temp_limit_mb=temp_limit_mb, snapshot_dir=snapshot_dir)
        return instance, instance.cursor()
    except BaseException:
        instance.close()
        raise


def open_read_only(path: Path, *, memory_limit_mb: int, threads: int, temp_limit_mb: int) -> Instance:
    """Open a file that no daemon holds, for reading.

    Raises:
        BusyError: A process has it open for writing.
        ConfigError: Missing, or not a DuckDB file.
    """
    path = path.resolve()
    if not path.is_file():
        msg = f"database {path} does not exist: give the path of a file that `tapeline run` or `demo` has written"
        raise ConfigError(msg)
    root = _connect(path, memory_limit_mb=memory_limit_mb, threads=threads, read_only=True)
    # A folder of its own: two readers of one file would use the same names in `<file>.tmp`.
    temp_dir = Path(tempfile.mkdtemp(prefix="tapeline-sql-"))
    instance = Instance(path, root, memory_limit_mb=memory_limit_mb, temp_dir=temp_dir)
    try:
        _fence(root, temp_dir, temp_limit_mb=temp_limit_mb)
    except BaseException:
        instance.close()
        raise
    return instance


def _connect(path: Path, *, memory_limit_mb: int, threads: int, read_only: bool) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_limit_mb}MiB",
        "threads": str(threads),
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
    }
    with _held_lock:
        if path in _held:
            msg = f"database {path} is already open in this process: close it first"
            raise BusyError(msg)
        try:
            root = duckdb.connect(str(path), read_only=read_only, config=settings)
        except duckdb.Error as error:
            raise _translate(path, error) from error
        _held.add(path)
        return root


def _release(path: Path) -> None:
    with _held_lock:
        _held.discard(path)


def _translate(path: Path, error: duckdb.Error) -> TapelineError:
    text = str(error)
    if holder := _HOLDER.search(text):
        return BusyError(f"database {path} is held by process {holder[2]} ({holder[1]}): ask that daemon, or stop it")
    if "Could not set lock" in text:
        return BusyError(f"database {path} is held by another process: ask that daemon, or stop it")
    if path.is_file() and path.stat().st_size > 0:
        with path.open("rb") as file:
            file.seek(8)
            if file.read(4) != _DUCKDB_MAGIC:
                return DamagedFileError(
                    f"database {path} is not a DuckDB file: name another file, or move this one away"
                )
    kind = failure(f"database {path} cannot be opened", error)
    return kind if isinstance(kind, DiskFullError | DamagedFileError | StoppedFileError) else ConfigError(str(kind))


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _fence(
    root: duckdb.DuckDBPyConnection, temp_dir: Path, *, temp_limit_mb: int, snapshot_dir: Path | None = None
) -> None:
    """Set what no query may change; the order matters: the last two lines forbid the others."""
    allowed = f"[{quoted(snapshot_dir)}]" if snapshot_dir else "[]"
    for setting in (
        "TimeZone = 'UTC'",  # not possible in the config of connect: icu is loaded after it
        f"temp_directory = {quoted(temp_dir)}",
        f"max_temp_directory_size = '{temp_limit_mb}MiB'",
        f"allowed_directories = {allowed}",
        # For `trim` and `reading`; a SET in a query never gets past storage.guard.
        "allowed_configs = ['memory_limit', 'operator_memory_limit']",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        try:
            root.execute(f"SET GLOBAL {setting}")
        except duckdb.Error as error:
            msg = f"DuckDB refused the setting {setting}: {one_line(error)}"
            raise BrokenPromiseError(msg) from error


def cap_process_memory(limit_mb: int) -> None:
    """Let the system refuse this process more than `limit_mb` of data, as a last fence.

    DuckDB's own limit does not see what one function call allocates before it is done; without a cap a query built for
    it takes the machine's memory and the kernel kills the daemon. With it the query ends in an out-of-memory error and
    the writer tries its batch again (measured on 2.0.0). For a process that opens a database for others' queries; the
    limit holds for the whole process and its children.

    Args:
        limit_mb: At least the database's memory limit plus 1,024; address space of threads counts.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = limit_mb * MB
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
