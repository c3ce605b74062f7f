"""A trading day around the risk core, from a seed: signals and a venue's answers in steps, as the stream holds them."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec

from engine.bots import RiskLimits
from engine.messages import (
    AnyBody,
    Fee,
    Fill,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSubmitted,
    Signal,
)
from engine.risk import RiskCore, RiskState
from engine.values import NS_PER_S, Direction
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal

BOTS = (
    bot(symbols=("AAPL", "BTC/USD")),
    bot(name="beta", symbols=("AAPL", "MSFT"), position_fraction=0.2),
    bot(name="tiny", symbols=("MSFT",), capital=D(50)),
)
LIMITS = RiskLimits(order_notional_usd_max=D(19_900), bar_age_ms_max=90_000)
PRICES = {"AAPL": 190.0, "MSFT": 370.0, "BTC/USD": 36_500.0}


class Step(msgspec.Struct):
    """What came in together, when it was decided, and what went out."""

    inputs: list[AnyBody]
    now_ns: int
    outputs: list[AnyBody]


def fresh(state: bytes | None = None) -> RiskCore:
    """A core from the beginning, or from a checkpoint."""
    return RiskCore(BOTS, LIMITS, None if state is None else msgspec.msgpack.decode(state, type=RiskState))


def dump(core: RiskCore) -> bytes:
    """What a checkpoint holds."""
    return msgspec.msgpack.encode(core.state)


class Orders:
    """The venue: orders it has, and what may happen to them next."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.open: dict[str, tuple[OrderIntent, Decimal]] = {}
        self.late: list[tuple[OrderIntent, Decimal]] = []

    def take(self, intent: OrderIntent) -> None:
        self.open[intent.id] = (intent, D(0))

    def event(self) -> list[AnyBody]:
        draw = self._draw
        if self.late and draw.random() < 0.2:
            of, filled = self.late.pop()
            return [_fill(of, of.quantity, filled)]
        if not self.open:
            return []
        key = draw.choice(list(self.open))
        of, filled = self.open[key]
        venue = f"venue-{of.id}"
        kind = draw.choice(["accept", "part", "part", "fill", "fill", "fill", "cancel", "reject", "expire"])
        match kind:
            case "accept":
                return [
                    OrderSubmitted(of.id, of.bot, of.symbol, T0),
                    OrderAccepted(of.id, of.bot, of.symbol, venue, T0),
                ]
            case "part":
                share = (of.quantity - filled) / 3
                part = share.quantize(D("0.000000001")) if "/" in of.symbol else share.quantize(D(1))
                if not 0 < part < of.quantity - filled:
                    return []
                self.open[key] = (of, filled + part)
                return [_fill(of, filled + part, filled)]
            case "fill":
                del self.open[key]
                return [
                    _fill(of, of.quantity, filled),
                    OrderFilled(of.id, of.bot, of.symbol, venue, of.quantity, of.ref_px, T0),
                ]
            case "cancel":
                del self.open[key]
                self.late.append((of, filled))
                return [OrderCanceled(of.id, of.bot, of.symbol, venue, filled, T0)]
            case "reject" if filled == 0:
                del self.open[key]
                return [OrderRejected(of.id, of.bot, of.symbol, "403", "no", T0)]
            case "expire":
                del self.open[key]
                return [OrderExpired(of.id, of.bot, of.symbol, "venue", T0, venue, filled)]
            case _:
                return []


def _fill(of: OrderIntent, cum: Decimal, before: Decimal) -> Fill:
    return fill(of, cum - before, cum, of.ref_px + D("0.01"))


def day(seed: int, count: int = 40) -> list[Step]:
    """Play `count` steps; their inputs hold our own outputs as they come back from the stream."""
    draw = random.Random(seed)
    core, orders, steps = fresh(), Orders(draw), []
    arriving: list[AnyBody] = [opened("22000", AAPL="3"), always_open(), *lent("AAPL", "MSFT")]
    sent: list[Signal] = []
    for number in range(1, count + 1):
        inputs = arriving
        for _ in range(draw.choice([0, 0, 1, 1, 2])):
            said = _signal(draw, number)
            if all((said.bot, said.symbol, said.ts_event) != (old.bot, old.symbol, old.ts_event) for old in sent):
                inputs.append(said)
                sent.append(said)
        if sent and draw.random() < 0.2:
            inputs.append(draw.choice(sent))  # stored twice
        for _ in range(draw.choice([0, 1, 2, 3])):
            events = orders.event()
            inputs += events
            if events and draw.random() < 0.2:
                inputs += events  # stored twice
        if draw.random() < 0.1:
            inputs.append(Fee(f"fee{number // 2}", "CFEE", "alpha", "BTC/USD", D("-0.02"), D("-0.0001"), T0))
        now = minute(number) + draw.choice([1, 30, 60, 90, 91]) * NS_PER_S
        outputs = decide(core, inputs, now)
        steps.append(Step(inputs, now, outputs))
        for body in outputs:
            if isinstance(body, OrderIntent):
                orders.take(body)
        arriving = list(outputs)
    return steps


def _signal(draw: random.Random, number: int) -> Signal:
    of = draw.choice(BOTS)
    symbol = draw.choice(of.symbols)
    direction = draw.choice(list(Direction))
    return signal(
        direction,
        number=number,
        symbol=symbol,
        bot=draw.choice([of.name] * 9 + ["ghost"]),
        price=round(PRICES[symbol] * draw.uniform(0.97, 1.03), 2),
        id=f"s{number}-{draw.random():.9f}",
    )


def decide(core: RiskCore, inputs: list[AnyBody], now_ns: int) -> list[AnyBody]:
    """One round of the service: let everything change the ledger, then answer what waits."""
    ledger = [body for item in inputs for body in core.apply(item)]
    return [*ledger, *core.decide_waiting(now_ns)]
