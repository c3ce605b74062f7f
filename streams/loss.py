"""What the trading stream lost: found out, named, written down. Nothing is decided on a hole.

The trading stream is stored before it is acknowledged and discards nothing, so its sequences are 1, 2, 3, ... without a
hole, and what was read once stays. A damaged or truncated block file breaks that in four ways, all tried:

    the end is gone, sequences are used again       a seal does not stand (after kill -9 of nats-server)
    the end is gone, sequences are not used again   the state counts deleted messages (after an orderly stop)
    a block is gone or cut short in the middle      as before, or the first sequence is above 1
    bytes of a message are other ones               the state says nothing; the message is left out when it is read

Who finds a hole stops with `HoleError`. The daemon then makes the stream whole (tapeline.mend); where it cannot,
because NATS is not its own, a hole that is written down is passed over while trading is halted.
Called by streams.reader and streams.role.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from engine.errors import BrokenPromiseError, ConfigError
from streams.checkpoint import Checkpoint, CheckpointStore
from streams.seals import Seal, Seen, get, last_until, stands
from streams.topology import Topology

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Hole(msgspec.Struct, frozen=True):
    """Messages `first` to `last` of a stream that are gone. `end`: sequences from `first` on may be used again."""

    stream: str
    first: int
    last: int
    kind: Literal["end", "gap"]

    def __str__(self) -> str:
        """Say it to a person."""
        which = f"message {self.first}" if self.first == self.last else f"messages {self.first} to {self.last}"
        return f"stream {self.stream} lost {which}, which had been stored"


class HoleError(BrokenPromiseError):
    """The trading stream lost messages: nobody decides or sends before it is whole or a person has looked."""

    exit_code: ClassVar[int] = 6

    def __init__(self, hole: Hole) -> None:
        super().__init__(f"{hole}: trading is halted; look at it, then `tapeline resume`")
        self.hole = hole


class Holes:
    """Holes that were found, in a file per role in `run/` of the data directory.

    Args:
        folder: The data directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "run"

    def read(self) -> list[Hole]:
        """Give all of them; a file that cannot be read holds none."""
        found: list[Hole] = []
        for path in sorted(self._folder.glob("*.holes")):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found += msgspec.json.decode(path.read_bytes(), type=list[Hole])
        return found

    def note(self, hole: Hole, role: str) -> None:
        """Write one down that a role found, durable when this returns."""
        path = self._folder / f"{role}.holes"
        known: list[Hole] = []
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            known = msgspec.json.decode(path.read_bytes(), type=list[Hole])
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode([*known, hole]))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def forget(self) -> None:
        """The stream is whole again."""
        for path in self._folder.glob("*.holes"):
            path.unlink(missing_ok=True)


class Guard:
    """What a role needs to notice that the trading stream lost something.

    Args:
        folder: The data directory.
        role: The role that reads.
        is_mended: Whether the daemon mends holes; where it does not, what was written down is passed over, halted.
    """

    def __init__(self, folder: Path, role: str, *, is_mended: bool = True) -> None:
        self.seen = Seen(seen_path(folder, role))
        self._holes = None if is_mended else Holes(folder)

    def passes(self, hole: Hole) -> bool:
        """Whether a role may go on past this hole."""
        known = [] if self._holes is None else self._holes.read()
        return any(h.stream == hole.stream and h.first <= hole.first and hole.last <= h.last for h in known)


def seen_path(folder: Path, role: str) -> Path:
    """Where a role notes the last message it has read."""
    return folder / "run" / f"{role}.seen"


class _State(msgspec.Struct):
    messages: int
    first_seq: int
    last_seq: int
    deleted: list[int] | None = None


class _Info(msgspec.Struct):
    state: _State


async def look(nc: Client, stream: str, seals: list[Seal]) -> Hole | None:
    """Look for a hole: whether every seal stands, whether the state counts a gap, whether the last message is there.

    Args:
        nc: A connection.
        stream: A stream that never discards.
        seals: What was read of it, by whomever.
    """
    js = nc.jetstream(timeout=5)
    state = await _state(nc, stream)
    is_cut = state.first_seq > 1 or not state.messages
    for seal in seals:
        if seal.seq and not await stands(js, stream, seal):
            reached = min(seal.seq, state.last_seq)
            after = 0 if is_cut else await last_until(js, stream, 1, reached, seal.stored_ns)
            first = min(after + 1, seal.seq)
            return Hole(stream, first, max(seal.seq, first), "end")
    return await _gap(js, stream, state)


async def check(nc: Client, topology: Topology, guard: Guard) -> None:
    """Compare the trading stream with what a role has seen of it, before anything is made of it.

    Raises:
        HoleError: It lost something, and nobody wrote that down yet.
        ConfigError: It lost the message that says whose ledger it is.
    """
    seal = guard.seen.read()
    hole = await look(nc, topology.trading, [] if seal is None else [seal])
    if hole is not None and not guard.passes(hole):
        raise HoleError(hole)
    if seal is None:
        return
    try:
        await nc.jetstream(timeout=5).get_last_msg(topology.trading, f"{topology.prefix}.opened")
    except NotFoundError:
        msg = (
            f"stream {topology.trading} lost its beginning, and with it whose ledger it is: put the store of "
            "nats-server back from a copy, or begin anew with another --data-dir"
        )
        raise ConfigError(msg) from None


async def recall(nc: Client, stream: str, guard: Guard | None, store: CheckpointStore) -> Checkpoint | None:
    """Give the newest checkpoint whose position in the stream still is what it was.

    Raises:
        HoleError: The stream lost messages that a checkpoint has seen, and nobody wrote that down yet.
    """
    for checkpoint in store.candidates():
        seal = checkpoint.header.seals.get(stream)
        if seal is None or not seal.seq or await stands(nc.jetstream(timeout=5), stream, seal):
            return checkpoint
        hole = await look(nc, stream, [seal])
        if hole is not None and not (guard and guard.passes(hole)):
            raise HoleError(hole)
        log.warning("checkpoint is of messages that the stream lost, passed over", position=seal.seq)
    return None


async def _gap(js: JetStreamContext, stream: str, state: _State) -> Hole | None:
    if not state.last_seq:
        return None
    if state.first_seq > 1 or not state.messages:
        return Hole(stream, 1, min(state.first_seq - 1, state.last_seq), "gap")
    if state.messages < state.last_seq:
        deleted = state.deleted or [state.last_seq]
        return Hole(stream, min(deleted), max(deleted), "gap")
    if await get(js, stream, state.last_seq) is None:
        return Hole(stream, state.last_seq, state.last_seq, "gap")
    return None


async def _state(nc: Client, stream: str) -> _State:
    await nc.jetstream(timeout=5).stream_info(stream)  # for its errors: no such stream, no JetStream
    answer = await nc.request(f"$JS.API.STREAM.INFO.{stream}", b'{"deleted_details":true}', timeout=5)
    return msgspec.json.decode(answer.data, type=_Info).state


async def last_readable(nc: Client, stream: str) -> int:
    """Give the sequence of the last message that is there; 0 for none."""
    js = nc.jetstream(timeout=5)
    state = await _state(nc, stream)
    low, high = 0, state.last_seq
    if not state.messages or await get(js, stream, high) is not None:
        return high if state.messages else 0
    while low < high:  # what is missing there is the end
        middle = (low + high + 1) // 2
        if await get(js, stream, middle) is None:
            high = middle - 1
        else:
            low = middle
    return low
