"""Frames as bytes: Arrow IPC streams, uncompressed so that every Arrow library reads them, and their pieces.

Pure. A NATS message holds 1 MB at most, so an answer travels in pieces; the service numbers them. Called by the SQL
service (to bytes), by the recorder service (pieces) and by whoever asked (back to a frame).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import polars as pl
import pyarrow as pa

from storage.arrow import ArrowSchema, ArrowTable
from storage.guard import SqlRefusedError


def to_ipc(frame: pl.DataFrame) -> bytes:
    """Write a frame as an Arrow IPC stream with types that old readers know (no string views)."""
    return table_to_ipc(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))


def table_to_ipc(table: ArrowTable) -> bytes:
    """Write an Arrow table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pl.DataFrame:
    """Read an Arrow IPC stream; Decimals and time zones keep their types."""
    with pa.ipc.open_stream(data) as reader:
        return to_frame(reader.read_all())


def to_frame(table: ArrowTable) -> pl.DataFrame:
    """Turn an Arrow table into a frame."""
    return cast("pl.DataFrame", pl.from_arrow(table))


def chunks(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of at most `size` (> 0); at least one piece, which may be empty."""
    if size < 1:
        msg = f"size of a piece must be > 0, was {size}"
        raise ValueError(msg)
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def join(pieces: Iterable[bytes]) -> bytes:
    """Put pieces together again, in the order given."""
    return b"".join(pieces)


def check_types(schema: ArrowSchema) -> None:
    """Refuse columns that other Arrow readers cannot take.

    Raises:
        SqlRefusedError: Names the column and the mend.
    """
    for field in schema:
        odd = isinstance(field.type, pa.BaseExtensionType) or pa.types.is_interval(field.type)
        if odd or pa.types.is_union(field.type):
            msg = f"refused: column {field.name} is of a type that does not travel ({field.type}): cast it to VARCHAR"
            raise SqlRefusedError(msg)


def unique_names(table: ArrowTable) -> ArrowTable:
    """Give equal column names a number, as DuckDB does in a subquery: a, a_1."""
    names: list[str] = []
    for name in table.column_names:
        candidate, number = name, 0
        while candidate in names:
            number += 1
            candidate = f"{name}_{number}"
        names.append(candidate)
    return table if names == table.column_names else table.rename_columns(names)
