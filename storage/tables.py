"""Which body goes to which table and columns, and back: the one place that knows both forms.

A table is derived from the fields of its bodies; migrations/ holds the same as SQL, and a test compares the two. Pure:
no database here. Called by the writer (bodies to columns) and by readers who want whole bodies again.

    1. `row_of` is what equality of content means: heads are no part of it.
    2. A Decimal is stored with 9 places, rounded half to even once, here; the digits beyond are not kept.
    3. `body_of(table, row_of(table, body)) == body` for every body whose Decimals have at most 9 places.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from enum import Enum, StrEnum
from operator import attrgetter
from typing import Any, cast

import msgspec
import polars as pl

from engine.errors import BrokenPromiseError
from engine.messages import (
    Account,
    AccountOpened,
    Alert,
    AnyBody,
    Bar,
    BarMarks,
    BotDefined,
    BotRefused,
    CancelOrder,
    ChangeBot,
    Command,
    Correction,
    DerivedBar,
    Fee,
    Fill,
    FillTold,
    Gap,
    IndicatorValues,
    Mark,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    PastBars,
    Position,
    Protection,
    ReplaceOrder,
    RiskDenied,
    Sessions,
    Shadowed,
    Signal,
    Split,
    SymbolStatus,
    TargetReached,
    Ticks,
    Timer,
    TradingState,
    VenueFunds,
)
from engine.values import plain

PLACES = Decimal("1e-9")
_EXACT = Context(prec=38, rounding=ROUND_HALF_EVEN)
_MOMENTS = frozenset({"ts_event", "ts_from", "ts_to", "decided_ns", "valid_until", "from_ts"})
_json = msgspec.json.Encoder(order="sorted")


class Kind(Enum):
    """How a field is stored."""

    TEXT = "text"
    REAL = "real"
    COUNT = "count"
    FLAG = "flag"
    EXACT = "exact"
    MOMENT = "moment"
    JSON = "json"

    @property
    def dtype(self) -> pl.DataType:
        """Type of the column in an incoming frame."""
        return _DTYPES[self]


_DTYPES = {
    Kind.TEXT: pl.String(),
    Kind.REAL: pl.Float64(),
    Kind.COUNT: pl.Int64(),
    Kind.FLAG: pl.Boolean(),
    Kind.EXACT: pl.Decimal(38, 9),
    Kind.MOMENT: pl.Int64(),
    Kind.JSON: pl.String(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a body and the column of the same name."""

    name: str
    kind: Kind

    @property
    def exact_name(self) -> str:
        """Name of the column that holds the exact value: for a moment the one in nanoseconds."""
        return f"{self.name.removesuffix('_ns')}_ns" if self.kind is Kind.MOMENT else self.name

    @property
    def select(self) -> str:
        """The column as SQL over an incoming frame whose columns are named by `exact_name`; both forms of a moment."""
        if self.kind is not Kind.MOMENT:
            return f'"{self.name}"'
        shown = f"{self.name.removesuffix('_ns')}_at" if self.name.endswith("_ns") else self.name
        return f'"{self.exact_name}", make_timestamptz("{self.exact_name}" // 1000) AS "{shown}"'


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table, the bodies it takes and the columns that make a row unique. One object of each, compared by identity."""

    name: str
    bodies: tuple[type[AnyBody], ...]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    refs: tuple[str, ...] = ()

    @property
    def is_numbered(self) -> bool:
        """Whether rows know their place in the stream (column `seq`): all of the trading stream do."""
        return not {Bar, Gap, PastBars, Ticks} & set(self.bodies)

    @property
    def exact_columns(self) -> tuple[str, ...]:
        """Names of the columns that make up `row_of`, in its order."""
        return tuple(column.exact_name for column in self.columns)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the key's columns in the database."""
        return tuple(column.exact_name for column in self.columns if column.name in self.key)


def _kind_of(name: str, annotation: Any) -> Kind:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
        annotation = arms[0] if len(arms) == 1 else dict
    if annotation is int and name in _MOMENTS:
        return Kind.MOMENT
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Kind.TEXT
    simple = {str: Kind.TEXT, float: Kind.REAL, int: Kind.COUNT, bool: Kind.FLAG, Decimal: Kind.EXACT}
    return simple.get(annotation, Kind.JSON)


def _table(name: str, key: str, *bodies: type[AnyBody], refs: tuple[str, ...] = ()) -> Table:
    columns: dict[str, Column] = {"event": Column("event", Kind.TEXT)} if len(bodies) > 1 else {}
    for body in bodies:
        for field in msgspec.structs.fields(body):
            columns.setdefault(field.name, Column(field.name, _kind_of(field.name, field.type)))
    return Table(name, bodies, tuple(key.split()), tuple(columns.values()), refs)


BARS = _table("bars", "symbol timeframe ts_event revision", Bar)
TABLES: tuple[Table, ...] = (
    BARS,
    _table("gaps", "symbol timeframe ts_from ts_to filled_by bars", Gap),
    _table("past_bars", "id", PastBars),
    _table("ticks", "id", Ticks),
    _table("accounts_opened", "venue account_number run", AccountOpened),
    _table("sessions", "asset_class ts_event", Sessions),
    _table("signals", "id", Signal),
    _table("intents", "id", OrderIntent),
    _table("denials", "id", RiskDenied),
    _table("no_trades", "id", TargetReached),
    _table(
        "order_events",
        "event client_order_id",
        OrderSubmitted,
        OrderAccepted,
        OrderRejected,
        OrderFilled,
        OrderCanceled,
        OrderExpired,
        OrderReplaced,
    ),
    _table("adopted_orders", "id", OrderAdopted),
    _table("cancel_requests", "id", CancelOrder),
    _table("replace_requests", "id", ReplaceOrder),
    _table("fills", "venue_order_id cum_qty", Fill, refs=("execution_id", "activity_id", "via")),
    _table("fees", "id", Fee),
    _table("splits", "id", Split),
    _table("corrections", "id", Correction),
    _table("marks", "symbol ts_from ts_event", Mark),
    _table("bar_marks", "id", BarMarks),
    _table("symbol_statuses", "symbol source ts_event", SymbolStatus),
    _table("protections", "bot symbol cause", Protection),
    _table("venue_funds", "ts_event", VenueFunds),
    _table("positions", "bot symbol cause", Position),
    _table("account", "cause", Account),
    _table("commands", "id", Command),
    _table("bot_changes", "id", ChangeBot),
    _table("bots", "bot revision", BotDefined),
    _table("bot_refusals", "cause", BotRefused),
    _table("timers", "id", Timer),
    _table("fills_told", "id", FillTold),
    _table("indicator_values", "bot bar", IndicatorValues),
    _table("shadow_events", "life ordinal", Shadowed),
    _table("derived_bars", "symbol timeframe ts_event revision", DerivedBar),
    _table("trading_states", "cause", TradingState),
    _table("alerts", "id", Alert),
)
TABLE_OF: dict[type[AnyBody], Table] = {body: table for table in TABLES for body in table.bodies}
HEAD_COLUMNS = ("ts_init", "ts_recv", "trace")
"""Columns that are not compared between two runs; for fills also `Table.refs`, and `seq` of numbered tables."""


def exact(value: Decimal) -> Decimal:
    """Round to the 9 places that are stored.

    Raises:
        ValueError: Not finite, or more than 29 digits before the point.
    """
    try:
        rounded = value.quantize(PLACES, context=_EXACT)
    except InvalidOperation as error:
        msg = f"{value} has more than 29 digits before the point"
        raise ValueError(msg) from error
    if not rounded.is_finite():
        msg = f"{value} is not a finite number"
        raise ValueError(msg)
    return rounded


def _json_text(value: Any) -> str:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        value = {name: plain(exact(one)) if isinstance(one, Decimal) else one for name, one in items}
    return _json.encode(value).decode()


_CONVERT: dict[Kind, Callable[[Any], Any]] = {Kind.EXACT: exact, Kind.JSON: _json_text}


def _stored(table: Table, column: Column, values: Sequence[Any]) -> Sequence[Any]:
    convert = _CONVERT.get(column.kind)
    if convert is None:
        return values
    try:
        return [None if value is None else convert(value) for value in values]
    except ValueError as error:
        raise _unstorable(table, column, error) from error


def _unstorable(table: Table, column: Column, error: Exception) -> BrokenPromiseError:
    return BrokenPromiseError(f"a message for table {table.name} cannot be stored: {column.name}: {error}")


def frame_of(table: Table, columns: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Make the incoming frame of a table, columns named by `exact_name`.

    polars and not pyarrow builds it: pa.array imports pandas (0.3 s, 50 MB) and takes ten times as long, measured.

    Raises:
        BrokenPromiseError: A value that its column's type cannot hold.
    """
    series: list[pl.Series] = []
    for column, values in zip(table.columns, columns, strict=True):
        try:
            series.append(pl.Series(column.exact_name, values, dtype=column.kind.dtype))
        except (TypeError, OverflowError, UnicodeError, pl.exceptions.PolarsError) as error:
            raise _unstorable(table, column, error) from error
    return pl.DataFrame(series)


def columns_of(table: Table, bodies: Sequence[AnyBody]) -> list[Sequence[Any]]:
    """Turn bodies into columns in the order of `table.columns`, values as stored.

    Raises:
        BrokenPromiseError: A Decimal that is not finite or too large.
    """
    if not bodies:
        return [() for _ in table.columns]
    names = [column.name for column in table.columns]
    if len(table.bodies) == 1:
        raw: list[Sequence[Any]] = list(zip(*map(attrgetter(*names), bodies), strict=True))
    else:
        raw = [[getattr(body, name, None) for body in bodies] for name in names]
        raw[0] = [type(body).__name__ for body in bodies]
    return [_stored(table, column, values) for column, values in zip(table.columns, raw, strict=True)]


def row_of(table: Table, body: AnyBody) -> tuple[Any, ...]:
    """Turn one body into its row: equal rows are equal contents."""
    return tuple(column[0] for column in columns_of(table, (body,)))


def keys_of(table: Table, bodies: Sequence[AnyBody]) -> list[tuple[Any, ...]]:
    """Give the key of each body, values as stored."""
    columns = columns_of(table, bodies)
    return list(
        zip(*(c for c, column in zip(columns, table.columns, strict=True) if column.name in table.key), strict=True)
    )


def body_of(table: Table, row: Sequence[Any]) -> AnyBody:
    """Turn a row (values of `table.exact_columns`) back into its body."""
    values = dict(zip((column.name for column in table.columns), row, strict=True))
    body_type = table.bodies[0]
    if len(table.bodies) > 1:
        event = values.pop("event")
        body_type = next(body for body in table.bodies if body.__name__ == event)
    fields: dict[str, Any] = {"type": body_type.__name__}
    for column in table.columns:
        value = values.get(column.name)
        if value is None or column.name not in body_type.__struct_fields__:
            continue
        match column.kind:
            case Kind.EXACT:
                fields[column.name] = plain(cast("Decimal", value))
            case Kind.JSON:
                fields[column.name] = msgspec.json.decode(cast("str", value))
            case _:
                fields[column.name] = value
    return msgspec.convert(fields, body_type)
