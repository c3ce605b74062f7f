"""A running system: asked in every way, halted in the middle of a stream of orders, with NATS and without, and resumed."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.connection import connect
from streams.keys import identity
from streams.latch import Latch
from streams.sql_ask import ask as ask_recorder
from tapeline import folders
from tests.system.harness import ROOT, SOON, ask_sql, count
from tests.system.test_demo import environment, tapeline
from tests.system.venue import Venue, ask

pytestmark = pytest.mark.system

SPEED = 600
AFTER_S_MAX = 0.25
LIVELY = """
name = "lively"
strategy = "sma_crossover"
symbols = ["AAPL", "AMZN", "BRK.B", "GOOGL", "JNJ", "META", "MSFT", "NVDA", "TSLA", "UNH"]
capital = 100_000
position_fraction = 0.08
params = {fast = 2, slow = 3}
"""
"""Changes its mind every few minutes, in ten symbols at once."""


WORKERS = {"TAPELINE_EXECUTOR__REST_WORKERS": "2"}
"""Few requests at once, so that of ten symbols' orders some wait for their turn."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A timed demo with fills already: its data directory. Each test leaves it trading, the last one halted."""
    tmp_path = tmp_path_factory.mktemp("halt")
    folder, bot = tmp_path / "data", tmp_path / "lively.toml"
    bot.write_text(LIVELY)
    command = [sys.executable, "-m", "tapeline", "demo", "--speed", str(SPEED), "--bot", str(bot), "--json"]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder)],
            cwd=ROOT,
            env=environment() | WORKERS | SOON,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: (folder / "run" / "settings.json").exists() and count(folder, "fills") > 5, 300)
        yield folder
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (tmp_path / "out").read_text()
        summary = json.loads((tmp_path / "out").read_text().strip().splitlines()[-1])
        assert summary["fills"] > 5
        assert summary["conflicts"] == 0
    finally:
        process.kill()
        process.wait()


def wait_until(condition, seconds: float, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(every_s)


def nats_server_of(folder: Path) -> int:
    """Process id of the nats-server child of this data directory."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_bytes().split(b"\0")
        if b"nats-server" in words[0] and any(str(folder).encode() in word for word in words):
            return int(entry.parent.name)
    raise AssertionError(f"no nats-server serves {folder}")


def bots(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return tapeline("bots", *arguments, "--data-dir", str(folder))


def test_sql_answers_while_it_runs(running):
    settings = folders.running_settings(running)

    async def many() -> list[float]:
        nc = await connect(settings.nats.url, "test", identity=identity(settings.nats.nkey_file, "subscriber"))
        times = []
        for _ in range(100):
            start = time.monotonic()
            frame, _ = await ask_recorder(nc, "tape", "SELECT symbol, count(*) AS n FROM bars GROUP BY symbol", 100, 5)
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

    def stored() -> set[tuple[str, float]]:
        query = "SELECT venue_order_id, CAST(cum_qty AS DOUBLE) AS q FROM fills"
        done = tapeline("sql", query, "--data-dir", str(running), "--format", "json")
        return {(row["venue_order_id"], row["q"]) for row in json.loads(done.stdout)}

    wait_until(lambda: keys <= stored(), 20)


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


def test_bots_are_changed_from_the_command_line(running):
    """Many bots, all commands: test_many_bots.py, in .ci/run."""
    paused = bots(running, "pause", "lively", "--reason", "look")
    assert (paused.returncode, paused.stdout.split(",")[0]) == (0, "bot lively: paused"), paused.stderr
    [listed] = json.loads(bots(running, "list", "--json").stdout)
    assert (listed["status"], listed["revision"], listed["reason"]) == ("paused", 2, "look")
    refused = bots(running, "update", "lively", "--set", "params.fast=9")
    assert refused.returncode == 1
    assert refused.stderr.startswith("tapeline: bot lively stays as it is: strategy sma_crossover: fast and slow must")
    assert bots(running, "start", "lively").returncode == 0
    unknown = bots(running, "stop", "livly")
    assert unknown.returncode == 2
    assert unknown.stderr == "tapeline: there is no bot 'livly': known are lively\n"
    revisions = json.loads(bots(running, "history", "lively", "--json").stdout)
    assert [(each["revision"], each["status"]) for each in revisions] == [
        (1, "running"), (2, "paused"), (3, "running"),
    ]  # fmt: skip
    assert revisions[0]["from_ts"] < revisions[1]["from_ts"] <= revisions[2]["from_ts"]


@pytest.mark.soak
def test_a_shadow_is_tried_compared_and_promoted(running):
    """That it does what the bot would have done: test_shadow.py."""
    shadow = bots(running, "shadow", "lively", "--as", "calm", "--set", "position_fraction=0.07")
    assert (shadow.returncode, shadow.stdout.split(",")[0]) == (0, "bot calm: running"), shadow.stderr
    named = {bot["bot"]: bot["definition"] for bot in json.loads(bots(running, "list", "--json").stdout)}
    assert (named["calm"]["shadow_of"], named["calm"]["position_fraction"]) == ("lively", 0.07)
    wait_until(lambda: count(running, "shadow_fills WHERE bot = 'calm'") > 1, 60)
    compared = bots(running, "compare", "lively", "calm", "--json")
    numbers = json.loads(compared.stdout)["bots"]
    assert numbers["calm"]["fills"] > 1, compared.stderr
    assert numbers["calm"]["shadow_of"] == "lively"
    assert count(running, "intents WHERE bot = 'calm'") == 0
    promoted = bots(running, "promote", "calm")
    assert promoted.returncode == 0, promoted.stderr
    [left] = json.loads(bots(running, "list", "--json").stdout)
    assert (left["bot"], left["definition"]["position_fraction"]) == ("lively", 0.07)
    assert left["reason"] == "promoted from shadow calm at revision 1; position_fraction: 0.08 -> 0.07"
    again = bots(running, "promote", "lively")
    assert (again.returncode, again.stderr[:46]) == (2, "tapeline: bot lively is no shadow, it trades a")


def test_halt_and_resume(running):
    venue = Venue(running)
    done = tapeline("halt", "--reason", "odd fills", "--data-dir", str(running))
    assert done.returncode == 0, done.stderr
    assert "no order is open" in done.stdout
    note = Latch(running).read()
    assert note is not None
    after = venue.accepted_after_s(note.ts_event)
    print(f"last order accepted {after * 1000:.0f} ms after the latch was written")
    assert after <= AFTER_S_MAX
    accepted = venue.accepted()
    assert venue.orders("open") == []
    status = tapeline("status", "--data-dir", str(running))
    assert status.returncode == 1
    assert "odd fills" in status.stdout
    wait_until(lambda: count(running, "denials WHERE rule = 'trading_mode'") > 3, 20)
    assert venue.accepted() == accepted

    done = tapeline("resume", "--reason", "all is well", "--data-dir", str(running))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: venue.accepted() > accepted + 3, 20)
    told = [{"mode": "halted", "reason": "odd fills"}, {"mode": "active", "reason": "all is well"}]
    wait_until(lambda: ask_sql(running, "SELECT mode, reason FROM trading_states") == told, 20)


@pytest.mark.soak
def test_only_reducing(running):
    done = tapeline("halt", "--reduce-only", "--data-dir", str(running))
    assert done.returncode == 0, done.stderr
    assert "trading is reducing" in done.stdout
    wait_until(lambda: count(running, "denials WHERE rule = 'trading_mode' AND observed = 'reducing'") > 3, 20)
    query = (
        "SELECT count(*) AS n FROM intents i, trading_states t "
        "WHERE t.mode = 'reducing' AND i.ts_init > t.ts_init AND i.reserved > 0"
    )
    assert ask_sql(running, query) == [{"n": 0}]
    assert tapeline("resume", "--data-dir", str(running)).returncode == 0


@pytest.mark.soak
def test_halt_while_nats_server_is_stopped(running):
    venue = Venue(running)
    before = count(running, "trading_states WHERE mode = 'halted'")
    pid = nats_server_of(running)
    os.kill(pid, signal.SIGSTOP)
    try:
        done = tapeline("halt", "--data-dir", str(running))
        assert done.returncode == 1
        assert "the latch holds" in done.stderr
        time.sleep(1)
        note = Latch(running).read()
        assert note is not None
        assert venue.accepted_after_s(note.ts_event) <= AFTER_S_MAX
        wait_until(lambda: venue.orders("open") == [], 20)
    finally:
        os.kill(pid, signal.SIGCONT)
    accepted = venue.accepted()
    # Told by the executor.
    wait_until(lambda: count(running, "trading_states WHERE mode = 'halted'") == before + 1, 30)
    wait_until(lambda: count(running, "denials WHERE rule = 'trading_mode' AND reason LIKE '%by hand%'") > 0, 20)
    assert venue.accepted() == accepted


@pytest.mark.soak
def test_the_latch_in_the_middle_of_a_burst(running):
    """Orders are on their way and waiting for their turn; none is accepted more than 250 ms after the latch.

    Whether more were on their way than the executor sends at once is chance, so it is tried until some were not sent.
    """
    before = count(running, "order_events WHERE reason = 'not_sent'")
    for _ in range(5):
        halt_in_a_burst(running)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: count(running, "order_events WHERE reason = 'not_sent'") > before, 5)
            return
    raise AssertionError("no order ever waited for its turn when the latch was written")


def halt_in_a_burst(folder: Path) -> None:
    venue = Venue(folder)
    done = tapeline("resume", "--data-dir", str(folder))
    assert done.returncode == 0, done.stderr
    venue.slow_down(0.05)
    try:
        # As many requests as the executor makes at once: what else there is waits.
        wait_until(lambda: ask(f"{venue.control}/status")["rest_open"] >= 2, 60, every_s=0.002)
        note = Latch(folder).set("in a burst", "test", time.time_ns())
        done = tapeline("halt", "--data-dir", str(folder))
        assert done.returncode == 0, done.stderr
    finally:
        venue.slow_down(0)
    after = venue.accepted_after_s(note.ts_event)
    print(f"last order of a burst accepted {after * 1000:.0f} ms after the latch was written")
    assert after <= AFTER_S_MAX


@pytest.mark.soak
@pytest.mark.kill
def test_flatten_with_nats_server_dead_and_killed_on_the_way(running):
    """The supervisor is held, or it would start nats-server again at once. The command is killed, then run again."""
    assert tapeline("resume", "--data-dir", str(running)).returncode == 0
    venue = Venue(running)
    wait_until(lambda: len(venue.positions()) > 1, 60)
    nats = nats_server_of(running)
    daemon = int((running / "lock").read_text())
    assert int(Path(f"/proc/{nats}/stat").read_text().rpartition(")")[2].split()[1]) == daemon
    os.kill(daemon, signal.SIGSTOP)
    try:
        os.kill(nats, signal.SIGKILL)
        command = [sys.executable, str(ROOT / "tests/system/kill_halt.py"), "flatten.after_post", "1", str(running)]
        killed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        note = Latch(running).read()
        for _ in range(3):  # the session may end on the way, and what is queued for the opening needs another run
            done = tapeline("halt", "--flatten", "--data-dir", str(running))
            if done.returncode == 0:
                break
        print(done.stdout)
        assert done.returncode == 0, done.stderr
        assert "the daemon was not told" in done.stdout
        assert venue.positions() == {}
        assert venue.orders("open") == []
        assert venue.accepted_after_s(note.ts_event) <= AFTER_S_MAX
        closing: dict[str, set[str]] = {}
        for order in venue.orders("all"):
            if order["client_order_id"].startswith(f"flatten-{note.id[:16]}-"):
                closing.setdefault(order["symbol"], set()).add(order["side"])
        assert closing
        assert all(len(sides) == 1 for sides in closing.values()), "a position was closed more than once"
    finally:
        os.kill(daemon, signal.SIGCONT)
    # The executor learns of the closing orders, and risk shares their fills out: no bot holds anything any more.
    wait_until(lambda: count(running, "adopted_orders WHERE purpose = 'flatten'") >= len(closing), 60)
    wait_until(
        lambda: ask_sql(running, "SELECT count(*) AS n FROM latest_positions WHERE signed_qty <> 0") == [{"n": 0}], 60
    )
    [seen] = ask_sql(running, "SELECT count(*) AS n, count(*) FILTER (bot <> 'lively') AS others FROM latest_positions")
    assert seen["n"] >= len(closing)
    assert seen["others"] == 0
    assert ask_sql(running, "SELECT count(*) AS n FROM conflicts") == [{"n": 0}]


def test_halt_where_no_daemon_runs_and_resume_needs_one(tmp_path):
    done = tapeline("halt", "--data-dir", str(tmp_path))
    assert done.returncode == 0
    assert Latch(tmp_path).is_set()
    done = tapeline("resume", "--data-dir", str(tmp_path))
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "start it" in done.stderr
    assert Latch(tmp_path).is_set()
