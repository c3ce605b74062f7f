"""What a run came to, counted in its database after it ended: the database is the truth, not the counters of roles."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from config.settings import Settings
from storage.sql import SqlService, open_read_only
from tapeline.role_main import database_path

_COUNTS = """
SELECT
  (SELECT count(*) FROM bars WHERE revision = 0) AS bars,
  (SELECT count(*) FROM signals) AS signals,
  (SELECT count(*) FROM intents) AS intents,
  (SELECT count(*) FROM denials) AS denials,
  (SELECT count(*) FROM orders) AS orders,
  (SELECT count(*) FROM fills) AS fills,
  (SELECT count(*) FROM fees) AS fees,
  (SELECT count(*) FROM gaps WHERE filled_by = 'none') AS gaps,
  (SELECT count(*) FROM conflicts) AS conflicts,
  (SELECT quantile_cont(ms, 0.5) FROM latency) AS p50_ms,
  (SELECT quantile_cont(ms, 0.99) FROM latency) AS p99_ms
"""
_LEDGER = """
SELECT
  coalesce((SELECT arg_max(cash, rowid) FROM account), (SELECT any_value(cash) FROM accounts_opened)) AS cash,
  coalesce((SELECT arg_max(realized_pnl, rowid) FROM account), 0) AS realized_pnl
"""
_HELD = """
SELECT p.symbol, sum(p.signed_qty) AS quantity, any_value(b."close") AS price
FROM latest_positions p LEFT JOIN latest_bars b ON b.symbol = p.symbol
GROUP BY p.symbol HAVING sum(p.signed_qty) <> 0 ORDER BY p.symbol
"""

_REFUSED = """
SELECT r.bot, arg_max(r.reason, r.ts_event_ns) FROM bot_refusals r JOIN bot_changes c ON c.id = r.cause
WHERE c."by" = 'file' GROUP BY r.bot ORDER BY r.bot
"""


class Summary(msgspec.Struct, frozen=True):
    """The last line of a demo. Money in USD as exact text, latencies from a bar's reception to the stored intent."""

    bars: int
    signals: int
    intents: int
    denials: int
    orders: int
    fills: int
    fees: int
    gaps: int
    conflicts: int
    cash: str
    realized_pnl: str
    equity: str
    positions: dict[str, str]
    venue: dict[str, str]
    database: str
    p50_ms: float | None
    p99_ms: float | None
    seconds: float
    restarts: dict[str, int]
    bots_in_error: dict[str, str]
    files_refused: dict[str, str]


def summarize(
    folder: Path, settings: Settings, restarts: dict[str, int], seconds: float, venue: dict[str, str]
) -> Summary:
    """Count what the database of a stopped run holds."""
    path = database_path(settings)
    with open_read_only(path) as sql:
        counts = _one(sql, _COUNTS)
        ledger = _one(sql, _LEDGER)
        failed = sql.query("SELECT bot, reason FROM bot_control WHERE status = 'error' ORDER BY 1").frame().rows()
        refused = sql.query(_REFUSED).frame().rows()
        held = sql.query(_HELD).frame().rows(named=True)
    cash = Decimal(ledger["cash"] or 0)
    value = sum((row["quantity"] * Decimal(repr(row["price"] or 0.0)) for row in held), Decimal(0))
    return Summary(
        **{key: counts[key] for key in ("bars", "signals", "intents", "denials", "orders", "fills")},
        **{key: counts[key] for key in ("fees", "gaps", "conflicts")},
        cash=_money(cash),
        realized_pnl=_money(Decimal(ledger["realized_pnl"] or 0)),
        equity=_money(cash + value),
        positions={row["symbol"]: _money(row["quantity"]) for row in held},
        venue=venue,
        database=str(path if path.is_absolute() else folder / path.name),
        p50_ms=_rounded(counts["p50_ms"]),
        p99_ms=_rounded(counts["p99_ms"]),
        seconds=round(seconds, 1),
        restarts={role: count for role, count in restarts.items() if count},
        bots_in_error=dict(failed),
        files_refused=dict(refused),
    )


def _one(sql: SqlService, query: str) -> dict[str, Any]:
    return sql.query(query).frame().row(0, named=True)


def _money(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def as_text(summary: Summary) -> str:
    """Write a summary for people."""
    p50 = "-" if summary.p50_ms is None else f"{summary.p50_ms:.1f}"
    p99 = "-" if summary.p99_ms is None else f"{summary.p99_ms:.1f}"
    lines = [
        (
            f"{summary.bars} bars, {summary.signals} signals, {summary.intents} intents, {summary.denials} denials, "
            f"{summary.orders} orders, {summary.fills} fills in {summary.seconds:g} s"
        ),
        (
            f"realized P&L {Decimal(summary.realized_pnl):,.2f} USD, equity {Decimal(summary.equity):,.2f} USD, "
            f"cash {Decimal(summary.cash):,.2f} USD"
        ),
        *(f"bot {bot} is in error: {reason}" for bot, reason in summary.bots_in_error.items()),
        *(f"the bot file of {bot} did not count: {reason}" for bot, reason in summary.files_refused.items()),
        f"bar received -> intent: p50 {p50} ms, p99 {p99} ms",
        f"database: {summary.database}",
        'look into it: uv run tapeline sql "SELECT * FROM executed_trades ORDER BY created_at DESC LIMIT 10"',
        "what it came to, on charts: uv run tapeline report --html report.html",
    ]
    return "\n".join(lines)
