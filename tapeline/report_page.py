"""The page of `tapeline report --html`: one file, no scripts, nothing from a network. Pure: text from reports.

Each bot has its numbers, its equity with the fall from the peak below it, closes of the symbols it traded most with
each trade drawn from entry to exit, and a table of trades. A chart says its values on hovering (SVG titles).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from tapeline.report import BotReport, lines_of

_WIDE, _HIGH, _PAD = 960, 220, 56
_STYLE = """
:root { color-scheme: light dark; --line: #2563eb; --up: #15803d; --down: #b91c1c; --soft: #8884; }
@media (prefers-color-scheme: dark) { :root { --line: #60a5fa; --up: #4ade80; --down: #f87171; } }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 2px 8px; border-bottom: 1px solid var(--soft); white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
dl { display: grid; grid-template-columns: max-content auto; gap: 2px 1.5rem; }
dt { opacity: .7; } dd { margin: 0; }
svg { width: 100%; height: auto; display: block; margin: .5rem 0 1rem; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; opacity: .7; }
.up { color: var(--up); } .down { color: var(--down); } .wide { overflow-x: auto; }
"""


def page(reports: Sequence[BotReport]) -> str:
    """Give the whole page."""
    names = ", ".join(report.bot for report in reports) or "no bots"
    body = "\n".join(_section(report) for report in reports) or "<p>There is no bot yet.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tapeline: {escape(names)}</title><style>{_STYLE}</style></head>\n<body><h1>Tapeline report</h1>\n"
        f"<p>Times are UTC, money is USD.</p>\n{body}\n</body></html>\n"
    )


def _section(report: BotReport) -> str:
    what = ", ".join(part for part in (report.strategy, report.status) if part)
    numbers = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines_of(report))
    parts = [f"<section><h2>{escape(report.bot)}</h2><p>{escape(what)}</p><dl>{numbers}</dl>"]
    if len(report.equity) > 1:
        parts.append(f"<h3>Equity, and its fall from the peak</h3>{_equity(report.equity)}")
    for symbol, closes in report.charts.items():
        own = [trade for trade in report.trades if trade["symbol"] == symbol]
        if len(closes) > 1:
            parts.append(f"<h3>{escape(symbol)}</h3>{_prices(closes, own)}")
    if report.trades:
        count = report.numbers.get("closed", 0) + report.numbers.get("open", 0)
        shown = f"the newest {len(report.trades)} of {count}" if count > len(report.trades) else f"{count}"
        parts.append(f"<h3>Trades: {shown}</h3>{_table(report.trades)}")
    return "\n".join([*parts, "</section>"])


class _Axes:
    """Maps time and value to a chart's points; times at which nothing happened take no room."""

    def __init__(self, times: Iterable[int], values: Iterable[float]) -> None:
        self._times, values = sorted(times), list(values)
        low, high = min(values), max(values)
        room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
        self.low, self.high = low - room, high + room

    def x(self, ts_ns: int) -> float:
        return _PAD + (_WIDE - _PAD) * bisect_left(self._times, ts_ns) / len(self._times)

    def y(self, value: float) -> float:
        return (_HIGH - 20) * (self.high - value) / (self.high - self.low)

    def line(self, points: Iterable[tuple[int, float]]) -> str:
        return " ".join(f"{self.x(ts):.1f},{self.y(value):.1f}" for ts, value in points)

    def frame(self) -> str:
        """Draw levels and times."""
        parts: list[str] = []
        for number in range(4):
            value = self.low + (self.high - self.low) * (0.08 + 0.28 * number)
            y = self.y(value)
            parts.append(
                f'<line x1="{_PAD}" x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--soft)"/>'
                f'<text x="{_PAD - 4}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
            )
        for number in range(5):
            ts = self._times[(len(self._times) - 1) * number // 4]
            anchor = ("start", "middle", "middle", "middle", "end")[number]
            x = _WIDE if number == 4 else self.x(ts)
            parts.append(f'<text x="{x:.1f}" y="{_HIGH - 4}" text-anchor="{anchor}">{_time(ts)}</text>')
        return "".join(parts)


def _svg(inner: str, what: str) -> str:
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(what)}">{inner}</svg>'


def _equity(points: Sequence[tuple[int, float, float]]) -> str:
    axes = _Axes((ts for ts, _, _ in points), (equity for _, equity, _ in points))
    line = axes.line((ts, equity) for ts, equity, _ in points)
    first, last = points[0], points[-1]
    deepest = max(drawdown for _, _, drawdown in points) or 1.0
    base = _HIGH - 20
    falls = " ".join(f"{axes.x(ts):.1f},{base - 50 * drawdown / deepest:.1f}" for ts, _, drawdown in points)
    area = f"{axes.x(first[0]):.1f},{base} {falls} {axes.x(last[0]):.1f},{base}"
    dots = "".join(
        f'<circle cx="{axes.x(ts):.1f}" cy="{axes.y(equity):.1f}" r="5" fill="transparent">'
        f"<title>{_time(ts)}: {equity:,.2f}, {drawdown:,.2f} below the peak</title></circle>"
        for ts, equity, drawdown in points
    )
    drawn = (
        f'<polygon points="{area}" fill="var(--down)" opacity=".25"/>'
        f'<polyline points="{line}" fill="none" stroke="var(--line)" stroke-width="1.5"/>'
    )
    return _svg(f"{axes.frame()}{drawn}{dots}", f"equity from {first[1]:,.2f} to {last[1]:,.2f}")


def _prices(closes: Sequence[tuple[int, float]], trades: Sequence[dict[str, Any]]) -> str:
    """Draw closes, and each trade from its entry to its exit, or to the last close while it is open."""
    marks: list[tuple[int, float, int, float, dict[str, Any]]] = []
    for trade in trades:
        out = trade["exit_px"] if trade["closed_at"] is not None else trade["current_px"]
        until = closes[-1][0] if trade["closed_at"] is None else _ns(trade["closed_at"])
        entry = float(trade["entry_px"])
        marks.append((_ns(trade["opened_at"]), entry, until, entry if out is None else float(out), trade))
    values = [*(close for _, close in closes), *(mark[1] for mark in marks), *(mark[3] for mark in marks)]
    axes = _Axes((ts for ts, _ in closes), values)
    drawn = [f'<polyline points="{axes.line(closes)}" fill="none" stroke="var(--line)" stroke-width="1"/>']
    for begins, entry, ends, out, trade in marks:
        pnl = float(trade["realized_pnl"] + trade["unrealized_pnl"])
        color = "var(--up)" if pnl >= 0 else "var(--down)"
        x, y, up = axes.x(begins), axes.y(entry), 1 if trade["side"] == "long" else -1
        drawn.append(
            f'<g stroke="{color}" fill="{color}"><line x1="{x:.1f}" y1="{y:.1f}" x2="{axes.x(ends):.1f}" '
            f'y2="{axes.y(out):.1f}" stroke-width="1.5"/>'
            f'<path d="M{x:.1f},{y:.1f} l-4,{7 * up} h8 z"/><title>{escape(_told(trade, pnl))}</title></g>'
        )
    return _svg(axes.frame() + "".join(drawn), f"{len(closes)} closes and {len(marks)} trades")


def _told(trade: dict[str, Any], pnl: float) -> str:
    ended = "open" if trade["closed_at"] is None else f"{trade['closed_at']:%Y-%m-%d %H:%M}"
    why = "; ".join(reason for reason in (trade["entry_reason"], trade["exit_reason"]) if reason)
    what = f"{trade['side']} {trade['quantity'].normalize():f}"
    return f"{what}, {trade['opened_at']:%Y-%m-%d %H:%M} to {ended}: {pnl:+,.2f}. {why}"


def _table(trades: Sequence[dict[str, Any]]) -> str:
    head = (
        '<tr><th class="text">opened</th><th class="text">closed</th><th class="text">symbol</th>'
        '<th class="text">side</th>'
        "<th>quantity</th><th>entry</th><th>exit or now</th><th>stop</th><th>target</th><th>P&amp;L</th>"
        '<th class="text">why</th></tr>'
    )
    rows: list[str] = []
    for trade in trades:
        pnl = trade["realized_pnl"] + trade["unrealized_pnl"]
        out = trade["exit_px"] if trade["closed_at"] is not None else trade["current_px"]
        ended = "open" if trade["closed_at"] is None else f"{trade['closed_at']:%Y-%m-%d %H:%M}"
        texts = (f"{trade['opened_at']:%Y-%m-%d %H:%M}", ended, trade["symbol"], trade["side"])
        numbers = (trade["entry_px"], out, trade["stop_px"], trade["target_px"])
        why = " / ".join(reason for reason in (trade["entry_reason"], trade["exit_reason"]) if reason)
        rows.append(
            "<tr>"
            + "".join(f'<td class="text">{escape(text)}</td>' for text in texts)
            + f"<td>{trade['quantity'].normalize():f}</td>"
            + "".join(f"<td>{'' if number is None else f'{number:,.2f}'}</td>" for number in numbers)
            + f'<td class="{"up" if pnl >= 0 else "down"}">{pnl:+,.2f}</td><td class="text">{escape(why)}</td></tr>'
        )
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def _time(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns / 1e9, UTC):%m-%d %H:%M}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"
