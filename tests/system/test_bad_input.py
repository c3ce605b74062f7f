"""Bad input: each is one clear line that names the thing and the mend, and a non-zero exit; nothing is started."""

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.system.harness import tables
from tests.system.test_demo import tapeline

pytestmark = pytest.mark.system

KEYS = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "planted-secret"}
NAMES = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]


def bar_file(path: Path, **changes: object) -> Path:
    stamps = [datetime(2026, 1, 5, 15, minute, tzinfo=UTC) for minute in (0, 1, 2)]
    columns: dict = {
        "symbol": ["AAA"] * 3, "timestamp": stamps, "open": [10.0] * 3, "high": [11.0] * 3, "low": [9.0] * 3,
        "close": [10.5] * 3, "volume": [100.0] * 3,
    }  # fmt: skip
    columns |= changes
    pl.DataFrame({name: values for name, values in columns.items() if values is not None}).write_parquet(path)
    return path


BAD_BARS = {
    "wrong column": {"volume": None, "vol": [1.0] * 3},
    "NaN": {"close": [10.5, float("nan"), 10.5]},
    "high below low": {"high": [11.0, 8.0, 11.0]},
    "duplicate": {"timestamp": [datetime(2026, 1, 5, 15, 0, tzinfo=UTC)] * 3},
    "unsorted": {"timestamp": [datetime(2026, 1, 5, 15, m, tzinfo=UTC) for m in (2, 1, 0)]},
    "empty": {name: pl.Series(name, [], dtype=pl.Float64) for name in NAMES[2:]}
    | {"symbol": pl.Series([], dtype=pl.String), "timestamp": pl.Series([], dtype=pl.Datetime("us", "UTC"))},
}


def _one_line(done, code: int, *words: str) -> None:
    lines = [line for line in done.stderr.strip().splitlines() if "Building" not in line]
    assert done.returncode == code, done.stderr + done.stdout
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tapeline"), lines
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert "planted-secret" not in done.stderr + done.stdout


BAD_ARGUMENTS = {
    ("--bars", "missing.parquet"): ["missing.parquet"],
    ("--strategy", "moon"): ["moon", "sma_crossover"],
    ("--symbols", "aa pl"): ["AA PL"],
    ("--speed", "0"): ["--speed", "'0'"],
    ("--speed", "fast"): ["fast"],
    ("--from", "yesterday"): ["--from", "yesterday"],
}


BAD_SETTINGS = {
    "[feed]\nmute = 3\n": ["feed.mute", "mute_s_max"],
    "[limits]\norder_notional_usd_max = 'a lot'\n": ["limits.order_notional_usd_max"],
    "data_dir = \n": ["tapeline.toml"],
    "[[bots]]\nname = 'b'\nstrategy = 'sma_crossover'\nsymbols = ['AAPL']\ncapital = '0'\n": ["capital", "0"],
    "[[bots]]\nname = 'b'\nstrategy = 'moon'\nsymbols = ['AAPL']\ncapital = '9'\n": ["moon"],
    "[[bots]]\nname = 'b'\nstrategy = 'rsi'\nsymbols = ['AAPL']\ncapital = '9'\n[bots.params]\nperiod = 0\n": [
        "period"
    ],
    "bot_files = ['nowhere.toml']\n": ["nowhere.toml"],
}


def _with_bars(folder, what):
    path = bar_file(folder / "bars.parquet", **BAD_BARS[what])
    return tapeline("demo", "--bars", str(path), "--data-dir", str(folder / "d"))


def _with_argument(folder, what):
    return tapeline("demo", *what, "--data-dir", str(folder / "d"), cwd=folder)


def _with_settings(folder, what):
    (folder / "tapeline.toml").write_text(what)
    return tapeline("run", "--data-dir", str(folder / "d"), cwd=folder, env=KEYS)


@pytest.fixture(scope="module")
def ended(request, tmp_path_factory):
    """What each of the many bad inputs came to, with the folder it was tried in: two processes at a time."""
    ways = {
        "test_bad_bar_file": _with_bars,
        "test_bad_demo_argument": _with_argument,
        "test_bad_settings": _with_settings,
    }
    chosen = [
        (way, item.callspec.params["what"])
        for item in request.session.items
        if item.path == request.path and (way := ways.get(item.originalname)) is not None
    ]
    with ThreadPoolExecutor(2) as pool:
        found = {}
        for way, what in chosen:
            folder = tmp_path_factory.mktemp("bad")
            found[what] = pool.submit(way, folder, what), folder
        yield lambda what: (found[what][0].result(), found[what][1])


@pytest.mark.parametrize("what", BAD_BARS)
def test_bad_bar_file(what, ended):
    done, folder = ended(what)
    _one_line(done, 2, "bars.parquet")
    assert not (folder / "d" / "nats").exists()


@pytest.mark.parametrize("what", BAD_ARGUMENTS)
def test_bad_demo_argument(what, ended):
    _one_line(ended(what)[0], 2, *BAD_ARGUMENTS[what])


@pytest.mark.parametrize("what", BAD_SETTINGS)
def test_bad_settings(what, ended):
    done, folder = ended(what)
    _one_line(done, 2, *BAD_SETTINGS[what])
    assert not (folder / "d").exists()


def test_symbol_that_the_file_does_not_hold(tmp_path):
    path = bar_file(tmp_path / "bars.parquet")
    done = tapeline("demo", "--bars", str(path), "--symbols", "ZZZ", "--data-dir", str(tmp_path / "d"))
    _one_line(done, 2, "ZZZ", "AAA")


def test_missing_keys(tmp_path):
    _one_line(tapeline("run", "--data-dir", str(tmp_path / "d"), cwd=tmp_path), 2, "ALPACA_API_KEY", "tapeline demo")


def test_live_without_the_account_number(tmp_path):
    done = tapeline("run", cwd=tmp_path, env=KEYS | {"TAPELINE_ALPACA__LIVE": "true"})
    _one_line(done, 2, "alpaca.live", "alpaca.account_number")


def test_unreachable_nats(tmp_path):
    env = KEYS | {"TAPELINE_NATS__URL": "nats://127.0.0.1:1"}
    _one_line(tapeline("run", "risk", cwd=tmp_path, env=env), 4, "127.0.0.1:1")
    _one_line(tapeline("status", cwd=tmp_path, env=env), 4, "127.0.0.1:1")
    _one_line(tapeline("sql", "SELECT 1", cwd=tmp_path, env=env), 4, "127.0.0.1:1")


def test_role_without_nats_and_unknown_role(tmp_path):
    _one_line(tapeline("run", "risk", cwd=tmp_path, env=KEYS), 2, "nats.url")
    _one_line(tapeline("run", "oracle", cwd=tmp_path, env=KEYS), 2, "oracle", "risk")


def test_busy_port(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        _one_line(tapeline("exchange", "--port", str(port), cwd=tmp_path), 3, str(port))


def test_no_data_directory_known(tmp_path):
    _one_line(tapeline("sql", "SELECT 1", cwd=tmp_path), 2, "tapeline demo")
    _one_line(tapeline("status", "--data-dir", "nowhere", cwd=tmp_path), 2, "nowhere")


@pytest.mark.soak
def test_a_bot_file_that_the_account_cannot_have_is_named_and_the_demo_ends_with_1(tmp_path):
    path = tmp_path / "rich.toml"
    path.write_text('name = "rich"\nstrategy = "rsi"\nsymbols = ["AAPL"]\ncapital = "999999999"\n')
    done = tapeline("demo", "--bot", str(path), "--for", "6", "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 1, done.stderr
    assert "the bot file of rich did not count: capital must be at most what the account can spend" in done.stdout


@pytest.mark.soak
def test_directory_of_another_account(stopped, tmp_path):
    """A data directory that ran with one account is refused with the keys of another, and stays as it was."""
    from tapeline.demo import ExchangeProcess

    path = bar_file(tmp_path / "bars.parquet")
    folder = Path(shutil.copytree(stopped, tmp_path / "d"))
    before = tables(folder)
    assert len(before["bars"]) == 14
    exchange = ExchangeProcess(["--bars", str(path), "--speed", "max", "--seed", "2"], tmp_path / "exchange.log")
    try:
        exchange.wait_ready(30)
        env = KEYS | {
            "TAPELINE_ALPACA__REST_URL": exchange.urls["rest"], "TAPELINE_ALPACA__DATA_URL": exchange.urls["data_rest"],
            "TAPELINE_ALPACA__STOCK_WS_URL": exchange.urls["stock_ws"],
            "TAPELINE_ALPACA__CRYPTO_WS_URL": exchange.urls["crypto_ws"],
            "TAPELINE_ALPACA__TRADING_WS_URL": exchange.urls["trading_ws"],
            "TAPELINE_VENUE_CLOCK_URL": exchange.urls["control"], "TAPELINE_LOG__LEVEL": "error",
        }  # fmt: skip
        done = tapeline("run", "--data-dir", str(folder), cwd=tmp_path, env=env)
        assert done.returncode == 2, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert "belongs to account" in last
        assert "--data-dir" in last
    finally:
        exchange.stop()
    again = tapeline("sql", "SELECT count(*) AS n FROM bars", "--data-dir", str(folder), "--format", "csv")
    assert again.stdout.split() == ["n", "14"]
    assert tables(folder) == before


def test_a_message_that_nobody_can_read_stops_the_role(tmp_path):
    """Junk on the trading stream: risk guesses nothing and skips nothing, it names the message and ends."""
    import asyncio
    from decimal import Decimal

    from config.settings import Settings
    from engine.messages import AccountOpened, Head, encode
    from streams.connection import connect
    from streams.role import topology_of
    from streams.server import NatsServer
    from streams.topology import ensure

    server = NatsServer(tmp_path / "nats")
    server.start()

    async def plant() -> None:
        nc = await connect(server.url, "test")
        js = nc.jetstream()
        await ensure(js, topology_of(Settings()))
        opened = AccountOpened("ALPACA", "PA1", "run", Decimal(1000), 1)
        await js.publish("tape.opened", encode(Head(1), opened))
        await js.publish("tape.signals.demo.AAPL", b"{junk")
        await nc.close()

    try:
        asyncio.run(plant())
        done = tapeline("run", "risk", cwd=tmp_path, env=KEYS | {"TAPELINE_NATS__URL": server.url})
        assert done.returncode == 5, done.stderr
        assert "message 2 of stream TAPE_TRADING cannot be read" in done.stderr.strip().splitlines()[-1]
        assert "rmm TAPE_TRADING 2" in done.stderr
    finally:
        server.stop()
