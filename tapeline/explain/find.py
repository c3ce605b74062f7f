"""Which row an id means: as SQL over the tables that exist, and the choice among what it found.

Pure: texts in, values out. Called by explain.command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from engine.errors import ConfigError, TapelineError
from engine.values import plain

type Row = Mapping[str, Any]
type Columns = Mapping[str, AbstractSet[str]]
"""Columns by table, of the tables and views that the database has."""

PREFIX_MIN = 8
_LENGTH_MAX = 200
_SHOWN_MAX = 8
_FOUND_MAX = 64
KINDS = (
    "a fill (venue_order_id|cumulative quantity, execution_id, activity_id), an order (client_order_id, "
    "venue_order_id), an intent, a signal, a denial or a no-trade"
)
FILL_KEY = "venue_order_id || '|' || rtrim(rtrim(CAST(cum_qty AS VARCHAR), '0'), '.')"
"""engine.ids.fill_key in SQL: a stored quantity has nine places."""
# kind, table, column that holds the id, what the row is about; the most telling kind of an entity first
_PLACES = (
    ("fill", "fills", "execution_id", FILL_KEY),
    ("fill", "fills", "activity_id", FILL_KEY),
    ("order", "order_events", "client_order_id", "client_order_id"),
    ("order", "order_events", "venue_order_id", "client_order_id"),
    ("order", "fills", "client_order_id", "client_order_id"),
    ("order", "fills", "venue_order_id", "client_order_id"),
    ("order", "adopted_orders", "id", "id"),
    ("order", "adopted_orders", "venue_order_id", "id"),
    ("intent", "intents", "id", "id"),
    ("signal", "signals", "id", "id"),
    ("denial", "denials", "id", "id"),
    ("no_trade", "no_trades", "id", "id"),
)
_RANK = {kind: rank for rank, kind in enumerate(("fill", "order", "intent", "signal", "denial", "no_trade"))}

COLUMNS_SQL = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"


class Target(msgspec.Struct, frozen=True):
    """What an id means.

    Attributes:
        kind: fill, order, intent, signal, denial or no_trade.
        id: Key of a fill (venue_order_id|cumulative quantity), client_order_id of an order, else the row's id.
    """

    kind: str
    id: str


def columns_of(rows: Iterable[Row]) -> dict[str, set[str]]:
    """Arrange the answer to COLUMNS_SQL by table."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], set()).add(row["column_name"])
    return found


def quoted(text: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def checked(asked: str) -> str:
    """Give the id as it is looked for.

    Raises:
        ConfigError: Empty, longer than any id, or not printable.
    """
    text = asked.strip()
    if not text or len(text) > _LENGTH_MAX or not text.isprintable():
        shown = text if len(text) <= _LENGTH_MAX else text[:32] + "..."
        msg = f"ID must be 1 to {_LENGTH_MAX} printable characters, was {shown!r}: give the id of {KINDS}"
        raise ConfigError(msg)
    return text


def find_sql(text: str, columns: Columns) -> str:
    """Ask for everything an id may mean: exact values, and longer ones where it has 8 characters or more.

    Returns:
        One SELECT of kind, column, value, target; empty where no table is there to look in.
    """
    venue, is_fill_key, quantity = text.rpartition("|")
    if is_fill_key:
        number = _number(quantity)
        if number is None or not {"venue_order_id", "cum_qty"} <= columns.get("fills", set()):
            return ""
        return (  # every text in it is quoted
            f"SELECT DISTINCT 'fill' AS kind, 'key' AS name, {FILL_KEY} AS value, {FILL_KEY} AS target FROM fills "  # noqa: S608
            f"WHERE cum_qty = {number} AND {_matches('venue_order_id', venue)} ORDER BY ALL LIMIT {_FOUND_MAX}"
        )
    parts = [
        f"SELECT '{kind}' AS kind, '{column}' AS name, {column} AS value, {target} AS target FROM {table} "  # noqa: S608
        f"WHERE {_matches(column, text)}"
        for kind, table, column, target in _PLACES
        if column in columns.get(table, set())
    ]
    if not parts:
        return ""
    union = " UNION ".join(parts)
    return f"SELECT * FROM ({union}) ORDER BY value <> {quoted(text)}, kind, value, name, target LIMIT {_FOUND_MAX}"  # noqa: S608


def choose(text: str, found: Sequence[Row]) -> Target:
    """Choose what an id means; a whole id goes before one that only begins with it.

    Args:
        text: The id as asked for.
        found: Answer to `find_sql`.

    Raises:
        TapelineError: Nothing has this id, or more than one thing; the candidates are named.
    """
    exact = [row for row in found if text in {row["value"], row["target"]}]
    entities: dict[tuple[bool, str], list[Row]] = {}
    for row in exact or found:
        entities.setdefault((row["kind"] == "fill", row["target"]), []).append(row)
    if not entities:
        short = f"; a shortened id needs {PREFIX_MIN} characters or more" if len(text) < PREFIX_MIN else ""
        msg = f"no id {text!r} in the database: looked for {KINDS}{short}"
        raise TapelineError(msg)
    if len(entities) > 1:
        names = [f"{_kind(rows)} {rows[0]['value']}" for rows in entities.values()]
        more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
        msg = f"id {text!r} is ambiguous, give more of it: {', '.join(names[:_SHOWN_MAX])}{more}"
        raise TapelineError(msg)
    ((_, target), rows) = next(iter(entities.items()))
    return Target(_kind(rows), target)


def _kind(rows: Sequence[Row]) -> str:
    """Name a thing that several rows are about by its most telling kind: an intent that was sent is an order."""
    return min((row["kind"] for row in rows), key=_RANK.__getitem__)


def _matches(column: str, text: str) -> str:
    if len(text) < PREFIX_MIN:
        return f"{column} = {quoted(text)}"
    return f"starts_with({column}, {quoted(text)})"


def is_number(text: str) -> bool:
    """Whether a text may stand as a quantity in SQL."""
    return _number(text) is not None and text.replace(".", "", 1).isdecimal()


def _number(text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return plain(number) if number.is_finite() and abs(number.adjusted()) < 29 else None
