"""Recorded orders, order events and fills through the parser."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.alpaca import parse_orders
from adapters.alpaca.fields import Problem, time_ns
from engine.ports import VenueExecution, VenueOrder, VenueUpdate
from engine.values import OrderClass, OrderType, Side, TimeInForce
from tests.alpaca.payloads import BRACKET, FILL_ACTIVITY, FILL_UPDATE, MULTI_LEG, ORDER, TRAILING


def _order(raw: dict[str, Any]) -> VenueOrder:
    order = parse_orders.parse_order(raw)
    assert isinstance(order, VenueOrder)
    return order


def test_fill_of_trade_updates() -> None:
    update = parse_orders.parse_update(FILL_UPDATE)
    order = VenueOrder(
        client_order_id="4642fd68-d59a-47d7-a9ac-e22f536828d1",
        venue_order_id="a5be8f5e-fdfa-41f5-a644-7a74fe947a8f",
        symbol="SOL/USD",
        side=Side.SELL,
        status="filled",
        quantity=Decimal("1790.86"),
        filled_qty=Decimal("1790.86"),
        avg_px=Decimal("105.8988475"),
        submitted_ns=1650390304980944666,
        updated_ns=1650390305027690731,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
    )
    execution = VenueExecution(
        venue_order_id=order.venue_order_id,
        cum_qty=Decimal("1790.86"),
        symbol="SOL/USD",
        side=Side.SELL,
        last_qty=Decimal("1790.86"),
        last_px=Decimal("105.8988475"),
        ts_event=1650390305024916000,
        execution_id="2f63ea93-423d-4169-b3f6-3fdafc10c418",
        client_order_id=order.client_order_id,
    )
    assert update == VenueUpdate("fill", order, 1650390305024916716, execution, "")


def test_same_execution_from_stream_and_activities_is_the_same_but_for_its_ids() -> None:
    update = parse_orders.parse_update(FILL_UPDATE | {"qty": "1790.860", "price": 105.8988475})
    activity = parse_orders.parse_fill(
        {
            "activity_type": "FILL",
            "id": "20220419134505024::aaaa",
            "order_id": FILL_UPDATE["order"]["id"],
            "side": "sell",
            "symbol": "SOL/USD",
            "price": "105.89884750",
            "qty": "1790.86",
            "cum_qty": "1790.86000",
            "transaction_time": "2022-04-19T17:45:05.024916Z",
        }
    )
    assert isinstance(update, VenueUpdate)
    assert isinstance(activity, VenueExecution)
    one, two = update.execution, activity
    assert one is not None
    same = ("venue_order_id", "cum_qty", "symbol", "side", "last_qty", "last_px", "ts_event")
    assert [(str(getattr(one, name))) for name in same] == [(str(getattr(two, name))) for name in same]


@pytest.mark.parametrize("event", ["new", "canceled", "order_cancel_rejected", "something_new", "trade_bust"])
def test_other_events_keep_the_venues_word_and_have_no_execution(event: str) -> None:
    update = parse_orders.parse_update({"event": event, "order": ORDER, "timestamp": "2023-12-12T22:31:25Z"})
    assert isinstance(update, VenueUpdate)
    assert (update.event, update.execution, update.order.status) == (event, None, "accepted")


def test_reason_of_a_rejection_is_kept() -> None:
    update = parse_orders.parse_update(
        {"event": "rejected", "order": ORDER, "timestamp": None, "reason": "no such thing"}
    )
    assert isinstance(update, VenueUpdate)
    assert (update.reason, update.ts_event) == ("no such thing", update.order.updated_ns)


@pytest.mark.parametrize("missing", ["qty", "price", "timestamp"])
def test_fill_without_its_numbers_still_tells_of_the_order(missing: str) -> None:
    update = parse_orders.parse_update(FILL_UPDATE | {missing: None})
    assert isinstance(update, VenueUpdate)
    assert update.execution is None
    assert update.order.filled_qty == Decimal("1790.86")
    assert "fill without an execution" in update.reason


def test_order_of_rest() -> None:
    order = parse_orders.parse_order(ORDER)
    assert isinstance(order, VenueOrder)
    assert (order.quantity, order.filled_qty, order.avg_px) == (Decimal(2), Decimal(0), None)
    assert (order.submitted_ns, order.updated_ns) == (1702420284577215743, 1702420284668464435)


def test_order_with_unknown_words_and_nulls_is_kept_as_it_is() -> None:
    raw = ORDER | {"status": "brand_new_state", "submitted_at": None, "updated_at": None, "qty": None, "zzz": 1}
    order = parse_orders.parse_order(raw | {"asset_class": "treasury"})
    assert isinstance(order, VenueOrder)
    assert (order.status, order.quantity) == ("brand_new_state", None)
    assert order.submitted_ns == order.updated_ns == time_ns(ORDER["created_at"])


@pytest.mark.parametrize("changes", [{"id": None}, {"side": "hold"}, {"symbol": ""}, {"status": 7}])
def test_order_without_what_matters_is_a_problem(changes: dict[str, Any]) -> None:
    assert isinstance(parse_orders.parse_order(ORDER | changes), Problem)


def test_fill_activity() -> None:
    assert parse_orders.parse_fill(FILL_ACTIVITY) == VenueExecution(
        venue_order_id="b5abe576-6a8a-49f3-a353-46b72c1ccae9",
        cum_qty=Decimal(2),
        symbol="AAPL",
        side=Side.BUY,
        last_qty=Decimal(2),
        last_px=Decimal("174.78"),
        ts_event=1643828109981482000,
        activity_id="20220202135509981::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e",
    )


def test_short_sale_of_an_activity_is_a_sale() -> None:
    execution = parse_orders.parse_fill(FILL_ACTIVITY | {"side": "sell_short"})
    assert isinstance(execution, VenueExecution)
    assert execution.side is Side.SELL


# --- types, classes, legs --------------------------------------------------------------------------------------------


def test_limit_order_with_all_that_was_asked_for() -> None:
    order = _order(ORDER)
    assert (order.order_type, order.time_in_force, order.order_class) == (
        OrderType.LIMIT,
        TimeInForce.GTC,
        OrderClass.SIMPLE,
    )
    assert (order.limit_px, order.stop_px, order.notional, order.legs, order.unknown) == (
        Decimal(150),
        None,
        None,
        (),
        (),
    )


def test_type_is_read_by_its_old_name_too() -> None:
    raw = {key: value for key, value in ORDER.items() if key != "type"} | {"order_type": "stop", "stop_price": 12.5}
    order = _order(raw)
    assert (order.order_type, order.stop_px) == (OrderType.STOP, Decimal("12.5"))


def test_legs_of_a_bracket_are_orders_of_their_own() -> None:
    order = _order(BRACKET)
    assert (order.order_class, order.status, order.avg_px) == (OrderClass.BRACKET, "filled", Decimal("149.5"))
    gain, loss = order.legs
    assert (gain.client_order_id, gain.side, gain.order_type, gain.limit_px) == (
        "9d1f0f4e-5d53-4ad8-8a3c-7f0d3f9b3d55",
        Side.SELL,
        OrderType.LIMIT,
        Decimal(160),
    )
    assert (loss.order_type, loss.stop_px, loss.limit_px, loss.status) == (
        OrderType.STOP_LIMIT,
        Decimal(140),
        Decimal("139.5"),
        "held",
    )
    assert {leg.order_class for leg in order.legs} == {OrderClass.BRACKET}


def test_group_whose_leg_cannot_be_read_is_a_problem() -> None:
    broken = BRACKET | {"legs": [BRACKET["legs"][0], BRACKET["legs"][1] | {"side": "hold"}]}
    assert isinstance(parse_orders.parse_order(broken), Problem)
    assert isinstance(parse_orders.parse_order(BRACKET | {"legs": "two"}), Problem)


def test_trailing_stop_tells_where_it_stands() -> None:
    order = _order(TRAILING)
    assert (order.order_type, order.trail_percent, order.trail_px, order.stop_px) == (
        OrderType.TRAILING_STOP,
        Decimal(1),
        None,
        Decimal("187.13"),
    )


def test_replacement_names_the_order_it_took_the_place_of() -> None:
    order = _order(ORDER | {"replaces": "old", "replaced_by": None, "filled_qty": "1"})
    assert (order.replaces, order.replaced_by, order.filled_qty) == ("old", "", Decimal(1))
    assert _order(ORDER | {"status": "replaced", "replaced_by": "new"}).replaced_by == "new"


def test_notional_order() -> None:
    order = _order(ORDER | {"qty": None, "notional": "25.50", "type": "market", "limit_price": None})
    assert (order.quantity, order.notional) == (None, Decimal("25.5"))


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"type": "pegged"}, "order_type", "type pegged"),
        ({"type": None}, "order_type", "type None"),
        ({"type": "other"}, "order_type", "type other"),
        ({"time_in_force": "gtd"}, "time_in_force", "time_in_force gtd"),
        ({"order_class": "ladder"}, "order_class", "order_class ladder"),
    ],
)
def test_word_we_do_not_know_is_other_and_is_named(changes: dict[str, Any], field: str, said: str) -> None:
    order = _order(ORDER | changes)
    assert getattr(order, field) == "other"
    assert order.unknown == (said,)
    known = {"order_type": "limit", "time_in_force": "gtc", "order_class": "simple"}
    assert {name: getattr(order, name) for name in known if name != field} == {
        name: word for name, word in known.items() if name != field
    }


def test_multi_leg_order_is_read_as_its_legs() -> None:
    legs = parse_orders.parse_orders(MULTI_LEG)
    assert [(leg.symbol, leg.side, leg.order_class) for leg in legs if isinstance(leg, VenueOrder)] == [
        ("AAPL250117P00200000", Side.BUY, OrderClass.OTHER),
        ("AAPL250117C00250000", Side.SELL, OrderClass.OTHER),
    ]
    assert all(
        leg.unknown == ("asset_class us_option", "order_class mleg") for leg in legs if not isinstance(leg, Problem)
    )
    assert parse_orders.parse_orders(MULTI_LEG | {"legs": None}) == []
    assert len(parse_orders.parse_orders(ORDER)) == 1


def test_event_of_a_multi_leg_order_is_one_of_each_leg() -> None:
    done = {"order_id": MULTI_LEG["legs"][1]["id"], "qty": "1", "price": "2.15", "execution_id": "e1"}
    raw = {"event": "fill", "order": MULTI_LEG, "timestamp": "2025-01-23T18:06:41.5Z", "legs": [done]}
    first, second = parse_orders.parse_updates(raw)
    assert isinstance(first, VenueUpdate)
    assert isinstance(second, VenueUpdate)
    assert (first.order.client_order_id, first.execution) == ("leg-002", None)
    assert second.execution is not None
    assert (second.execution.last_px, second.execution.execution_id) == (Decimal("2.15"), "e1")


def test_event_of_any_other_order_is_one() -> None:
    assert parse_orders.parse_updates(FILL_UPDATE) == [parse_orders.parse_update(FILL_UPDATE)]
    for junk in (None, [], "x", {"order": {"order_class": "mleg", "legs": [1, None]}}):
        assert all(isinstance(update, Problem) for update in parse_orders.parse_updates(junk))
