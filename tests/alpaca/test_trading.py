"""AlpacaVenue against a REST server that misbehaves: what each answer means for an order and for the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from adapters.alpaca.fields import time_ns
from adapters.alpaca.trading import AlpacaVenue
from engine.errors import BrokenPromiseError, ConfigError, UnreachableError
from engine.messages import OrderIntent
from engine.ports import Accepted, CancelRequested, NotFound, RateLimited, Rejected, Unknown, VenueOrder
from engine.values import OrderType, Side, TimeInForce
from tests.alpaca.test_parse import ACCOUNT, CFEE, FILL_ACTIVITY, ORDER, POSITIONS
from tests.alpaca.wire import DROP, HANG, KEY, SECRET, Wire

ORDERS = ("POST", "/v2/orders")
LOOKUP = ("GET", "/v2/orders:by_client_order_id")
FILLS = ("GET", "/v2/account/activities/FILL")
ACTIVITIES = ("GET", "/v2/account/activities")
HTML = "<html><body>502 Bad Gateway</body></html>"
DUPLICATE = (422, {"code": 40010001, "message": "client_order_id must be unique"})


@pytest.fixture
def venue(wire: Wire) -> Iterator[AlpacaVenue]:
    made = AlpacaVenue(wire.config())
    yield made
    made.close()


def _intent(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": "tape-1",
        "signal_id": "s",
        "bot": "b",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(2),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "ref_px": Decimal(150),
        "reserved": Decimal(300),
        "decided_ns": 1,
        "valid_until": 2,
    }
    return OrderIntent(**(fields | changes))


def _order(**changes: Any) -> dict[str, Any]:
    return ORDER | {"client_order_id": "tape-1"} | changes


def _posts(wire: Wire) -> list[Any]:
    return [body for method, path, _, body in wire.requests if (method, path) == ORDERS]


# --- submit ----------------------------------------------------------------------------------------------------------


def test_accepted(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = (200, _order())
    outcome = venue.submit(_intent())
    assert isinstance(outcome, Accepted)
    assert outcome.order.venue_order_id == ORDER["id"]
    assert _posts(wire) == [
        {
            "symbol": "AAPL",
            "qty": "2",
            "side": "buy",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": "tape-1",
        }
    ]


def test_quantities_and_prices_travel_exactly(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = (200, _order())
    quantity = Decimal("0.1") + Decimal("0.2")
    venue.submit(
        _intent(
            symbol="BTC/USD",
            quantity=quantity,
            order_type=OrderType.STOP_LIMIT,
            time_in_force=TimeInForce.IOC,
            limit_px=Decimal("6.5E+4"),
            stop_px=Decimal("65000.123456789"),
        )
    )
    (body,) = _posts(wire)
    assert (body["qty"], body["limit_price"], body["stop_price"]) == ("0.3", "65000", "65000.123456789")
    assert (body["symbol"], body["type"], body["time_in_force"]) == ("BTC/USD", "stop_limit", "ioc")


@pytest.mark.parametrize("time_in_force", [word for word in TimeInForce if word is not TimeInForce.OTHER])
def test_every_time_in_force(wire: Wire, venue: AlpacaVenue, time_in_force: TimeInForce) -> None:
    wire.routes[ORDERS] = (200, _order())
    venue.submit(_intent(time_in_force=time_in_force, order_type=OrderType.LIMIT, limit_px=Decimal("1.5")))
    (body,) = _posts(wire)
    assert body["time_in_force"] == time_in_force.value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantity": Decimal("0.1234567891")}, "at most 9 decimals"),
        ({"quantity": Decimal(0)}, "quantity must be > 0"),
        ({"quantity": Decimal("NaN")}, "quantity must be > 0"),
        ({"order_type": OrderType.LIMIT}, "a limit order needs limit_px"),
        ({"limit_px": Decimal(5)}, "a market order has no limit_px"),
        ({"order_type": OrderType.STOP}, "a stop order needs stop_px"),
        ({"order_type": OrderType.LIMIT, "limit_px": Decimal(-1)}, "limit_px must be > 0"),
        ({"id": "x" * 49}, "client_order_id must have 1 to 48 characters"),
        ({"symbol": "BTC/USD"}, "crypto orders are gtc or ioc"),
        (
            {
                "symbol": "BTC/USD",
                "time_in_force": TimeInForce.GTC,
                "order_type": OrderType.STOP,
                "stop_px": Decimal(1),
            },
            "crypto orders are market, limit or stop_limit",
        ),
    ],
)
def test_what_alpaca_cannot_take_is_never_sent(
    wire: Wire, venue: AlpacaVenue, changes: dict[str, Any], said: str
) -> None:
    outcome = venue.submit(_intent(**changes))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "not_sent"
    assert said in outcome.reason
    assert wire.requests == []


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((400, {"code": 40010000, "message": "malformed"}), "40010000"),
        ((403, {"code": 40310000, "message": "insufficient buying power"}), "40310000"),
        ((403, {"code": 40310000, "message": "account is forbidden to short"}), "40310000"),
        ((404, {"code": 40410000, "message": "asset not found for X"}), "40410000"),
        ((422, {"code": 42210000, "message": "invalid limit_price 290.123. sub-penny increment"}), "42210000"),
        ((422, {"code": 40010001, "message": "qty or notional is required"}), "40010001"),
        ((422, {"message": "fractional orders must be DAY orders"}), "422"),
    ],
)
def test_refusals_are_final(wire: Wire, venue: AlpacaVenue, reply: Any, code: str) -> None:
    wire.routes[ORDERS] = reply
    assert venue.submit(_intent()) == Rejected(code, reply[1]["message"])
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        HANG,
        DROP,
        (500, {"code": 50010000, "message": "internal server error"}),
        (503, HTML),
        (504, HTML),
        (504, {"message": "gateway timeout"}),
        (408, {"message": "request timeout"}),
        (403, HTML),
        (400, ""),
        (200, HTML),
        (200, ""),
        (200, "null"),
        (200, []),
        (200, {"id": "x"}),
        (200, _order(client_order_id="of-somebody-else")),
        (302, "", {"Location": "http://example.invalid"}),
        (200, b"\xff\xfe\x00"),
    ],
    ids=str,
)
def test_what_says_nothing_is_unknown_and_sent_once(wire: Wire, venue: AlpacaVenue, reply: Any) -> None:
    wire.routes[ORDERS] = reply
    outcome = venue.submit(_intent())
    assert isinstance(outcome, Unknown)
    assert outcome.reason
    assert len(_posts(wire)) == 1


def test_no_server_is_unknown() -> None:
    wire = Wire()
    wire.url = "http://127.0.0.1:1"
    outcome = AlpacaVenue(wire.config()).submit(_intent())
    assert isinstance(outcome, Unknown)
    assert "ConnectionError" in outcome.reason


def test_time_limit_holds(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = HANG
    began = time.monotonic()
    venue.submit(_intent())
    assert 0.3 < time.monotonic() - began < 1.5


def test_duplicate_means_accepted(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = DUPLICATE
    wire.routes[LOOKUP] = (200, _order(status="filled"))
    outcome = venue.submit(_intent())
    assert isinstance(outcome, Accepted)
    assert outcome.order.status == "filled"
    assert wire.requests[-1][2] == {"client_order_id": "tape-1"}


@pytest.mark.parametrize(
    "found",
    [(404, {"code": 40410000, "message": "order not found"}), (500, HTML), (429, {"message": "slow down"}), HANG],
)
def test_duplicate_that_cannot_be_found_is_unknown(wire: Wire, venue: AlpacaVenue, found: Any) -> None:
    wire.routes[ORDERS] = DUPLICATE
    wire.routes[LOOKUP] = found
    assert isinstance(venue.submit(_intent()), Unknown)


def test_duplicate_that_names_another_order_is_rejected(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ORDERS] = DUPLICATE
    wire.routes[LOOKUP] = (200, _order(symbol="MSFT"))
    assert isinstance(venue.submit(_intent()), Rejected)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-RateLimit-Reset": "1700000007", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 7.0),
        ({"X-RateLimit-Reset": "1699999999", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 0.01),
        ({"X-RateLimit-Reset": "1800000000", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 60.0),
        ({"X-RateLimit-Reset": "soon"}, 0.01),
        ({"X-RateLimit-Reset": "nan", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 60.0),
        ({}, 0.01),
    ],
)
def test_rate_limit_by_the_servers_own_clock(
    wire: Wire, venue: AlpacaVenue, headers: dict[str, str], expected: float
) -> None:
    wire.routes[ORDERS] = (429, {"code": 42910000, "message": "rate limit exceeded"}, headers)
    assert venue.submit(_intent()) == RateLimited(expected)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        (401, {"message": "unauthorized."}),
        (401, HTML),
        (401, {"code": 40110000, "message": "request is not authorized"}),
        (403, {"message": "forbidden."}),
    ],
)
def test_refused_key_names_the_variable_and_never_the_value(wire: Wire, venue: AlpacaVenue, reply: Any) -> None:
    wire.routes[ORDERS] = reply
    with pytest.raises(ConfigError, match="ALPACA_API_KEY") as caught:
        venue.submit(_intent())
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)


def test_threads_have_their_own_connections(wire: Wire, venue: AlpacaVenue) -> None:
    sessions: list[requests.Session] = []

    def work() -> None:
        venue.submit(_intent())
        sessions.append(venue._rest._client()._session)

    wire.routes[ORDERS] = (200, _order())
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, sessions))) == 4
    assert len(_posts(wire)) == 4


def test_proxy_of_the_world_outside_is_not_asked_for_a_local_server(
    wire: Wire, venue: AlpacaVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    wire.routes[ORDERS] = (200, _order())
    assert isinstance(venue.submit(_intent()), Accepted)


# --- lookup, cancel --------------------------------------------------------------------------------------------------


def test_lookup(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[LOOKUP] = (200, _order())
    order = venue.lookup("tape-1")
    assert isinstance(order, VenueOrder)
    assert order.client_order_id == "tape-1"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((404, {"code": 40410000, "message": "order not found for tape-1"}), NotFound),
        ((404, HTML), Unknown),
        ((200, HTML), Unknown),
        ((200, _order(client_order_id="other")), Unknown),
        ((403, {"code": 40310000, "message": "no"}), Unknown),
        ((500, HTML), Unknown),
        (HANG, Unknown),
        ((429, HTML), RateLimited),
    ],
    ids=str,
)
def test_lookup_outcomes(wire: Wire, venue: AlpacaVenue, reply: Any, kind: type) -> None:
    wire.routes[LOOKUP] = reply
    assert isinstance(venue.lookup("tape-1"), kind)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((204, None), CancelRequested(ORDER["id"])),
        ((422, {"code": 42210000, "message": 'order is already in "filled" state'}), Rejected),
        ((404, {"code": 40410000, "message": "order not found"}), NotFound),
        ((500, HTML), Unknown),
        ((429, HTML), RateLimited),
    ],
    ids=str,
)
def test_cancel(wire: Wire, venue: AlpacaVenue, reply: Any, expected: Any) -> None:
    wire.routes[LOOKUP] = (200, _order())
    wire.routes["DELETE", f"/v2/orders/{ORDER['id']}"] = reply
    outcome = venue.cancel("tape-1")
    assert outcome == expected if isinstance(expected, CancelRequested) else isinstance(outcome, expected)


def test_cancel_of_an_unknown_order(wire: Wire, venue: AlpacaVenue) -> None:
    assert venue.cancel("tape-1") == NotFound()


# --- account, executions, activities, sessions -----------------------------------------------------------------------


def test_account(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes["GET", "/v2/account"] = (200, ACCOUNT)
    wire.routes["GET", "/v2/positions"] = (200, POSITIONS)
    assert venue.account().positions["BTC/USD"] == Decimal("0.9975")


def test_reading_is_tried_again(wire: Wire, venue: AlpacaVenue) -> None:
    limited = (429, {"message": "too many requests."})
    wire.routes["GET", "/v2/account"] = [HANG, (504, HTML), limited, (200, ACCOUNT)]
    wire.routes["GET", "/v2/positions"] = [DROP, (200, POSITIONS)]
    assert venue.account().account_number == "PALPACA_123"
    assert len(wire.requests) == 6


def test_reading_gives_up_after_its_limit(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes["GET", "/v2/account"] = (503, HTML)
    with pytest.raises(UnreachableError, match=r"4 tries.*HTTP 503"):
        venue.account()
    assert len(wire.requests) == 4


def test_waits_between_tries_double_and_honour_the_rate_limit(wire: Wire) -> None:
    waits: list[float] = []
    venue = AlpacaVenue(wire.config(retry_s_min=0.5), waits.append)
    headers = {"X-RateLimit-Reset": "1700000007", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    wire.routes["GET", "/v2/account"] = [(500, HTML), (500, HTML), (429, HTML, headers), (500, HTML)]
    with pytest.raises(UnreachableError):
        venue.account()
    venue.close()
    assert waits == [0.5, 1.0, 7.0]


def test_refused_reading_says_what_and_where(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes["GET", "/v2/account"] = (422, {"message": "no such thing"})
    with pytest.raises(ConfigError, match=r"/account.*422.*no such thing"):
        venue.account()
    assert len(wire.requests) == 1


@pytest.mark.parametrize("reply", [(200, []), (200, {"cash": "1"}), (200, ACCOUNT | {"cash": "lots"})])
def test_account_that_cannot_be_read(wire: Wire, venue: AlpacaVenue, reply: Any) -> None:
    wire.routes["GET", "/v2/account"] = reply
    wire.routes["GET", "/v2/positions"] = (200, [])
    with pytest.raises(UnreachableError):
        venue.account()


def _fill(number: int, second: int) -> dict[str, Any]:
    return FILL_ACTIVITY | {
        "id": f"2022020213550{second:04d}::{number:04d}",
        "cum_qty": str(number),
        "transaction_time": f"2022-02-02T18:{second // 60:02d}:{second % 60:02d}.5Z",
    }


def _paged(items: list[dict[str, Any]], repeat_edge: bool = False) -> Any:
    def reply(query: dict[str, str], _body: Any) -> Any:
        start = 0
        if token := query.get("page_token"):
            start = next(index for index, item in enumerate(items) if item["id"] == token) + (not repeat_edge)
        return 200, items[start : start + int(query["page_size"])]

    return reply


@pytest.mark.parametrize("repeat_edge", [False, True])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_executions_over_all_pages_once_each(wire: Wire, venue: AlpacaVenue, count: int, repeat_edge: bool) -> None:
    wire.routes[FILLS] = _paged([_fill(number, number // 3) for number in range(1, count + 1)], repeat_edge)
    found = venue.executions(0)
    assert [execution.cum_qty for execution in found] == list(range(1, count + 1))
    assert {query["direction"] for _, _, query, _ in wire.requests} == {"asc"}


def test_executions_start_at_the_time_asked_for_and_include_it(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[FILLS] = _paged([_fill(number, number) for number in range(1, 6)])
    after = time_ns("2022-02-02T18:00:03.5Z") or 0
    assert [execution.cum_qty for execution in venue.executions(after)] == [3, 4, 5]
    asked = time_ns(wire.requests[0][2]["after"]) or 0
    assert asked < after


def test_execution_that_cannot_be_read_stops_the_reading(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[FILLS] = (200, [_fill(1, 1), _fill(2, 2) | {"price": "?"}])
    with pytest.raises(BrokenPromiseError, match=r"0002.*price"):
        venue.executions(0)


def test_pages_that_never_end_end(wire: Wire) -> None:
    numbers = iter(range(10**9))
    wire.routes[FILLS] = lambda _query, _body: (200, [_fill(next(numbers), 1)])
    venue = AlpacaVenue(wire.config(pages_max=5))
    with pytest.raises(UnreachableError, match="do not end"):
        venue.executions(0)
    venue.close()


def test_activities_are_everything_but_fills(wire: Wire, venue: AlpacaVenue) -> None:
    dividend = {
        "activity_type": "DIV",
        "id": "d",
        "date": "2022-08-12",
        "net_amount": "1.02",
        "symbol": "T",
        "qty": "2",
    }
    transfer = {"activity_type": "CSD", "id": "c", "created_at": "2022-08-13T10:00:00Z", "net_amount": "100"}
    wire.routes[ACTIVITIES] = _paged([FILL_ACTIVITY, CFEE, dividend, transfer])
    found = venue.activities(time_ns("2022-08-12T15:00:00Z") or 0)
    assert [(activity.kind, activity.cash, activity.quantity) for activity in found] == [
        ("CFEE", Decimal(0), Decimal("-0.000195")),
        ("DIV", Decimal("1.02"), Decimal(0)),
        ("CSD", Decimal(100), Decimal(0)),
    ]
    later = venue.activities(time_ns("2022-08-13T10:00:00Z") or 0)
    assert [activity.kind for activity in later] == ["CSD"]


def test_activity_without_an_id_stops_the_reading(wire: Wire, venue: AlpacaVenue) -> None:
    wire.routes[ACTIVITIES] = (200, [{"activity_type": "FEE", "net_amount": "-1"}])
    with pytest.raises(BrokenPromiseError):
        venue.activities(0)


def test_sessions_that_overlap_the_span(wire: Wire, venue: AlpacaVenue) -> None:
    days = ["2025-03-07", "2025-03-10", "2025-03-11"]  # clocks change on the 9th
    wire.routes["GET", "/v2/calendar"] = (200, [{"date": day, "open": "09:30", "close": "16:00"} for day in days])
    found = venue.sessions(time_ns("2025-03-07T20:59:00Z") or 0, time_ns("2025-03-10T13:30:00Z") or 0)
    assert found == [
        (time_ns("2025-03-07T14:30:00Z"), time_ns("2025-03-07T21:00:00Z")),
        (time_ns("2025-03-10T13:30:00Z"), time_ns("2025-03-10T20:00:00Z")),
    ]
    assert wire.requests[0][2] == {"start": "2025-03-07", "end": "2025-03-11"}


@pytest.mark.parametrize("reply", [(200, {}), (200, [{"date": "x"}]), (200, None)])
def test_calendar_that_cannot_be_read(wire: Wire, venue: AlpacaVenue, reply: Any) -> None:
    wire.routes["GET", "/v2/calendar"] = reply
    with pytest.raises(UnreachableError):
        venue.sessions(0, 10**18)
