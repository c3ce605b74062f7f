"""Runs the local exchange: one port for REST, websockets and control, until it is told to stop.

Public entry: `serve`. Called by the command line and the tests. It reads no environment and owns the only listening
socket; the venue under it knows nothing of sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable

from aiohttp import web

from adapters.exchange.auth import Credentials
from adapters.exchange.config import ExchangeConfig
from adapters.exchange.control import ControlRoutes
from adapters.exchange.control_events import EventRoutes
from adapters.exchange.driver import Driver
from adapters.exchange.market_ws import CHANNELS, MarketHub
from adapters.exchange.rest import AcceptLog, Gate
from adapters.exchange.rest_account import AccountRoutes
from adapters.exchange.rest_corporate import CorporateRoutes
from adapters.exchange.rest_data import DataRoutes
from adapters.exchange.rest_faults import RestFaults
from adapters.exchange.rest_orders import OrderRoutes
from adapters.exchange.trading_ws import TradingHub
from adapters.exchange.venue import Venue
from engine.errors import BusyError, ConfigError

_BODY_BYTES_MAX = 1024 * 1024
_SHUTDOWN_S = 1.0


async def serve(config: ExchangeConfig, *, ready: Callable[[dict[str, str]], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set.

    Args:
        config: Settings.
        ready: Called once when listening, with full URLs under rest, data_rest, stock_ws, crypto_ws, trading_ws,
            control.
        stop: Ends the server.

    Raises:
        ConfigError: The bar file is bad, or the host is no address of this machine.
        BusyError: The port is taken.
    """
    venue = Venue(config)
    credentials = Credentials(config.key, config.secret)
    market = MarketHub(config, credentials, venue.history, venue.faults)
    trading = TradingHub(credentials, config.send_buffer_bytes_max, venue.faults)
    driver = Driver(venue, market, trading)
    gate = Gate(credentials, config.orders_per_min_max)
    app = web.Application(
        middlewares=[gate.middleware(), RestFaults(venue.faults).middleware()], client_max_size=_BODY_BYTES_MAX
    )
    accepted = AcceptLog()
    app.add_routes(ControlRoutes(venue, driver, market, trading, gate=gate, accepted=accepted).routes())
    app.add_routes(EventRoutes(venue, driver).routes())
    app.add_routes([web.get("/stream", trading.handle, allow_head=False)])
    app.add_routes([web.get(path, market.handle, allow_head=False) for path in CHANNELS if path != "/v1beta1/news"])
    app.add_routes([web.get("/v1beta1/news", market.handle, allow_head=False)])
    app.add_routes(OrderRoutes(venue, driver, accepted).routes())
    app.add_routes(AccountRoutes(venue, driver).routes())
    app.add_routes(DataRoutes(venue, driver).routes())
    app.add_routes(CorporateRoutes(venue, driver).routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    playing: asyncio.Task[None] | None = None
    try:
        port = await _listen(runner, config)
        if not config.is_lockstep:
            playing = asyncio.create_task(driver.run_timed())
        ready(_urls(config.host, port))
        await _until(stop, playing)
    finally:
        if playing is not None:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
        await market.disconnect()
        await trading.disconnect()
        await runner.cleanup()


async def _until(stop: asyncio.Event, playing: asyncio.Task[None] | None) -> None:
    """Wait for the stop; a failure of the driver ends the server with it, instead of a market that stands still."""
    stopping = asyncio.create_task(stop.wait())
    try:
        if playing is not None:
            await asyncio.wait((stopping, playing), return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
        await stopping
    finally:
        stopping.cancel()


async def _listen(runner: web.AppRunner, config: ExchangeConfig) -> int:
    site = web.TCPSite(runner, config.host, config.port)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"port {config.port} on {config.host} is in use by another program; stop it or choose another --port"
            raise BusyError(msg) from error
        msg = (
            f"cannot listen on {config.host}:{config.port} ({error.strerror or error}); choose another --host or --port"
        )
        raise ConfigError(msg) from error
    addresses = runner.addresses
    return int(addresses[0][1])


def _urls(host: str, port: int) -> dict[str, str]:
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104  only for showing a URL that can be dialled
    shown = f"[{shown}]" if ":" in shown else shown
    http, ws = f"http://{shown}:{port}", f"ws://{shown}:{port}"
    return {
        "rest": http,
        "data_rest": http,
        "stock_ws": f"{ws}/v2/iex",
        "crypto_ws": f"{ws}/v1beta3/crypto/us",
        "trading_ws": f"{ws}/stream",
        "control": f"{http}/control",
    }
