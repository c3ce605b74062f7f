"""What can happen to the files of a stream while its server is down."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path


def blocks(folder: Path, stream: str) -> list[Path]:
    """Block files of a stream in the store of nats-server, oldest first."""
    found = (folder / "store").glob(f"jetstream/*/streams/{stream}/msgs/*.blk")
    return sorted(found, key=lambda path: int(path.stem))


def last_seq(folder: Path, stream: str) -> int:
    """Sequence of the last message in the newest block: its records are a length, a sequence, and what is stored."""
    data, at, seq = blocks(folder, stream)[-1].read_bytes(), 0, 0
    while at + 12 <= len(data):
        length, seq = struct.unpack_from("<IQ", data, at)
        assert length, "no record at all"
        at += length & 0x7FFF_FFFF  # the highest bit says that it has headers
    return seq


def cut(bytes_left: Callable[[int], int]) -> Callable[[Path, str], None]:
    """Truncate the newest block to what is left of its size."""

    def do(folder: Path, stream: str) -> None:
        newest = blocks(folder, stream)[-1]
        os.truncate(newest, bytes_left(newest.stat().st_size))

    return do


def flip(block: int, share: float) -> Callable[[Path, str], None]:
    """Change bytes of one block at a share of its size."""

    def do(folder: Path, stream: str) -> None:
        path = blocks(folder, stream)[block]
        data = bytearray(path.read_bytes())
        at = int(len(data) * share)
        data[at : at + 12] = bytes(byte ^ 0xFF for byte in data[at : at + 12])
        path.write_bytes(data)

    return do


def remove(block: int) -> Callable[[Path, str], None]:
    """Delete one block."""

    def do(folder: Path, stream: str) -> None:
        blocks(folder, stream)[block].unlink()

    return do


AT_THE_END = {
    "3 bytes cut off": cut(lambda size: size - 3),
    "cut in the middle of a message": cut(lambda size: size - 150),
    "newest block cut by half": cut(lambda size: size // 2),
    "newest block emptied": cut(lambda size: 0),
    "newest block deleted": remove(-1),
    "bytes changed in the newest block": flip(-1, 0.5),
    "bytes changed in the last message": flip(-1, 0.9995),
}
BEFORE_THE_END = {
    "bytes changed in the first block": flip(0, 0.5),
    "a block in the middle deleted": remove(1),
    "first block deleted": remove(0),
}
