"""Publishing with certainty: what returns is stored, in this order, once.

Trading: a few messages one after the other by request, each when the one before it is stored; many as an atomic batch
(stored whole or not at all). A batch that fails for any reason, also because one of its ids is already stored (error
10201), is sent again singly with the same ids, where `duplicate` counts as success. So a crash may always leave a first
part of what was to be stored, never a later part without it (`apart` asks for less: marks of different symbols).
Market: a burst by plain publishes with an acknowledged last message, whose sequence must be the expected one; otherwise
what is missing in the stream is sent singly. All go on until it is done: the caller waits, also while the stream is at
its size limit or the disk is full, and `trouble` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import weakref
from collections.abc import Sequence

import msgspec
import structlog
from nats.aio.client import Client
from nats.errors import BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import PubAck, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_BATCH_MAX = 1000
"""Limit of nats-server for one atomic batch (stream.go, streamDefaultMaxAtomicBatchSize)."""
_SINGLY_MAX = 6
"""nats-server makes a store of its own on disk for each batch: 4 to 6 ms whatever its size, where a message stored
singly takes 0.7 ms (nats-server 2.15, fsync of 0.4 ms)."""
_APART_MAX = 16
"""As many fsyncs of 0.25 to 0.4 ms as take what a batch does, 4 to 6 ms."""
_BURST_MAX = 2000
"""Messages between two acknowledged ones of a burst; the server refuses floods of 10,000 unacknowledged."""
_ACK_S_MAX = 5.0
_RETRY_WAIT_S = 0.25


class Outgoing(msgspec.Struct, frozen=True):
    """One message to store. `id` is its Nats-Msg-Id, where it has one (see `Publisher.burst`)."""

    subject: str
    data: bytes
    id: str


class Publisher:
    """Publishes to one stream.

    Attributes:
        trouble: Why it stores nothing at the moment; empty when it does.
    """

    def __init__(self, nc: Client, stream: str, name: str) -> None:
        self._nc = nc
        self._js: JetStreamContext = nc.jetstream(timeout=_ACK_S_MAX)
        self._stream = stream
        self._name = name
        self._batches = itertools.count(1)
        self.last_seq = 0
        self.trouble = ""
        _publishers.add(self)

    async def one(self, message: Outgoing) -> int:
        """Store one message; return its sequence."""
        while True:
            try:
                ack: PubAck = await asyncio.wait_for(
                    self._js.publish(
                        message.subject,
                        message.data,
                        stream=self._stream,
                        headers={"Nats-Msg-Id": message.id},
                        timeout=_ACK_S_MAX,
                    ),
                    _ACK_S_MAX + 1,
                )
            except (NatsError, OSError, TimeoutError) as err:
                if _is_final(err):
                    raise
                log.warning("publish not acknowledged, sending again", subject=message.subject, error=str(err))
                self.trouble = _trouble(self._stream, err)
                await asyncio.sleep(_RETRY_WAIT_S)
                continue
            self.last_seq = max(self.last_seq, ack.seq)
            self.trouble = ""
            return ack.seq

    async def atomic(self, messages: Sequence[Outgoing]) -> None:
        """Store messages in order; more than a few in batches that are stored whole."""
        for chunk in itertools.batched(messages, _BATCH_MAX):
            if len(chunk) <= _SINGLY_MAX or not await self._batch(chunk):
                for message in chunk:
                    await self.one(message)

    async def apart(self, messages: Sequence[Outgoing]) -> None:
        """Store messages that are of different things, so that any part of them may be there without the rest.

        A few are all sent before the first is acknowledged, for an atomic batch makes and deletes files.
        """
        for chunk in itertools.batched(messages, _BATCH_MAX):
            if len(chunk) > _APART_MAX:
                await self.atomic(chunk)
            else:
                await asyncio.gather(*map(self.one, chunk))

    async def _batch(self, chunk: Sequence[Outgoing]) -> bool:
        batch_id = f"{self._name}-{next(self._batches)}"
        last = len(chunk)
        try:
            for number, message in enumerate(chunk, 1):
                headers = {
                    "Nats-Msg-Id": message.id,
                    "Nats-Batch-Id": batch_id,
                    "Nats-Batch-Sequence": str(number),
                }
                if number < last:
                    await self._nc.publish(message.subject, message.data, headers=headers)
                    continue
                headers["Nats-Batch-Commit"] = "1"
                ack = await asyncio.wait_for(
                    self._js.publish(message.subject, message.data, stream=self._stream, headers=headers),
                    _ACK_S_MAX + 1,
                )
                self.last_seq = max(self.last_seq, ack.seq)
        except (NatsError, OSError, TimeoutError) as err:
            log.info("batch not stored whole, sending singly", size=last, error=str(err))
            return False
        return True

    async def burst(self, messages: Sequence[Outgoing]) -> None:
        """Store many new messages in order as fast as the server takes them; `last_seq` must be known (see `sync`).

        They go without ids: a header costs publisher, server and every reader as much as the message itself. So the
        caller answers for their being new, and what is missing after a failure is found by reading.
        """
        for chunk in itertools.batched(messages, _BURST_MAX):
            before = self.last_seq
            for message in chunk[:-1]:
                await self._nc.publish(message.subject, message.data)
            try:
                ack: PubAck = await asyncio.wait_for(
                    self._js.publish(chunk[-1].subject, chunk[-1].data, stream=self._stream, timeout=_ACK_S_MAX),
                    _ACK_S_MAX + 1,
                )
                self.last_seq = ack.seq
            except (NatsError, OSError, TimeoutError) as err:
                if _is_final(err):
                    raise
                log.warning("burst not acknowledged, looking at what is stored", size=len(chunk), error=str(err))
                self.trouble = _trouble(self._stream, err)
                await self.sync()
            if self.last_seq != before + len(chunk):
                await self._mend(before, chunk)
            self.trouble = ""

    async def _mend(self, before: int, chunk: Sequence[Outgoing]) -> None:
        """Store what is not there of a burst that began after sequence `before`."""
        await self.sync()  # also: whatever this connection sent is in by now
        found: set[tuple[str, bytes]] = set()
        for seq in range(before + 1, self.last_seq + 1):
            with contextlib.suppress(NotFoundError):
                stored = await self._get(seq)
                found.add((stored.subject or "", stored.data or b""))
        missing = [message for message in chunk if (message.subject, message.data) not in found]
        log.warning("burst not stored whole, sending the rest singly", size=len(chunk), missing=len(missing))
        for message in missing:
            await self.one(message)
        await self.sync()

    async def _get(self, seq: int) -> RawStreamMsg:
        while True:
            try:
                return await self._js.get_msg(self._stream, seq)
            except NotFoundError:
                raise
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("stream does not answer, asking again", stream=self._stream, error=str(err))
                await asyncio.sleep(_RETRY_WAIT_S)

    async def sync(self) -> None:
        """Learn the stream's last sequence. Raises NotFoundError when there is no such stream."""
        while True:
            try:
                info = await self._js.stream_info(self._stream)
            except NotFoundError:
                raise
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("stream does not answer, asking again", stream=self._stream, error=str(err))
                await asyncio.sleep(_RETRY_WAIT_S)
                continue
            self.last_seq = info.state.last_seq
            return


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


def troubles_on(nc: Client) -> list[str]:
    """Say what is not stored at the moment over this connection."""
    return sorted({one.trouble for one in _publishers if one.trouble and one._nc is nc})  # type: ignore[reportPrivateUsage]  # noqa: SLF001


def _trouble(stream: str, err: Exception) -> str:
    """Say to a person why nothing is stored."""
    why = (err.description or str(err)) if isinstance(err, APIError) else str(err) or type(err).__name__
    if _is_at_limit(err):
        return (
            f"stream {stream} is at its size limit ({why}): nothing is sent to the venue; raise the setting nats."
            "trading_bytes_max and start again"
        )
    return f"stream {stream} stores nothing at the moment ({why}): it is tried again, and nothing is sent meanwhile"


def _is_at_limit(err: Exception) -> bool:
    return isinstance(err, APIError) and (err.description or "").startswith("maximum")


def _is_final(err: Exception) -> bool:
    """Errors that sending again cannot mend: the subject is not the stream's own, the message too large."""
    if isinstance(err, APIError):
        return err.err_code in {10076, 10060, 10052}
    return isinstance(err, MaxPayloadError | BadSubjectError)
