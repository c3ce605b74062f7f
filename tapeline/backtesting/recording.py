"""Where the messages of a backtest go: into a database as a daemon's do, and its equity, minute by minute.

So `sql`, `report` and `explain` work on the folder of a backtest as on a data directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.messages import (
    AnyBody,
    Bar,
    Fill,
    Head,
    IndicatorValues,
    MarketMessage,
    OrderIntent,
    RiskDenied,
    Signal,
    TargetReached,
)
from storage.dedupe import Numbered, Row
from storage.writer import Writer

_MARKET, _TRADING = "BACKTEST_MARKET", "BACKTEST_TRADING"
_BATCH = 20_000
_SIGNALS_MAX = 100_000
"""Of as many signals it is known at which bar they were said; an order of an older one names the signal instead."""


class Recording:
    """Writes what a backtest gives, in order.

    Args:
        path: The database file, a new one.
        folder: Where it, and tables as files, are written.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.folder = folder
        self.writer = Writer.open(path, snapshot_dir=folder)
        self._market: list[Row] = []
        self._trading: list[Row] = []
        self._seqs = {_MARKET: 0, _TRADING: 0}
        self._bar_of: dict[str, str] = {}

    def take(self, bars: Sequence[Bar], bodies: Iterable[AnyBody], now_ns: int) -> None:
        """Take in a minute's bars, and what was stored of it."""
        self._seqs[_MARKET] += len(bars)
        self._market += [MarketMessage(Head(bar.ts_event), bar) for bar in bars]
        for body in bodies:
            self._seqs[_TRADING] += 1
            self._trading.append(Numbered(Head(now_ns, trace=self._trace(body)), body, self._seqs[_TRADING]))
        if len(self._market) + len(self._trading) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Have everything on disk."""
        for name, rows in ((_MARKET, self._market), (_TRADING, self._trading)):
            if rows:
                self.writer.write(name, self._seqs[name], rows)
                rows.clear()

    def close(self) -> None:
        """Have everything on disk, and close the file."""
        self.flush()
        self.writer.checkpoint()
        self.writer.close()

    def _trace(self, body: AnyBody) -> str:
        match body:
            case Signal():
                self._bar_of[body.id] = body.bar
                if len(self._bar_of) > _SIGNALS_MAX:
                    del self._bar_of[next(iter(self._bar_of))]
                return body.bar
            case IndicatorValues():
                return body.bar
            case OrderIntent() | RiskDenied() | TargetReached():
                return self._bar_of.get(body.signal_id, body.signal_id)
            case Fill():
                return body.client_order_id
            case _:
                return str(getattr(body, "client_order_id", ""))
