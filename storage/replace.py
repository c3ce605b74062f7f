"""Puts a finished database file in another one's place, and keeps the other.

Never opens a database. Called by tapeline.rebuild, while nobody has either file open.

    1. At any moment, also after kill -9, the name holds the old file or the new one, each whole.
    2. A log (WAL) of the old file never stands beside the new one: it would be replayed into it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from engine.errors import BrokenPromiseError
from storage.snapshot import sync

_PART = ".rebuild"


def part_path(path: Path, name: str = "") -> Path:
    """Where a file that will replace `path` is written: beside it, on the same file system."""
    return path.with_name(f"{path.name}{_PART}{name}")


def remove_parts(path: Path) -> None:
    """Remove what a rebuild that died left: its parts, and a second name of the file that is still in place."""
    for left in path.parent.glob(f"{path.name}{_PART}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    for kept in path.parent.glob(f"{path.name}.before-*"):
        if path.exists() and kept.samefile(path):
            kept.unlink()


def keep(path: Path, stamp: str) -> Path | None:
    """Give the file in place a second name, `<name>.before-<stamp>`, and its log with it; None if there is no file.

    Args:
        path: The file; it stays in place.
        stamp: UTC time for the name.
    """
    if not path.exists():
        return None
    kept = path.with_name(f"{path.name}.before-{stamp}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.before-{stamp}-{number}")
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        copy = part_path(path, "-copy")
        shutil.copy2(path, copy)
        sync(copy)
        copy.replace(kept)
    log = _log_of(path)
    if log.exists():  # only where the file could not be opened: else it was written into the file
        log.replace(_log_of(kept))
    sync(path.parent)
    return kept


def put(part: Path, path: Path) -> None:
    """Put a finished file in place, on disk when this returns.

    Raises:
        BrokenPromiseError: A log stands beside one of them.
    """
    for log in (_log_of(part), _log_of(path)):
        if log.exists():
            msg = f"log {log} stands beside a file that is to be replaced: close the database first"
            raise BrokenPromiseError(msg)
    sync(part)
    part.replace(path)
    sync(path.parent)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
