"""What both kinds of Alpaca stream share: honest connects, bounded closes, supervision.

Decides what a failed connect means (wrong key, taken slot, wrong plan, no server), tells the owner when the stream is
up or down, and restarts one that ended by itself. alpaca-py keeps the connection, the authentication and the backoff;
it only logs what goes wrong, retries a bad key for ever, and has no limits on its waits, so the methods below are
overridden. Called by adapters.alpaca.bars and adapters.alpaca.updates, which mix `SocketLife` into alpaca-py's streams.

Invariants: (1) `on_down` follows each `up` exactly once; (2) no wait is without a limit; (3) an exception of the owner
or of this package ends the stream for good and is raised by `supervise`, never swallowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.legacy.exceptions import InvalidStatusCode

from adapters.alpaca.config import KEY_VARIABLE, SECRET_VARIABLE, AlpacaConfig
from adapters.alpaca.reporter import Reporter
from engine.errors import ConfigError, TapelineError

AUTH_FAILED, SLOT_TAKEN, WRONG_PLAN = 402, 406, 409
_YIELD_AFTER = 512
"""Units of work (bars, or 8 per frame) after which a stream that is behind lets others run."""

_quiet = logging.getLogger("tapeline.alpaca.socket")
_quiet.setLevel(logging.WARNING)  # at DEBUG websockets writes whole frames, and the first one holds the secret
# alpaca-py logs a traceback for each failed connect; all of it is reported here, once and in words.
logging.getLogger("alpaca").setLevel(logging.CRITICAL)


class RefusedError(ValueError):
    """The venue answered the authentication with an in-band error."""

    def __init__(self, code: int, text: str) -> None:
        # alpaca-py ends its loop for good on this text, and only on this.
        super().__init__("insufficient subscription" if code == WRONG_PLAN else f"{text} ({code})")
        self.code = code


class SocketLife:
    """Mixed into alpaca-py's DataStream and TradingStream, before them.

    Attributes:
        name: What it is called in reports: "stock bars", "trade updates".
        up: The subscription is acknowledged and the socket is open.
        fatal: Why the stream must not go on; None while it may.
    """

    _ws: Any
    _running: bool
    _should_run: bool
    _data_received: bool
    _websocket_params: dict[str, Any]
    _endpoint: str
    _reconnect_min_backoff: float
    _reconnect_max_backoff: float

    def prepare(self, config: AlpacaConfig, name: str, reporter: Reporter, on_down: Callable[[], None]) -> None:
        """Take the settings; called once, right after alpaca-py's constructor."""
        self.config = config
        self.name = name
        self.reporter = reporter
        self.up = False
        self.fatal: Exception | None = None
        self.heard = time.monotonic()
        self._on_down = on_down
        self._up_since = 0.0
        self._slot_taken_since: float | None = None
        self._websocket_params["logger"] = _quiet
        self._reconnect_min_backoff = config.reconnect_s_min
        self._reconnect_max_backoff = config.reconnect_s_max

    # --- for the streams ---------------------------------------------------------------------------------------------

    def went_up(self) -> None:
        """Note that the subscription counts from now."""
        self.up = True
        self.heard = self._up_since = time.monotonic()
        self._slot_taken_since = None

    def fail(self, error: Exception) -> None:
        """End the stream for good; `supervise` raises the error."""
        self.fatal = self.fatal or error
        self._should_run = False

    def connect_failed(self, error: BaseException) -> None:
        """Say what a failed connect means, patient where Alpaca is known to need patience."""
        if isinstance(error, RefusedError) and error.code == WRONG_PLAN:
            what = f"{self._at} needs a market-data plan that this key does not have (409): set feed to one it has"
            self.reporter.report("critical", what)
            self.fail(ConfigError(what))
        elif isinstance(error, RefusedError) and error.code == AUTH_FAILED:
            self.reporter.report("critical", f"{self._at} refused the key: check {KEY_VARIABLE} and {SECRET_VARIABLE}")
        elif isinstance(error, RefusedError) and error.code == SLOT_TAKEN:
            self._slot_taken("its one connection is taken (406)")
        elif isinstance(error, InvalidStatusCode) and error.status_code == 429:
            self._slot_taken("too many connections (HTTP 429)")
        elif isinstance(error, InvalidStatusCode) and error.status_code in (401, 403):
            self.reporter.report(
                "critical",
                f"{self._at} refused the key (HTTP {error.status_code}): check {KEY_VARIABLE} and {SECRET_VARIABLE}",
            )
        elif isinstance(error, TimeoutError):
            self.reporter.report(
                "error", f"{self._at}: no handshake within {self.config.handshake_s_max:g} s; retrying"
            )
        else:
            self.reporter.report("error", f"{self._at}: cannot connect: {error or type(error).__name__}; retrying")

    def _slot_taken(self, what: str) -> None:
        """A dead connection keeps its slot for about 90 s (reference 1.5): that alone is no news."""
        now = time.monotonic()
        if self._slot_taken_since is None:
            self._slot_taken_since = now
        waited = now - self._slot_taken_since
        if waited >= self.config.slot_s_max:
            self.reporter.report("critical", f"{self._at}: {what}, for more than {self.config.slot_s_max:g} s: "
                                 "another program uses this key")  # fmt: skip

    @property
    def _at(self) -> str:
        return f"{self.name} at {self._endpoint}"

    # --- in place of alpaca-py's -------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close the socket within `close_s_max`, by force if need be, and say that the stream is down."""
        ws, self._ws, self._running = self._ws, None, False
        if self.up:
            self.up = False
            if time.monotonic() - self._up_since > self.config.reconnect_s_max:
                self._data_received = True  # it held: the next reconnect starts with the short wait again
            self._call(self._on_down)
        task = asyncio.current_task()
        if ws is None or task is None:
            return
        canceled = task.cancelling()
        try:
            async with asyncio.timeout(self.config.close_s_max):
                await ws.close()
        except (TimeoutError, OSError, WebSocketException):
            pass
        finally:
            abort(ws)
        if task.cancelling() > canceled:  # websockets takes a cancel that comes while it closes for its own
            raise asyncio.CancelledError

    def abort(self) -> None:
        """Drop the connection at once; the loop notices and reconnects."""
        if self._ws is not None:
            abort(self._ws)

    async def listen(self) -> None:
        """Read frames until the socket closes or the stream is stopped; the body of alpaca-py's `_consume`."""
        ws, work = self._ws, 0
        try:
            while self._should_run and ws is not None:
                frame = await ws.recv()
                work += 8 + self.take(frame)
                if work >= _YIELD_AFTER:
                    work = 0
                    await asyncio.sleep(0)
        except WebSocketException as error:
            if self._should_run:
                self.reporter.report("warning", f"{self._at}: connection lost ({error or type(error).__name__})")
            raise
        except Exception as error:  # alpaca-py would log it and read on
            self.fail(error)
            raise
        await self.close()

    def take(self, frame: bytes | str) -> int:
        """Handle one frame; give the number of records in it."""
        raise NotImplementedError

    def _call(self, tell: Callable[..., None], *args: Any) -> None:
        """Tell the owner something. An owner that raises has a defect: the stream ends, it loses nothing quietly."""
        try:
            tell(*args)
        except Exception as error:  # noqa: BLE001 - raised again by supervise
            self.fail(error)
            self.abort()


def abort(ws: Any) -> None:
    """Drop a connection without a word to the other side."""
    transport = getattr(ws, "transport", None)
    if transport is not None:
        transport.abort()


async def supervise(stream: Any, stopping: asyncio.Event) -> None:
    """Run a stream until it is stopped; start it again when it ended by itself.

    Raises:
        ConfigError: The venue said that this key has no right to this feed, which no retry will mend.
        Exception: What the owner of the stream raised.
    """
    try:
        while not stopping.is_set():
            what = "ended by itself"
            try:
                await stream._run_forever()  # noqa: SLF001 - the only entry that runs inside a loop
            except Exception as error:  # noqa: BLE001 - reported, then started again
                what = f"ended by {type(error).__name__}: {error}"
            if stream.fatal is not None:
                raise stream.fatal
            if stopping.is_set():
                return
            stream.reporter.report("error", f"{stream.name} {what}; started again")
            await stream.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), stream.config.reconnect_s_min)
    finally:
        await stream.stop_ws()
        await stream.close()


async def run_all(streams: list[Any], stopping: asyncio.Event, *beside: Any) -> None:
    """Run streams, and coroutines beside them, until `stopping` is set or one of them raises; leave nothing behind."""
    tasks = [asyncio.create_task(supervise(stream, stopping), name=stream.name) for stream in streams]
    tasks += [asyncio.create_task(other) for other in beside]
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in [stopped, *tasks]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(stopped, return_exceptions=True)
    for result in results:
        if isinstance(result, TapelineError):
            raise result
    for result in results:
        if isinstance(result, Exception):
            raise result
