"""Bodies to rows and back, and that the SQL and the bodies agree."""

import typing
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BrokenPromiseError
from engine.messages import AnyBody
from storage.schema import migrate
from storage.tables import HEAD_COLUMNS, TABLE_OF, TABLES, body_of, exact, row_of
from tests.storage import samples, strategies

BODY_TYPES = typing.get_args(AnyBody)


def test_every_body_has_a_table():
    """A body added to the wire without a table would stop the recorder."""
    assert set(TABLE_OF) == set(BODY_TYPES)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A connection to a database of this version."""
    connection = duckdb.connect()
    migrate(connection, tmp_path_factory.mktemp("tables"))
    yield connection
    connection.close()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_sql_has_the_columns_that_the_bodies_need(table, migrated):
    found = {row[0]: (row[1], row[2]) for row in migrated.execute(f"DESCRIBE {table.name}").fetchall()}
    shown = {part.split(" AS ")[-1].strip().strip('"') for c in table.columns for part in c.select.split(", ")}
    assert set(found) == shown | set(HEAD_COLUMNS) | set(table.refs) | ({"seq"} if table.is_numbered else set())
    sql_types = {"TEXT": "VARCHAR", "REAL": "DOUBLE", "COUNT": "BIGINT", "FLAG": "BOOLEAN", "EXACT": "DECIMAL(38,9)"}
    for column in table.columns:
        assert found[column.exact_name][0] == (sql_types | {"MOMENT": "BIGINT", "JSON": "VARCHAR"})[column.kind.name]
    assert all(found[name][1] == "NO" for name in table.key_columns)


@pytest.mark.parametrize("body_type", BODY_TYPES, ids=lambda body_type: body_type.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_a_row_gives_its_body_back(body_type, data):
    body = data.draw(strategies.bodies(body_type))
    table = TABLE_OF[body_type]
    assert body_of(table, row_of(table, body)) == body


def test_rows_of_equal_bodies_are_equal_however_they_were_written():
    one = samples.fill(cum_qty="10", last_px="100.250")
    other = samples.fill(cum_qty="10.000", last_px="100.25")
    assert row_of(TABLE_OF[type(one)], one) == row_of(TABLE_OF[type(other)], other)
    table = TABLE_OF[type(samples.signal())]
    forward = samples.signal(indicators={"a": 1.0, "b": 2.0})
    backward = samples.signal(indicators={"b": 2.0, "a": 1.0})
    assert row_of(table, forward) == row_of(table, backward)


@pytest.mark.parametrize(
    ("given_value", "stored"),
    [
        ("1.0000000005", "1.000000000"),
        ("1.0000000015", "1.000000002"),
        ("-0.0000000014", "-0.000000001"),
        ("1E+3", "1000"),
    ],
)
def test_decimals_are_rounded_half_even_to_nine_places(given_value, stored):
    assert exact(Decimal(given_value)) == Decimal(stored)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e30"])
def test_a_decimal_without_a_place_is_refused_by_name(value):
    body = samples.fill(last_px=value)
    with pytest.raises(BrokenPromiseError, match=r"table fills cannot be stored: last_px"):
        row_of(TABLE_OF[type(body)], body)
