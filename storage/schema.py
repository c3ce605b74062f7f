"""Brings a database file to the version of this code: numbered SQL files, each in one transaction with its number.

Never changes a migration that was released: a change is a new file. Called when the writer opens; readers only check.

    1. `schema_version` holds one row per applied migration, 1..n without holes.
    2. A file with a higher number than this code knows is refused, not guessed at.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import duckdb

from engine.errors import ConfigError

_CREATE = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, name VARCHAR NOT NULL)"


def load_migrations() -> tuple[tuple[str, str], ...]:
    """Give (name, SQL) of every migration, oldest first; number n stands at index n - 1."""
    found = sorted(
        (f.name, f.read_text("utf-8")) for f in files("storage.migrations").iterdir() if f.name[:4].isdigit()
    )
    return tuple(found)


def version_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Read the version of an open file; 0 when it has no tables of ours."""
    try:
        # fetchall, not fetchone: a result that is not read to its end keeps the connection busy.
        ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        return 0
    return int(version)


def check(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Refuse a file from a newer version; give the file's version.

    Raises:
        ConfigError: The file was written by a newer version of this code.
    """
    version, known = version_of(connection), len(load_migrations())
    if version > known:
        msg = f"database {path} has schema version {version}, this version knows up to {known}: use the newer tapeline"
        raise ConfigError(msg)
    return version


def migrate(connection: duckdb.DuckDBPyConnection, path: Path, *, upto: int | None = None) -> int:
    """Apply what is missing, then checkpoint, so that no WAL with schema changes is left to replay.

    Args:
        connection: An open connection that may write.
        path: Named in errors.
        upto: Stop at this version; None applies all.

    Raises:
        ConfigError: As `check`; or the file has foreign tables of the same names.
    """
    version = check(connection, path)
    missing = load_migrations()[version:upto]
    for number, (name, sql) in enumerate(missing, start=version + 1):
        connection.execute("BEGIN")
        try:
            connection.execute(_CREATE)
            connection.execute(sql)
            connection.execute("INSERT INTO schema_version VALUES (?, ?)", [number, name])
            connection.execute("COMMIT")
        except duckdb.Error as error:
            connection.execute("ROLLBACK")
            reason = str(error).splitlines()[0]
            msg = f"database {path} cannot be brought to schema version {number} ({name}): {reason}"
            raise ConfigError(msg) from error
    if missing:
        connection.execute("CHECKPOINT")
    return version + len(missing)
