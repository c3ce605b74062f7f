"""A shadow in which nothing is changed does what its bot does: the same orders, denials and fills, to the cent."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from config import bots as bot_files
from engine.bots import Bot, OrderStyle
from engine.values import OrderType, TimeInForce
from tests.engine.build import D
from tests.system.harness import demo, write_bars
from tests.system.test_demo import tapeline

pytestmark = [pytest.mark.system, pytest.mark.soak]

SYMBOLS = [f"S{number:03}" for number in range(10)]
CROSSING = {"fast": 2, "slow": 4, "allow_short": True}
IOC = OrderStyle(type=OrderType.LIMIT, limit_offset_bps=5.0, time_in_force=TimeInForce.IOC)
BOTS = (
    Bot("plain", "sma_crossover", tuple(SYMBOLS[:2]), D(50_000), CROSSING),
    Bot(
        "limited", "rsi", tuple(SYMBOLS[4:6]), D(50_000), {"period": 3, "oversold": 45.0, "overbought": 55.0}, order=IOC
    ),
    Bot("longer", "sma_crossover", tuple(SYMBOLS[6:8]), D(50_000), CROSSING, timeframe="5m"),
    Bot("denied", "sma_crossover", tuple(SYMBOLS[8:]), D(50_000), CROSSING, position_fraction=0.9),
)
SAME = {
    "intents": "symbol, side, quantity, order_type, ref_px, limit_px, decided_ns",
    "denials": 'symbol, rule, "limit", observed, decided_ns',
    "fills": "symbol, side, last_qty, last_px, ts_event_ns",
    "positions": "symbol, signed_qty, avg_px_open, realized_pnl, ts_event_ns",
}


def test_it_does_what_its_bot_does(tmp_path: Path) -> None:
    two_hours_before = datetime(2026, 1, 5, 19, tzinfo=UTC)  # the close, at which orders of the day end
    bars = write_bars(tmp_path / "bars.parquet", SYMBOLS, 135, start=two_hours_before)
    paths: list[str] = []
    for bot in BOTS:
        twin = msgspec.structs.replace(bot, name=f"{bot.name}-twin", shadow_of=bot.name)
        for one in (bot, twin):
            path = tmp_path / f"{one.name}.toml"
            path.write_text(bot_files.text_of(one))
            paths.append(str(path))
    folder = tmp_path / "data"
    summary = demo(folder, "--bars", str(bars), "--speed", "max", "--bot", ",".join(paths))
    assert summary["fills"] > 100

    def rows(table: str, bot: str, columns: str) -> list[dict[str, object]]:
        query = f"SELECT {columns} FROM {table} WHERE bot = '{bot}' ORDER BY ALL"
        done = tapeline("sql", query, "--data-dir", str(folder), "--format", "json", "--rows", "100000")
        return json.loads(done.stdout)

    seen: Counter[str] = Counter()
    for bot in BOTS:
        for table, columns in SAME.items():
            real = rows(table, bot.name, columns)
            assert rows(f"shadow_{table}", f"{bot.name}-twin", columns) == real, (bot.name, table)
            seen[table] += len(real)
        compared = json.loads(
            tapeline("bots", "compare", bot.name, f"{bot.name}-twin", "--json", "--data-dir", str(folder)).stdout
        )
        one, twin = compared["bots"].values()
        assert {**one, "shadow_of": ""} == {**twin, "shadow_of": ""}
        assert compared["same_signals"] == one["signals"]
    assert min(seen.values()) > 50, seen
