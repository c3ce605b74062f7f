"""The main job as a user runs it: a timed demo by its command line, asked while it runs, ended with a summary."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from streams.connection import connect
from streams.keys import identity
from streams.sql_ask import ask
from tapeline import folders
from tests.system.harness import ROOT, bodies, demo, difference, fingerprint, tables, write_bars

pytestmark = pytest.mark.system


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("TAPELINE_", "ALPACA_"))}


def tapeline(*arguments: str, cwd: Path = ROOT, timeout: float = 60, env: dict | None = None):
    command = [sys.executable, "-m", "tapeline", *arguments]
    found = environment() | {"PYTHONPATH": str(ROOT)} | (env or {})
    return subprocess.run(command, cwd=cwd, env=found, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A timed demo in the background, with fills already, and its data directory."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    with (folder.parent / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tapeline", "demo", "--speed", "600", "--data-dir", str(folder), "--json"],
            cwd=ROOT, env=environment(), stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, (folder.parent / "out").read_text()
            if (folder / "run" / "settings.json").exists() and _count(folder, "fills") > 5:
                break
            time.sleep(0.2)
        yield folder
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (folder.parent / "out").read_text()
        summary = json.loads((folder.parent / "out").read_text().strip().splitlines()[-1])
        assert summary["fills"] > 5
        assert summary["conflicts"] == 0
    finally:
        process.kill()
        process.wait()


def _count(folder: Path, table: str) -> int:
    done = tapeline("sql", f"SELECT count(*) AS n FROM {table}", "--data-dir", str(folder), "--format", "json")
    return json.loads(done.stdout)[0]["n"] if done.returncode == 0 else 0


def test_sql_answers_while_it_runs(running):
    settings = folders.running_settings(running)

    async def many() -> list[float]:
        nc = await connect(settings.nats.url, "test", identity=identity(settings.nats.nkey_file, "subscriber"))
        times = []
        for _ in range(100):
            start = time.monotonic()
            frame, _ = await ask(nc, "tape", "SELECT symbol, count(*) AS n FROM bars GROUP BY symbol", 100, 5)
            times.append((time.monotonic() - start) * 1000)
            assert frame.height == 10
        await nc.close()
        return sorted(times)

    times = asyncio.run(many())
    print(f"SQL count by symbol: p50 {times[50]:.1f} ms, p99 {times[98]:.1f} ms")


def test_a_plain_nats_client_sees_every_fill(running):
    """Fills heard by a plain client between two counts are those the database has."""
    import nats

    settings = folders.running_settings(running)

    async def listen() -> list[dict]:
        nc = await nats.connect(settings.nats.url, nkeys_seed=str(running / "nats" / "keys" / "subscriber.nk"))
        sub = await nc.subscribe("tape.fills.>")
        heard = [json.loads((await sub.next_msg(timeout=30)).data) for _ in range(10)]
        await nc.close()
        return heard

    heard = asyncio.run(listen())
    keys = {(m["body"]["venue_order_id"], float(m["body"]["cum_qty"])) for m in heard}
    assert all(m["body"]["type"] == "Fill" for m in heard)
    deadline = time.monotonic() + 20
    stored: set = set()
    while not keys <= stored and time.monotonic() < deadline:
        query = "SELECT venue_order_id, CAST(cum_qty AS DOUBLE) AS q FROM fills"
        done = tapeline("sql", query, "--data-dir", str(running), "--format", "json")
        stored = {(row["venue_order_id"], row["q"]) for row in json.loads(done.stdout)}
    assert keys <= stored


def test_status_says_healthy(running):
    done = tapeline("status", "--data-dir", str(running), "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    assert answer["healthy"] is True
    assert set(answer["roles"]) == {"feed", "signals", "risk", "executor", "recorder"}
    assert tapeline("status", "--role", "risk", "--data-dir", str(running)).returncode == 0


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM bars",
        "WITH gone AS (DELETE FROM fills RETURNING *) SELECT * FROM gone",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY bars TO '/tmp/stolen.csv'",
        "SELECT 1; SELECT 2",
        "SELECT nonsense FROM bars",
    ],
)
def test_sql_that_writes_or_reads_files_is_refused_with_a_reason(running, query):
    done = tapeline("sql", query, "--data-dir", str(running))
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("tapeline: ")


def test_a_second_daemon_on_the_directory_is_refused(running):
    bot = tapeline("demo", "--data-dir", str(running), "--for", "5")
    assert bot.returncode == 2
    assert "already holds a run" in bot.stderr
    keys = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
    done = tapeline("run", "--data-dir", str(running), env=keys)
    assert done.returncode == 3, done.stderr
    assert str(running) in done.stderr
    assert "another daemon" in done.stderr


def test_nothing_is_left_running_when_the_demo_is_killed(tmp_path):
    """kill -9 of the demo itself: every role, nats-server and the exchange end with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tapeline", "demo", "--data-dir", str(tmp_path / "d"), "--json"],
        cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        children: list[int] = []
        while len(children) < 7 and time.monotonic() < deadline:
            children = _children(process.pid)
            time.sleep(0.05)
        assert len(children) == 7, "five roles, nats-server, exchange"
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 15
    while any(_lives(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in children if _lives(pid)] == []


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_two_runs_give_the_same_bodies(tmp_path):
    """Same bars and seed: alone, and beside a CPU burner under another hash seed; whole bodies by subject.

    With a collar every symbol has marks, whose place and content follow from ticks: they must be equal too.
    """
    bars = write_bars(tmp_path / "bars.parquet", ["AAA", "BBB"], 30)
    lockstep: dict = {"settings": {"limits.collar_fraction_max": 0.5}}
    first = demo(tmp_path / "a", "--bars", str(bars), "--speed", "max", env={"PYTHONHASHSEED": "1"}, **lockstep)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"])]
    try:
        second = demo(tmp_path / "b", "--bars", str(bars), "--speed", "max", env={"PYTHONHASHSEED": "2"}, **lockstep)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    a, b = bodies(tmp_path / "a"), bodies(tmp_path / "b")
    assert a == b, difference(a, b)
    assert fingerprint(a) == fingerprint(b)
    assert sum(map(len, a.values())) > 100
    assert first["fills"] == second["fills"] > 5
    assert [len(a[f"tape.marks.{symbol}"]) for symbol in ("AAA", "BBB")] == [
        4 * len(a[f"tape.bars.1m.{symbol}"]) for symbol in ("AAA", "BBB")
    ]
    assert tables(tmp_path / "a") == tables(tmp_path / "b")


def _check_against_venue(summary: dict) -> None:
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


@pytest.mark.data
@pytest.mark.soak
def test_one_real_day_of_stocks(real_bars, tmp_path):
    """Two hours around the open of a real day; the whole week runs in .ci/run (soak)."""
    path = real_bars("us_equity_1min_20131004_20131011.parquet")
    summary = demo(
        tmp_path / "d", "--bars", str(path), "--from", "2013-10-04T13:00", "--to", "2013-10-04T15:00", "--speed", "max"
    )
    assert summary["fills"] > 20
    _check_against_venue(summary)


@pytest.mark.data
@pytest.mark.soak
def test_real_crypto(real_bars, tmp_path):
    path = real_bars("crypto_1min_20180404_20180406.parquet")
    summary = demo(tmp_path / "d", "--bars", str(path), "--to", "2018-04-04T02:30", "--speed", "max")
    assert summary["fills"] > 10
    assert summary["fees"] == summary["fills"]
    _check_against_venue(summary)


@pytest.mark.data
@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "bars"),
    [("us_equity_1min_20131004_20131011.parquet", 13_429), ("crypto_1min_20180404_20180406.parquet", 3_887)],
)
def test_the_whole_real_files(real_bars, tmp_path, name, bars):
    """Every real bar published and recorded once; the ledger equals the exchange's account."""
    summary = demo(tmp_path / "d", "--bars", str(real_bars(name)), "--speed", "max", timeout=600)
    assert summary["bars"] == bars
    assert summary["fills"] > 100
    _check_against_venue(summary)


def test_the_summary_has_what_is_promised():
    from tapeline.summary import Summary

    names = {field.name for field in msgspec.structs.fields(Summary)}
    assert {"bars", "signals", "intents", "denials", "orders", "fills", "realized_pnl", "equity", "database"} <= names
