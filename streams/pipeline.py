"""Deciding and publishing side by side, for a role that turns one stream's messages into messages of another.

The role decides on and on; what follows is published here, in order, meanwhile. Invariants: (1) the position moves past
a message only when everything that followed from it is stored; (2) a checkpoint is written only when nothing is under
way, so its state and its position are of one moment. Called by signals and risk.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from streams.checkpoint import CheckpointStore
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, Stored
from streams.role import Context

_AHEAD_MAX = 16
_IDLE_S = 0.05
_OVERDUE = 4.0
_REST = 20


class Pipeline:
    """What a role has decided and not yet stored, and when its state is written down.

    Args:
        context: The role's.
        publisher: Of the stream that is written.
        reader: Of the stream that is read.
        store: Where checkpoints go.
        encode: Gives the state as it is, for a checkpoint; None where it cannot be written down now.
        every: A checkpoint is due after so many messages, or so many seconds with at least one; one that takes long is
            due less often, so that it takes a twentieth of the time at most.
    """

    def __init__(
        self,
        context: Context,
        publisher: Publisher,
        reader: Reader,
        *,
        store: CheckpointStore,
        encode: Callable[[], bytes | None],
        every: tuple[int, float],
    ) -> None:
        self._context = context
        self._publisher = publisher
        self._reader = reader
        self._store = store
        self._encode = encode
        self._messages, self._seconds = every
        self._decided: asyncio.Queue[tuple[list[Outgoing], int]] = asyncio.Queue(_AHEAD_MAX)
        self._owed = 0
        self.position = self._read = self._written = reader.begins_after  # `received` may be ahead already
        self._written_at = time.monotonic()
        self._took = 0.0

    async def batch(self, count_max: int, within_s: float | None = None) -> list[Stored]:
        """Wait for messages and take up to `count_max`; what follows from them is to be handed over by `put`.

        Args:
            count_max: At most so many.
            within_s: Give none where none came within this time; None waits for ever.
        """
        await asyncio.sleep(0)  # what is decided is published before more is decided
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader.wait(), within_s)
        return self.take(count_max)

    async def wait(self) -> None:
        """Wait for messages: where something else is decided meanwhile, they are taken when that is done (`take`)."""
        await asyncio.sleep(0)  # what is decided is published before more is decided
        await self._reader.wait()

    def take(self, count_max: int) -> list[Stored]:
        """Take up to `count_max` messages that are there, to be decided at once, as those of `batch`."""
        batch = self._reader.take(count_max)
        self._read = batch[-1].seq if batch else self._read
        return batch

    async def put(self, outgoing: list[Outgoing]) -> None:
        """Hand over what follows from the messages taken so far; waits while too much is under way."""
        self._owed += 1
        await self._decided.put((outgoing, self._read))

    async def put_aside(self, outgoing: list[Outgoing]) -> None:
        """Hand over what follows from something else: the position stays where it is."""
        self._owed += 1
        await self._decided.put((outgoing, 0))

    async def publish(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Publish what was handed over, for ever; `announce` is called whenever the position moved."""
        points, role = self._context.points, self._context.role
        while True:
            taken = [await self._decided.get()]
            while not self._decided.empty():
                taken.append(self._decided.get_nowait())
            outgoing = [message for messages, _ in taken for message in messages]
            if outgoing:
                points.hit(f"{role}.before_publish")
                await self._publisher.atomic(outgoing)
                points.hit(f"{role}.after_publish")
            self.position = next((seq for _, seq in reversed(taken) if seq), self.position)  # a stream may begin anew
            self._owed -= len(taken)
            for _ in taken:
                self._decided.task_done()
            await announce()

    async def checkpoint_when_idle(self) -> None:
        """Write the state down when it is due and nothing waits: the whole market's takes as long as a minute."""
        passed = time.monotonic() - self._written_at
        share = max((self.position - self._written) / self._messages, passed / self._seconds)
        if share < 1 or passed < self._took * _REST or self._read == self._written:
            return
        if share < _OVERDUE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reader.wait(), _IDLE_S)
                return
        await self._decided.join()
        self.checkpoint()

    async def settle(self) -> None:
        """Wait until all that was handed over is stored."""
        await self._decided.join()

    def checkpoint(self) -> None:
        """Write the state down, unless outputs are still owed: then the last checkpoint stands."""
        if self.position != self._read or self._owed:
            return
        points, role = self._context.points, self._context.role
        points.hit(f"{role}.before_checkpoint")
        began = time.monotonic()
        payload = self._encode()
        if payload is None:
            return
        self._store.write({self._reader.stream: self.position}, payload, self._reader.seals_at(self.position))
        points.hit(f"{role}.after_checkpoint")
        self._written, self._written_at = self.position, time.monotonic()
        self._took = self._written_at - began
