"""The steps of quantity and price that the venue lists for a symbol hold for every order in it."""

from __future__ import annotations

from engine.bots import OrderStyle, RiskLimits
from engine.messages import AnyBody, Fee, OrderFilled, OrderIntent, RiskDenied, Signal, SymbolStatus, TargetReached
from engine.risk import RiskCore
from engine.values import Direction, OrderType, Side
from tests.engine.build import T0, D, always_open, bot, fill, opened, signal

LONG, FLAT = Direction.LONG, Direction.FLAT


def _core(said: SymbolStatus, style: OrderStyle) -> RiskCore:
    core = RiskCore([bot(symbols=("BTC/USD",), order=style)], RiskLimits())
    for body in (opened(), always_open(), said):
        core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal) -> list[AnyBody]:
    core.apply(said)
    return list(core.decide_waiting(said.ts_event))


def _intent(answers: list[AnyBody]) -> OrderIntent:
    [intent] = [answer for answer in answers if isinstance(answer, OrderIntent)]
    return intent


def _coin_steps(qty_min: str = "0.001") -> SymbolStatus:
    steps = {"qty_min": D(qty_min), "qty_step": D("0.0001"), "price_step": D("0.25")}
    return SymbolStatus("BTC/USD", "assets", "as the venue lists it", T0, **steps)


def test_quantity_and_price_lie_on_the_steps_that_the_venue_lists() -> None:
    core = _core(_coin_steps(), OrderStyle(type=OrderType.LIMIT, limit_offset_bps=1.0))
    made = _intent(_ask(core, signal(LONG, symbol="BTC/USD", price=36_500.0)))
    assert (made.quantity, made.limit_px) == (D("0.2739"), D("36503.5"))  # 0.273972602, and 36503.65 for a purchase
    # A fee in coins leaves less than a step of what is sold.
    core.apply(fill(made, made.quantity, made.quantity, "36503.5"))
    core.apply(OrderFilled(made.id, made.bot, made.symbol, "v1", made.quantity, D("36503.5"), T0))
    core.apply(Fee("act-1", "CFEE", "alpha", "BTC/USD", D(0), D("-0.00005"), T0))
    out = _intent(_ask(core, signal(FLAT, number=2, symbol="BTC/USD", price=36_500.0)))
    assert (out.side, out.quantity) == (Side.SELL, D("0.2738"))
    core.apply(fill(out, out.quantity, out.quantity, "36500"))
    core.apply(OrderFilled(out.id, out.bot, out.symbol, "v2", out.quantity, D(36_500), T0))
    [dust] = _ask(core, signal(FLAT, number=3, symbol="BTC/USD", price=36_500.0))
    assert isinstance(dust, TargetReached)
    assert dust.reason == "held 0.00005 and working 0 are the target but for -0.00005, less than the venue's step"


def test_less_than_the_venue_takes_is_denied() -> None:
    core = _core(_coin_steps("0.5"), OrderStyle())
    [denied] = _ask(core, signal(LONG, symbol="BTC/USD", price=36_500.0))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.limit, denied.observed) == ("rounding_fraction_max", "0.5", "0.2739")
