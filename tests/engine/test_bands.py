"""Limit-up limit-down bands hold for the session they were said in, and no longer."""

from __future__ import annotations

import pytest

from engine.messages import Sessions, SymbolStatus
from engine.risk.rules import price_band
from engine.sessions import SessionTable
from engine.values import NS_PER_DAY, NS_PER_S, AssetClass
from tests.engine.build import D, bot
from tests.engine.judged import proposal

HOUR = 3600 * NS_PER_S
OPEN = 1_767_623_400 * NS_PER_S
"""9:30 in New York on Monday, 2026-01-05."""
CLOSE = OPEN + 13 * HOUR // 2
SPANS = tuple((OPEN + day * NS_PER_DAY, CLOSE + day * NS_PER_DAY) for day in range(4))


@pytest.mark.parametrize(
    ("said_ns", "now_ns", "is_in_force"),
    [
        (OPEN, OPEN, True),
        (OPEN, CLOSE - 1, True),
        (OPEN - 1, OPEN, True),  # said right before the opening
        (OPEN, CLOSE, False),
        (CLOSE - 1, CLOSE + HOUR, False),
        (CLOSE - 1, OPEN + NS_PER_DAY, False),
        (OPEN, OPEN + 3 * NS_PER_DAY, False),
        (OPEN + 3 * NS_PER_DAY, OPEN + 3 * NS_PER_DAY + 1, True),
    ],
)
def test_a_band_ends_with_its_session(said_ns: int, now_ns: int, is_in_force: bool) -> None:
    table = SessionTable()
    table.add(Sessions(AssetClass.US_EQUITY, SPANS, 0))
    band = SymbolStatus("AAPL", "lulds", "band", said_ns, low_px=D(101), high_px=D(105))
    refusal = price_band(proposal({}, sessions=table, now_ns=now_ns, statuses=(band,), bot=bot(session="any")))
    assert (refusal is not None) is is_in_force
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("price_band", "101", "100")
