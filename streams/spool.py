"""A whole stream in one file: subjects and bytes in order, and what is to be said about them. Written once, read often.

Each record is four bytes of length and a msgpack pair. The file appears under its name by a rename after its bytes are
on disk, so a file that is there is whole. Called by streams.mend.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


class SpoolWriter:
    """Writes a spool; `finish` makes it appear, `drop` forgets it.

    Args:
        path: Its name when it is whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_suffix(".part")
        self._file: IO[bytes] = self._part.open("wb")
        self.count = 0

    def put(self, subject: str, data: bytes) -> None:
        """Append a message."""
        self._record(subject, data)
        self.count += 1

    def finish(self, note: bytes) -> None:
        """Append what is to be said about it; it is on disk when this returns."""
        self._record("", note)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self) -> None:
        """Forget it."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _record(self, subject: str, data: bytes) -> None:
        record = _encode((subject, data))
        self._file.write(len(record).to_bytes(4, "big") + record)


def messages(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give subject and bytes of each message."""
    return ((subject, data) for subject, data in _records(path) if subject)


def note(path: Path) -> bytes:
    """Give what is to be said about it."""
    *_, (_, data) = _records(path)
    return data


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        while size := file.read(4):
            yield _decode(file.read(int.from_bytes(size, "big")))
