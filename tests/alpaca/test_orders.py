"""Every type and class of order as a request body, and what is refused before it is sent.

The last test holds both directions together: what the adapter lets through, the exchange's own rules take, and what
the exchange refuses by form, the adapter refuses before.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.alpaca.orders import order_body, refusal, replace_body, replace_refusal
from adapters.alpaca.parse_orders import parse_order
from adapters.exchange.checks import check_request
from adapters.exchange.groups import class_refusal, make_plan
from adapters.exchange.orders import OrderRequest, Refusal
from engine.messages import OrderIntent
from engine.ports import VenueOrder
from engine.values import OrderClass, OrderType, Side, TimeInForce
from tests.alpaca.payloads import BRACKET, ORDER, TRAILING
from tests.alpaca.wire import relaxed

D = Decimal


def _intent(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": "tape-1",
        "signal_id": "s",
        "bot": "b",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": D(2),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "ref_px": D(150),
        "reserved": D(300),
        "decided_ns": 1,
        "valid_until": 2,
    }
    return OrderIntent(**(fields | changes))


LIMIT = {"order_type": OrderType.LIMIT, "limit_px": D("150.5")}
TRAIL = {"order_type": OrderType.TRAILING_STOP, "side": Side.SELL}
OCO = {
    "order_class": OrderClass.OCO,
    "order_type": OrderType.LIMIT,
    "side": Side.SELL,
    "time_in_force": TimeInForce.GTC,
    "take_profit_px": D(160),
    "stop_loss_px": D(140),
}
BRACKETED = {"order_class": OrderClass.BRACKET, "take_profit_px": D(160), "stop_loss_px": D(140)}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (LIMIT, {"type": "limit", "limit_price": "150.5"}),
        ({"order_type": OrderType.STOP, "stop_px": D("1.5E+2")}, {"type": "stop", "stop_price": "150"}),
        (
            {"order_type": OrderType.STOP_LIMIT, "stop_px": D(150), "limit_px": D("150.10")},
            {"type": "stop_limit", "stop_price": "150", "limit_price": "150.1"},
        ),
        (TRAIL | {"trail_percent": D("1.50")}, {"type": "trailing_stop", "side": "sell", "trail_percent": "1.5"}),
        (TRAIL | {"trail_px": D("2.25")}, {"type": "trailing_stop", "side": "sell", "trail_price": "2.25"}),
        (LIMIT | {"extended_hours": True}, {"type": "limit", "limit_price": "150.5", "extended_hours": True}),
        (
            BRACKETED | {"stop_loss_limit_px": D("139.5")},
            {
                "order_class": "bracket",
                "take_profit": {"limit_price": "160"},
                "stop_loss": {"stop_price": "140", "limit_price": "139.5"},
            },
        ),
        (
            OCO,
            {
                "side": "sell",
                "type": "limit",
                "time_in_force": "gtc",
                "order_class": "oco",
                "take_profit": {"limit_price": "160"},
                "stop_loss": {"stop_price": "140"},
            },
        ),
        (
            LIMIT | {"order_class": OrderClass.OTO, "stop_loss_px": D(140)},
            {"type": "limit", "limit_price": "150.5", "order_class": "oto", "stop_loss": {"stop_price": "140"}},
        ),
    ],
)
def test_body_of_every_type_and_class(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    intent = _intent(**changes)
    assert refusal(intent) == ""
    plain = {"symbol": "AAPL", "qty": "2", "side": "buy", "type": "market", "time_in_force": "day"}
    assert order_body(intent) == plain | {"client_order_id": "tape-1"} | wanted


def test_oco_may_name_its_limit_twice() -> None:
    assert order_body(_intent(**OCO, limit_px=D(160))) == order_body(_intent(**OCO))
    assert "limit_px of an oco order is its take_profit_px, 160, was 161" in refusal(_intent(**OCO, limit_px=D(161)))


def test_notional_takes_the_place_of_the_quantity() -> None:
    body = order_body(_intent(notional=D("25.50"), quantity=D("0.17")))
    assert body["notional"] == "25.5"
    assert "qty" not in body


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (LIMIT | {"limit_px": D("150.123")}, "limit_px must be a multiple of 0.01, was 150.123"),
        (LIMIT | {"limit_px": D("0.12345")}, "limit_px must be a multiple of 0.0001, was 0.12345"),
        (BRACKETED | {"stop_loss_px": D("140.001")}, "stop_loss_px must be a multiple of 0.01, was 140.001"),
        (TRAIL, "a trailing_stop order needs one of trail_px and trail_percent, had 0"),
        (TRAIL | {"trail_px": D(1), "trail_percent": D(1)}, "had 2"),
        (TRAIL | {"trail_percent": D("0.05")}, "trail_percent must be >= 0.1, was 0.05"),
        (TRAIL | {"trail_percent": D(100)}, "trail_percent of a sale must be < 100, was 100"),
        ({"trail_px": D(1)}, "a market order has no trail_px or trail_percent"),
        (TRAIL | {"trail_px": D(1), "time_in_force": TimeInForce.IOC}, "trailing_stop orders are day or gtc"),
        (TRAIL | {"trail_px": D(1), "quantity": D("1.5")}, "was trailing_stop for 1.5"),
        (
            LIMIT | {"quantity": D("1.5"), "time_in_force": TimeInForce.GTC},
            "fractional orders are day at Alpaca, was gtc",
        ),
        ({"notional": D("0.50")}, "notional must be >= 1 USD, was 0.5"),
        ({"notional": D("10.555")}, "notional must have at most 2 decimals, was 10.555"),
        (BRACKETED | {"quantity": D("1.5")}, "fractional orders are simple at Alpaca, was bracket for 1.5"),
        (BRACKETED | {"notional": D(25)}, "was bracket for 25 USD"),
        (BRACKETED | {"take_profit_px": None}, "a bracket order needs both take_profit_px and stop_loss_px"),
        (BRACKETED | {"time_in_force": TimeInForce.IOC}, "a bracket order is day or gtc at Alpaca, was ioc"),
        (BRACKETED | LIMIT | {"extended_hours": True}, "a bracket order has no extended hours"),
        (
            BRACKETED | {"order_type": OrderType.STOP, "stop_px": D(150)},
            "a bracket order is market or limit at Alpaca, was stop",
        ),
        (BRACKETED | {"stop_loss_px": D(160)}, "take_profit_px must be at least 0.01 above stop_loss_px 160, was 160"),
        (
            BRACKETED | LIMIT | {"stop_loss_px": D("150.5")},
            "stop_loss_px must be at least 0.01 below limit_px 150.5, was 150.5",
        ),
        (
            BRACKETED | LIMIT | {"side": Side.SELL, "take_profit_px": D(140), "stop_loss_px": D("150.5")},
            "stop_loss_px must be at least 0.01 above limit_px 150.5, was 150.5",
        ),
        (OCO | {"order_type": OrderType.MARKET}, "oco order is limit at Alpaca, was market"),
        (BRACKETED | {"order_class": OrderClass.OTO}, "needs one of take_profit_px and stop_loss_px"),
        ({"stop_loss_px": D(140)}, "a simple order has no stop_loss_px"),
        ({"stop_loss_limit_px": D(140)}, "stop_loss_limit_px needs stop_loss_px, was 140 alone"),
        ({"extended_hours": True}, "extended hours take limit orders that are day or gtc, was market day"),
        (LIMIT | {"extended_hours": True, "time_in_force": TimeInForce.OPG}, "was limit opg"),
        (
            {"order_type": OrderType.STOP, "stop_px": D(150), "time_in_force": TimeInForce.CLS},
            "cls orders are market or limit at Alpaca, was stop",
        ),
        (
            OCO | {"symbol": "BTC/USD"},
            "crypto orders are simple at Alpaca, was oco",
        ),
        (LIMIT | {"symbol": "BTC/USD", "time_in_force": TimeInForce.GTC, "extended_hours": True}, "no extended hours"),
        ({"order_type": OrderType.OTHER}, "order_type other is read from the venue and never sent"),
        ({"time_in_force": TimeInForce.OTHER}, "time_in_force other is read from the venue"),
        ({"order_class": OrderClass.OTHER}, "order_class other is read from the venue"),
    ],
)
def test_refusal_says_which_value_and_why(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(_intent(**changes))


# --- replacing -------------------------------------------------------------------------------------------------------


def _old(raw: dict[str, Any] = ORDER, **changes: Any) -> VenueOrder:
    order = parse_order(raw | changes)
    assert isinstance(order, VenueOrder)
    return order


LIKE_OLD = {"order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "limit_px": D(150), "replaces": "old"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"limit_px": D("151.5")}, {"limit_price": "151.5"}),
        ({"quantity": D(5)}, {"qty": "5"}),
        ({"time_in_force": TimeInForce.DAY}, {"time_in_force": "day"}),
        ({"quantity": D(1), "limit_px": D(149)}, {"qty": "1", "limit_price": "149"}),
    ],
)
def test_only_what_differs_is_sent(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    intent = _intent(**(LIKE_OLD | changes))
    assert replace_refusal(intent, _old()) == ""
    assert replace_body(intent, _old()) == {"client_order_id": "tape-1"} | wanted


def test_trail_of_a_trailing_stop() -> None:
    intent = _intent(**TRAIL, trail_percent=D("2.5"), time_in_force=TimeInForce.GTC)
    assert replace_refusal(intent, _old(TRAILING)) == ""
    assert replace_body(intent, _old(TRAILING)) == {"client_order_id": "tape-1", "trail": "2.5"}
    in_usd = _intent(**TRAIL, trail_px=D("2.5"), time_in_force=TimeInForce.GTC)
    assert "stays what it is, USD or percent" in replace_refusal(in_usd, _old(TRAILING))


def test_exit_of_a_bracket_gets_another_price() -> None:
    gain, loss = _old(BRACKET).legs
    intent = _intent(**(LIKE_OLD | {"side": Side.SELL, "limit_px": D(165), "order_class": OrderClass.BRACKET}))
    assert replace_refusal(intent, gain) == ""
    assert replace_body(intent, gain) == {"client_order_id": "tape-1", "limit_price": "165"}
    stop = {"order_type": OrderType.STOP_LIMIT, "side": Side.SELL, "stop_px": D(141), "limit_px": D("139.5")}
    assert replace_body(_intent(**(LIKE_OLD | stop)), loss) == {"client_order_id": "tape-1", "stop_price": "141"}


@pytest.mark.parametrize(
    ("changes", "raw", "said"),
    [
        ({}, {}, "nothing of 5680c4bc-9ac1-4a12-a44c-df427ba53032 would change"),
        ({"symbol": "MSFT"}, {}, "symbol of an order cannot be replaced"),
        ({"side": Side.SELL}, {}, "has buy, not sell"),
        ({"order_type": OrderType.MARKET, "limit_px": None}, {}, "has limit, not market"),
        ({"quantity": D(5)}, {"qty": None, "notional": "300"}, "a notional order cannot be replaced"),
        ({"quantity": D(5)}, {"order_class": "oto"}, "an OTO order cannot be replaced"),
        ({"quantity": D("2.5")}, {}, "a fractional quantity cannot be replaced"),
        ({"quantity": D(1)}, {"filled_qty": "1"}, "quantity must be > what is filled of"),
        ({"limit_px": D("150.001")}, {}, "limit_px must be a multiple of 0.01, was 150.001"),
    ],
)
def test_what_cannot_be_replaced(changes: dict[str, Any], raw: dict[str, Any], said: str) -> None:
    assert said in replace_refusal(_intent(**(LIKE_OLD | changes)), _old(**raw))


# --- the adapter's rules and the exchange's --------------------------------------------------------------------------

_GOOD = (
    {},
    LIMIT,
    LIMIT | {"quantity": D("1.5")},
    LIMIT | {"extended_hours": True},
    {"order_type": OrderType.STOP, "stop_px": D(150)},
    {"order_type": OrderType.STOP_LIMIT, "stop_px": D(150), "limit_px": D(160), "time_in_force": TimeInForce.GTC},
    TRAIL | {"trail_px": D(1)},
    TRAIL | {"trail_percent": D(1), "time_in_force": TimeInForce.GTC},
    {"notional": D("25.5"), "quantity": D("0.17")},
    BRACKETED,
    BRACKETED | LIMIT,
    OCO,
    LIMIT | {"order_class": OrderClass.OTO, "take_profit_px": D(160)},
    {"symbol": "ETH/USD", "quantity": D("0.00015"), "time_in_force": TimeInForce.IOC},
    {"symbol": "ETH/USD", "time_in_force": TimeInForce.GTC} | LIMIT,
)
_prices = st.none() | st.sampled_from([D("139.5"), D(150), D("150.005"), D("150.51"), D(160), D("0.5"), D(0)])
_odd = st.fixed_dictionaries(
    {},
    optional={
        "symbol": st.sampled_from(["AAPL", "ETH/USD"]),
        "side": st.sampled_from(Side),
        "quantity": st.sampled_from([D(2), D("1.5"), D(-1), D("0.0000000001")]),
        "notional": st.none() | st.sampled_from([D(25), D("25.5"), D("25.555")]),
        "order_type": st.sampled_from(OrderType),
        "time_in_force": st.sampled_from(TimeInForce),
        "order_class": st.sampled_from(OrderClass),
        "limit_px": _prices,
        "stop_px": _prices,
        "trail_px": st.none() | st.sampled_from([D(1), D("1.001")]),
        "trail_percent": st.none() | st.sampled_from([D(1), D("0.01"), D(100)]),
        "extended_hours": st.booleans(),
        "take_profit_px": _prices,
        "stop_loss_px": _prices,
        "stop_loss_limit_px": st.none() | st.just(D("139.5")),
    },
)
_intents = st.builds(
    lambda good, odd, kept: _intent(**(good | {name: odd[name] for name in sorted(odd)[:kept]})),
    st.sampled_from(_GOOD),
    _odd,
    st.integers(0, 3),
)


@pytest.mark.parametrize("good", _GOOD)
def test_good_orders_are_let_through(good: dict[str, Any]) -> None:
    assert refusal(_intent(**good)) == ""


def _exchange_refusal(body: dict[str, Any]) -> Refusal | None:
    request = msgspec.convert(body, OrderRequest, strict=False)
    terms = class_refusal(request) or check_request(request, body["symbol"])
    if isinstance(terms, Refusal):
        return terms
    plan = make_plan(request, terms, None)
    return plan if isinstance(plan, Refusal) else None


@settings(relaxed, max_examples=600)
@given(_intents)
def test_what_the_adapter_lets_through_the_exchange_takes_and_the_other_way_round(intent: OrderIntent) -> None:
    said = refusal(intent)
    refused = _exchange_refusal(order_body(intent))
    if not said:
        assert refused is None
    elif refused is None:
        # What a body does not show: an OCO's second limit, a quantity beside a notional, a limit without its stop.
        hidden = ("limit_px of an oco", "limit_px must", "quantity must", "stop_loss_limit_px needs")
        assert said.startswith((*hidden, "crypto has no extended hours"))
