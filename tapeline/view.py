"""What a person sees while a demo runs: a live table on a terminal, plain lines elsewhere, nothing with --json.

It asks like any other user: roles for their counts, the recorder by SQL for prices and latencies.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

from config.settings import Settings
from engine.errors import TapelineError
from streams.connection import Client
from streams.probe import Probe
from streams.sql_ask import ask

_EVERY_S = {"table": 0.5, "lines": 2.0, "nothing": 3600.0}
_NUMBERS = """
SELECT
  (SELECT count(*) FROM bars WHERE revision = 0) AS bars, (SELECT count(*) FROM signals) AS signals,
  (SELECT count(*) FROM intents) AS intents, (SELECT count(*) FROM denials) AS denials,
  (SELECT count(DISTINCT client_order_id) FROM order_events) AS orders, (SELECT count(*) FROM fills) AS fills,
  (SELECT arg_max(realized_pnl, rowid) FROM account) AS pnl,
  (SELECT max(ts_event) FROM bars) AS until,
  (SELECT quantile_cont(ms, 0.5) FROM latency) AS p50, (SELECT quantile_cont(ms, 0.99) FROM latency) AS p99
"""
_SYMBOLS = """
SELECT b.symbol, b."close" AS last, coalesce(p.signed_qty, 0) AS held, coalesce(p.realized_pnl, 0) AS pnl
FROM latest_bars b LEFT JOIN latest_positions p ON p.symbol = b.symbol ORDER BY b.symbol LIMIT 20
"""


class View:
    """Shows a running daemon at a bearable rate."""

    def __init__(
        self, show: Literal["table", "lines", "nothing"], probe: Probe, nc: Client, settings: Settings
    ) -> None:
        self._show = show
        self._probe = probe
        self._nc = nc
        self._prefix = settings.nats.prefix
        self._live: Live | None = None
        self._shown_at = 0.0
        self._bars = (0, 0.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._shown_at = time.monotonic()
        if self._show == "table":
            self._live = Live(console=Console(file=sys.stdout), refresh_per_second=4, transient=False)
            self._live.start()

    def stop(self) -> None:
        """End; what was shown last stays."""
        if self._task is not None:
            self._task.cancel()
        if self._live is not None:
            self._live.stop()

    async def refresh(self) -> None:
        """Show anew if it is time; never waits for the answer."""
        if self._show == "nothing" or time.monotonic() - self._shown_at < _EVERY_S[self._show]:
            return
        self._shown_at = time.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._update())

    async def _update(self) -> None:
        with contextlib.suppress(TapelineError, TimeoutError):
            frame, _ = await ask(self._nc, self._prefix, _NUMBERS, 1, 2.0)
            numbers: dict[str, Any] = frame.row(0, named=True)
            now = time.monotonic()
            before, at = self._bars
            rate = (numbers["bars"] - before) / (now - at) if at else 0.0
            self._bars = (numbers["bars"], now)
            if self._live is None:
                print(_line(numbers, rate), flush=True)
                return
            symbols, _ = await ask(self._nc, self._prefix, _SYMBOLS, 20, 2.0)
            self._live.update(_table(numbers, rate, symbols.rows(named=True)))


def _line(n: dict[str, Any], rate: float) -> str:
    return (
        f"{n['until']:%Y-%m-%d %H:%M}Z  bars {n['bars']} ({rate:.0f}/s)  signals {n['signals']}  intents {n['intents']}"
        f"  denials {n['denials']}  orders {n['orders']}  fills {n['fills']}  realized P&L {n['pnl'] or 0:,.2f}"
        f"  p50 {n['p50'] or 0:.1f} ms  p99 {n['p99'] or 0:.1f} ms"
        if n["until"] is not None
        else "waiting for the first bar"
    )


def _table(n: dict[str, Any], rate: float, symbols: list[dict[str, Any]]) -> Table:
    table = Table(title=_line(n, rate), title_justify="left", expand=False)
    for name in ("symbol", "last", "held", "realized P&L"):
        table.add_column(name, justify="left" if name == "symbol" else "right")
    for row in symbols:
        table.add_row(row["symbol"], f"{row['last']:,.2f}", f"{row['held'].normalize():f}", f"{row['pnl']:,.2f}")
    return table
