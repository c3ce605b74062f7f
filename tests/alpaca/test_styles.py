"""Whatever style a bot may be given: what risk makes of it, the adapter lets through, and the venue has an order for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.alpaca.orders import order_body, refusal
from adapters.exchange.checks import check_request
from adapters.exchange.groups import class_refusal, make_plan
from adapters.exchange.orders import OrderRequest, Refusal
from config.bots import validate
from engine.bots import Bot, OrderStyle, Stops
from engine.errors import ConfigError
from engine.messages import OrderIntent, SymbolStatus
from engine.ordering import lot_of, on_steps, on_venue_step, terms_of
from engine.rounding import RoundingRefused
from engine.values import OrderType, Side, TimeInForce
from tests.engine.build import bot

LISTED = SymbolStatus("BTC/USD", "assets", "active", 0, qty_min=Decimal("0.000016"), price_step=Decimal(1))


def _bot(**fields: Any) -> Bot | None:
    symbol, stops = fields.pop("symbol"), fields.pop("stops")
    try:
        made = bot(symbols=(symbol,), order=OrderStyle(**fields), stops=stops, session="any")
        validate(made)
    except (ConfigError, ValueError):
        return None
    return made


_bots = st.builds(
    _bot,
    symbol=st.sampled_from(["AAPL", "BRK.B", "BTC/USD"]),
    stops=st.none() | st.sampled_from([Stops(stop_loss=0.01), Stops(stop_loss=0.01, take_profit=0.02), Stops(trailing_stop=0.05)]),
    type=st.sampled_from(OrderType),
    time_in_force=st.none() | st.sampled_from(TimeInForce),
    limit_offset_bps=st.floats(-500, 500),
    stop_offset_bps=st.floats(0.1, 500),
    trail_percent=st.floats(0.1, 50),
    extended_hours=st.booleans(),
    fractional=st.booleans(),
    notional=st.booleans(),
).filter(lambda made: made is not None)  # fmt: skip


@settings(max_examples=700)
@given(_bots, st.floats(0.05, 90_000), st.integers(1, 10**12), st.booleans(), st.booleans(), st.booleans())
def test_every_style_comes_to_an_order_that_the_venue_takes(
    of: Bot, price: float, nano: int, is_sale: bool, reduces: bool, is_regular: bool
) -> None:
    [symbol] = of.symbols
    sign = -1 if is_sale else 1
    said = LISTED if symbol == "BTC/USD" else None
    ref = Decimal(repr(price)).quantize(Decimal("0.01" if price >= 1 else "0.0001"))
    if sign < 0 and not reduces and symbol == "BTC/USD":
        return  # coins are never sold short: the rule `shortable` refuses
    lot = lot_of(symbol, of.order, sign)
    quantity = on_venue_step(Decimal(nano) * Decimal("0.000000001") // lot * lot, said) * sign
    if not quantity:
        return
    terms = terms_of(of, symbol, quantity, ref, reduces=reduces, is_first=not reduces, is_regular=is_regular)
    shaped = on_steps(terms, symbol, quantity, ref, lot=lot, fraction_max=0.5, said=said)
    if isinstance(shaped, RoundingRefused):
        return
    intent = OrderIntent(
        id="i", signal_id="s", bot=of.name, symbol=symbol, side=Side.SELL if is_sale else Side.BUY,
        quantity=abs(quantity), ref_px=ref, reserved=Decimal(0), decided_ns=0, valid_until=1,
        **{name: getattr(shaped, name) for name in shaped.__struct_fields__},
    )  # fmt: skip
    said_no = refusal(intent)
    if intent.notional is not None and intent.notional < 1:
        assert said_no.startswith("notional must be >= 1 USD")
        return
    assert said_no == ""
    body = order_body(intent)
    request = msgspec.convert(body, OrderRequest, strict=False)
    checked = class_refusal(request) or check_request(request, symbol)
    assert not isinstance(checked, Refusal), checked
    assert not isinstance(make_plan(request, checked, None), Refusal)
