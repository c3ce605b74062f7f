"""Checkpoints: the state of a role and the stream positions it was applied to, in a file of its own.

Written whole to a temporary name, fsynced, renamed; the last two are kept. A file that is torn, of another format, of
other code or of another configuration is passed over, and the role replays from the next older one or from the
beginning of the stream. kill -9 before, during or after a write therefore costs time, never state.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_MAGIC = b"TAPELINE-CKPT-1\n"
_KEPT = 2


class Header(msgspec.Struct, frozen=True):
    """What a checkpoint belongs to."""

    role: str
    code: str
    config: str
    positions: dict[str, int]


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint as read back."""

    header: Header
    payload: bytes


class CheckpointStore:
    """The checkpoints of one role.

    Args:
        folder: Folder of this role alone.
        role: Name of the role.
        code: Hash of the code that can read the payload.
        config: Hash of the configuration the state depends on.
    """

    def __init__(self, folder: Path, role: str, code: str, config: str) -> None:
        self._folder = folder
        self._role = role
        self._code = code
        self._config = config
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()

    def write(self, positions: dict[str, int], payload: bytes) -> None:
        """Write a new checkpoint and drop all but the last two."""
        header = msgspec.json.encode(Header(self._role, self._code, self._config, positions))
        content = len(header).to_bytes(4, "big") + header + payload
        data = _MAGIC + hashlib.blake2b(content, digest_size=16).digest() + content
        number = max((int(path.stem) for path in self._files()), default=0) + 1
        target = self._folder / f"{number:012d}.ckpt"
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """Give the newest checkpoint that is whole and belongs to this code and configuration."""
        for path in reversed(self._files()):
            checkpoint = _read(path)
            if checkpoint is None:
                log.warning("checkpoint is damaged, passed over", file=path.name)
                continue
            header = checkpoint.header
            if (header.role, header.code, header.config) != (self._role, self._code, self._config):
                log.warning("checkpoint is of other code or configuration, passed over", file=path.name)
                continue
            return checkpoint
        return None

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.ckpt") if path.stem.isdigit())


def _read(path: Path) -> Checkpoint | None:
    data = path.read_bytes()
    start = len(_MAGIC) + 16
    content = data[start:]
    if not data.startswith(_MAGIC) or hashlib.blake2b(content, digest_size=16).digest() != data[len(_MAGIC) : start]:
        return None
    size = int.from_bytes(content[:4], "big")
    try:
        header = msgspec.json.decode(content[4 : 4 + size], type=Header)
    except msgspec.MsgspecError:
        return None
    return Checkpoint(header, content[4 + size :])
