"""The trade_updates stream against a server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from adapters.alpaca.updates import AlpacaUpdates
from engine.errors import BusyError
from tests.alpaca.test_parse import FILL_UPDATE, ORDER
from tests.alpaca.wire import KEY, SECRET, Ear, Wire, until


class Running:
    def __init__(self, updates: AlpacaUpdates, ear: Ear) -> None:
        self.updates, self.ear = updates, ear
        self.task = asyncio.create_task(updates.run(ear))

    async def connected(self, times: int = 1) -> None:
        await until(lambda: len(self.ear.of("connected")) >= times, what=str(self.ear.log))

    async def problem(self, part: str) -> tuple[str, str]:
        return await until(lambda: self.ear.problem(part), what=f"no {part!r} in {self.ear.log}")


@contextlib.asynccontextmanager
async def running(wire: Wire, ear: Ear | None = None, **changes: Any) -> AsyncIterator[Running]:
    ear = ear or Ear()
    run = Running(AlpacaUpdates(wire.config(**changes), ear.on_problem), ear)
    try:
        yield run
    finally:
        await run.updates.stop()
        with contextlib.suppress(ZeroDivisionError):
            await asyncio.wait_for(run.task, 5)


def _message(data: Any) -> dict[str, Any]:
    return {"stream": "trade_updates", "data": data}


@pytest.mark.parametrize("text", [True, False])
async def test_events_in_text_and_binary_frames(wire: Wire, text: bool) -> None:
    wire.text_frames = text
    async with running(wire) as run:
        await run.connected()
        message = json.dumps(_message(FILL_UPDATE))
        wire.sockets[0].send_raw(message if text else message.encode())
        await until(lambda: run.ear.updates)
    (update,) = run.ear.updates
    assert (update.event, update.execution.cum_qty) == ("fill", Decimal("1790.86"))
    assert [entry[0] for entry in run.ear.log] == ["connected", "update", "disconnected"]
    assert wire.sockets[0].received == [
        {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]


async def test_connected_waits_for_the_listening_acknowledgement(wire: Wire) -> None:
    wire.listening = None
    async with running(wire, handshake_s_max=5.0) as run:
        await until(lambda: wire.sockets and len(wire.sockets[0].received) == 2)
        assert run.ear.log == []
        wire.sockets[0].send_json({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        await run.connected()


async def test_acknowledgement_without_trade_updates_does_not_count(wire: Wire) -> None:
    wire.listening = {"stream": "listening", "data": {"streams": []}}
    async with running(wire, handshake_s_max=0.1) as run:
        await run.problem("trade_updates not acknowledged")
        await until(lambda: wire.connects >= 2)
        assert run.ear.of("connected") == []


@pytest.mark.parametrize(
    "answer",
    [
        {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}},
        {"stream": "authorization", "data": None},
        {"stream": "authorization"},
        [],
        "no",
    ],
)
async def test_unauthorized_is_critical_and_tried_on(wire: Wire, answer: Any) -> None:
    good, wire.authorization = wire.authorization, answer
    async with running(wire) as run:
        level, what = await run.problem("refused the key")
        assert level == "critical"
        assert "ALPACA_SECRET_KEY" in what
        wire.authorization = good
        await run.connected()


async def test_slot_that_is_taken_is_news_after_the_patience(wire: Wire) -> None:
    wire.upgrade_status = 429
    async with running(wire, slot_s_max=0.2) as run:
        await until(lambda: wire.connects >= 3)
        assert run.ear.of("problem") == []
        assert (await run.problem("another program uses this key"))[0] == "critical"


@pytest.mark.parametrize(
    "junk",
    [
        json.dumps(_message(None)).encode(),
        b'{"stream":"trade_updates"}',
        json.dumps(_message({"event": "fill"})).encode(),
        json.dumps(_message([1, 2])).encode(),
        b"\xff\xfe",
        b"<html>",
        b"17",
        b"[]",
        b'{"action":"error","data":{"error_message":"internal server error"}}',
    ],
)
async def test_junk_costs_itself_only(wire: Wire, junk: bytes) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send_raw(junk)
        wire.sockets[0].send_json(_message(FILL_UPDATE))
        await until(lambda: run.ear.updates)
        assert wire.connects == 1


async def test_event_without_data_is_no_news(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send_json(_message(None))
        wire.sockets[0].send_json(_message(FILL_UPDATE))
        await until(lambda: run.ear.updates)
        assert run.ear.of("problem") == []


async def test_error_of_the_server_is_seen(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send_json({"action": "error", "data": {"error_message": "internal server error"}})
        assert (await run.problem("internal server error"))[0] == "error"


async def test_fill_without_its_price_is_told_and_reported(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].send_json(_message(FILL_UPDATE | {"price": None}))
        await until(lambda: run.ear.updates)
        assert run.ear.updates[0].execution is None
        assert (await run.problem("fill without an execution"))[0] == "error"


async def test_repeated_events_pass_as_they_came(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        for _ in range(3):
            wire.sockets[0].send_json(_message(FILL_UPDATE))
        wire.sockets[0].send_json(_message({"event": "new", "order": ORDER, "timestamp": ORDER["updated_at"]}))
        await until(lambda: len(run.ear.updates) == 4)
        assert [update.event for update in run.ear.updates] == ["fill", "fill", "fill", "new"]


async def test_lost_connection_is_made_anew_and_told(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        wire.sockets[0].drop()
        await run.connected(2)
        kinds = [entry[0] for entry in run.ear.log if entry[0] != "problem"]
        assert kinds == ["connected", "disconnected", "connected"]


async def test_owner_can_ask_for_a_new_connection(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        run.updates.reconnect("REST knew of a fill")
        await run.connected(2)
        await run.problem("REST knew of a fill")
        assert wire.connects == 2


async def test_ping_that_is_ignored_ends_the_connection(wire: Wire) -> None:
    async with running(wire, ping_interval_s=0.05, ping_timeout_s=0.1) as run:
        await run.connected()

        async def deafen() -> None:
            wire.sockets[0].request.transport.pause_reading()

        wire.do(deafen())
        await run.connected(2)


@pytest.mark.parametrize("where", ["upgrade", "authorization", "listening"])
async def test_server_that_never_answers_is_left(wire: Wire, where: str) -> None:
    kept = wire.authorization, wire.listening
    wire.never_upgrade = where == "upgrade"
    wire.authorization = None if where == "authorization" else kept[0]
    wire.listening = None if where == "listening" else kept[1]
    async with running(wire, handshake_s_max=0.1) as run:
        await run.problem("no handshake within 0.1 s")
        wire.never_upgrade = False
        wire.authorization, wire.listening = kept
        await run.connected()


async def test_listener_that_raises_ends_the_run_with_its_error(wire: Wire) -> None:
    class Broken(Ear):
        def on_update(self, update: Any) -> None:
            raise ZeroDivisionError

    async with running(wire, Broken()) as run:
        await run.connected()
        wire.sockets[0].send_json(_message(FILL_UPDATE))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(run.task, 5)


@pytest.mark.parametrize("state", ["connected", "connecting", "backing off"])
async def test_stop_is_at_once(wire: Wire, state: str) -> None:
    wire.never_upgrade = state == "connecting"
    wire.upgrade_status = 503 if state == "backing off" else None
    async with running(wire, handshake_s_max=30.0, reconnect_s_min=30.0, reconnect_s_max=30.0) as run:
        await (run.connected() if state == "connected" else until(lambda: wire.connects))
        began = time.monotonic()
        await run.updates.stop()
        await asyncio.wait_for(run.task, 5)
        assert time.monotonic() - began < 1.0


async def test_second_run_at_once_is_refused(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        with pytest.raises(BusyError):
            await run.updates.run(Ear())


async def test_secret_is_in_no_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        async with running(wire) as run:
            await run.connected()
    assert SECRET not in caplog.text
