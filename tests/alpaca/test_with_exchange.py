"""The adapter against the local exchange: the same calls that reach Alpaca, over real sockets, in lock-step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.alpaca.connect import connect_feed, connect_trading
from adapters.alpaca.fields import time_ns
from adapters.exchange.config import ExchangeConfig
from engine.errors import ConfigError
from engine.messages import OrderIntent
from engine.ports import Accepted, NotFound, Rejected, VenueOrder
from engine.values import NS_PER_MINUTE, AssetClass, OrderType, Side, TimeInForce
from tests.alpaca.local import Exchange, running
from tests.alpaca.wire import Ear, until

OPEN = time_ns("2025-03-10T13:30:00Z") or 0
MINUTES = 8
# exchange_calendars 4.13 on pandas 3.1; not ours, and not this test's subject.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")


class Relay:
    """A TCP relay in front of the exchange whose connections the test can cut."""

    def __init__(self, port: int) -> None:
        self._target, self._writers = port, list[asyncio.StreamWriter]()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    lines = ["symbol,timestamp,open,high,low,close,volume"]
    for minute in range(MINUTES):
        stamp = f"2025-03-10T13:{30 + minute:02d}:00Z"
        for symbol, price in (("AAPL", 150), ("BRK.B", 400), ("BTC/USD", 60000)):
            low = price + minute
            lines.append(f"{symbol},{stamp},{low + 0.25},{low + 1},{low},{low + 0.5},1000")
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    with running(ExchangeConfig(bars=path, speed="max", key="K", secret="S")) as server:
        yield server


def _intent(name: str, symbol: str = "AAPL", quantity: str = "2", side: Side = Side.BUY, **changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": name,
        "signal_id": "s",
        "bot": "b",
        "symbol": symbol,
        "side": side,
        "quantity": Decimal(quantity),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.GTC if "/" in symbol else TimeInForce.DAY,
        "ref_px": Decimal(150),
        "reserved": Decimal(300),
        "decided_ns": 1,
        "valid_until": 2,
    }
    return OrderIntent(**(fields | changes))


async def test_bars_arrive_and_a_cut_socket_is_made_anew(exchange: Exchange) -> None:
    relay = Relay(int(exchange.urls["rest"].rsplit(":", 1)[1]))
    port = await relay.start()
    ws = f"ws://127.0.0.1:{port}"
    config = exchange.config(stock_ws_url=f"{ws}/v2/iex", crypto_ws_url=f"{ws}/v1beta3/crypto/us")
    ear = Ear()
    bars, history = connect_feed(config, lambda: 7)
    running = asyncio.create_task(bars.run(["AAPL", "BRK.B", "BTC/USD"], [], ear))
    await until(lambda: len(ear.of("connected")) == 2)
    await exchange.minute()
    await until(lambda: len(ear.bars) == 3)
    first = {(bar.symbol, bar.ts_event): bar for bar in ear.bars}
    assert set(first) == {(symbol, OPEN + NS_PER_MINUTE) for symbol in ("AAPL", "BRK.B", "BTC/USD")}
    assert (first["AAPL", OPEN + NS_PER_MINUTE].open, first["AAPL", OPEN + NS_PER_MINUTE].close) == (150.25, 150.5)

    relay.cut()
    await until(lambda: len(ear.of("connected")) == 4)
    assert len(ear.of("disconnected")) == 2
    await exchange.minute()
    await until(lambda: len(ear.bars) == 6)

    def past(asset_class: AssetClass, *symbols: str) -> Any:
        return history.bars(asset_class, symbols, "1m", OPEN, OPEN + 2 * NS_PER_MINUTE)

    fetched = await asyncio.to_thread(past, AssetClass.US_EQUITY, "AAPL", "BRK.B")
    fetched = [*fetched, *await asyncio.to_thread(past, AssetClass.CRYPTO, "BTC/USD")]
    key = lambda bar: (bar.symbol, bar.ts_event)  # noqa: E731
    assert sorted(fetched, key=key) == sorted(ear.bars, key=key)  # whole bars: stream and REST agree

    await bars.stop()
    await asyncio.wait_for(running, 5)
    history.close()
    await relay.stop()


async def test_orders_from_submit_to_ledger(exchange: Exchange) -> None:
    ear = Ear()
    venue, updates = connect_trading(exchange.config(), ear.on_problem)
    running = asyncio.create_task(updates.run(ear))
    await until(lambda: ear.of("connected"))
    await exchange.minute()

    def trade() -> None:
        assert venue.lookup("t-1") == NotFound()
        one, coin = venue.submit(_intent("t-1")), venue.submit(_intent("t-2", "BTC/USD", "0.100000001"))
        assert isinstance(one, Accepted)
        assert isinstance(coin, Accepted)
        assert coin.order.quantity == Decimal("0.100000001")
        again = venue.submit(_intent("t-1"))
        assert isinstance(again, Accepted)
        assert again.order.venue_order_id == one.order.venue_order_id
        assert isinstance(venue.submit(_intent("t-3", "NOSUCH")), Rejected)
        assert isinstance(venue.submit(_intent("t-4", quantity="1000000")), Rejected)
        far = _intent("t-5", order_type=OrderType.LIMIT, limit_px=Decimal(1))
        assert isinstance(venue.submit(far), Accepted)

    await asyncio.to_thread(trade)
    await exchange.minute()
    await exchange.minute()
    await until(lambda: len([update for update in ear.updates if update.event == "fill"]) == 2)

    def look() -> None:
        order = venue.lookup("t-1")
        assert isinstance(order, VenueOrder)
        assert (order.status, order.filled_qty) == ("filled", Decimal(2))
        told = {update.execution.client_order_id: update for update in ear.updates if update.execution}
        assert told["t-1"].order == order  # trade_updates and GET give the same value
        executions = venue.executions(0)
        same = ("venue_order_id", "cum_qty", "symbol", "side", "last_qty", "last_px", "ts_event")
        by_rest = sorted([str(getattr(execution, name)) for name in same] for execution in executions)
        by_stream = sorted([str(getattr(update.execution, name)) for name in same] for update in told.values())
        assert by_rest == by_stream
        assert [found.cum_qty for found in venue.executions(executions[-1].ts_event)] != []
        assert venue.executions(executions[-1].ts_event + 1000) == []

        (fee,) = venue.activities(0)
        assert (fee.kind, fee.symbol, fee.cash) == ("CFEE", "BTC/USD", Decimal(0))
        account = venue.account()
        coins = Decimal("0.100000001") + fee.quantity
        assert account.positions == {"AAPL": Decimal(2), "BTC/USD": coins}
        spent = sum((execution.last_qty * execution.last_px for execution in executions), Decimal(0))
        assert abs(account.cash + spent - 100_000) < Decimal("0.01")

        assert venue.sessions(OPEN, OPEN + 1) == [(time_ns("2025-03-10T13:30:00Z"), time_ns("2025-03-10T20:00:00Z"))]
        assert type(venue.cancel("t-5")).__name__ == "CancelRequested"
        assert venue.cancel("t-9") == NotFound()

    await asyncio.to_thread(look)
    await exchange.minute()
    await until(lambda: any(update.event == "canceled" for update in ear.updates))
    await updates.stop()
    await asyncio.wait_for(running, 5)
    venue.close()


async def test_wrong_secret_is_seen_on_every_side(exchange: Exchange) -> None:
    ear = Ear()
    config = exchange.config(secret="not-it")
    bars, history = connect_feed(config, lambda: 7)
    venue, updates = connect_trading(config, ear.on_problem)
    tasks = [asyncio.create_task(bars.run(["AAPL"], [], ear)), asyncio.create_task(updates.run(ear))]
    await until(lambda: ear.problem("stock bars") and ear.problem("trade updates"))
    assert {level for level, what in ear.of("problem") if "refused the key" in what} == {"critical"}
    with pytest.raises(ConfigError, match="ALPACA_SECRET_KEY"):
        await asyncio.to_thread(venue.submit, _intent("t-1"))
    with pytest.raises(ConfigError, match="ALPACA_SECRET_KEY"):
        await asyncio.to_thread(history.bars, AssetClass.US_EQUITY, ["AAPL"], "1m", OPEN, OPEN + NS_PER_MINUTE)
    await bars.stop()
    await updates.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    venue.close()
    history.close()
