"""Portfolio history through the unmodified TradingClient: shape, intervals, profit and loss, refusals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from alpaca.trading.requests import GetPortfolioHistoryRequest

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, row
from tests.exchange.test_groups import FLAT, refusal

DAY = timedelta(days=1)
UTC_MIDNIGHT = 1_741_564_800
"""2025-03-10T00:00:00Z."""


@pytest.fixture
def traded(start: Start) -> Exchange:
    """Ten shares bought at 100 in the second minute; two minutes before the open, four after, one the day after."""
    rows = [row("AAPL", OPEN + timedelta(minutes=i), FLAT) for i in (-2, -1, 0, 1)]
    rows += [
        row("AAPL", OPEN + timedelta(minutes=2), "100 101 100 101"),
        row("AAPL", OPEN + timedelta(minutes=3), FLAT),
    ]
    rows.append(row("AAPL", OPEN + timedelta(minutes=7), "99 99 98 98"))
    rows += [
        row("AAPL", OPEN + DAY, "103 103 103 103"),
        row("AAPL", OPEN + DAY + timedelta(minutes=1), "102 102 102 102"),
    ]
    exchange = start(rows)
    exchange.step(3)
    exchange.order(symbol="AAPL", qty=10, time_in_force="gtc")
    exchange.step(6)
    return exchange


def test_days_by_alpaca_py(traded: Exchange) -> None:
    history = traded.client().get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
    assert history.timestamp == [UTC_MIDNIGHT, UTC_MIDNIGHT + 86_400]
    assert history.equity == [99_980.0, 100_020.0]
    assert history.profit_loss == [-20.0, 40.0]
    assert history.profit_loss_pct == [-0.0002, 0.00040008]
    assert (history.base_value, history.timeframe) == (100_000.0, "1D")


def test_minutes_leave_out_what_had_no_bars_and_reset_each_day(traded: Exchange) -> None:
    history = traded.client().get_portfolio_history(GetPortfolioHistoryRequest(period="2D", timeframe="1Min"))
    start = int(OPEN.timestamp())
    assert history.timestamp == [start + 60 * i for i in (0, 1, 2, 3, 7)] + [start + 86_400, start + 86_460]
    assert history.profit_loss == [0, 0, 10, 0, -20, 50, 40]
    whole = traded.get("/v2/account/portfolio/history", period="2D", timeframe="1Min", pnl_reset="no_reset")
    assert whole["profit_loss"] == [0, 0, 10, 0, -20, 30, 20]
    assert set(whole) == {
        "timestamp", "equity", "profit_loss", "profit_loss_pct", "base_value", "base_value_asof", "timeframe",
    }  # fmt: skip
    five = traded.get("/v2/account/portfolio/history", period="1W", timeframe="5Min")
    assert five["timestamp"] == [start, start + 300, start + 86_400]
    assert five["equity"] == [100_000, 99_980, 100_020]


def test_extended_hours_and_ranges(traded: Exchange) -> None:
    def stamps(**query: Any) -> list[int]:
        history = traded.client().get_portfolio_history(GetPortfolioHistoryRequest(**query))
        return [(stamp - int(OPEN.timestamp())) // 60 for stamp in history.timestamp]

    assert stamps(period="2D", timeframe="1Min", extended_hours=True)[:3] == [-2, -1, 0]
    assert stamps(period="2D", timeframe="1Min", intraday_reporting="continuous")[:3] == [-2, -1, 0]
    assert stamps(start=OPEN + timedelta(minutes=1), end=OPEN + timedelta(minutes=4), timeframe="1Min") == [1, 2, 3]
    assert stamps(period="1D", timeframe="1Min") == [1440, 1441]
    assert stamps(period="1D", date_end=OPEN.date(), timeframe="1Min") == [0, 1, 2, 3, 7]
    assert stamps(start=OPEN, period="1D", timeframe="1Min") == [0, 1, 2, 3, 7]
    frames = [
        traded.client().get_portfolio_history(GetPortfolioHistoryRequest(period=period)).timeframe
        for period in (None, "6D", "2W", "1M", "1A")
    ]
    assert frames == ["1D", "1Min", "15Min", "1D", "1D"]


def test_before_the_first_minute_it_is_empty(start: Start) -> None:
    history = start().client().get_portfolio_history()
    assert (history.timestamp, history.equity, history.base_value) == ([], [], 100_000)


@pytest.mark.parametrize(
    "query",
    [
        {"timeframe": "2Min"}, {"period": "soon"}, {"period": "1Y"}, {"period": "3M", "timeframe": "1Min"},
        {"period": "1D", "start": "2025-03-10", "end": "2025-03-11"}, {"pnl_reset": "never"},
        {"start": "2025-03-10", "end": "2025-03-09"}, {"intraday_reporting": "x"},
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(start: Start, query: dict[str, str]) -> None:
    answer = start().call("GET", "/v2/account/portfolio/history", params=query)
    assert refusal(answer)[0] == 422
