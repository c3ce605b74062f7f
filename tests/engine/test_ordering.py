"""What a bot's style makes of a quantity: type, life, prices, exits; and what the venue has no order for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.bots import OrderStyle, Stops
from engine.ordering import Terms, on_steps, terms_of
from engine.rounding import RoundingRefused
from engine.values import OrderClass, OrderType, TimeInForce
from tests.engine.build import D, bot

DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
BOTH = Stops(stop_loss=0.02, take_profit=0.04)


def _terms(style: OrderStyle, quantity: str = "10", price: str = "50.00", **more: Any) -> Terms:
    about = {"symbol": "AAPL", "reduces": False, "is_first": True, "is_regular": True, "stops": None} | more
    symbol, stops = about.pop("symbol"), about.pop("stops")
    of = bot(symbols=(symbol,), order=style, stops=stops)
    wanted = terms_of(of, symbol, D(quantity), D(price), **about)
    shaped = on_steps(wanted, symbol, D(quantity), D(price), lot=D("1e-9"), fraction_max=0.01)
    assert not isinstance(shaped, RoundingRefused), shaped
    return shaped


@pytest.mark.parametrize(
    ("style", "quantity", "wanted"),
    [
        (OrderStyle(), "10", Terms(OrderType.MARKET, DAY)),
        # A limit pays 20 bps more than the reference price, either way; on the tick to the side that costs nothing.
        (OrderStyle(OrderType.LIMIT, limit_offset_bps=20), "10", Terms(OrderType.LIMIT, DAY, D("50.10"))),
        (OrderStyle(OrderType.LIMIT, limit_offset_bps=20), "-10", Terms(OrderType.LIMIT, DAY, D("49.90"))),
        (OrderStyle(OrderType.LIMIT, limit_offset_bps=-3), "10", Terms(OrderType.LIMIT, DAY, D("49.98"))),
        (OrderStyle(OrderType.LIMIT, limit_offset_bps=-3), "-10", Terms(OrderType.LIMIT, DAY, D("50.02"))),
        (OrderStyle(OrderType.STOP), "10", Terms(OrderType.STOP, DAY, stop_px=D("50.05"))),
        (OrderStyle(OrderType.STOP), "-10", Terms(OrderType.STOP, DAY, stop_px=D("49.95"))),
        (
            OrderStyle(OrderType.STOP_LIMIT, limit_offset_bps=10, stop_offset_bps=100),
            "10",
            Terms(OrderType.STOP_LIMIT, DAY, D("50.55"), D("50.50")),
        ),
        (OrderStyle(OrderType.TRAILING_STOP, trail_percent=1.5), "10",
         Terms(OrderType.TRAILING_STOP, DAY, trail_percent=D("1.5"))),
        *((OrderStyle(time_in_force=life), "10", Terms(OrderType.MARKET, life)) for life in list(TimeInForce)[:-1]),
        (OrderStyle(OrderType.LIMIT, extended_hours=True), "10",
         Terms(OrderType.LIMIT, DAY, D(50), extended_hours=True)),
        (OrderStyle(fractional=True, notional=True), "10.5", Terms(OrderType.MARKET, DAY, notional=D(525))),
        # The venue sells no amount short.
        (OrderStyle(fractional=True, notional=True), "-10", Terms(OrderType.MARKET, DAY)),
    ],
)  # fmt: skip
def test_what_opens_follows_the_style(style: OrderStyle, quantity: str, wanted: Terms) -> None:
    assert _terms(style, quantity) == wanted


@pytest.mark.parametrize(
    "style",
    [OrderStyle(OrderType.STOP), OrderStyle(OrderType.LIMIT, extended_hours=True), OrderStyle(time_in_force=GTC)],
)
def test_what_reduces_goes_at_the_market(style: OrderStyle) -> None:
    assert _terms(style, "-10", reduces=True) == Terms(OrderType.MARKET, DAY)


def test_what_reduces_in_extended_hours_goes_with_a_limit() -> None:
    style = OrderStyle(OrderType.LIMIT, extended_hours=True, exit_offset_bps=100)
    assert _terms(style, "-10", reduces=True, is_regular=False) == Terms(
        OrderType.LIMIT, DAY, D("49.50"), extended_hours=True
    )


@pytest.mark.parametrize(
    ("stops", "quantity", "kind", "target", "stop"),
    [
        (BOTH, "10", OrderClass.BRACKET, "52", "49"),
        (BOTH, "-10", OrderClass.BRACKET, "48", "51"),
        (Stops(stop_loss=0.02), "10", OrderClass.OTO, None, "49"),
        (Stops(take_profit=0.04), "-10", OrderClass.OTO, "48", None),
    ],
)
def test_a_first_entry_carries_its_exits(
    stops: Stops, quantity: str, kind: OrderClass, target: str | None, stop: str | None
) -> None:
    made = _terms(OrderStyle(), quantity, stops=stops)
    exits = tuple(None if px is None else Decimal(px) for px in (target, stop))
    assert (made.order_class, made.take_profit_px, made.stop_loss_px) == (kind, *exits)


@pytest.mark.parametrize(
    ("style", "more"),
    [
        (OrderStyle(), {"is_first": False}),
        (OrderStyle(), {"stops": Stops(stop_loss=0.02, held_by="risk")}),
        (OrderStyle(), {"stops": Stops(trailing_stop=0.02)}),
        (OrderStyle(), {"symbol": "BTC/USD"}),
        (OrderStyle(fractional=True), {"quantity": "1.5"}),
        (OrderStyle(OrderType.STOP), {}),
        (OrderStyle(time_in_force=TimeInForce.IOC), {}),
        (OrderStyle(OrderType.LIMIT, extended_hours=True), {}),
        # Less than a cent from the entry: the venue refuses such exits.
        (OrderStyle(), {"price": "0.4000"}),
    ],
)
def test_an_entry_that_cannot_carry_exits_goes_alone(style: OrderStyle, more: dict[str, Any]) -> None:
    made = _terms(style, **({"stops": BOTH} | more))
    assert (made.order_class, made.take_profit_px, made.stop_loss_px) == (OrderClass.SIMPLE, None, None)
