"""The files of a backtest, and its summary, from the database that it was recorded in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from storage.export import export
from storage.sql import SqlService
from storage.writer import Writer
from tapeline.backtesting.metrics import Curve, equity_metrics

_ROWS_MAX = 50_000
_EQUITY = {"ts": pl.Int64, "equity": pl.Float64, "cash": pl.Float64, "exposure": pl.Float64}
_FILLS = """
SELECT ts_event AS ts, symbol, side, last_qty AS qty, last_px AS px, commission, bot, client_order_id
FROM fills ORDER BY rowid
"""
_TRADES = """
WITH closed AS (SELECT * FROM trades WHERE closed_at IS NOT NULL),
held AS (  -- each bar belongs to the trade that was opened last before it: one pass, however many trades there are
    SELECT t.bot, t.symbol, t.opened_at, t.closed_at, min(b.low) AS low, max(b.high) AS high
    FROM (SELECT DISTINCT bot, symbol FROM closed) k JOIN bars b ON b.symbol = k.symbol
        ASOF JOIN closed t ON t.bot = k.bot AND t.symbol = k.symbol AND b.ts_event > t.opened_at
    WHERE b.ts_event <= t.closed_at GROUP BY ALL
)
SELECT t.bot, t.symbol, t.side, t.opened_at, t.closed_at, t.quantity, t.entry_px, t.exit_px, t.realized_pnl AS pnl,
    t.held_s,
    least(0, CASE t.side WHEN 'long' THEN b.low - t.entry_px ELSE t.entry_px - b.high END * t.quantity) AS mae,
    greatest(0, CASE t.side WHEN 'long' THEN b.high - t.entry_px ELSE t.entry_px - b.low END * t.quantity) AS mfe
FROM closed t LEFT JOIN held b USING (bot, symbol, opened_at, closed_at)
ORDER BY t.closed_at, t.opened_at, t.bot, t.symbol
"""
_FILES = {
    "fills": _FILLS,
    "orders": "SELECT * FROM orders",
    "signals": "SELECT * EXCLUDE (ts_init, ts_recv, trace) FROM signals ORDER BY rowid",
    "denials": "SELECT * EXCLUDE (ts_init, ts_recv, trace) FROM denials ORDER BY rowid",
    "trades": _TRADES,
}
_COUNTS = """
SELECT (SELECT count(*) FROM bars) AS bars, (SELECT count(*) FROM signals) AS signals,
    (SELECT count(*) FROM intents) AS intents, (SELECT count(*) FROM denials) AS denials,
    (SELECT count(*) FROM fills) AS fills, (SELECT count(*) FROM alerts WHERE level = 'error') AS errors,
    (SELECT coalesce(sum(last_qty * last_px), 0)::DOUBLE FROM fills) AS traded,
    (SELECT coalesce(sum(commission), 0)::DOUBLE FROM fills)
        + coalesce((SELECT -sum(f.cash + f.quantity * coalesce(b."close", 0)) FROM fees f
            ASOF LEFT JOIN bars b ON b.symbol = f.symbol AND b.ts_event_ns <= f.ts_event_ns), 0)::DOUBLE AS fees
"""
_WON = """
SELECT count(*) AS trades, count(*) FILTER (realized_pnl > 0) AS won,
    coalesce(sum(realized_pnl) FILTER (realized_pnl > 0), 0)::DOUBLE AS gained,
    coalesce(-sum(realized_pnl) FILTER (realized_pnl < 0), 0)::DOUBLE AS lost
FROM trades WHERE closed_at IS NOT NULL
"""


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints; money in USD, shares as fractions. None where there is too little to say.

    Attributes:
        exposure: Mean of what is held over equity, over all minutes with a bar.
        turnover: What was bought and sold over mean equity.
        fees: Commissions and fees, those on coins at the price of their minute.
        bars_per_s: Of playing and recording.
        missing_minutes: Without a bar, between two of the same symbol, in regular sessions; of coins always.
        failed: Bots that were stopped because their strategies raised, each with why.
        errors: Alerts of level error: `SELECT * FROM alerts`.
        bars_hash: Digest of the bar file.
        config_hash: Digest of bots, limits and what else was chosen.
    """

    bars: int
    signals: int
    intents: int
    denials: int
    fills: int
    trades: int
    final_equity: float
    total_return: float
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    win_rate: float | None
    profit_factor: float | None
    exposure: float
    turnover: float
    fees: float
    bars_per_s: float
    missing_minutes: int
    failed: tuple[str, ...]
    errors: int
    bars_hash: str
    config_hash: str


class Equity:
    """The account at the close of each minute, on its way into `equity.parquet`; memory does not grow with them.

    Args:
        folder: Where the file is written; parts of it lie beside it until `finish`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[tuple[int, float, float, float]] = []
        self._parts: list[Path] = []

    def take(self, ts_ns: int, equity: float, cash: float, exposure: float) -> None:
        """Take in a sample: ns UTC, USD; `exposure` is what is held, long and short added."""
        self._rows.append((ts_ns, equity, cash, exposure))
        if len(self._rows) >= _ROWS_MAX:
            self._spill()

    def finish(self) -> None:
        """Write the file, whole or not at all."""
        self._spill()
        part, path = self._folder / ".equity.part", self._folder / "equity.parquet"
        pl.scan_parquet(self._parts).sink_parquet(part, compression="zstd")
        part.replace(path)
        for one in self._parts:
            one.unlink()

    def _spill(self) -> None:
        if not self._rows and self._parts:
            return
        path = self._folder / f".equity-{len(self._parts):06}.part"
        frame = pl.DataFrame(self._rows, schema=_EQUITY, orient="row")
        frame.with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC"))).write_parquet(path)
        self._parts.append(path)
        self._rows.clear()


def write_files(writer: Writer, folder: Path, gaps: pl.DataFrame) -> None:
    """Write the tables of a run as Parquet files."""
    part = folder / ".gaps.part"
    gaps.write_parquet(part)
    part.replace(folder / "gaps.parquet")
    for name, query in _FILES.items():
        export(writer.instance, query, folder / f"{name}.parquet")


def summarize(
    service: SqlService,
    curve: Curve,
    *,
    is_round_the_clock: bool,
    bars_per_s: float,
    missing_minutes: int,
    failed: Mapping[str, str],
    hashes: tuple[str, str],
) -> Summary:
    """Sum a run up.

    Args:
        service: Reads its database.
        curve: Its equity.
        is_round_the_clock: Whether a symbol trades every day.
        bars_per_s: Of the run.
        missing_minutes: Of the bars.
        failed: Bots that were stopped, each with why.
        hashes: Of the bars, and of the configuration.
    """
    counts, won = (_one(service, query) for query in (_COUNTS, _WON))
    numbers = equity_metrics(curve, 365 if is_round_the_clock else 252)
    return Summary(
        **{name: counts[name] for name in ("bars", "signals", "intents", "denials", "fills", "fees", "errors")},
        trades=won["trades"],
        final_equity=curve.last,
        total_return=numbers.total_return,
        cagr=numbers.cagr,
        sharpe=numbers.sharpe,
        sortino=numbers.sortino,
        max_drawdown=numbers.max_drawdown,
        win_rate=won["won"] / won["trades"] if won["trades"] else None,
        profit_factor=won["gained"] / won["lost"] if won["lost"] else None,
        exposure=curve.exposure,
        turnover=counts["traded"] / curve.mean if curve.mean > 0 else 0.0,
        bars_per_s=round(bars_per_s, 1),
        missing_minutes=missing_minutes,
        failed=tuple(f"{name}: {reason}" for name, reason in failed.items()),
        bars_hash=hashes[0],
        config_hash=hashes[1],
    )


def _one(service: SqlService, query: str) -> dict[str, Any]:
    return service.query(query, time_limit_s=600).frame().row(0, named=True)
