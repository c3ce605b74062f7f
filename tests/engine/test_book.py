"""The executor's account against risk's ledger of bots: two sums over one stream."""

from __future__ import annotations

import random

import pytest

from engine.execution import ExecutionCore
from engine.execution.book import FROM_FEES
from engine.messages import AnyBody, Correction, Fee, OrderFilled, Split
from engine.risk import RiskCore
from engine.risk.core import RiskLimits
from engine.splits import times
from engine.values import Side
from tests.engine.build import T0, D, always_open, bot, fill, intent, opened

SYMBOLS = ("AAPL", "MSFT", "BTC/USD")


def events(seed: int) -> list[AnyBody]:
    """Orders of three owners that fill in parts, fees, transfers, splits with and without fractions, corrections."""
    draw = random.Random(seed)
    bodies: list[AnyBody] = [opened("50000", AAPL="7", MSFT="-3"), always_open()]
    book = ExecutionCore()
    for body in bodies:
        book.apply(body)
    for number in range(60):
        symbol = draw.choice(SYMBOLS)
        px = D(draw.randint(100, 90_000)) / 100
        amount = D(draw.randint(1, 9_999)) / (1 if "/" not in symbol else 10_000)
        made: list[AnyBody]
        match draw.choice(("order", "order", "order", "fee", "fee", "split", "correction")):
            case "order":
                side = draw.choice(list(Side))
                of = intent(
                    f"o{number}", side, str(amount), bot=draw.choice(("alpha", "beta", "manual")), symbol=symbol
                )
                part = amount - amount // 3
                made = [of, fill(of, part, part, px, ts_event=T0 + number)]
                if amount - part:
                    made += [fill(of, amount - part, amount, px + 1, ts_event=T0 + number)]
                made += [OrderFilled(of.id, of.bot, symbol, f"venue-{of.id}", amount, px, T0 + number)]
            case "fee":
                kind = draw.choice(("CFEE", "DIV", "CSD", "JNLS"))
                quantity = -amount / 100 if kind == "CFEE" else amount if kind == "JNLS" else D(0)
                made = [Fee(f"f{number}", kind, "alpha", symbol, px if not quantity else D(0), quantity, T0 + number)]
            case "split" if "/" not in symbol:
                ratio = D(draw.choice((1, 2, 3, 7))) / D(draw.choice((1, 2, 3, 10)))
                net = times(book.state.book.held(symbol), ratio)
                fraction = net % 1 if draw.random() < 0.5 else D(0)
                cash = abs(fraction) * px if draw.random() < 0.5 else D(0)
                made = [Split(f"s{number}", symbol, symbol, ratio, T0 + number, cash, fraction)]
            case _:
                source = draw.choice(("positions", "cash", FROM_FEES))
                quantity, cash = (D(0), px) if source == "cash" else (-amount, D(0))
                name = "" if source == "cash" else symbol
                made = [
                    Correction(f"c{number}", "unattributed", name, quantity, cash, D(1), D(2), source, "", T0 + number)
                ]
        for body in made:
            book.apply(body)
        bodies += made
    return bodies


@pytest.mark.parametrize("seed", range(40))
def test_after_each_event_the_bots_sum_to_the_account(seed: int) -> None:
    risk, executor = RiskCore([bot(), bot(name="beta")], RiskLimits()), ExecutionCore()
    for body in events(seed):
        risk.apply(body)
        executor.apply(body)
        executor.apply(body)  # our own echo
        risk.apply(body)
        book = executor.state.book
        assert risk.state.portfolio.net() == dict(sorted(book.positions.items())), body
        assert risk.state.portfolio.cash == book.cash, body
    assert not risk.state.portfolio.working
    assert risk.state.portfolio.reserved == 0
    assert executor.state.book.moves == sum(
        isinstance(body, Fee | Split | Correction) or type(body).__name__ == "Fill" for body in events(seed)
    )
