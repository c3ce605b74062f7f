"""Minute bars, ticks and halts from Alpaca's market-data streams, one connection per endpoint (stocks, crypto).

Decides when a subscription counts (the venue's acknowledgement covers it) and when a silent socket is mute; turns each
frame into one call of the listener per kind. It never backfills and never drops a duplicate: feed does both. Corrected
bars (`u`) are not asked for. Called by the feed role, on its event loop.

Bars come first: they are subscribed alone, and the connection counts only with them. Then ticks (trades, quotes) and
halts (statuses, lulds) are asked for, each by itself, since the venue refuses a request as a whole; one that is refused
is reported and done without until the next connection.

Invariants: (1) after each (re)connect `on_connected` comes before the first data of that connection; (2) one frame is
at most one call of `on_statuses`, `on_ticks`, `on_updates` and `on_bars`, in this order; (3) a bad record is reported
and costs itself only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from alpaca.data.live.websocket import DataStream
from websockets.exceptions import WebSocketException

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.frames import Frame, FrameReader
from adapters.alpaca.reporter import Reporter
from adapters.alpaca.socket import RefusedError, SocketLife, run_all, supervise
from engine.errors import BusyError
from engine.liveness import few
from engine.ports import BarListener
from engine.values import PAST_SYMBOLS_MAX, AssetClass, asset_class_of

IsOpen = Callable[[AssetClass], bool]
_PROBLEMS_PER_FRAME_MAX = 3


def _always(_asset_class: AssetClass) -> bool:
    return True


class SubscriptionError(ValueError):
    """The venue did not acknowledge what was asked for."""


async def _unused(_record: Any) -> None:
    """Stand where alpaca-py wants a handler per symbol; frames are handled whole, in `take`."""


class BarStream(SocketLife, DataStream):
    """One market-data connection.

    Args:
        symbols: What is subscribed on it from the beginning, at least one (alpaca-py spins on none).
        wall_ns: Wall clock, for `ts_recv`.
        marked: Those of them whose trades and quotes are wanted.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        asset_class: AssetClass,
        symbols: Sequence[str],
        listener: BarListener,
        wall_ns: Callable[[], int],
        *,
        marked: Sequence[str] = (),
    ) -> None:
        crypto = asset_class is AssetClass.CRYPTO
        DataStream.__init__(
            self,
            endpoint=config.crypto_ws_url if crypto else config.stock_ws_url,
            api_key=config.key,
            secret_key=config.secret,
            raw_data=True,
            websocket_params=config.websocket_params(),
        )
        reporter = Reporter(listener.on_problem, config.problem_repeat_s_min)
        self.wanted = tuple(dict.fromkeys(symbols))
        self.prepare(config, "crypto bars" if crypto else "stock bars", reporter, self._on_disconnected)
        self.asset_class = asset_class
        self.listener = listener
        self.marked = tuple(symbol for symbol in self.wanted if symbol in frozenset(marked))
        self._handlers["bars"].update(dict.fromkeys(self.wanted, _unused))
        self._reader = FrameReader(has_ticks=bool(self.marked))
        self._wall_ns = wall_ns
        self._held: list[tuple[Frame, int]] | None = None
        self._acked: dict[str, set[str]] = {}
        self._refused = False
        self._partial = 0
        self._asked: dict[str, None] = {}  # bars wanted later and not acknowledged so far
        self._asked_ticks: dict[str, None] = {}

    async def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Subscribe to what is new of these, now or as soon as the connection is there.

        What the venue never acknowledged is asked for apart from the rest: it must not take the rest along.

        Args:
            symbols: All of this connection's class.
            marked: Those whose trades and quotes are wanted.
        """
        known, followed = {*self.wanted, *self._asked}, {*self.marked, *self._asked_ticks}
        self._asked |= dict.fromkeys(symbol for symbol in symbols if symbol not in known)
        self._asked_ticks |= dict.fromkeys(symbol for symbol in marked if symbol not in followed)
        self._reader.has_ticks = bool(self.marked or self._asked_ticks)
        if self.up and self._held is None:
            await self._ask_for_more()

    async def _ask_for_more(self) -> None:
        """Ask for what is wanted and not acknowledged; who listens is told when it is."""
        bars, ticks = list(self._asked), list(self._asked_ticks)
        asked: list[tuple[tuple[str, ...], list[str]]] = [(("bars",), bars), (("trades", "quotes"), ticks)]
        if self.asset_class is AssetClass.US_EQUITY:
            asked.append((("statuses", "lulds"), bars))
        if self._is_corrected((*self.wanted, *bars)):
            asked.append((("updatedBars",), bars))
        try:
            async with asyncio.timeout(self.config.ack_s_max):
                for channels, names in asked:
                    if names:
                        await self._send(channels, names)
        except (WebSocketException, AttributeError, TimeoutError) as error:  # the connection is lost; the next one asks
            self.reporter.report("warning", f"{self._at}: not subscribed to {few(bars or ticks)} yet: {error}")

    # --- in place of alpaca-py's -------------------------------------------------------------------------------------

    async def _auth(self) -> None:
        await self._ws.send(msgpack.packb({"action": "auth", "key": self.config.key, "secret": self.config.secret}))
        answer = msgpack.unpackb(await self._ws.recv())[0]
        if answer["T"] == "error":
            raise RefusedError(int(answer.get("code") or 0), str(answer.get("msg") or "auth failed"))
        if answer["T"] != "success" or answer["msg"] != "authenticated":
            msg = f"answer to the authentication was {answer!r}"
            raise ValueError(msg)

    async def _start_ws(self) -> None:
        try:
            async with asyncio.timeout(self.config.handshake_s_max):
                await super()._start_ws()
        except Exception as error:
            self.connect_failed(error)
            raise

    async def _send_subscribe_msg(self) -> None:
        """Subscribe to everything and wait until the venue says so; what arrives meanwhile is held back."""
        self._acked, self._refused, self._held = {}, False, []
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.ack_s_max):
                    await super()._send_subscribe_msg()
                    while not self._refused and self._missing("bars", self.wanted):
                        self.take(await self._ws.recv())
            self._judge_acknowledgement()
            if self.marked:
                await self._ask_for("trades and quotes", ("trades", "quotes"), self.marked)
            if self.asset_class is AssetClass.US_EQUITY:
                await self._ask_for("halts and price bands", ("statuses", "lulds"), self.wanted)
            if self._is_corrected(self.wanted):
                await self._ask_for("corrections of bars", ("updatedBars",), self.wanted)
            held, self._held = self._held, None
        finally:
            self._held = None
        self.went_up()
        lacking = {*self._missing("trades", self.marked), *self._missing("quotes", self.marked)}
        self._call(
            self.listener.on_connected,
            tuple(symbol for symbol in self.wanted if self._is_acked("bars", symbol)),
            tuple(symbol for symbol in self.marked if symbol not in lacking),
        )
        for read, ts_recv in held:
            self._tell(read, ts_recv)
        if self._asked or self._asked_ticks:
            await self._ask_for_more()

    async def _ask_for(self, what: str, channels: Sequence[str], symbols: Sequence[str]) -> None:
        """Subscribe to what the connection can do without; say so where it must."""
        self._refused = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.ack_s_max):
                await self._send(channels, symbols)
                while not self._refused and any(self._missing(channel, symbols) for channel in channels):
                    self.take(await self._ws.recv())
        missing = sorted({symbol for channel in channels for symbol in self._missing(channel, symbols)})
        if missing:
            self.reporter.report("error", f"{self._at}: no {what} of {few(missing)} symbols; going on without them")

    async def _send(self, channels: Sequence[str], symbols: Sequence[str]) -> None:
        request: dict[str, Any] = {**{channel: list(symbols) for channel in channels}, "action": "subscribe"}
        message = bytes(msgpack.packb(request) or b"")
        size = self._max_frame_size
        await self._ws.send(message[start : start + size] for start in range(0, len(message), size))

    async def _consume(self) -> bool:
        await self.listen()
        return False

    # --- frames ------------------------------------------------------------------------------------------------------

    def take(self, frame: bytes | str) -> int:
        """Handle one frame: data to the listener, errors and acknowledgements here."""
        ts_recv = self._wall_ns()
        read = self._reader.read(frame)
        if read.has_data:
            self.heard = time.monotonic()
            self._data_received = True
        for control in read.controls:
            self._control(control)
        for what in read.problems[:_PROBLEMS_PER_FRAME_MAX]:
            self.reporter.report("warning", f"{self.name}: {what}")
        if len(read.problems) > _PROBLEMS_PER_FRAME_MAX:
            more = len(read.problems) - _PROBLEMS_PER_FRAME_MAX
            self.reporter.report("warning", f"{self.name}: {more} more unreadable records in one frame")
        if self._held is not None:
            self._held.append((read, ts_recv))
        else:
            self._tell(read, ts_recv)
        return len(read.bars) + len(read.ticks)

    def _tell(self, read: Frame, ts_recv: int) -> None:
        if read.statuses:
            self._call(self.listener.on_statuses, read.statuses, ts_recv)
        if read.ticks:
            self._call(self.listener.on_ticks, read.ticks, ts_recv)
        if read.updates:
            self._call(self.listener.on_updates, read.updates, ts_recv)
        if read.bars:
            self._call(self.listener.on_bars, read.bars, ts_recv)

    def _on_disconnected(self) -> None:
        self.listener.on_disconnected(self.wanted)

    def _control(self, record: dict[str, Any]) -> None:
        if record.get("T") == "subscription":
            self._acked = {
                channel: {symbol for symbol in acked if isinstance(symbol, str)}
                for channel, acked in record.items()
                if isinstance(acked, list)
            }
            if (self._asked or self._asked_ticks) and self._held is None:
                self._join()
        elif record.get("T") == "error":
            code, text = record.get("code"), record.get("msg")
            self.reporter.report("error", f"{self._at}: {text} ({code}); {len(self.wanted)} symbols wanted")
            self._refused = True

    def _join(self) -> None:
        """Tell of what was asked for later and is acknowledged now: from here on it belongs to the connection."""
        bars = tuple(symbol for symbol in self._asked if self._is_acked("bars", symbol))
        ticks = tuple(
            symbol
            for symbol in self._asked_ticks
            if self._is_acked("trades", symbol) and self._is_acked("quotes", symbol)
        )
        self.wanted += bars
        self.marked += ticks
        self._handlers["bars"].update(dict.fromkeys(bars, _unused))
        for symbol in bars:
            del self._asked[symbol]
        for symbol in ticks:
            del self._asked_ticks[symbol]
        if bars or ticks:
            self._call(self.listener.on_connected, bars, ticks)

    def _is_corrected(self, symbols: Sequence[str]) -> bool:
        """Whether corrections of bars are wanted: of more symbols nobody could take them in."""
        return len(symbols) <= PAST_SYMBOLS_MAX

    def _is_acked(self, channel: str, symbol: str) -> bool:
        acked = self._acked.get(channel, ())
        return symbol in acked or "*" in acked

    def _missing(self, channel: str, symbols: Sequence[str]) -> list[str]:
        return [symbol for symbol in symbols if not self._is_acked(channel, symbol)]

    def _judge_acknowledgement(self) -> None:
        """Accept a full acknowledgement; a partial one only after several connections gave no better.

        Raises:
            SubscriptionError: Connect again.
        """
        missing = self._missing("bars", self.wanted)
        if not missing:
            self._partial = 0
            return
        self._partial += 1
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        what = f"{self._at}: {len(missing)} of {len(self.wanted)} symbols not acknowledged ({shown})"
        if len(missing) < len(self.wanted) and self._partial >= self.config.ack_attempts_max:
            self.reporter.report("critical", f"{what}; going on without them")
            return
        self.reporter.report("error", f"{what}; connecting again")
        raise SubscriptionError(what)


class AlpacaBars:
    """Bars, ticks and halts of many symbols as they are made.

    Args:
        wall_ns: Wall clock in ns UTC, read once per frame.
        is_open: Whether the market of a class is open now; silence counts only then. None: always.
    """

    def __init__(self, config: AlpacaConfig, wall_ns: Callable[[], int], is_open: IsOpen | None = None) -> None:
        self._config = config
        self._wall_ns = wall_ns
        self._is_open: IsOpen = is_open or _always
        self._stopping = asyncio.Event()
        self._streams: list[BarStream] = []
        self._later: asyncio.Queue[BarStream] = asyncio.Queue()
        self._listener: BarListener | None = None

    async def run(self, symbols: Sequence[str], marked: Sequence[str], listener: BarListener) -> None:
        """Stream until `stop`; run it as a task, once. Cancelling it closes everything as well.

        Args:
            symbols: Bars of these; of the stocks among them also halts and price bands.
            marked: Trades and quotes of these, which are among `symbols`.
            listener: Who is told.

        Raises:
            ConfigError: The feed is not in the key's plan.
            BusyError: It runs already.
        """
        if self._streams:
            msg = "this bar stream runs already: make a second AlpacaBars only with other URLs"
            raise BusyError(msg)
        self._listener = listener
        for asset_class in AssetClass:
            chosen = [symbol for symbol in symbols if asset_class_of(symbol) is asset_class]
            if chosen:
                self._streams.append(
                    BarStream(self._config, asset_class, chosen, listener, self._wall_ns, marked=marked)
                )
        try:
            await run_all(list(self._streams), self._stopping, self._watch(), self._begin_later())
        finally:
            self._streams, self._listener = [], None

    async def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Subscribe to what is new of these; a connection of a class that had none is made.

        Args:
            symbols: Everything that is wanted from now on; what else is subscribed stays so.
            marked: Those of them whose trades and quotes are wanted.
        """
        if self._listener is None:
            return
        for asset_class in AssetClass:
            chosen = [symbol for symbol in symbols if asset_class_of(symbol) is asset_class]
            wanted = [symbol for symbol in marked if asset_class_of(symbol) is asset_class]
            stream = next((one for one in self._streams if one.asset_class is asset_class), None)
            if stream is not None:
                await stream.follow(chosen, wanted)
            elif chosen:
                new = BarStream(self._config, asset_class, chosen, self._listener, self._wall_ns, marked=wanted)
                self._streams.append(new)
                self._later.put_nowait(new)

    async def _begin_later(self) -> None:
        """Run the connections that are made while others run."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(supervise(await self._later.get(), self._stopping))

    async def stop(self) -> None:
        """Ask `run` to end; it closes the sockets within `close_s_max` and returns."""
        self._stopping.set()

    async def _watch(self) -> None:
        """Drop a connection that is open and mute while its market is open, so that it is made anew."""
        mute_s_max = self._config.mute_s_max
        while True:
            await asyncio.sleep(mute_s_max / 8)
            now = time.monotonic()
            for stream in self._streams:
                if not stream.up or not self._is_open(stream.asset_class):
                    stream.heard = now
                elif now - stream.heard > mute_s_max:
                    stream.heard = now
                    stream.reporter.report(
                        "error", f"{stream.name}: no data for {mute_s_max:g} s in an open market; connecting again"
                    )
                    stream.abort()
