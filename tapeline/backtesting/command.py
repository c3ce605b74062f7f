"""`tapeline backtest`: reads, plays, records, sums up. A run that is killed leaves a folder without `summary.json`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from config.settings import Settings
from engine.errors import ConfigError
from engine.values import AssetClass, asset_class_of
from tapeline.backtesting.metrics import Curve
from tapeline.backtesting.recording import Recording
from tapeline.backtesting.results import Equity, Summary, summarize, write_files
from tapeline.backtesting.runner import Inputs, Order, play, read, seldom_collected

_SHOW_S = 0.5


def run_backtest(order: Order, settings: Settings, folder: Path, *, is_json: bool) -> int:
    """Run one, and say what it came to; exit code 0.

    Args:
        order: What is to be run.
        settings: Limits and universes.
        folder: Where results go: a new folder, or an empty one.
        is_json: Print the summary alone, as JSON.

    Raises:
        ConfigError: Something cannot be run as asked for.
    """
    from storage.sql import open_read_only

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"--out {folder} is there already: name a new folder"
        raise ConfigError(msg)
    inputs = read(order, settings)
    folder.mkdir(parents=True, exist_ok=True)
    recording = Recording(folder / "tapeline.duckdb", folder)
    began = time.perf_counter()
    try:
        with seldom_collected():
            curve, failed = _play(order, inputs, settings, recording, shows=not is_json and sys.stderr.isatty())
        recording.flush()
        took = time.perf_counter() - began
        write_files(recording.writer, folder, inputs.gaps)
    finally:
        recording.close()
    is_round_the_clock = any(
        asset_class_of(symbol) is AssetClass.CRYPTO for bot in inputs.bots for symbol in bot.symbols
    )
    with open_read_only(folder / "tapeline.duckdb") as service:
        summary = summarize(
            service,
            curve,
            is_round_the_clock=is_round_the_clock,
            bars_per_s=inputs.rows / max(took, 1e-9),
            missing_minutes=int(inputs.gaps["minutes"].sum()),
            failed=failed,
            hashes=(inputs.bars_digest, inputs.config_digest),
        )
    _write_page(folder)
    encoded = msgspec.json.encode(summary)
    _write(folder / "summary.json", msgspec.json.format(encoded, indent=2) + b"\n")
    sys.stdout.write(encoded.decode() + "\n" if is_json else f"{as_text(summary)}\n{folder}: report.html, {_NAMES}\n")
    return 0


_NAMES = "summary.json, tapeline.duckdb (sql, report and explain read it) and tables as Parquet files"


def _play(
    order: Order, inputs: Inputs, settings: Settings, recording: Recording, *, shows: bool
) -> tuple[Curve, dict[str, str]]:
    equity = Equity(recording.folder)
    curve, failed, done, shown = None, dict[str, str](), 0, time.monotonic()
    for bars, bodies, test in play(order, inputs, settings):
        now = bars[0].ts_event if bars else test.opened_ns
        recording.take(bars, bodies, now)
        worth = test.worth()
        equity.take(now, *worth)
        if curve is None:
            curve = Curve(now, worth.equity)
        else:
            curve.take(now, worth.equity, worth.exposure)
        failed, done = test.stopped, done + len(bars)
        if shows and time.monotonic() - shown > _SHOW_S:
            shown = time.monotonic()
            sys.stderr.write(f"\r{100 * done / inputs.rows:5.1f} % of {inputs.rows:,} bars")
            sys.stderr.flush()
    if shows:
        sys.stderr.write("\r" + " " * 40 + "\r")
    equity.finish()
    assert curve is not None  # noqa: S101  (play gives the beginning at least)
    return curve, failed


def _write_page(folder: Path) -> None:
    from tapeline.report import gather
    from tapeline.report_page import page
    from tapeline.sql import asking

    async def gathered() -> str:
        async with asking(folder, 0) as ask:
            return page(await gather(ask, None, with_charts=True))

    _write(folder / "report.html", asyncio.run(gathered()).encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def as_text(summary: Summary) -> str:
    """Write a summary for a terminal."""

    def share(value: float | None, form: str = "+.2f") -> str:
        return "too little to say" if value is None else f"{100 * value:{form}} %"

    def number(value: float | None) -> str:
        return "too little to say" if value is None else f"{value:.2f}"

    lines = [
        ("bars", f"{summary.bars:,}, {summary.bars_per_s:,.0f} per second"),
        ("decided", f"{summary.signals:,} signals, {summary.intents:,} orders, {summary.denials:,} denied"),
        ("filled", f"{summary.fills:,} executions, {summary.trades:,} trades closed"),
        ("equity", f"{summary.final_equity:,.2f} USD, {share(summary.total_return)}; a year {share(summary.cagr)}"),
        ("drawdown", share(summary.max_drawdown, ".2f") + " at most"),
        ("sharpe, sortino", f"{number(summary.sharpe)}, {number(summary.sortino)}"),
        ("won", f"{share(summary.win_rate, '.1f')}, profit factor {number(summary.profit_factor)}"),
        ("exposure", f"{share(summary.exposure, '.1f')} of equity, turnover {summary.turnover:.2f} times"),
        ("fees", f"{summary.fees:,.2f} USD"),
    ]
    if summary.missing_minutes:
        lines.append(("missing", f"{summary.missing_minutes:,} minutes without a bar in the middle of a session"))
    for one in summary.failed:
        name, _, reason = "".join(each if each.isprintable() else "?" for each in one).partition(": ")
        lines.append((name, f"stopped: {reason}"))
    if summary.errors:
        lines.append(("errors", f"{summary.errors:,} alerts: table alerts says which"))
    return "\n".join(f"{name:16} {value}" for name, value in lines)
