"""`tapeline report`: what each bot came to, from the views of the database; while the daemon runs, or from the file.

Money in USD. P&L counts fees; drawdown is the fall of P&L from its peak, at closes of bars and at executions. The page
of `--html` is made by tapeline/report_page.py.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import ConfigError
from tapeline.sql import Ask, asking, quoted, rows_of

_POINTS_MAX = 600
_TRADES_MAX = 500
_CHARTS_MAX = 12


class BotReport(msgspec.Struct, frozen=True):
    """One bot.

    Attributes:
        numbers: By name, see `_NUMBERS`, `_TRADES`, `_TURNOVER`; `pnl` is None where nothing was traded; `denied`:
            entries that risk denied, by rule, most first.
        equity: (ns UTC, equity, drawdown), by time, from the capital on: the lowest and the highest point of each of at
            most 300 spans.
        trades: Newest first, at most 500; columns of the view `trades`.
        charts: By symbol, most traded first: (ns UTC, close) of at most 600 bars since the oldest of `trades`.
    """

    bot: str
    status: str
    strategy: str
    symbols: list[str]
    capital: Decimal
    numbers: dict[str, Any]
    equity: list[tuple[int, float, float]]
    trades: list[dict[str, Any]]
    charts: dict[str, list[tuple[int, float]]]


_BOTS = """
SELECT coalesce(c.bot, p.bot) AS bot, coalesce(nullif(c.definition->>'shadow_of', ''), '') AS shadow_of,
    CASE WHEN coalesce(c.definition->>'shadow_of', '') <> '' THEN coalesce(e.life, '-') ELSE '' END AS life,
    coalesce(c.status, '') AS status, coalesce(c.strategy, '') AS strategy,
    coalesce(c.symbols, '[]') AS symbols, coalesce(c.capital, 0) AS capital
FROM bot_control c FULL JOIN (SELECT DISTINCT bot FROM positions) p ON p.bot = c.bot
LEFT JOIN (SELECT bot, arg_max(life, seq) AS life FROM shadow_events GROUP BY bot) e ON e.bot = c.bot ORDER BY 1
"""
_NUMBERS = """
SELECT min(ts_event) AS since, max(ts_event) AS until,
    arg_max(pnl, ts_event_ns) AS pnl, arg_max(realized_pnl, ts_event_ns) AS realized_pnl,
    arg_max(unrealized_pnl, ts_event_ns) AS unrealized_pnl, arg_max(equity, ts_event_ns) AS equity,
    arg_max(drawdown, ts_event_ns) AS drawdown, max(drawdown) AS drawdown_max,
    arg_max(exposure, ts_event_ns) AS exposure, max(exposure) AS exposure_max
FROM every_performance WHERE {of}
"""
_TRADES = """
SELECT count(*) FILTER (closed_at IS NOT NULL) AS closed, count(*) FILTER (closed_at IS NULL) AS open,
    count(*) FILTER (closed_at IS NOT NULL AND realized_pnl > 0) AS won,
    coalesce(sum(realized_pnl) FILTER (closed_at IS NOT NULL AND realized_pnl > 0), 0) AS gained,
    coalesce(sum(realized_pnl) FILTER (closed_at IS NOT NULL AND realized_pnl < 0), 0) AS lost,
    max(realized_pnl) FILTER (closed_at IS NOT NULL) AS best, min(realized_pnl) FILTER (closed_at IS NOT NULL) AS worst,
    avg(held_s) FILTER (closed_at IS NOT NULL) AS held_s
FROM every_trade WHERE {of}
"""
_TURNOVER = """
SELECT count(traded_px) AS fills, sum(abs(quantity_change) * traded_px) AS turnover
FROM every_position_change WHERE {of}
"""
_DENIED = """
SELECT rule, count(*) AS n FROM (
    SELECT bot, '' AS life, rule FROM denials UNION ALL SELECT bot, life, rule FROM shadow_denials
) WHERE {of} GROUP BY rule ORDER BY n DESC, rule
"""
_STATE = "SELECT (SELECT count(*) FROM positions), (SELECT count(*) FROM fills), (SELECT count(*) FROM bars)"
_TRIES = 3


async def gather(ask: Ask, bot: str | None, *, with_charts: bool) -> list[BotReport]:
    """Read what there is; again, where the recorder wrote meanwhile, so that the numbers are of one moment.

    Args:
        ask: Asks the database.
        bot: One only; None is all.
        with_charts: Also equity, trades and prices.

    Raises:
        ConfigError: There is no bot of this name.
    """
    bots = await rows_of(ask, _BOTS)
    names = [row["bot"] for row in bots]
    if bot is not None and bot not in names:
        msg = f"there is no bot {bot!r}: choose one of {', '.join(names) or '(none yet)'}"
        raise ConfigError(msg)
    return [await _one(ask, row, with_charts=with_charts) for row in bots if bot in (None, row["bot"])]


async def _one(ask: Ask, row: dict[str, Any], *, with_charts: bool) -> BotReport:
    report, state = None, None
    for _ in range(_TRIES):
        before = state or await rows_of(ask, _STATE)
        report = await _once(ask, row, with_charts=with_charts)
        state = await rows_of(ask, _STATE)
        if state == before:
            break
    assert report is not None  # noqa: S101  (it was tried at least once)
    return report


async def _once(ask: Ask, row: dict[str, Any], *, with_charts: bool) -> BotReport:
    of, numbers = f"bot = {quoted(row['bot'])} AND life = {quoted(row['life'])}", dict[str, Any]()
    for query in (_NUMBERS, _TRADES, _TURNOVER):
        [part] = await rows_of(ask, query.format(of=of))
        numbers |= part
    numbers["denied"] = {row["rule"]: row["n"] for row in await rows_of(ask, _DENIED.format(of=of))}
    trades = await _trades(ask, of, _TRADES_MAX if with_charts else 5)
    has_charts = with_charts and numbers["pnl"] is not None
    return BotReport(
        bot=row["bot"],
        status=row["status"] + (f", shadow of {row['shadow_of']}" if row["shadow_of"] else ""),
        strategy=row["strategy"],
        symbols=msgspec.json.decode(row["symbols"], type=list[str]),
        capital=row["capital"],
        numbers=numbers,
        equity=await _equity(ask, of, float(row["capital"])) if has_charts else [],
        trades=trades,
        charts=await _charts(ask, of, min(t["opened_at"] for t in trades)) if has_charts and trades else {},
    )


async def _equity(ask: Ask, of: str, capital: float) -> list[tuple[int, float, float]]:
    """Give the lowest and the highest point of each span, behind the capital that it began with."""
    query = f"""
        SELECT unnest([arg_min(ts_event_ns, equity), arg_max(ts_event_ns, equity)]) AS ts,
            unnest([min(equity), max(equity)])::DOUBLE,
            unnest([arg_min(drawdown, equity), arg_max(drawdown, equity)])::DOUBLE
        FROM (SELECT *, ntile({_POINTS_MAX // 2}) OVER (ORDER BY ts_event_ns) AS part FROM every_performance
            WHERE {of}) GROUP BY part ORDER BY ts
    """  # noqa: S608  (a name of ours, quoted)
    frame, _ = await ask(query)
    points = list(dict.fromkeys(frame.rows()))
    return [(points[0][0] - 1, capital, 0.0), *points] if points else []


async def _trades(ask: Ask, of: str, most: int) -> list[dict[str, Any]]:
    query = (
        f"SELECT * FROM every_trade WHERE {of} "  # noqa: S608  (as above)
        f"ORDER BY coalesce(closed_at, 'infinity') DESC, opened_at DESC, symbol LIMIT {most}"
    )
    return await rows_of(ask, query)


async def _charts(ask: Ask, of: str, since: datetime) -> dict[str, list[tuple[int, float]]]:
    query = f"""
        WITH chosen AS (
            SELECT symbol, count(*) AS trades FROM every_trade WHERE {of}
                AND opened_at >= '{since.isoformat()}'
            GROUP BY symbol ORDER BY trades DESC, symbol LIMIT {_CHARTS_MAX}
        ),
        closes AS (
            SELECT symbol, trades, ts_event_ns, "close",
                ntile({_POINTS_MAX}) OVER (PARTITION BY symbol ORDER BY ts_event_ns) AS part
            FROM corrected_bars JOIN chosen USING (symbol)
            WHERE timeframe = '1m' AND ts_event >= '{since.isoformat()}'
        )
        SELECT symbol, max(ts_event_ns), arg_max("close", ts_event_ns) FROM closes
        GROUP BY symbol, trades, part ORDER BY trades DESC, symbol, part
    """  # noqa: S608  (as above)
    charts: dict[str, list[tuple[int, float]]] = {}
    frame, _ = await ask(query)
    for symbol, ts_event, close in frame.rows():
        charts.setdefault(symbol, []).append((ts_event, close))
    return charts


# --- for people ------------------------------------------------------------------------------------------------------


def lines_of(report: BotReport) -> list[tuple[str, str]]:
    """Give what a person reads of a bot: names and values in words."""
    n = report.numbers
    rules: dict[str, int] = n.get("denied") or {}
    said = ", ".join(f"{rule} {count:,}" for rule, count in rules.items())
    denied = [("denied", f"{sum(rules.values()):,}: {said}")] if rules else []
    if n["pnl"] is None:
        return [("P&L", "nothing traded yet"), *denied]
    share = f" ({100 * n['pnl'] / report.capital:+.2f} % of {report.capital:,.0f})" if report.capital else ""
    lines = [
        ("time", f"{n['since']:%Y-%m-%d %H:%M} to {n['until']:%Y-%m-%d %H:%M} UTC"),
        ("P&L", f"{n['pnl']:+,.2f} USD{share}: realized {n['realized_pnl']:+,.2f}, open {n['unrealized_pnl']:+,.2f}"),
        ("drawdown", f"{n['drawdown_max']:,.2f} USD at most, {n['drawdown']:,.2f} now"),
        ("exposure", f"{n['exposure_max']:,.2f} USD at most, {n['exposure']:,.2f} now"),
        ("turnover", f"{n.get('turnover') or 0:,.2f} USD in {n.get('fills') or 0:,} fills"),
        *denied,
    ]
    closed = n.get("closed") or 0
    if not closed:
        return [*lines, ("trades", f"none closed, {n.get('open') or 0} open")]
    factor = f"{n['gained'] / -n['lost']:.2f}" if n["lost"] else "no trade lost"
    mean = (n["gained"] + n["lost"]) / closed
    return [
        *lines,
        ("trades", f"{closed:,} closed, {n['open']:,} open; {n['won']:,} won ({100 * n['won'] / closed:.1f} %)"),
        ("profit factor", factor),
        ("a trade", f"{mean:+,.2f} USD, best {n['best']:+,.2f}, worst {n['worst']:+,.2f}; held {_span(n['held_s'])}"),
    ]


def _span(seconds: float) -> str:
    minutes = seconds / 60
    return (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.1f} h"
        if minutes < 2880
        else f"{minutes / 1440:.1f} d"
    )


def as_text(reports: list[BotReport]) -> str:
    """Write reports for a terminal."""
    parts: list[str] = []
    for report in reports:
        what = ", ".join(part for part in (report.strategy, report.status) if part)
        symbols = ", ".join(report.symbols[:8]) + (f" and {len(report.symbols) - 8} more" if report.symbols[8:] else "")
        parts.append(f"{report.bot}: {what}" + (f"; {symbols}" if symbols else "") if what else f"{report.bot}")
        parts += [f"  {name:14} {value}" for name, value in lines_of(report)]
        for trade in report.trades[:5]:
            parts.append(f"  {trade_line(trade)}")
        parts.append("")
    return "\n".join(parts) if parts else "no bot is recorded yet: `tapeline bots list` says which there are\n"


def trade_line(trade: dict[str, Any]) -> str:
    """Write a trade as one line."""
    ended = "open" if trade["closed_at"] is None else f"{trade['closed_at']:%m-%d %H:%M}"
    pnl = trade["realized_pnl"] + trade["unrealized_pnl"]
    out = trade["exit_px"] if trade["closed_at"] is not None else trade["current_px"]
    quantity, shown = f"{trade['quantity'].normalize():f}", "?" if out is None else f"{out:,.2f}"
    prices = f"{trade['entry_px']:,.2f} -> {shown}  {pnl:+,.2f}"
    return f"{trade['opened_at']:%m-%d %H:%M} - {ended:11} {trade['side']:5} {quantity} {trade['symbol']} {prices}"


def run_report(bot: str | None, data_dir: Path | None, html: Path | None) -> int:
    """Print reports, or write them as a page; exit code 0."""

    async def gathered() -> list[BotReport]:
        async with asking(data_dir, 0) as ask:
            return await gather(ask, bot, with_charts=html is not None)

    reports = asyncio.run(gathered())
    if html is None:
        sys.stdout.write(as_text(reports))
        return 0
    from tapeline.report_page import page

    try:
        html.write_text(page(reports), encoding="utf-8")
    except OSError as err:
        msg = f"{html} cannot be written: {err}"
        raise ConfigError(msg) from None
    sys.stdout.write(f"{html}: {len(reports)} bots; it opens in a browser without a network\n")
    return 0
