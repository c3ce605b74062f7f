"""Seals: what a stream held at a position, so that another message there, or none, is noticed.

A sequence alone says nothing: a stream that lost its end uses the lost sequences again. A seal is written wherever a
position is (checkpoints, the recorder's file), and by whoever reads the trading stream, into a small file of its own.
Called by streams.reader, streams.loss and the roles.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from datetime import datetime
from pathlib import Path

import msgspec
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import BadRequestError, NotFoundError

_FORM = "{seq:020d} {stored_ns:020d} {digest} "
_SIZE = 20 + 1 + 20 + 1 + 16 + 1 + 8


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A message as stored: its sequence in the stream, its bytes, and when it was stored (ns UTC, 0 unknown)."""

    seq: int
    data: bytes
    stored_ns: int = 0


class Seal(msgspec.Struct, frozen=True):
    """What stood at a sequence: when it was stored, ns UTC, and a digest of its bytes."""

    seq: int
    stored_ns: int
    digest: str


def digest_of(data: bytes) -> str:
    """Give 16 hex digits that stand for these bytes."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def seal_of(stored: Stored) -> Seal:
    """Make the seal of a message."""
    return Seal(stored.seq, stored.stored_ns, digest_of(stored.data))


async def get(js: JetStreamContext, stream: str, seq: int) -> RawStreamMsg | None:
    """Give a stored message; None where there is none, or one that nats-server cannot read."""
    if seq < 1:
        return None
    try:
        return await js.get_msg(stream, seq, direct=True)
    except (NotFoundError, BadRequestError):
        return None


def stored_ns_of(message: RawStreamMsg) -> int:
    """When it was stored, ns UTC."""
    stamp = (message.headers or {}).get("Nats-Time-Stamp", "")  # 2026-01-02T03:04:05.123456789Z
    seconds, _, digits = stamp.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0"))


async def stands(js: JetStreamContext, stream: str, seal: Seal) -> bool:
    """Whether the message of a seal is still where it was."""
    found = await get(js, stream, seal.seq)
    return found is not None and digest_of(found.data or b"") == seal.digest


async def last_until(js: JetStreamContext, stream: str, first_seq: int, last_seq: int, stored_ns: int) -> int:
    """Give the last sequence in [first_seq - 1, last_seq] up to which messages were stored by this time.

    Sequences without a message count as later: where a stream lost its end they are the end. One that lost everything
    has no first sequence, which nats-server writes as 0: nothing came before it.
    """
    low, high = max(first_seq, 1) - 1, last_seq
    while low < high:
        middle = (low + high + 1) // 2
        found = await get(js, stream, middle)
        if found is not None and stored_ns_of(found) <= stored_ns:
            low = middle
        else:
            high = middle - 1
    return low


class Seen:
    """The seal of the last message a role has read of the trading stream, in a file: known after kill -9.

    Written in place after each batch (70 bytes, one system call, no fsync: after a power cut it may be an older one).
    Where the stream no longer holds that message, it lost something; see streams.loss.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def read(self) -> Seal | None:
        """Give what was written last; None for nothing, or for a torn file."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        text, check = data[: _SIZE - 8], data[_SIZE - 8 : _SIZE]
        parts = text.decode("ascii", "replace").split()
        if len(data) != _SIZE or check != b"%08x" % zlib.crc32(text) or len(parts) != 3:
            return None
        return Seal(int(parts[0]), int(parts[1]), parts[2])

    def write(self, seal: Seal) -> None:
        """Write it; a disk that is full keeps the older one."""
        text = _FORM.format(seq=seal.seq, stored_ns=seal.stored_ns, digest=seal.digest).encode("ascii")
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._handle, text + b"%08x" % zlib.crc32(text), 0)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
