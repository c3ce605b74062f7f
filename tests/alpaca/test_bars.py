"""The bar streams against a server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosedOK

from adapters.alpaca.bars import AlpacaBars, BarStream
from engine.errors import BusyError, ConfigError
from engine.values import AssetClass
from tests.alpaca.wire import KEY, SECRET, Ear, Wire, bar_record, holds, until

RECEIVED = 1_700_000_000_000_000_000


class Running:
    """An AlpacaBars that runs as a task, and what it said."""

    def __init__(self, bars: AlpacaBars, ear: Ear, symbols: list[str], marked: list[str]) -> None:
        self.bars, self.ear = bars, ear
        self.task = asyncio.create_task(bars.run(symbols, marked, ear))

    async def connected(self, times: int = 1) -> None:
        await until(lambda: len(self.ear.of("connected")) >= times, what=str(self.ear.log))

    async def problem(self, part: str) -> tuple[str, str]:
        return await until(lambda: self.ear.problem(part), what=f"no {part!r} in {self.ear.log}")


@contextlib.asynccontextmanager
async def running(
    wire: Wire,
    symbols: list[str] | None = None,
    ear: Ear | None = None,
    is_open: Callable[[AssetClass], bool] | None = None,
    marked: list[str] | None = None,
    **changes: Any,
) -> AsyncIterator[Running]:
    bars = AlpacaBars(wire.config(**changes), lambda: RECEIVED, is_open)
    run = Running(bars, ear or Ear(), ["SPY", "QQQ"] if symbols is None else symbols, marked or [])
    try:
        yield run
    finally:
        await bars.stop()
        with contextlib.suppress(ConfigError, ZeroDivisionError):
            await asyncio.wait_for(run.task, 5)


async def test_bars_of_a_frame_arrive_in_one_call_after_the_acknowledgement(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send([bar_record("SPY"), bar_record("QQQ"), {"T": "d", "S": "SPY"}])
        wire.sockets[0].send([bar_record("SPY", 1)])
        await until(lambda: len(run.ear.bars) == 3)
    kinds = [(entry[0], len(entry[1]) if entry[0] == "bars" else None) for entry in run.ear.log]
    assert kinds == [("connected", None), ("bars", 2), ("bars", 1), ("disconnected", None)]
    assert run.ear.of("connected") == [(("SPY", "QQQ"), ())]
    assert {ts_recv for _, ts_recv in run.ear.of("bars")} == {RECEIVED}


async def test_handshake_is_alpacas(wire: Wire) -> None:
    symbols = [f"SYM{index}" for index in range(6000)]  # more than one fragment of 32 KiB
    async with running(wire, symbols) as run:
        await run.connected()
    (socket,) = wire.sockets
    assert socket.received[0] == {"action": "auth", "key": KEY, "secret": SECRET}
    assert socket.received[1] == {"bars": symbols, "action": "subscribe"}
    assert socket.request.headers["Content-Type"] == "application/msgpack"
    assert "Sec-WebSocket-Extensions" not in socket.request.headers


async def test_each_asset_class_has_its_own_connection(wire: Wire) -> None:
    async with running(wire, ["BTC/USD", "SPY", "ETH/USD", "SPY"]) as run:
        await run.connected(2)
    asked = {socket.request.path: socket.received[1]["bars"] for socket in wire.sockets}
    assert asked == {"/v2/iex": ["SPY"], "/v1beta3/crypto/us": ["BTC/USD", "ETH/USD"]}


async def test_no_symbols_means_no_connection_and_no_spin(wire: Wire) -> None:
    async with running(wire, []) as run:
        spent = time.process_time()
        await holds(lambda: not run.task.done(), 0.2)
        assert time.process_time() - spent < 0.1
    assert wire.connects == 0


@pytest.mark.parametrize("how", ["drop", "close"])
async def test_lost_connection_is_made_anew_and_told(wire: Wire, how: str) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].drop() if how == "drop" else wire.sockets[0].close(1011)
        await run.connected(2)
        wire.sockets[1].send([bar_record("SPY", 7)])
        await until(lambda: run.ear.bars)
        kinds = [entry[0] for entry in run.ear.log if entry[0] != "problem"]
        assert kinds == ["connected", "disconnected", "connected", "bars"]
        assert (await run.problem("connection lost"))[0] == "warning"


async def test_server_that_is_away_is_waited_for(wire: Wire) -> None:
    wire.upgrade_status = 503
    async with running(wire) as run:
        await until(lambda: wire.connects >= 3)
        wire.upgrade_status = None
        await run.connected()
        assert (await run.problem("cannot connect"))[0] == "error"
        assert len([what for _, what in run.ear.of("problem") if "cannot connect" in what]) == 1


async def test_nobody_listens_at_the_port() -> None:
    wire = Wire()
    wire.url = "http://127.0.0.1:1"
    async with running(wire) as run:
        assert "127.0.0.1:1" in (await run.problem("cannot connect"))[1]


async def test_auth_failed_is_critical_and_tried_on(wire: Wire) -> None:
    wire.auth_answer = [{"T": "error", "code": 402, "msg": "auth failed"}]
    async with running(wire) as run:
        level, what = await run.problem("refused the key")
        assert level == "critical"
        assert "ALPACA_API_KEY" in what
        await until(lambda: wire.connects >= 3)
        wire.auth_answer = [{"T": "success", "msg": "authenticated"}]
        await run.connected()


@pytest.mark.parametrize("status", [401, 403])
async def test_key_refused_at_the_upgrade_is_critical(wire: Wire, status: int) -> None:
    wire.upgrade_status = status
    async with running(wire) as run:
        assert (await run.problem("refused the key"))[0] == "critical"


@pytest.mark.parametrize("by", ["406", "429"])
async def test_taken_slot_is_news_only_after_the_patience(wire: Wire, by: str) -> None:
    if by == "406":
        wire.auth_answer = [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
    else:
        wire.upgrade_status = 429
    async with running(wire, slot_s_max=0.25) as run:
        began = time.monotonic()
        await until(lambda: wire.connects >= 3)
        assert run.ear.of("problem") == []
        level, what = await run.problem("another program uses this key")
        assert level == "critical"
        assert by in what
        assert time.monotonic() - began >= 0.25


async def test_wrong_plan_ends_it_with_the_mend(wire: Wire) -> None:
    wire.auth_answer = [{"T": "error", "code": 409, "msg": "insufficient subscription"}]
    async with running(wire, ["SPY", "BTC/USD"]) as run:
        with pytest.raises(ConfigError, match=r"/v2/iex.*plan.*409.*feed") as caught:
            await asyncio.wait_for(run.task, 5)
        assert (await run.problem("plan"))[0] == "critical"
        assert SECRET not in str(caught.value)


async def test_symbol_limit_in_band_is_seen_and_connected_again(wire: Wire) -> None:
    wire.subscribe_answer = lambda symbols: [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
    async with running(wire, ack_s_max=5.0) as run:
        assert (await run.problem("symbol limit exceeded (405)"))[0] == "error"
        await until(lambda: wire.connects >= 3)
        assert run.ear.of("connected") == []
        wire.subscribe_answer = lambda symbols: [{"T": "subscription", "bars": symbols}]
        await run.connected()


async def test_error_while_running_is_seen(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send([{"T": "error", "code": 407, "msg": "slow client"}])
        assert (await run.problem("slow client (407)"))[0] == "error"
        assert wire.connects == 1


async def test_partial_acknowledgement_is_tried_again_then_lived_with(wire: Wire) -> None:
    wire.subscribe_answer = lambda symbols: [{"T": "subscription", "bars": ["SPY"]}]
    async with running(wire, ack_s_max=0.05, ack_attempts_max=3) as run:
        await run.connected()
        assert wire.connects == 3
        assert run.ear.of("connected") == [(("SPY",), ())]
        level, what = await run.problem("going on without them")
        assert level == "critical"
        assert "1 of 2 symbols not acknowledged (QQQ)" in what


async def test_acknowledgement_that_grows_is_waited_for(wire: Wire) -> None:
    wire.subscribe_answer = lambda symbols: [{"T": "subscription", "bars": ["SPY"]}]
    async with running(wire, ack_s_max=5.0) as run:
        await until(lambda: wire.sockets and len(wire.sockets[0].received) == 2)
        wire.sockets[0].send([bar_record("SPY")])
        wire.sockets[0].send([{"T": "subscription", "bars": ["QQQ", "SPY"]}])
        await run.connected()
        await until(lambda: run.ear.bars)
        assert [entry[0] for entry in run.ear.log] == ["connected", "bars"]


async def test_no_acknowledgement_at_all_never_counts(wire: Wire) -> None:
    wire.subscribe_answer = lambda symbols: None
    async with running(wire, ack_s_max=0.05, ack_attempts_max=2) as run:
        await until(lambda: wire.connects >= 4)
        assert run.ear.of("connected") == []
        await run.problem("2 of 2 symbols not acknowledged")


async def test_star_covers_everything(wire: Wire) -> None:
    async with running(wire, ["*"]) as run:
        await run.connected()
        assert run.ear.of("connected") == [(("*",), ())]


@pytest.mark.parametrize("where", ["upgrade", "greeting", "auth"])
async def test_server_that_never_answers_the_handshake_is_left(wire: Wire, where: str) -> None:
    wire.never_upgrade = where == "upgrade"
    if where == "greeting":
        wire.greeting = None
    if where == "auth":
        wire.auth_answer = None
    async with running(wire, handshake_s_max=0.1) as run:
        await run.problem("no handshake within 0.1 s")
        await until(lambda: wire.connects >= 2)
        wire.never_upgrade, wire.greeting = False, [{"T": "success", "msg": "connected"}]
        wire.auth_answer = [{"T": "success", "msg": "authenticated"}]
        await run.connected()


@pytest.mark.parametrize("greeting", [[], {"a": 1}, [{"T": "success"}], "junk", [{"T": "success", "msg": "hello"}]])
async def test_junk_for_a_greeting_is_a_failed_connect(wire: Wire, greeting: Any) -> None:
    wire.greeting = greeting
    async with running(wire) as run:
        await run.problem("cannot connect")
        wire.greeting = [{"T": "success", "msg": "connected"}]
        await run.connected()


async def test_mute_socket_in_an_open_market_is_replaced(wire: Wire) -> None:
    async with running(wire, mute_s_max=0.15) as run:
        await run.connected(2)
        assert (await run.problem("no data for 0.15 s in an open market"))[0] == "error"


async def test_data_of_any_kind_keeps_a_socket_alive_and_controls_do_not(wire: Wire) -> None:
    async with running(wire, mute_s_max=0.4) as run:
        await run.connected()

        def replaced_while_sending(record: dict[str, Any]) -> bool:
            with contextlib.suppress(ConnectionError):  # it may be gone by now: that is the point
                wire.sockets[0].send([record])
            return wire.connects > 1

        await holds(lambda: not replaced_while_sending({"T": "q", "S": "SPY"}), 1.0)
        await until(lambda: replaced_while_sending({"T": "success", "msg": "still here"}))


async def test_silence_of_a_closed_market_is_normal(wire: Wire) -> None:
    market = {"open": False}
    async with running(wire, is_open=lambda _: market["open"], mute_s_max=0.1) as run:
        await run.connected()
        await holds(lambda: wire.connects == 1, 0.4)
        market["open"] = True
        await run.connected(2)


async def test_ping_that_is_ignored_ends_the_connection(wire: Wire) -> None:
    async with running(wire, ping_interval_s=0.05, ping_timeout_s=0.1) as run:
        await run.connected()

        async def deafen() -> None:  # the socket stays open and nobody reads from it
            wire.sockets[0].request.transport.pause_reading()

        wire.do(deafen())
        await run.connected(2)
        await run.problem("connection lost")


async def test_frame_of_more_than_a_mebibyte_is_read(wire: Wire) -> None:
    records = [bar_record(f"SYM{index}") for index in range(13_000)]
    assert len(msgpack.packb(records)) > 2**20
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send(records)
        await until(lambda: len(run.ear.bars) == 13_000)
        assert wire.connects == 1


async def test_one_bad_bar_among_500_is_reported_and_costs_itself(wire: Wire) -> None:
    records = [bar_record(f"S{index}") for index in range(500)]
    records[250]["h"] = 1.0
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send(records)
        await until(lambda: len(run.ear.bars) == 499)
        assert "S250" in (await run.problem("high must be >= low"))[1]
        assert wire.connects == 1


@pytest.mark.parametrize(
    "junk", [b"\xc1\xff\x00", b"", b"\x93\x01\x02\x03", "text that is no JSON", msgpack.packb({"T": 1})]
)
async def test_junk_frame_is_reported_at_most_and_the_stream_goes_on(wire: Wire, junk: bytes | str) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send_raw(junk)
        wire.sockets[0].send([bar_record("SPY")])
        await until(lambda: run.ear.bars)
        assert wire.connects == 1


async def test_flood_of_bad_bars_is_no_flood_of_problems(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        for minute in range(100):
            wire.sockets[0].send([bar_record(f"S{index}", minute, o=-1) for index in range(10)])
        wire.sockets[0].send([bar_record("SPY")])
        await until(lambda: run.ear.bars)
        assert 0 < len(run.ear.of("problem")) <= 20


async def test_listener_that_raises_ends_the_run_with_its_error(wire: Wire) -> None:
    class Broken(Ear):
        def on_bars(self, bars: Any, ts_recv: int) -> None:
            raise ZeroDivisionError

    async with running(wire, ear=Broken()) as run:
        await run.connected()
        wire.sockets[0].send([bar_record("SPY")])
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(run.task, 5)


async def test_second_run_at_once_is_refused(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        with pytest.raises(BusyError):
            await run.bars.run(["SPY"], [], Ear())


async def test_stream_that_is_behind_lets_others_run(wire: Wire) -> None:
    class Backlog:
        """A socket whose next frame is always there: `recv` never gives the loop away."""

        def __init__(self) -> None:
            self.given = 0
            self.frame = msgpack.packb([bar_record("SPY")])

        async def recv(self) -> bytes:
            self.given += 1
            if self.given > 5000:
                raise ConnectionClosedOK(None, None)
            return self.frame

    stream = BarStream(wire.config(), AssetClass.US_EQUITY, ["SPY"], Ear(), lambda: RECEIVED)
    stream._ws = backlog = Backlog()
    reading = asyncio.create_task(stream.listen())
    await asyncio.sleep(0)
    assert 0 < backlog.given < 500
    with pytest.raises(ConnectionClosedOK):
        await reading


@pytest.mark.parametrize("state", ["connected", "connecting", "backing off", "waiting for the acknowledgement"])
async def test_stop_is_at_once_in_every_state(wire: Wire, state: str) -> None:
    wire.never_upgrade = state == "connecting"
    wire.upgrade_status = 503 if state == "backing off" else None
    if state.startswith("waiting"):
        wire.subscribe_answer = lambda symbols: None
    waits = {"handshake_s_max": 30.0, "ack_s_max": 30.0, "reconnect_s_min": 30.0, "reconnect_s_max": 30.0}
    async with running(wire, **waits) as run:
        if state == "connected":
            await run.connected()
        elif state.startswith("waiting"):
            await until(lambda: wire.sockets and len(wire.sockets[0].received) == 2)
        else:
            await until(lambda: wire.connects)
        began = time.monotonic()
        await run.bars.stop()
        await asyncio.wait_for(run.task, 5)
        assert time.monotonic() - began < 1.0


async def test_stop_does_not_wait_for_a_peer_that_is_gone(wire: Wire) -> None:
    async with running(wire, close_s_max=0.2) as run:
        await run.connected()

        async def deafen() -> None:
            wire.sockets[0].request.transport.pause_reading()

        wire.do(deafen())
        began = time.monotonic()
        await run.bars.stop()
        await asyncio.wait_for(run.task, 5)
        assert time.monotonic() - began < 1.0


async def test_cancelling_the_run_closes_the_socket(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.task
        await until(lambda: wire.sockets[0].ws.closed)
        run.task = asyncio.create_task(asyncio.sleep(0))


async def test_secret_is_in_no_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        async with running(wire) as run:
            await run.connected()
    assert SECRET not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("websockets")]
