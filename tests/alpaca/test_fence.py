"""AlpacaFence against a REST server that misbehaves: what is listed, what counts as done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.alpaca.fence import AlpacaFence
from engine.errors import ConfigError, TapelineError, UnreachableError
from engine.ports import OpenOrder
from tests.alpaca.wire import DROP, HANG, Wire

ORDERS = ("GET", "/v2/orders")
ALL = ("DELETE", "/v2/orders")
WISHES = "/v2/account/configurations"


@pytest.fixture
def fence(wire: Wire) -> Iterator[AlpacaFence]:
    made = AlpacaFence(wire.config(), sleep=lambda _: None)
    yield made
    made.close()


def test_orders_of_any_form_are_listed(wire: Wire, fence: AlpacaFence) -> None:
    wire.routes[ORDERS] = (
        200,
        [
            {"id": "1", "client_order_id": "c", "symbol": "BTCUSD", "asset_class": "crypto", "status": "new"},
            {"id": "2", "symbol": None, "order_class": "mleg", "side": "", "qty": {"odd": 1}, "status": "word of 2031"},
            "no order at all",
        ],
    )
    assert fence.open_orders() == (
        [
            OpenOrder("1", "c", "BTC/USD", "new"),
            OpenOrder("2", "", "", "word of 2031"),
            OpenOrder("", "", "", ""),
        ],
        True,
    )
    ((_, _, query, _),) = [request for request in wire.requests if request[:2] == ORDERS]
    assert dict(query) == {"status": "open", "limit": "500", "direction": "asc"}


def test_a_full_page_is_not_the_whole_list(wire: Wire, fence: AlpacaFence) -> None:
    wire.routes[ORDERS] = (200, [{"id": str(number)} for number in range(500)])
    orders, is_whole = fence.open_orders()
    assert (len(orders), is_whole) == (500, False)


@pytest.mark.parametrize(
    "answer", [HANG, DROP, (500, {"message": "no"}), (429, {"message": "too many"}), (502, "<html>")]
)
def test_a_cancel_without_a_clear_answer_is_not_done(answer: Any, wire: Wire, fence: AlpacaFence) -> None:
    wire.routes[ALL] = answer
    with pytest.raises(UnreachableError):
        fence.cancel_all()
    assert sum(request[:2] == ALL for request in wire.requests) == 1, "sent once; who asks decides about again"


def test_a_refused_key_stops_it(wire: Wire, fence: AlpacaFence) -> None:
    wire.routes[ALL] = (401, {"message": "unauthorized."})
    with pytest.raises(ConfigError, match="refused the key"):
        fence.cancel_all()


def test_canceling_what_has_ended_is_fine(wire: Wire, fence: AlpacaFence) -> None:
    for status, body in (
        (204, b""),
        (404, {"code": 40410000, "message": "not found"}),
        (422, {"code": 42210000, "message": "filled"}),
    ):
        wire.routes["DELETE", "/v2/orders/v1"] = (status, body)
        fence.cancel("v1")
    wire.routes["DELETE", "/v2/orders/v1"] = (403, {"code": 40310000, "message": "not yours"})
    with pytest.raises(TapelineError, match="not yours"):
        fence.cancel("v1")


def test_a_suspension_is_read_back(wire: Wire, fence: AlpacaFence) -> None:
    wire.routes["PATCH", WISHES] = (200, {})
    wire.routes["GET", WISHES] = (200, {"suspend_trade": True})
    fence.suspend(wanted=True)
    assert [body for method, path, _, body in wire.requests if (method, path) == ("PATCH", WISHES)] == [
        {"suspend_trade": True}
    ]
    with pytest.raises(TapelineError, match="says the opposite"):
        fence.suspend(wanted=False)
    wire.routes["GET", WISHES] = (200, {"suspend_trade": "yes"})
    with pytest.raises(UnreachableError, match="do not say suspend_trade"):
        fence.is_suspended()


@pytest.mark.parametrize("answer", [[], {}, {"account_number": ""}, {"account_number": 7}])
def test_an_account_without_a_number_is_none(answer: Any, wire: Wire, fence: AlpacaFence) -> None:
    wire.routes["GET", "/v2/account"] = (200, answer)
    with pytest.raises(UnreachableError, match="account_number"):
        fence.account_number()
