"""NATS in memory: two append-only streams with ids that count within a window, batches, and readers with positions.

It stands where nats-py stands, so the real Publisher works on it: requests that are lost, acknowledgements that are
lost, batches that are refused whole because one id is stored. Reading follows the promises at the top of
streams/reader.py. What a dead incarnation publishes is not stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache
from types import SimpleNamespace
from typing import Any

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import APIError, NotFoundError

from streams.checkpoint import Checkpoint, Header
from streams.reader import Stored
from tests.simulation.faults import Faults
from tests.simulation.loop import Incarnation, SimLoop

_ACK_S_MAX = 5.0
_ID_KNOWN = 10201


class Stream:
    """Messages in order; `seq` of the first is 1."""

    def __init__(self, name: str, window_s: float) -> None:
        self.name = name
        self.messages: list[Stored] = []
        self.subjects: list[str] = []
        self.ids: list[str] = []
        self.last_of: dict[str, int] = {}
        self.readers: list[Reader] = []
        self._window_s = window_s
        self._known: dict[str, tuple[int, float]] = {}

    @property
    def last_seq(self) -> int:
        return len(self.messages)

    def known(self, msg_id: str, now: float) -> int:
        """Sequence of a message with this id within the window, else 0."""
        seq, at = self._known.get(msg_id, (0, 0.0))
        return seq if seq and now - at <= self._window_s else 0

    def append(self, subject: str, data: bytes, msg_id: str, now: float) -> tuple[int, bool]:
        """Store a message; return its sequence and whether it was there already."""
        if msg_id and (seq := self.known(msg_id, now)):
            return seq, True
        seq = len(self.messages) + 1
        self.messages.append(Stored(seq, data))
        self.subjects.append(subject)
        self.ids.append(msg_id)
        self.last_of[subject] = seq
        if msg_id:
            self._known[msg_id] = (seq, now)
        for reader in self.readers:
            reader.notify()
        return seq, False

    def last_per_subject(self, pattern: str) -> list[bytes]:
        """Data of the last message of each subject that matches, in stream order."""
        prefix = pattern.removesuffix(">")
        return [
            self.messages[seq - 1].data for seq in sorted(s for n, s in self.last_of.items() if n.startswith(prefix))
        ]


@cache
def fits(subject: str, patterns: tuple[str, ...]) -> bool:
    """Whether a subject is one that any of these names: `*` is a token, `>` the rest."""
    tokens = subject.split(".")
    for pattern in patterns:
        wanted = pattern.split(".")
        has_rest = wanted[-1] == ">"
        wanted = wanted[:-1] if has_rest else wanted
        found = tokens[: len(wanted)] if has_rest else tokens
        if len(found) == len(wanted) and all(w in {"*", t} for w, t in zip(wanted, found, strict=True)):
            return True
    return False


def next_of(stream: Stream, seq: int, subject: str) -> int:
    """Sequence of the first message from `seq` on with a subject; 0: none."""
    later = range(seq, stream.last_seq + 1)
    return next((one for one in later if stream.subjects[one - 1] == subject), 0)


class Server:
    """Both streams and what goes wrong on the way to them."""

    def __init__(self, loop: SimLoop, faults: Faults, window_s: float, names: tuple[str, str]) -> None:
        self.loop = loop
        self.faults = faults
        self.streams = {name: Stream(name, window_s) for name in names}
        self.listeners: dict[str, list[tuple[Incarnation, Any]]] = {}
        self.market, self.trading = (self.streams[name] for name in names)


class Client:
    """What a service knows as its connection. `js` is itself: the calls have different names."""

    def __init__(self, server: Server, owner: Incarnation) -> None:
        self._server = server
        self._owner = owner
        self._batches: dict[str, list[tuple[str, bytes, str]]] = {}
        self._is_cut = False

    def jetstream(self, timeout: float = 5) -> Any:
        return _JetStream(self)

    async def subscribe(self, subject: str, cb: Any) -> None:
        """Hear what is published and not stored, from now on."""
        heard = self._server.listeners.setdefault(subject, [])
        heard[:] = [(owner, callback) for owner, callback in heard if owner.is_alive]
        heard.append((self._owner, cb))

    async def publish(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """A message nobody acknowledges: part of a batch, or of a burst."""
        if not self._owner.is_alive:
            return
        if headers is None and (heard := self._server.listeners.get(subject)):
            for owner, callback in heard:
                if owner.is_alive:
                    self._server.loop.spawn(owner, callback(SimpleNamespace(data=data)))
            return
        if headers is None and ".cmd." in subject:
            return
        if headers is not None:
            part = (subject, data, headers["Nats-Msg-Id"])
            self._batches.setdefault(headers["Nats-Batch-Id"], []).append(part)
            return
        self._is_cut = self._is_cut or self._server.faults.hits("publish_lost")
        if not self._is_cut:
            self._server.market.append(subject, data, "", self._server.loop.now)

    async def request(self, stream: Stream, subject: str, data: bytes, headers: dict[str, str]) -> Any:
        """A message that is acknowledged; with a batch's commit, all of it."""
        faults, loop = self._server.faults, self._server.loop
        await asyncio.sleep(faults.latency())
        parts = [
            *self._batches.pop(headers.get("Nats-Batch-Id", ""), []),
            (subject, data, headers.get("Nats-Msg-Id", "")),
        ]
        lost, self._is_cut = self._is_cut or faults.hits("publish_lost"), False
        if lost or not self._owner.is_alive:
            await asyncio.sleep(_ACK_S_MAX)
            raise NatsTimeoutError
        if len(parts) > 1 and any(stream.known(msg_id, loop.now) for _, _, msg_id in parts):
            raise APIError(code=400, err_code=_ID_KNOWN, description="message id is a duplicate")
        seq, is_known = [stream.append(*part, loop.now) for part in parts][-1]
        if faults.hits("ack_lost"):
            await asyncio.sleep(_ACK_S_MAX)
            raise NatsTimeoutError
        await asyncio.sleep(faults.latency())
        return SimpleNamespace(seq=seq, duplicate=is_known)

    def stream(self, name: str) -> Stream:
        return self._server.streams[name]


class _JetStream:
    """The calls of nats-py's JetStreamContext that the services make."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish(
        self, subject: str, data: bytes, *, stream: str, headers: dict[str, str] | None = None, timeout: float = 5
    ) -> Any:
        return await self._client.request(self._client.stream(stream), subject, data, headers or {})

    async def stream_info(self, name: str, subjects_filter: str = "") -> Any:
        await asyncio.sleep(0)
        stream = self._client.stream(name)
        wanted = subjects_filter.removesuffix(">")
        subjects = Counter(subject for subject in stream.subjects if wanted and subject.startswith(wanted))
        return SimpleNamespace(state=SimpleNamespace(last_seq=stream.last_seq, first_seq=1, subjects=subjects))

    async def get_msg(self, name: str, seq: int, direct: bool = False, subject: str = "", next: bool = False) -> Any:
        await asyncio.sleep(0)
        stream = self._client.stream(name)
        if next:
            seq = next_of(stream, seq, subject)
        if not 1 <= seq <= stream.last_seq:
            raise NotFoundError
        return SimpleNamespace(subject=stream.subjects[seq - 1], data=stream.messages[seq - 1].data, seq=seq)

    async def get_last_msg(self, name: str, subject: str) -> Any:
        last_of = self._client.stream(name).last_of
        seq = max((last_of[one] for one in last_of if fits(one, (subject,))), default=0)
        return await self.get_msg(name, seq)


class Reader:
    """Reads a stream in order from a position; the interface of streams.reader.Reader."""

    def __init__(self, server: Server, owner: Incarnation, stream: str, after: int, subjects: list[str] | None) -> None:
        self._server = server
        self.owner = owner
        self._stream = server.streams[stream]
        self.stream = stream
        self.received = self.begins_after = self._cursor = after
        self._patterns = None if subjects is None else tuple(subjects)
        self._buffer: list[Stored] = []
        self._ready = asyncio.Event()
        self._is_coming = False
        self.is_steady = True
        self.losses: list[str] = []
        self.on_steady: Any = None

    async def start(self) -> None:
        self._stream.readers.append(self)
        self.notify()

    async def stop(self) -> None:
        if self in self._stream.readers:
            self._stream.readers.remove(self)

    def resync(self) -> None:
        """Nothing is lost on the way here."""

    def seals_at(self, seq: int) -> dict[str, Any]:
        """Nobody will ask."""
        return {}

    def notify(self) -> None:
        """Something new is stored: it comes a moment later, with what is stored until then."""
        if not self._is_coming and self.owner.is_alive:
            self._is_coming = True
            self._server.loop.call_later(self._server.faults.latency(), self._arrive)

    def _arrive(self) -> None:
        self._is_coming = False
        stream = self._stream
        for seq in range(self._cursor + 1, stream.last_seq + 1):
            if self._patterns is None or fits(stream.subjects[seq - 1], self._patterns):
                self._buffer.append(stream.messages[seq - 1])
                self.received = seq
        self._cursor = stream.last_seq
        if self._buffer:
            self._ready.set()

    async def wait(self) -> None:
        while not self._buffer:
            self._ready.clear()
            await self._ready.wait()

    async def batch(self, count_max: int) -> list[Stored]:
        await self.wait()
        return self.take(count_max)

    def take(self, count_max: int) -> list[Stored]:
        taken, self._buffer = self._buffer[:count_max], self._buffer[count_max:]
        return taken


class Checkpoints:
    """The checkpoints of one role: bytes and positions, the last two kept; the files have tests of their own."""

    def __init__(self, role: str) -> None:
        self._role = role
        self.trouble = ""
        self._kept: list[Checkpoint] = []
        self.written = 0

    def write(self, positions: dict[str, int], payload: bytes, seals: dict[str, Any]) -> None:
        self.written += 1
        self._kept = [*self._kept[-1:], Checkpoint(Header(self._role, "", "", dict(positions)), payload)]

    def newest(self) -> Checkpoint | None:
        return self._kept[-1] if self._kept else None

    def damage(self) -> None:
        """The newest one is torn: passed over."""
        if self._kept:
            self._kept.pop()
