from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapters.alpaca.orders import order_body
from adapters.exchange.orders import OrderRequest
from adapters.told import request_of
from engine.messages import OrderIntent
from engine.values import OrderClass, OrderType, Side, TimeInForce

_NUMBERS = st.decimals(min_value=Decimal("0.000000001"), max_value=100_000, places=9) | st.sampled_from(
    [Decimal("1E+2"), Decimal("10.00"), Decimal(7)]
)
_OPTIONAL = st.none() | _NUMBERS


@given(
    quantity=_NUMBERS, notional=_OPTIONAL, prices=st.lists(_OPTIONAL, min_size=7, max_size=7),
    side=st.sampled_from(Side), kind=st.sampled_from(OrderType), life=st.sampled_from(TimeInForce),
    order_class=st.sampled_from(OrderClass), is_extended=st.booleans(),
)  # fmt: skip
def test_what_is_asked_without_a_wire_is_what_the_body_of_a_request_asks(
    quantity: Decimal, notional: Decimal | None, prices: list[Decimal | None], is_extended: bool, **words: Any
) -> None:
    names = ("limit_px", "stop_px", "trail_px", "trail_percent", "take_profit_px", "stop_loss_px", "stop_loss_limit_px")
    intent = OrderIntent(
        id="1", signal_id="2", bot="b", symbol="AAPL", side=words["side"], quantity=quantity, notional=notional,
        order_type=words["kind"], time_in_force=words["life"], order_class=words["order_class"],
        extended_hours=is_extended, ref_px=Decimal(1), reserved=Decimal(0), decided_ns=0, valid_until=0,
        **dict(zip(names, prices, strict=True)),
    )  # fmt: skip
    read = msgspec.convert(order_body(intent), OrderRequest, strict=False)
    assert repr(request_of(intent)) == repr(read)
