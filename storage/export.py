"""Answers of queries as Parquet files, in the one folder that a database may touch. Called by tapeline.backtesting."""

from __future__ import annotations

from pathlib import Path

import duckdb

from engine.errors import BrokenPromiseError
from storage.instance import Instance, failure, quoted


def export(instance: Instance, query: str, path: Path) -> int:
    """Write the answer of a query; the file appears whole or not at all. Give its number of rows.

    Args:
        instance: An open file, with a snapshot folder.
        query: SQL of ours.
        path: A file in that folder; one that is there is replaced.

    Raises:
        DiskFullError, StoppedFileError: There is no room.
        BrokenPromiseError: The query or the copy failed.
    """
    if instance.snapshot_dir is None or path.parent != instance.snapshot_dir:
        msg = f"{path} is not in the folder that the database may write: {instance.snapshot_dir}"
        raise BrokenPromiseError(msg)
    part = path.with_name(f".snapshot-{path.name}.part")
    try:
        with instance.reading() as cursor:
            cursor.execute(f"COPY ({query}) TO {quoted(part)} (FORMAT parquet, COMPRESSION zstd)")
            rows = cursor.fetchone()
        part.replace(path)
    except (duckdb.Error, OSError) as error:
        part.unlink(missing_ok=True)
        raise failure(f"{path} could not be written", error) from error
    return int(rows[0]) if rows else 0
