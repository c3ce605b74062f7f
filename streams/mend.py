"""Makes the trading stream whole again: what it still holds and what the database has of the rest, in the first order.

Nobody else may be connected. A message that neither has is named by an alert in its place, so that the stream has no
hole and later messages keep their sequences. Decides nothing about trading, which is halted. Called by tapeline.mend.

    1. The whole new stream is in a file on disk (the spool) before the damaged one is removed: killed at any moment,
       the next call goes on. The spool goes away last, by `done`.
    2. Messages stay byte for byte what they were; those from the database lose the nanoseconds of their heads.
    3. Where sequences were used again after a loss, what was lost comes first, as it did.
    4. Where something of that is gone for good, what risk made of it and stored afterwards (positions, account) goes
       too: risk says it again, from what is there. Kept, it would contradict that.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from nats.js.errors import NotFoundError

from engine.errors import BrokenPromiseError, ConfigError
from engine.ids import make_id
from engine.messages import Account, AccountOpened, Alert, AnyBody, Head, Position, Protection, decode, encode
from storage.archive import Archive
from storage.dedupe import Numbered, key_hash
from storage.tables import TABLE_OF, keys_of
from streams import spool
from streams.connection import Inflow
from streams.loss import Hole
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, read
from streams.refill import comes_next
from streams.role import Points
from streams.seals import Stored
from streams.subjects import subject_of
from streams.topology import Topology, ensure

_AT_ONCE = 10_000
_DERIVED = (Account, Position, Protection)


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a damaged stream.

    Attributes:
        first: First sequence that was lost.
        last: Last one.
        lost: How many messages were lost.
        back: How many of them came back from the database.
        messages: How many the stream holds now.
    """

    stream: str
    first: int
    last: int
    lost: int
    back: int
    messages: int

    def __str__(self) -> str:
        """Say it to a person."""
        gone = self.lost - self.back
        rest = f"{gone} are gone for good, each named by an alert in its place" if gone else "none is gone for good"
        return (
            f"stream {self.stream} had lost {self.lost} stored messages between {self.first} and {self.last}: "
            f"{self.back} came back from the database, {rest}"
        )


class Mend:
    """The mending of one data directory's trading stream.

    Args:
        nc: The only connection to its nats-server.
        topology: Names of the streams.
        path: Where the spool stands.
        points: Hook for tests.
    """

    def __init__(self, nc: Inflow, topology: Topology, path: Path, points: Points) -> None:
        self._nc = nc
        self._topology = topology
        self._stream = topology.trading
        self._path = path
        self._points = points

    async def gather(self, holes: list[Hole], archive: Archive | None, now_ns: int) -> Mended | None:
        """Write the whole stream to the spool, unless a call before did; None when nothing is missing.

        Args:
            holes: What is known to be lost; holes inside are found by reading.
            archive: The database, where there is one.
            now_ns: Wall clock, for alerts.

        Raises:
            ConfigError: The message that says whose ledger it is is lost for good.
            BrokenPromiseError: A message cannot be read.
        """
        if not self._path.exists():
            writer = spool.SpoolWriter(self._path)
            try:
                draft = _Draft(writer, self._topology, archive, now_ns)
                if not await self._write(draft, holes):
                    return None
                writer.finish(msgspec.json.encode(draft.mended()))
            finally:
                writer.drop()
            self._points.hit("mend.spooled")
        return msgspec.json.decode(spool.note(self._path), type=Mended)

    async def refill(self) -> None:
        """Replace the damaged stream by what is in the spool.

        Raises:
            BrokenPromiseError: It does not hold exactly that afterwards.
        """
        js = self._nc.jetstream(timeout=30)
        with contextlib.suppress(NotFoundError):
            await js.delete_stream(self._stream)
        self._points.hit("mend.deleted")
        await ensure(js, self._topology)
        publisher = Publisher(self._nc, self._stream, "mend")
        for chunk in itertools.batched(enumerate(spool.messages(self._path), 1), _AT_ONCE):
            await publisher.atomic([Outgoing(subject, data, f"mend-{n}") for n, (subject, data) in chunk])
        state = (await js.stream_info(self._stream)).state
        wanted = msgspec.json.decode(spool.note(self._path), type=Mended).messages
        if (state.messages, state.last_seq) != (wanted, wanted):
            msg = (
                f"stream {self._stream} holds {state.messages} messages up to {state.last_seq} instead of {wanted}: "
                "somebody else publishes to it; stop that and start again"
            )
            raise BrokenPromiseError(msg)
        self._points.hit("mend.refilled")

    def done(self) -> None:
        """Everything that followed from the loss was put right."""
        self._path.unlink(missing_ok=True)

    async def _write(self, draft: _Draft, holes: list[Hole]) -> bool:
        """Write what is there and what comes back; whether anything was lost."""
        ends = [hole for hole in holes if hole.kind == "end"]
        cut = min((hole.first for hole in ends), default=0)
        known = max([hole.last for hole in holes] + [draft.recorded_until])
        later: list[Stored] = []
        after = 0
        async for item in self._present():
            if cut and item.seq >= cut:
                later.append(item)
                continue
            draft.restore(after + 1, item.seq - 1)
            draft.keep(item)
            after = item.seq
        if later:
            draft.merge(later, after + 1, max(hole.last for hole in ends), known)
        else:
            draft.restore(after + 1, known)
        if not draft.lost:
            return False
        if not draft.is_opened:
            msg = (
                f"stream {self._stream} lost its beginning, and with it whose ledger it is, and the database does not "
                "have it: put the data directory back from a copy, or begin anew with another --data-dir"
            )
            raise ConfigError(msg)
        return True

    async def _present(self) -> AsyncIterator[Stored]:
        """Read everything that is there."""
        js = self._nc.jetstream(timeout=5)
        reader = Reader(self._nc, self._stream, 0)
        await reader.start()
        try:
            seq = 0
            while await comes_next(reader, js, seq):
                for item in reader.take(_AT_ONCE):
                    seq = item.seq
                    yield item
        finally:
            await reader.stop()


class _Draft:
    """The new stream on its way into the spool; how much was lost from where to where, and how much came back."""

    def __init__(self, writer: spool.SpoolWriter, topology: Topology, archive: Archive | None, now_ns: int) -> None:
        self._writer = writer
        self._topology = topology
        self._archive = archive
        self._now_ns = now_ns
        self.lost = self.back = self.first_lost = self.last_lost = 0
        self.is_opened = False

    @property
    def recorded_until(self) -> int:
        return self._archive.last_seq if self._archive else 0

    def mended(self) -> Mended:
        """Say what was done, also in the stream, as its last message."""
        made = Mended(
            stream=self._topology.trading,
            first=self.first_lost,
            last=self.last_lost,
            lost=self.lost,
            back=self.back,
            messages=self._writer.count + 1,
        )
        self._alert("critical", str(made))
        return made

    def keep(self, item: Stored, *, unless: tuple[type[AnyBody], ...] = ()) -> None:
        """Put a message that is there, `unless` it is one of these."""
        body = read(item, self._topology.trading, decode).body
        if not isinstance(body, unless):
            self._put(body, item.data)

    def restore(self, first: int, last: int) -> None:
        """Put what was lost from `first` to `last`; nothing when that is no range."""
        for begin in range(first, last + 1, _AT_ONCE):
            end = min(begin + _AT_ONCE - 1, last)
            rows = {row.seq: row for row in self._archive.messages(begin, end)} if self._archive else {}
            for number in range(begin, end + 1):
                self._restore(number, rows.get(number))

    def merge(self, later: list[Stored], first: int, surely: int, last: int) -> None:
        """Put what was lost from `first` on together with what is there from `first` on.

        Args:
            later: What is there.
            first: First sequence after what is as it was.
            surely: Up to here everything was lost, whatever stands there now.
            last: Up to here something may have been lost.
        """
        present = {_key(read(item, self._topology.trading, decode).body) for item in later}
        there = {item.seq: item for item in later}
        rows = {row.seq: row for row in (self._archive.messages(first, last) if self._archive else [])}
        gone = {
            number: rows.get(number)
            for number in range(first, last + 1)
            if (_key(rows[number].body) not in present if number in rows else number <= surely or number not in there)
        }
        if gone.keys() & there.keys():  # sequences were used again: what was lost came first
            for number in sorted(gone):
                self._restore(number, gone[number])
            is_whole = all(row is not None for row in gone.values())
            for item in later:
                self.keep(item, unless=() if is_whole else _DERIVED)
            return
        for number in sorted(gone.keys() | there.keys()):
            if number in there:
                self.keep(there[number])
            else:
                self._restore(number, gone[number])

    def _restore(self, number: int, row: Numbered | None) -> None:
        self.lost += 1
        self.first_lost = min(self.first_lost or number, number)
        self.last_lost = max(self.last_lost, number)
        if row is not None:
            self.back += 1
            self._put(row.body, encode(row.head, row.body))
            return
        stream = self._topology.trading
        self._alert("error", f"message {number} of {stream} is lost: neither the stream nor the database has it")

    def _alert(self, level: str, what: str) -> None:
        body = Alert(make_id("mend", what, self._now_ns), level, "mend", what, self._now_ns)
        self._put(body, encode(Head(self._now_ns), body))

    def _put(self, body: AnyBody, data: bytes) -> None:
        self.is_opened = self.is_opened or isinstance(body, AccountOpened)
        self._writer.put(subject_of(self._topology.prefix, body), data)


def _key(body: AnyBody) -> int:
    table = TABLE_OF[type(body)]
    (key,) = keys_of(table, [body])
    return key_hash(table, key)
