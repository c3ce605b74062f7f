"""Whole bodies back from a file: for comparing two runs, and for whoever rebuilds state from the record.

Reads only. Called by tests and tools, never while trading.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from engine.messages import AnyBody
from storage.instance import Instance
from storage.tables import TABLES, Table, body_of

_ROWS_AT_ONCE = 10_000


def read_bodies(connection: duckdb.DuckDBPyConnection, table: Table) -> Iterator[AnyBody]:
    """Give a table's bodies in the order of recording; the connection is busy until the last one."""
    names = ", ".join(f'"{name}"' for name in table.exact_columns)
    found = connection.execute(f"SELECT {names} FROM {table.name} ORDER BY rowid")  # noqa: S608
    while rows := found.fetchmany(_ROWS_AT_ONCE):
        for row in rows:
            yield body_of(table, row)


def read_all(instance: Instance) -> dict[str, list[AnyBody]]:
    """Give every table's bodies, by table name: equal runs give equal answers, whatever their heads were."""
    with instance.reading() as cursor:
        return {table.name: list(read_bodies(cursor, table)) for table in TABLES}
