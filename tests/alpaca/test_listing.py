"""The list of orders page by page, assets and splits, from a server that answers as Alpaca's documentation says."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from adapters.alpaca.fields import rfc3339, time_ns
from adapters.alpaca.trading import AlpacaVenue
from engine.errors import BrokenPromiseError, ConfigError, UnreachableError
from engine.ports import VenueAsset, VenueSplit
from engine.values import AssetClass
from tests.alpaca.payloads import BRACKET, MULTI_LEG, ORDER
from tests.alpaca.wire import Wire

ORDERS = ("GET", "/v2/orders")
SPLITS = ("GET", "/v1/corporate-actions")
T0 = time_ns("2025-03-10T13:30:00Z") or 0
MINUTE = 60 * 10**9


@pytest.fixture
def venue(wire: Wire) -> Iterator[AlpacaVenue]:
    made = AlpacaVenue(wire.config(orders_per_page=3))
    yield made
    made.close()


def _raw(number: int, at_ns: int, status: str = "filled", **more: Any) -> dict[str, Any]:
    at = rfc3339(at_ns)
    name = {"id": f"venue-{number:03d}", "client_order_id": f"ours-{number:03d}"}
    return ORDER | name | {"status": status, "submitted_at": at, "created_at": at, "updated_at": at} | more


def _group(number: int, at_ns: int, parent: str, *legs: str) -> dict[str, Any]:
    """A bracket; its legs have numbers of their own."""
    inner = [_raw(number * 10 + i, at_ns + 5, status, order_class="bracket") for i, status in enumerate(legs)]
    return _raw(number, at_ns, parent, order_class="bracket", legs=inner)


class Alpaca:
    """GET /v2/orders: newest first unless asked, at most `limit`, after exclusive, legs in their parent if nested."""

    OPEN = ("new", "held", "partially_filled", "accepted")

    def __init__(self, *orders: dict[str, Any], knows_ids: bool = True) -> None:
        self.orders = orders
        self.knows_ids = knows_ids

    def __call__(self, query: dict[str, str], _body: Any) -> Any:
        nested = query["nested"] == "true"
        flat = [part for order in self.orders for part in (order, *(() if nested else order.get("legs") or ()))]
        found = [order if nested else order | {"legs": None} for order in flat]
        if query["status"] == "open":
            found = [order for order in found if order["status"] in self.OPEN]
        if "after" in query:
            after = time_ns(query["after"])
            found = [order for order in found if time_ns(order["submitted_at"]) > after]
        found.sort(key=lambda order: (time_ns(order["submitted_at"]), order["id"]))
        if self.knows_ids and (mark := query.get("after_order_id")):
            assert "after" not in query
            found = found[[order["id"] for order in found].index(mark) + 1 :]
        assert query["direction"] == "asc"
        return 200, found[: int(query["limit"])]


def _ids(venue: AlpacaVenue, after_ns: int = 0) -> list[str]:
    return [order.venue_order_id for order in venue.orders(after_ns)]


def test_open_ones_and_those_since_then_oldest_first(wire: Wire, venue: AlpacaVenue) -> None:
    old = [_raw(1, T0, "new"), _raw(2, T0 + 1, "filled"), _raw(3, T0 + 2, "canceled")]
    new = [_raw(4, T0 + MINUTE, "filled"), _raw(5, T0 + MINUTE + 1, "accepted")]
    wire.routes[ORDERS] = Alpaca(*old, *new)
    assert _ids(venue, T0 + MINUTE) == ["venue-001", "venue-004", "venue-005"]
    assert _ids(venue, T0 + MINUTE + 1) == ["venue-001", "venue-005"]
    assert _ids(venue) == [f"venue-00{number}" for number in range(1, 6)]


def test_every_page_is_read(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = Alpaca(*[_raw(number, T0 + number * 1000, "new") for number in range(20)])
    assert _ids(venue) == [f"venue-{number:03d}" for number in range(20)]


@pytest.mark.parametrize("knows_ids", [True, False])
def test_orders_of_one_moment_over_a_page_s_end(wire: Wire, venue: AlpacaVenue, *, knows_ids: bool) -> None:
    at = [0, 0, 1, 1, 2, 2, 3]  # a page ends between the two of one moment
    wire.routes[ORDERS] = Alpaca(*[_raw(n, T0 + m * MINUTE, "new") for n, m in enumerate(at)], knows_ids=knows_ids)
    assert _ids(venue) == [f"venue-{number:03d}" for number in range(7)]


def test_more_orders_of_one_moment_than_a_page_holds(wire: Wire, venue: AlpacaVenue) -> None:
    orders = [_raw(number, T0, "new") for number in range(10)]
    wire.routes[ORDERS] = Alpaca(*orders, _raw(11, T0 + MINUTE, "new"))
    assert _ids(venue) == [*(f"venue-{number:03d}" for number in range(10)), "venue-011"]
    wire.routes[ORDERS] = Alpaca(*orders, knows_ids=False)
    with pytest.raises(UnreachableError, match="3 read, and the pages bring no others"):
        venue.orders(0)


def test_group_is_a_tree_and_its_open_legs_are_found_when_the_parent_is_old(wire: Wire, venue: AlpacaVenue) -> None:
    done = _group(1, T0, "filled", "filled", "canceled")
    working = _group(2, T0 + MINUTE, "filled", "new", "held")
    waiting = _group(3, T0 + 2 * MINUTE, "new", "held", "held")
    later = _group(4, T0 + 9 * MINUTE, "new", "held", "held")
    plain = _raw(5, T0 + 3 * MINUTE, "new")
    wire.routes[ORDERS] = Alpaca(done, working, waiting, plain, later)
    found = venue.orders(T0 + 8 * MINUTE)
    assert [(order.venue_order_id, [leg.venue_order_id for leg in order.legs]) for order in found] == [
        ("venue-002", ["venue-020", "venue-021"]),
        ("venue-003", ["venue-030", "venue-031"]),
        ("venue-005", []),
        ("venue-004", ["venue-040", "venue-041"]),
    ]


def test_leg_whose_parent_is_nowhere_stands_alone(wire: Wire, venue: AlpacaVenue) -> None:
    lonely = _raw(7, T0, "new", order_class="oto")

    def answer(query: dict[str, str], body: Any) -> Any:
        return (200, [lonely]) if query["status"] == "open" else (200, [])

    wire.routes[ORDERS] = answer
    assert _ids(venue, T0 + MINUTE) == ["venue-007"]


def test_multi_leg_order_stands_as_its_legs(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = lambda query, _: (200, [MULTI_LEG] if query["nested"] == "true" else [])
    assert [order.symbol for order in venue.orders(0)] == ["AAPL250117P00200000", "AAPL250117C00250000"]


@pytest.mark.parametrize(
    ("page", "error", "said"),
    [
        ([_raw(1, T0) | {"side": "hold"}], BrokenPromiseError, "order 'venue-001' of .* side must be buy or sell"),
        ([BRACKET | {"legs": [BRACKET["legs"][0] | {"symbol": None}]}], BrokenPromiseError, "symbol must be a text"),
        ([{"status": "new"}], BrokenPromiseError, "one has no id"),
        ([7], BrokenPromiseError, "one has no id"),
        ({"orders": []}, UnreachableError, "are no list"),
        ("<html>", UnreachableError, "no answer after 4 tries"),
    ],
)
def test_list_with_a_hole_is_no_list(
    wire: Wire, venue: AlpacaVenue, page: Any, error: type[Exception], said: str
) -> None:
    wire.routes[ORDERS] = (200, page)
    with pytest.raises(error, match=said):
        venue.orders(0)


# --- assets ----------------------------------------------------------------------------------------------------------

AAPL = {
    "id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415", "class": "us_equity", "exchange": "NASDAQ", "symbol": "AAPL",
    "status": "active", "tradable": True, "marginable": True, "shortable": True, "easy_to_borrow": True,
    "borrow_status": "easy_to_borrow", "fractionable": True,
}  # fmt: skip
BITCOIN = {
    "id": "276e2673-764b-4ab6-a611-caf665ca6340", "class": "crypto", "exchange": "CRYPTO", "symbol": "BTC/USD",
    "status": "active", "tradable": True, "marginable": False, "shortable": False, "fractionable": True,
    "min_order_size": "0.000016", "min_trade_increment": "0.000000001", "price_increment": "1",
}  # fmt: skip


def test_assets_one_each_in_their_order(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes["GET", "/v2/assets/AAPL"] = (200, AAPL)
    wire.routes["GET", "/v2/assets/BTCUSD"] = (200, BITCOIN)
    coin = VenueAsset(
        "BTC/USD", is_tradable=True, is_shortable=False, is_fractionable=True, qty_min=Decimal("0.000016"),
        qty_step=Decimal("1E-9"), price_step=Decimal(1),
    )  # fmt: skip
    stock = VenueAsset("AAPL", is_tradable=True, is_shortable=True, is_fractionable=True)
    unknown = VenueAsset("NOSUCH", is_tradable=False, is_shortable=False, is_fractionable=False)
    assert venue.assets(["BTC/USD", "AAPL", "NOSUCH", "AAPL"]) == [coin, stock, unknown]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "inactive"}, (False, True, True)),
        ({"tradable": False}, (False, True, True)),
        ({"tradable": "yes"}, (False, True, True)),
        ({"shortable": False}, (True, False, True)),
        ({"borrow_status": "hard_to_borrow", "easy_to_borrow": False}, (True, False, True)),
        ({"easy_to_borrow": None}, (True, True, True)),
        ({"borrow_status": None}, (True, True, True)),
        ({"borrow_status": None, "easy_to_borrow": None}, (True, False, True)),
        ({"fractionable": None}, (True, True, False)),
        ({"exchange": "NEW_ONE", "min_order_size": "none"}, (True, True, True)),
    ],
)
def test_what_an_asset_allows(
    wire: Wire, venue: AlpacaVenue, changes: dict[str, Any], expected: tuple[bool, bool, bool]
) -> None:
    wire.routes["GET", "/v2/assets/AAPL"] = (200, AAPL | changes)
    (asset,) = venue.assets(["AAPL"])
    assert (asset.is_tradable, asset.is_shortable, asset.is_fractionable) == expected
    assert asset.qty_min is None


def test_a_universe_is_what_is_tradable_of_its_class(wire: Wire, venue: AlpacaVenue) -> None:
    gone = AAPL | {"symbol": "GONE", "tradable": False}
    option = AAPL | {"symbol": "AAPL250117C00150000", "class": "us_option"}
    odd = {"symbol": 5}
    other = BITCOIN | {"symbol": "BTC/USDT"}
    wire.routes["GET", "/v2/assets"] = (200, [AAPL | {"symbol": "ZZ"}, gone, AAPL, option, odd, BITCOIN, other])
    assert venue.universe(AssetClass.US_EQUITY) == ["AAPL", "ZZ"]
    assert venue.universe(AssetClass.CRYPTO) == ["BTC/USD"]
    queries = [query for _, _, query, _ in wire.requests]
    assert [(q["asset_class"], q["status"]) for q in queries] == [("us_equity", "active"), ("crypto", "active")]
    wire.routes["GET", "/v2/assets"] = (200, {"no": "list"})
    with pytest.raises(UnreachableError, match="are no list"):
        venue.universe(AssetClass.US_EQUITY)


def test_many_assets_are_picked_from_the_list_of_all(wire: Wire) -> None:
    venue = AlpacaVenue(wire.config(assets_asked_singly_max=1))
    odd = {"class": "us_equity", "symbol": 7}
    wire.routes["GET", "/v2/assets"] = lambda query, _: (
        (200, [odd, AAPL, AAPL | {"symbol": "MSFT"}]) if query["asset_class"] == "us_equity" else (200, [BITCOIN])
    )
    found = venue.assets(["AAPL", "NOSUCH", "BTC/USD"])
    assert [(asset.symbol, asset.is_tradable) for asset in found] == [
        ("AAPL", True), ("NOSUCH", False), ("BTC/USD", True),
    ]  # fmt: skip
    assert len(wire.requests) == 2
    wire.routes["GET", "/v2/assets"] = (200, {"code": 1})
    with pytest.raises(UnreachableError, match="are no list"):
        venue.assets(["AAPL", "MSFT"])
    venue.close()


def test_asset_that_cannot_be_read_and_a_refusal(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes["GET", "/v2/assets/AAPL"] = (200, {"class": "us_equity"})
    with pytest.raises(BrokenPromiseError, match="symbol must be a text"):
        venue.assets(["AAPL"])
    wire.routes["GET", "/v2/assets/AAPL"] = (422, {"code": 42210000, "message": "no"})
    with pytest.raises(ConfigError, match="refused GET /assets/AAPL"):
        venue.assets(["AAPL"])


# --- splits ----------------------------------------------------------------------------------------------------------

FORWARD = {
    "id": "f1", "symbol": "NVDA", "cusip": "67066G104", "new_rate": 10, "old_rate": 1, "process_date": "2024-06-10",
    "ex_date": "2024-06-10", "record_date": "2024-06-06", "payable_date": "2024-06-07",
}  # fmt: skip
REVERSE = {
    "id": "r1", "symbol": "MULN", "old_cusip": "a", "new_cusip": "b", "new_rate": 1, "old_rate": 100,
    "process_date": "2024-06-12", "ex_date": "2024-06-12",
}  # fmt: skip
RENAMED = {
    "id": "n1", "old_symbol": "FB", "old_cusip": "a", "new_symbol": "META", "new_cusip": "a",
    "process_date": "2024-06-11",
}  # fmt: skip
SHARES = {
    "id": "s1", "symbol": "TR", "cusip": "a", "rate": 0.03, "process_date": "2024-06-14", "ex_date": "2024-06-13",
}  # fmt: skip
FROM, TO = time_ns("2024-06-10T04:00:00Z") or 0, time_ns("2024-06-14T04:00:00Z") or 0
NAMES = ["NVDA", "MULN", "FB", "TR"]


def _day(text: str) -> int:
    return time_ns(f"{text}T04:00:00Z") or 0


def test_splits_and_changes_of_name(wire: Wire, venue: AlpacaVenue) -> None:
    groups = {"name_changes": [RENAMED], "forward_splits": [FORWARD], "reverse_splits": [REVERSE]}
    more = {"stock_dividends": [SHARES], "cash_dividends": [{"symbol": "NVDA", "rate": 1}]}
    answers = {
        None: {"corporate_actions": groups, "next_page_token": "p2"},
        "p2": {"corporate_actions": more, "next_page_token": None},
    }
    wire.routes[SPLITS] = lambda query, _: (200, answers[query.get("page_token")])
    assert venue.splits(NAMES, FROM, TO) == [
        VenueSplit("f1", "NVDA", "NVDA", Decimal(10), _day("2024-06-10")),
        VenueSplit("n1", "FB", "META", Decimal(1), _day("2024-06-11")),
        VenueSplit("r1", "MULN", "MULN", Decimal("0.01"), _day("2024-06-12")),
        VenueSplit("s1", "TR", "TR", Decimal("1.03"), _day("2024-06-13")),
    ]
    query = wire.requests[0][2]
    assert query["symbols"] == "FB,MULN,NVDA,TR"
    assert (query["start"], query["end"]) == ("2024-06-03", "2024-06-21")
    assert "forward_split" in query["types"].split(",")


def test_only_what_takes_effect_in_the_span_and_is_asked_for(wire: Wire, venue: AlpacaVenue) -> None:
    other = FORWARD | {"id": "f2", "symbol": "TSLA"}
    wire.routes[SPLITS] = (
        200,
        {"corporate_actions": {"forward_splits": [FORWARD, other], "reverse_splits": [REVERSE]}},
    )
    assert [split.id for split in venue.splits(NAMES, FROM, FROM)] == ["f1"]
    assert [split.id for split in venue.splits(NAMES, FROM + 1, TO)] == ["r1"]
    assert venue.splits(["BTC/USD"], FROM, TO) == []
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    "broken",
    [{"ex_date": "soon", "process_date": None}, {"new_rate": 0}, {"old_rate": "many"}, {"symbol": None}],
)
def test_split_that_cannot_be_read_stops_the_reading(wire: Wire, venue: AlpacaVenue, broken: dict[str, Any]) -> None:
    wire.routes[SPLITS] = (200, {"corporate_actions": {"forward_splits": [FORWARD | broken]}})
    with pytest.raises(BrokenPromiseError, match="a corporate action"):
        venue.splits(NAMES, FROM, TO)


def test_empty_and_odd_answers(wire: Wire, venue: AlpacaVenue) -> None:
    for nothing in ({"corporate_actions": {}}, {"corporate_actions": None}, {}):
        wire.routes[SPLITS] = (200, nothing)
        assert venue.splits(NAMES, FROM, TO) == []
    wire.routes[SPLITS] = (200, [])
    with pytest.raises(UnreachableError, match="are no object"):
        venue.splits(NAMES, FROM, TO)
