"""Replacing an order: what each answer means, and the races with its fills, over recorded payloads and junk."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from adapters.alpaca.trading import AlpacaVenue
from engine.errors import ConfigError
from engine.messages import OrderIntent
from engine.ports import Accepted, RateLimited, Rejected, Unknown
from engine.values import OrderType, Side, TimeInForce
from tests.alpaca.payloads import ORDER
from tests.alpaca.wire import DROP, HANG, Wire

OLD = ORDER | {"client_order_id": "old", "status": "new"}
NEW = ORDER | {"id": "11111111-2222-4333-8444-555555555555", "client_order_id": "new", "replaces": OLD["id"]}
LOOKUP = ("GET", "/v2/orders:by_client_order_id")
PATCH = ("PATCH", f"/v2/orders/{OLD['id']}")
HTML = "<html><body>502 Bad Gateway</body></html>"
MISSING = (404, {"code": 40410000, "message": "order not found"})


@pytest.fixture
def venue(wire: Wire) -> Iterator[AlpacaVenue]:
    made = AlpacaVenue(wire.config())
    yield made
    made.close()


def _intent(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": "new",
        "signal_id": "s",
        "bot": "b",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(2),
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "limit_px": Decimal(151),
        "ref_px": Decimal(150),
        "reserved": Decimal(300),
        "decided_ns": 1,
        "valid_until": 2,
        "replaces": "old",
    }
    return OrderIntent(**(fields | changes))


def _known(wire: Wire, **orders: Any) -> None:
    """What a lookup finds, by client_order_id."""

    def find(query: dict[str, str], _body: Any) -> Any:
        found = orders.get(query["client_order_id"])
        return MISSING if found is None else found if isinstance(found, tuple) else (200, found)

    wire.routes[LOOKUP] = find


def _patches(wire: Wire) -> list[Any]:
    return [body for method, path, _, body in wire.requests if (method, path) == PATCH]


def test_accepted_and_only_what_differs_is_sent(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire, old=OLD)
    wire.routes[PATCH] = (200, NEW | {"limit_price": "151"})
    outcome = venue.replace(_intent())
    assert isinstance(outcome, Accepted)
    assert (outcome.order.client_order_id, outcome.order.replaces) == ("new", OLD["id"])
    assert _patches(wire) == [{"client_order_id": "new", "limit_price": "151"}]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((422, {"code": 42210000, "message": "cannot replace order in filled status"}), "42210000"),
        ((422, {"code": 42210000, "message": "cannot replace order in accepted status"}), "42210000"),
        ((422, {"code": 42210000, "message": "order parameters are not changed"}), "42210000"),
        ((422, {"code": 42210000, "message": "qty must be > filled_qty"}), "42210000"),
        ((403, {"code": 40310000, "message": "insufficient buying power"}), "40310000"),
        (MISSING, "40410000"),
    ],
    ids=str,
)
def test_refusals_are_final_and_the_old_order_lives_on(wire: Wire, venue: AlpacaVenue, reply: Any, code: str) -> None:
    _known(wire, old=OLD)
    wire.routes[PATCH] = reply
    assert venue.replace(_intent()) == Rejected(code, reply[1]["message"])
    assert len(_patches(wire)) == 1


@pytest.mark.parametrize(
    "reply",
    [
        HANG,
        DROP,
        (500, HTML),
        (504, HTML),
        (200, HTML),
        (200, ""),
        (200, "null"),
        (200, []),
        (200, OLD),
        (200, NEW | {"side": None}),
    ],
    ids=str,
)
def test_what_says_nothing_is_unknown_and_sent_once(wire: Wire, venue: AlpacaVenue, reply: Any) -> None:
    _known(wire, old=OLD)
    wire.routes[PATCH] = reply
    assert isinstance(venue.replace(_intent()), Unknown)
    assert len(_patches(wire)) == 1


def test_lost_answer_is_found_by_the_new_id(wire: Wire, venue: AlpacaVenue) -> None:
    """The PATCH was carried out and its answer lost; asked again, nothing is sent any more."""
    _known(wire, old=OLD | {"status": "replaced", "replaced_by": NEW["id"]}, new=NEW | {"status": "partially_filled"})
    outcome = venue.replace(_intent())
    assert isinstance(outcome, Accepted)
    assert outcome.order.venue_order_id == NEW["id"]
    assert _patches(wire) == []


@pytest.mark.parametrize("status", ["pending_replace", "new"])
def test_refusal_caused_by_our_own_lost_request_is_an_acceptance(wire: Wire, venue: AlpacaVenue, status: str) -> None:
    _known(wire, old=OLD | {"status": status}, new=NEW)
    wire.routes[PATCH] = (422, {"code": 42210000, "message": "order already replaced"})
    assert isinstance(venue.replace(_intent()), Accepted)


@pytest.mark.parametrize(("found", "kind"), [((500, HTML), Unknown), (HANG, Unknown), ((429, HTML), RateLimited)])
def test_refusal_that_cannot_be_checked_is_not_final(wire: Wire, venue: AlpacaVenue, found: Any, kind: type) -> None:
    wire.routes[LOOKUP] = lambda query, _: (200, OLD) if query["client_order_id"] == "old" else found
    wire.routes[PATCH] = (422, {"code": 42210000, "message": "order already replaced"})
    assert isinstance(venue.replace(_intent()), kind)


def test_order_that_somebody_else_replaced(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire, old=OLD | {"status": "replaced", "replaced_by": "another"})
    assert venue.replace(_intent()) == Rejected("replaced", "old is replaced by another order")
    _known(wire, old=OLD | {"status": "replaced"}, new=NEW | {"symbol": "MSFT"})
    assert isinstance(venue.replace(_intent()), Rejected)


def test_order_the_venue_does_not_have(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire)
    assert venue.replace(_intent()) == Rejected("404", "the venue finds no order old to replace")


@pytest.mark.parametrize(
    ("reply", "kind"), [((500, HTML), Unknown), (HANG, Unknown), ((200, []), Unknown), ((429, HTML), RateLimited)]
)
def test_old_order_that_cannot_be_looked_up(wire: Wire, venue: AlpacaVenue, reply: Any, kind: type) -> None:
    wire.routes[LOOKUP] = reply
    assert isinstance(venue.replace(_intent()), kind)
    assert _patches(wire) == []


def test_rate_limit_and_duplicate_id(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire, old=OLD, new=NEW)
    wire.routes[PATCH] = (429, {"code": 42910000, "message": "rate limit exceeded"})
    assert isinstance(venue.replace(_intent()), RateLimited)
    wire.routes[PATCH] = (422, {"code": 40010001, "message": "client_order_id must be unique"})
    assert isinstance(venue.replace(_intent()), Accepted)


def test_what_cannot_be_replaced_is_never_sent(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire, old=OLD)
    outcome = venue.replace(_intent(symbol="MSFT"))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "not_sent"
    assert "symbol of an order cannot be replaced" in outcome.reason
    assert _patches(wire) == []


def test_refused_key(wire: Wire, venue: AlpacaVenue) -> None:
    _known(wire, old=OLD)
    wire.routes[PATCH] = (401, {"message": "unauthorized."})
    with pytest.raises(ConfigError, match="ALPACA_API_KEY"):
        venue.replace(_intent())
