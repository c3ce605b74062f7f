"""What the account says is summed up change by change, and is what its holdings are."""

from __future__ import annotations

from decimal import Decimal

from engine.messages import Account
from tests.engine.desk import day, dump, fresh


def test_the_account_says_what_its_holdings_realized() -> None:
    """It is summed up change by change: a fill among eleven thousand holdings must not walk through them."""
    said: set[Decimal] = set()
    for seed in range(30):
        core = fresh()
        for step in day(seed):
            for body in step.inputs:
                for told in core.apply(body):
                    if isinstance(told, Account):
                        assert told.realized_pnl == core.state.portfolio.realized_pnl
                        said.add(told.realized_pnl)
            core = fresh(dump(core))  # made anew from the state
            core.decide_waiting(step.now_ns)
    assert len(said) >= 30
