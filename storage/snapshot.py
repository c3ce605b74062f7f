"""A consistent copy of the live database as a file of its own, for tools that want a file.

Decides nothing about when; never touches a table of the live file. Called by the recorder service, on request and every
N seconds, from any thread: the copy reads one version of the data while the writer goes on.

    1. Under the final name there is either nothing, the snapshot before, or a whole snapshot: it appears by a rename
       after its bytes are on disk.
    2. What a crash left behind is removed when the file is next opened for writing.

To make this possible with external access off, `snapshot_dir` is the one folder the instance may touch beside its own
file, WAL and temporary folder (`allowed_directories`). What that means for a query of a user: the guard refuses every
function and name that reads a file, and every statement that writes one, in this folder as elsewhere. The engine alone
would let a SELECT read, and a COPY write, files in this folder, and nothing next to it, neither by `..` nor by a link
(tests/storage/test_snapshot.py holds these facts). So nothing else is kept there.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import duckdb

from engine.errors import ConfigError
from storage.instance import Instance, failure, quoted

_PREFIX, _SUFFIX = ".snapshot-", ".part"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A finished snapshot: where it is, how large, how long it took."""

    path: Path
    size_bytes: int
    elapsed_ms: float


def take(instance: Instance, name: str = "snapshot.duckdb") -> Snapshot:
    """Copy the database as of now to `snapshot_dir/name`, replacing an older one.

    Args:
        instance: An open file with a snapshot folder.
        name: A plain file name.

    Raises:
        ConfigError: No snapshot folder is set, or `name` is a path.
        DiskFullError, StoppedFileError: There is no room; the older snapshot is untouched.
        BrokenPromiseError: The copy failed; the older snapshot is untouched.
    """
    folder = instance.snapshot_dir
    if folder is None:
        msg = "no snapshot folder is set: set one and start again"
        raise ConfigError(msg)
    if not name or name.startswith(".") or Path(name).name != name:
        msg = f"name of a snapshot must be a plain file name, was {name!r}"
        raise ConfigError(msg)
    started = monotonic()
    mark = f"{os.getpid()}-{threading.get_ident()}"
    part = folder / f"{_PREFIX}{mark}{_SUFFIX}"
    _remove(part)
    try:
        _copy(instance, part, f"snapshot_{mark.replace('-', '_')}")
        sync(part)
        size = part.stat().st_size
        part.replace(folder / name)
        sync(folder)
    except (duckdb.Error, OSError) as error:
        _remove(part)
        raise failure(f"snapshot {folder / name} could not be written", error) from error
    return Snapshot(folder / name, size, (monotonic() - started) * 1000)


def remove_leftovers(folder: Path) -> int:
    """Remove what a process that died left; give the number of files."""
    leftovers = list(folder.glob(f"{_PREFIX}*"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _copy(instance: Instance, part: Path, alias: str) -> None:
    with instance.reading() as cursor:
        ((source,),) = cursor.execute("SELECT current_database()").fetchall()
        cursor.execute(f"ATTACH {quoted(part)} AS {alias}")
        try:
            cursor.execute("BEGIN")
            cursor.execute(f'COPY FROM DATABASE "{source}" TO {alias}')
            cursor.execute("COMMIT")
            cursor.execute(f"CHECKPOINT {alias}")
        finally:
            with suppress(duckdb.Error):
                cursor.execute("ROLLBACK")
            cursor.execute(f"DETACH {alias}")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".wal").unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
