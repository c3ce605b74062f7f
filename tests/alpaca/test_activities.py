"""What each kind of activity moves: recorded rows of Alpaca's documentation, and every kind of its lists."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.enums import ActivityType
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.alpaca.activities import KINDS, Moves, parse_activity
from adapters.alpaca.fields import Problem, time_ns
from engine.ports import VenueActivity
from tests.alpaca.payloads import CFEE
from tests.alpaca.wire import relaxed

D = Decimal
# Kinds of the documentation, 2019 to 2026-11. TRANS, MISC and TRD are words to ask with; a row never has them.
LISTED = [
    "ACATC",
    "ACATS",
    "CFEE",
    "CIL",
    "CSD",
    "CSR",
    "CSW",
    "DIV",
    "DIVCGL",
    "DIVCGS",
    "DIVFEE",
    "DIVFT",
    "DIVNRA",
    "DIVROC",
    "DIVTW",
    "DIVTXEX",
    "DIVWH",
    "DVF",
    "ECEXP",
    "EXTRD",
    "FEE",
    "FIMAT",
    "FXCNV",
    "FXTRD",
    "INT",
    "INTNRA",
    "INTPNL",
    "INTTW",
    "INVPNL",
    "JNL",
    "JNLC",
    "JNLS",
    "MA",
    "MEM",
    "NC",
    "OPASN",
    "OPCA",
    "OPCSH",
    "OPEXC",
    "OPEXP",
    "OPTRD",
    "OPXRC",
    "PTC",
    "PTR",
    "REO",
    "REORG",
    "SC",
    "SPIN",
    "SPLIT",
    "SSO",
    "SSP",
    "SWP",
    "VOF",
    "WH",
]
UNSURE = {"ALLOC", "CORR", "DTCS", "SEG", "SUB", "OCT"}
"""Listed without a word of what they move: booked by their cash, and a person looks."""


def _row(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "activity_type": kind,
        "id": f"20241202000000000::{kind}",
        "date": "2024-12-02",
        "status": "executed",
    } | more


def _read(raw: dict[str, Any]) -> VenueActivity:
    activity = parse_activity(raw)
    assert isinstance(activity, VenueActivity), activity
    return activity


@pytest.mark.parametrize("kind", LISTED)
def test_every_listed_kind_is_known_and_books_its_cash(kind: str) -> None:
    activity = _read(_row(kind, net_amount="-1.50", qty="2", symbol="AAPL"))
    moves = KINDS[kind]
    assert activity.is_known
    assert activity.cash == (0 if moves is Moves.NOTHING else D("-1.5"))
    assert activity.quantity == (2 if moves is Moves.BOTH else 0)


def test_every_kind_alpaca_py_names_is_listed() -> None:
    assert {kind.value for kind in ActivityType} - {"FILL"} - set(LISTED) <= UNSURE
    assert set(KINDS) - {"MEMO"} == set(LISTED)


@pytest.mark.parametrize("kind", [*sorted(UNSURE), "BRAND_NEW"])
def test_unknown_kind_is_booked_by_its_cash_only_and_says_so(kind: str) -> None:
    activity = _read(_row(kind, net_amount="3.25", qty="7", symbol="AAPL", description="what is this"))
    assert (activity.cash, activity.quantity, activity.is_known) == (D("3.25"), D(0), False)
    assert activity.description == "what is this"


@pytest.mark.parametrize(
    ("raw", "cash", "quantity"),
    [
        (CFEE, "0", "-0.000195"),
        (_row("CSD", net_amount="1382000", qty="0"), "1382000", "0"),
        (_row("CSW", net_amount="-7"), "-7", "0"),
        (_row("JNLC", net_amount="-4.81", qty="0"), "-4.81", "0"),
        (_row("JNLS", net_amount="0", qty="0.00911", symbol="AAPL"), "0", "0.00911"),
        (_row("ACATS", net_amount="0", qty="4", symbol="AAPL"), "0", "4"),
        (_row("FEE", activity_sub_type="TAF", net_amount="-0.01"), "-0.01", "0"),
        (_row("INT", activity_sub_type="MGN", net_amount="-3.01"), "-3.01", "0"),
        (_row("DIV", activity_sub_type="CDIV", net_amount="28.25", qty="113", per_share_amount="0.25"), "28.25", "0"),
        (_row("DIV", net_amount="1.02", qty="2", per_share_amount="0.51", symbol="T"), "1.02", "0"),
        (_row("DIV", net_amount="0", qty="2", per_share_amount="0.00001", symbol="T"), "0", "0"),
        (_row("DIV", activity_sub_type="CDIV", net_amount="0", qty="2", symbol="T"), "0", "0"),
        (_row("DIV", activity_sub_type="SDIV", net_amount="0", qty="0.002709921", symbol="SBS"), "0", "0.002709921"),
        (_row("DIV", net_amount="0", qty="0.5", symbol="SBS"), "0", "0.5"),
        (_row("DIVNRA", net_amount=-0.3, qty=0, per_share_amount=None), "-0.3", "0"),
        (_row("SPLIT", activity_sub_type="RSPLIT", net_amount=0, qty=-0.29194239, symbol="FTCI"), "0", "-0.29194239"),
        (_row("NC", activity_sub_type="SNC", net_amount="0", qty="-10", symbol="OLD"), "0", "-10"),
        (_row("SPIN", net_amount="0", qty="0.2", symbol="RNA"), "0", "0.2"),
        (_row("MA", activity_sub_type="CMA", net_amount="0.03", qty="0"), "0.03", "0"),
        (_row("REORG", activity_sub_type="WRM", net_amount="0", qty="-200", symbol="CLNNW"), "0", "-200"),
        (_row("OPTRD", net_amount="-650", qty="100", price="6.5", symbol="QS"), "-650", "100"),
        (_row("OPEXP", net_amount="0", qty="-1", symbol="QS240301C00010500"), "0", "-1"),
        (_row("VOF", activity_sub_type="VDST", net_amount="0", qty="9.975695601", symbol="HYT.RT"), "0", "9.975695601"),
        (_row("FEE", net_amount="-5", status="canceled"), "0", "0"),
        (_row("JNLS", qty="5", symbol="AAPL", status="pending"), "0", "0"),
        (_row("MEM", net_amount="5"), "0", "0"),
    ],
)
def test_recorded_rows(raw: dict[str, Any], cash: str, quantity: str) -> None:
    activity = _read(raw)
    assert (activity.cash, activity.quantity) == (D(cash), D(quantity))


def test_row_of_a_split_keeps_what_pairs_it() -> None:
    said = "REMOVE, From QTY:-0.29194239, To QTY:0.029194239, Position Value:1.5"
    raw = _row("SPLIT", activity_sub_type="RSPLIT", qty="-0.29194239", symbol="FTCI", description=said, group_id="g")
    activity = _read(raw | {"created_at": "2024-12-01T22:30:42.997Z"})
    assert (activity.sub_kind, activity.description, activity.group) == ("RSPLIT", said, "g")
    assert activity.ts_event == time_ns("2024-12-01T22:30:42.997Z")


def test_money_of_another_currency_is_not_booked_as_dollars() -> None:
    activity = _read(_row("CSD", net_amount="100", currency="EUR"))
    assert (activity.cash, activity.is_known) == (D(0), False)
    assert _read(_row("CSD", net_amount="100", currency="USD")).cash == 100


@pytest.mark.parametrize("broken", [{"activity_type": None}, {"id": 7}, {"date": "some day"}, {"date": None}])
def test_row_without_what_matters_is_a_problem(broken: dict[str, Any]) -> None:
    assert isinstance(parse_activity(_row("FEE") | broken), Problem)


_junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.none(), max_size=2)


@settings(relaxed, max_examples=100)
@given(st.sampled_from([*LISTED, "X"]), st.dictionaries(st.sampled_from(["qty", "net_amount", "date", "id", "symbol",
       "status", "currency", "activity_sub_type", "per_share_amount", "group_id"]), _junk, max_size=4))  # fmt: skip
def test_damaged_rows_are_values_or_problems(kind: str, damage: dict[str, Any]) -> None:
    read = parse_activity(_row(kind, net_amount="1", qty="2", symbol="AAPL") | damage)
    assert isinstance(read, Problem) or (read.cash.is_finite() and read.quantity.is_finite())
