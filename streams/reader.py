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
4. With a guard (the trading stream, whole) nothing of that is passed over: a lost end, a sequence left out or a message
   that cannot be read is a `HoleError` for whoever waits, after what came before it. Only a hole that was written down
   is treated as in 3. Without a guard, sequences left out are counted in `skipped` and told in `losses`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from engine.errors import BrokenPromiseError
from streams.connection import Inflow
from streams.loss import Guard, Hole, HoleError, look
from streams.seals import Seal, Stored, last_until, seal_of, stands

__all__ = ["Reader", "Stored", "read"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_HEARTBEAT_S = 1.0
_SILENT_S_MAX = 3.0
_BUFFER_MAX = 50_000
_RETRY_WAIT_S = 0.25
_SEALS_MAX = 1_000
_LOSSES_MAX = 10


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
        seal: What stood at `after`, where that is known.
        guard: Lets nothing be lost silently; only for a stream that never discards, read whole.

    Attributes:
        received: Sequence of the last message that came in; it may still wait to be taken.
        begins_after: Sequence after which the first message that is taken comes.
    """

    def __init__(
        self,
        nc: Inflow,
        stream: str,
        after: int,
        subjects: list[str] | None = None,
        *,
        seal: Seal | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._nc = nc
        self._js: JetStreamContext = nc.jetstream(timeout=5)
        self.stream = stream
        self._subjects = subjects
        self.received = after
        self.begins_after = after
        self.rewinds = 0
        self.skipped = 0
        self.losses: list[str] = []
        self.on_steady: Callable[[], None] | None = None
        self._guard = guard
        self._failure: HoleError | None = None
        self._at: Seal | Stored | None = seal  # what `received` is, where that is known
        self._seals: deque[Stored] = deque(maxlen=_SEALS_MAX)
        self._floor = after  # sequences up to here may be left out: they aged out
        self._reconnects = -1
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
        if self._guard is not None:
            self._guard.seen.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))  # who is canceled meanwhile stays so
        await self._drop()

    async def batch(self, count_max: int) -> list[Stored]:
        """Wait until something is there and take up to `count_max` messages, oldest first."""
        await self.wait()
        return self.take(count_max)

    async def wait(self) -> None:
        """Wait until something is there. Raises HoleError when what comes next was lost."""
        while not self._buffer:
            if self._failure is not None:
                raise self._failure
            self._ready.clear()
            await self._ready.wait()

    def take(self, count_max: int) -> list[Stored]:
        """Take what is there now, without waiting."""
        taken, self._buffer = self._buffer[:count_max], self._buffer[count_max:]
        if taken:
            self._seals.append(taken[-1])
            if self._guard is not None:
                self._guard.seen.write(seal_of(taken[-1]))
        if self._flow_reply and len(self._buffer) < _BUFFER_MAX:
            reply, self._flow_reply = self._flow_reply, ""
            asyncio.get_running_loop().create_task(self._answer(reply))
        return taken

    def seals_at(self, seq: int) -> dict[str, Seal]:
        """Give the seal of a message that ended a batch lately, or of the one reading began after, by stream."""
        known = [stored for stored in self._seals if stored.seq == seq]
        if known:
            return {self.stream: seal_of(known[-1])}
        return {self.stream: self._at} if isinstance(self._at, Seal) and self._at.seq == seq else {}

    @property
    def is_steady(self) -> bool:
        """Whether nothing was lost when the connection was last made, and it was not made anew since."""
        is_same = self._nc.is_connected and self._nc.stats["reconnects"] == self._reconnects
        return is_same and self._failure is None and not self._broken.is_set()

    def resync(self) -> None:
        """Ask for a new consumer now; called when the connection came back."""
        self._broken.set()

    # --- consumer --------------------------------------------------------------------------------------------------

    async def _create(self) -> None:
        await self._drop()
        reconnects = self._nc.stats["reconnects"]
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
        self._reconnects = reconnects
        if self.on_steady is not None:
            self.on_steady()

    async def _rewind(self) -> None:
        """Go back to where the stream is still what was handed out, if it lost its end meanwhile."""
        if self._guard is not None:
            await self._look(self._guard)
        state = (await self._js.stream_info(self.stream)).state
        self._floor = max(self.received, state.first_seq - 1)
        if self.received == 0 or (self.received < state.first_seq and self.received <= state.last_seq):
            return  # aged out, not lost
        here = min(self.received, state.last_seq)
        if here == self.received and await self._is_as_read():
            return
        after = here
        if self._at is not None:
            after = await last_until(self._js, self.stream, state.first_seq, here, self._at.stored_ns)
        log.error("the stream lost messages that were read", stream=self.stream, read=self.received, after=after)
        self.rewinds += 1
        self.received, self._at = after, None
        self._floor = max(after, state.first_seq - 1)

    async def _is_as_read(self) -> bool:
        if self._at is None:
            return True
        seal = seal_of(self._at) if isinstance(self._at, Stored) else self._at
        return await stands(self._js, self.stream, seal)

    async def _look(self, guard: Guard) -> None:
        seals = [seal_of(self._at) if isinstance(self._at, Stored) else self._at, guard.seen.read()]
        hole = await look(self._nc, self.stream, [seal for seal in seals if seal is not None])
        if hole is not None and not guard.passes(hole):
            raise HoleError(hole)

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
            except HoleError as err:
                self._fail(err)
                return
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("consumer not created, trying again", stream=self.stream, error=str(err))
                self._broken.set()
                await asyncio.sleep(_RETRY_WAIT_S)

    def _fail(self, failure: HoleError) -> None:
        self._failure = failure
        self._ready.set()

    def _passes(self, seq: int) -> bool:
        """Whether a message that leaves out sequences may be handed out."""
        if self._subjects is not None or seq <= self._floor + 1:
            return True
        hole = Hole(self.stream, self.received + 1, seq - 1, "gap")
        if self._guard is None or self._guard.passes(hole):
            log.error("the stream left out messages", stream=self.stream, first=hole.first, last=hole.last)
            self.skipped += seq - 1 - self.received
            self.losses = [*self.losses, str(hole)][-_LOSSES_MAX:]
            return True
        self._fail(HoleError(hole))
        return False

    def _on_data(self, reply: bytes, data: bytes) -> None:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
        _, _, stream_seq, consumer_seq, stored_ns, _ = reply.rsplit(b".", 5)
        self._last_seen = time.monotonic()
        if int(consumer_seq) != self._delivered + 1:
            self._broken.set()
            return
        self._delivered += 1
        seq = int(stream_seq)
        if self._failure is not None or (seq != self.received + 1 and not self._passes(seq)):
            return
        self.received, self._at = seq, Stored(seq, data, int(stored_ns))
        self._buffer.append(self._at)
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
