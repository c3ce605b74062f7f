"""Runs whole demos for tests and reads back everything they stored."""

import asyncio
import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest
from nats.errors import Error as NatsError

from engine.errors import TapelineError
from storage.sql import open_read_only
from streams.connection import Inflow, connect
from streams.keys import identity
from streams.reader import Reader
from streams.server import NatsServer
from streams.sql_ask import ask_at
from tapeline import folders

ROOT = Path(__file__).resolve().parents[2]
OPEN = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)  # Monday, 09:30 in New York
SOON = {"TAPELINE_RECORDER__BATCH_MS": "50"}
"""Environment of a daemon whose rows are waited for."""


def write_bars(path: Path, symbols: list[str], minutes: int, seed: int = 7, start: datetime = OPEN) -> Path:
    """Write a small market that crosses often, some minutes missing; prices in cents."""
    rng = random.Random(seed)
    rows = []
    for number, symbol in enumerate(symbols):
        base = 50.0 + 40 * number
        for minute in range(minutes):
            wave = base * (1 + 0.02 * math.sin(minute / 1.3 + number)) + rng.uniform(-0.2, 0.2)
            if minute > 6 and rng.random() < 0.06:
                continue
            prices = sorted(round(wave + rng.uniform(-0.3, 0.3), 2) for _ in range(4))
            low, a, b, high = prices
            opening, close = (a, b) if rng.random() < 0.5 else (b, a)
            stamp = start + timedelta(minutes=minute)
            rows.append((symbol, stamp, opening, high, low, close, float(rng.randint(100, 9000))))
    rows.sort(key=lambda row: (row[1], row[0]))
    names = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
    return path


def demo(
    folder: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    settings: dict | None = None,
    timeout: float = 120,
) -> dict:
    """Run a demo as a process of its own; give its summary. Fails the test when it does not end well."""
    spec = {"arguments": list(arguments), "settings": settings or {}, "data_dir": str(folder)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TAPELINE_", "ALPACA_", "KILL_"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "run_demo.py"), json.dumps(spec)],
        cwd=ROOT,
        env=environment | SOON | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, (
        f"demo ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}\n" + logs(folder)
    )
    assert violations(folder) == [], "somebody has not the rights for what it does (streams/access.py)"
    return json.loads(done.stdout.strip().splitlines()[-1])


def check_against_venue(summary: dict) -> None:
    """Cash to the cent and every position equal the exchange's; nothing was corrected."""
    venue = summary["venue"]
    assert abs(float(summary["cash"]) - float(venue["cash"])) < 0.005, summary
    theirs = {
        k.removeprefix("position ").replace("BTCUSD", "BTC/USD"): float(v)
        for k, v in venue.items()
        if k.startswith("position ")
    }
    assert {s: float(q) for s, q in summary["positions"].items()} == pytest.approx(theirs, abs=1e-9)
    assert int(venue["executions"]) == summary["fills"]
    assert int(venue["activities"]) == summary["fees"]
    assert int(venue["bars_emitted"]) == summary["bars"]
    assert summary["conflicts"] == summary["gaps"] == 0


def ask_sql(folder: Path, query: str, rows_max: int = 1_000) -> list[dict]:
    """Ask the recorder of a running daemon, as `tapeline sql` does; of our process, for whoever asks often."""
    nats = folders.running_settings(folder).nats
    who = identity(nats.nkey_file, "subscriber")
    frame, _ = asyncio.run(ask_at(nats.url, nats.prefix, query, rows_max, 30, identity=who))
    return frame.rows(named=True)


def count(folder: Path, table: str) -> int:
    """Rows of a table; 0 also while nobody answers."""
    try:
        return ask_sql(folder, f"SELECT count(*) AS n FROM {table}")[0]["n"]
    except (TapelineError, NatsError, TimeoutError, OSError):
        return 0


def violations(folder: Path) -> list[str]:
    """Give what nats-server refused the users of a run."""
    return [line for line in (folder / "nats" / "nats.log").read_text().splitlines() if "Violation" in line]


def logs(folder: Path) -> str:
    """Give the ends of the roles' logs, for a failing test."""
    return "\n".join(f"--- {p.name}\n{p.read_text()[-1500:]}" for p in sorted((folder / "logs").glob("*.log")))


HEAD_COLUMNS = {"ts_init", "ts_recv", "trace", "execution_id", "activity_id", "via", "seq"}
TABLES = (
    "bars", "gaps", "accounts_opened", "sessions", "signals", "intents", "denials", "no_trades", "order_events",
    "fills", "fees", "marks", "symbol_statuses", "positions", "account", "alerts", "conflicts",
)  # fmt: skip


def tables(folder: Path) -> dict[str, list]:
    """Give every table's rows without the head's columns, sorted: what two equal runs agree on.

    Gaps that history filled are left out: a feed that was killed says so, and the bars are the same.
    """
    found = {}
    with open_read_only(folder / "tapeline.duckdb") as sql:
        for name in TABLES:
            where = " WHERE filled_by <> 'history'" if name == "gaps" else ""
            frame = sql.query(f"SELECT * FROM {name}{where}", row_limit=1_000_000).frame()
            kept = [column for column in frame.columns if column not in HEAD_COLUMNS]
            found[name] = sorted(map(repr, frame.select(kept).rows()))
    return found


def bodies(folder: Path) -> dict[str, list[bytes]]:
    """Give the raw bodies of both streams by subject, in stream order, read from nats-server itself.

    Gaps that history filled are left out, as in `tables`.
    """
    found = asyncio.run(_bodies(folder))
    for subject in [name for name in found if ".gaps." in name]:
        found[subject] = [body for body in found[subject] if b'"filled_by":"history"' not in body]
    return {subject: list(lines) for subject, lines in found.items() if lines}


async def _bodies(folder: Path) -> dict[str, list[bytes]]:
    class Raw(msgspec.Struct):
        body: msgspec.Raw

    decoder = msgspec.json.Decoder(Raw)
    server = NatsServer(folder / "nats")
    server.start()
    found: dict[str, list[bytes]] = defaultdict(list)
    try:
        nc = await connect(server.url, "test", kind=Inflow)
        js = nc.jetstream()
        for stream in ("TAPE_MARKET", "TAPE_TRADING"):
            info = await js.stream_info(stream)
            for name in sorted((await js.stream_info(stream, subjects_filter=">")).state.subjects or {}):
                reader = Reader(nc, stream, 0, [name])
                await reader.start()
                want = (await js.stream_info(stream, subjects_filter=name)).state.subjects[name]
                while len(found[name]) < want:
                    found[name] += [bytes(decoder.decode(item.data).body) for item in await reader.batch(10_000)]
                await reader.stop()
            assert info.state.last_seq
        await nc.close()
    finally:
        server.stop()
    return dict(found)


def fingerprint(found: dict[str, list[bytes]]) -> str:
    """Hash bodies by subject."""
    digest = hashlib.sha256()
    for subject in sorted(found):
        digest.update(subject.encode() + b"\0" + b"\n".join(found[subject]) + b"\0\0")
    return digest.hexdigest()


def difference(a: dict[str, list], b: dict[str, list]) -> str:
    """Say where two runs differ first, for the message of a failing test."""
    lines = []
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key, []), b.get(key, [])
        if left != right:
            only_a = [x for x in left if x not in right][:3]
            only_b = [x for x in right if x not in left][:3]
            lines.append(f"{key}: {len(left)} against {len(right)}; only first: {only_a}; only second: {only_b}")
    return "\n".join(lines)
