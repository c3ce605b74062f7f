"""Ordered reading of a stream from a position, without acknowledgements.

The state of a role holds the position it was applied to; reading goes on after it. So acknowledgements would be a
second truth beside the checkpoint, and there are none.

Invariants:
1. Messages are handed out in stream order, each at most once per reader; a hole in the delivery (dropped, server
   restarted, silent for 3 s) makes a new consumer after the last message handed to the buffer.
2. The buffer is bounded: flow control is answered at once while there is room, otherwise when the buffer is drained
   (nats-py's own ordered consumer answers every 250 ms, which stalls a burst).
3. A stream that lost its end (an async one, when its server was killed) uses the lost sequences again. Before a new
   consumer is made, the message at the position is compared with the one handed out, by the time it was stored; where
   it is another one or none, reading goes on after the last one that is older, and the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from engine.errors import BrokenPromiseError
from streams.connection import Inflow

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_HEARTBEAT_S = 1.0
_SILENT_S_MAX = 3.0
_BUFFER_MAX = 50_000
_RETRY_WAIT_S = 0.25


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A message as stored: its sequence in the stream and its bytes."""

    seq: int
    data: bytes


def read[T](stored: Stored, stream: str, decoder: Callable[[bytes], T]) -> T:
    """Decode a stored message.

    Raises:
        BrokenPromiseError: It cannot be read. Nothing is skipped: whoever reads stops, and a person looks.
    """
    try:
        return decoder(stored.data)
    except msgspec.MsgspecError as err:
        msg = (
            f"message {stored.seq} of stream {stream} cannot be read ({err}): somebody else published it; look at it "
            f"with `nats stream get {stream} {stored.seq}`, remove it with `nats stream rmm {stream} {stored.seq}`"
        )
        raise BrokenPromiseError(msg) from None


class Reader:
    """Reads one stream in order.

    Args:
        nc: A connection for reading.
        stream: Name of the stream.
        after: Sequence after which to read; 0 reads from the beginning.
        subjects: Filter; None reads everything.

    Attributes:
        received: Sequence of the last message that came in; it may still wait to be taken.
        begins_after: Sequence after which the first message that is taken comes.
    """

    def __init__(self, nc: Inflow, stream: str, after: int, subjects: list[str] | None = None) -> None:
        self._nc = nc
        self._js: JetStreamContext = nc.jetstream(timeout=5)
        self.stream = stream
        self._subjects = subjects
        self.received = after
        self.begins_after = after
        self.rewinds = 0
        self._stored_ns = 0  # when `received` was stored, 0 while it is only known from a checkpoint
        self._buffer: list[Stored] = []
        self._ready = asyncio.Event()
        self._sub: Subscription | None = None
        self._consumer = ""
        self._generation = 0
        self._delivered = 0
        self._flow_reply = ""
        self._last_seen = 0.0
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Create the consumer and the task that keeps it alive."""
        await self._create()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the consumer; the buffer keeps what it holds."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._drop()

    async def batch(self, count_max: int) -> list[Stored]:
        """Wait until something is there and take up to `count_max` messages, oldest first."""
        await self.wait()
        return self.take(count_max)

    async def wait(self) -> None:
        """Wait until something is there."""
        while not self._buffer:
            self._ready.clear()
            await self._ready.wait()

    def take(self, count_max: int) -> list[Stored]:
        """Take what is there now, without waiting."""
        taken, self._buffer = self._buffer[:count_max], self._buffer[count_max:]
        if self._flow_reply and len(self._buffer) < _BUFFER_MAX:
            reply, self._flow_reply = self._flow_reply, ""
            asyncio.get_running_loop().create_task(self._answer(reply))
        return taken

    def resync(self) -> None:
        """Ask for a new consumer now; called when the connection came back."""
        self._broken.set()

    # --- consumer --------------------------------------------------------------------------------------------------

    async def _create(self) -> None:
        await self._drop()
        await self._rewind()
        if not self._generation:
            self.begins_after = self.received
        inbox = self._nc.new_inbox()
        self._delivered = 0
        self._flow_reply = ""
        self._last_seen = time.monotonic()
        self._generation += 1
        generation = self._generation

        def on_data(reply: bytes, data: bytes) -> None:
            if generation == self._generation:  # else a late delivery of a consumer that was replaced
                self._on_data(reply, data)

        async def on_other(msg: Msg) -> None:
            if generation == self._generation:
                self._last_seen = time.monotonic()
                await self._on_status(msg)

        self._sub = await self._nc.open_lane(inbox, on_data, on_other)
        config = ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.received + 1,
            ack_policy=AckPolicy.NONE,
            flow_control=True,
            idle_heartbeat=_HEARTBEAT_S,
            inactive_threshold=30,
            mem_storage=True,
            max_deliver=1,
            num_replicas=1,
            filter_subjects=self._subjects,
        )
        info = await self._js.add_consumer(self.stream, config)
        self._consumer = info.name

    async def _rewind(self) -> None:
        """Go back to where the stream is still what was handed out, if it lost its end meanwhile."""
        if self.received == 0:
            return
        state = (await self._js.stream_info(self.stream)).state
        if self.received < state.first_seq and self.received <= state.last_seq:
            return  # aged out, not lost
        here = min(self.received, state.last_seq)
        if here == self.received and self._stored_ns in (0, await self._time_of(here)):
            return
        after, low = here, state.first_seq - 1
        if self._stored_ns:
            while low < here:  # the last one stored at or before the time of what was handed out last
                middle = (low + here + 1) // 2
                if await self._time_of(middle) <= self._stored_ns:
                    low = middle
                else:
                    here = middle - 1
            after = low
        log.error("the stream lost messages that were read", stream=self.stream, read=self.received, after=after)
        self.rewinds += 1
        self.received, self._stored_ns = after, 0

    async def _time_of(self, seq: int) -> int:
        """When the message was stored, ns UTC; 0 where there is none."""
        try:
            found = await self._js.get_msg(self.stream, seq, direct=True)
        except NotFoundError:
            return 0
        stamp = (found.headers or {}).get("Nats-Time-Stamp", "")  # 2026-01-02T03:04:05.123456789Z
        seconds, _, digits = stamp.removesuffix("Z").partition(".")
        return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0"))

    async def _drop(self) -> None:
        sub, self._sub = self._sub, None
        if sub is not None:
            with contextlib.suppress(NatsError, OSError):
                await self._nc.close_lane(sub)
        name, self._consumer = self._consumer, ""
        if name and self._nc.is_connected:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                await self._js.delete_consumer(self.stream, name)

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), _HEARTBEAT_S)
            if not self._broken.is_set() and time.monotonic() - self._last_seen < _SILENT_S_MAX:
                continue
            if not self._nc.is_connected:
                await asyncio.sleep(_RETRY_WAIT_S)  # waiting for an event that is set yields to nobody
                continue
            self._broken.clear()
            try:
                await self._create()
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("consumer not created, trying again", stream=self.stream, error=str(err))
                self._broken.set()
                await asyncio.sleep(_RETRY_WAIT_S)

    def _on_data(self, reply: bytes, data: bytes) -> None:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
        _, _, stream_seq, consumer_seq, stored_ns, _ = reply.rsplit(b".", 5)
        self._last_seen = time.monotonic()
        if int(consumer_seq) != self._delivered + 1:
            self._broken.set()
            return
        self._delivered += 1
        self.received, self._stored_ns = int(stream_seq), int(stored_ns)
        self._buffer.append(Stored(self.received, data))
        self._ready.set()

    async def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        stalled = headers.get("Nats-Consumer-Stalled", "")
        flow = msg.reply or stalled
        if flow:
            if len(self._buffer) < _BUFFER_MAX:
                await self._answer(flow)
            else:
                self._flow_reply = flow
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._delivered:
            self._broken.set()

    async def _answer(self, reply: str) -> None:
        with contextlib.suppress(NatsError, OSError):
            await self._nc.publish(reply)
