"""Checkpoints: the state of a role and the stream positions it was applied to, in a file of its own.

Written whole to a temporary name, fsynced, renamed; the last two are kept. A file that is torn, of another format, of
other code or of another configuration is passed over, and the role replays from the next older one or from the
beginning of the stream. kill -9 before, during or after a write therefore costs time, never state. A write that fails
(disk full) leaves the ones before, and says so in `trouble` until one succeeds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from streams.seals import Seal

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_MAGIC = b"TAPELINE-CKPT-1\n"
_KEPT = 2
_CHECKSUM = 16


class Header(msgspec.Struct, frozen=True):
    """What a checkpoint belongs to. `seals`: what stood at the positions; absent in those of an earlier version."""

    role: str
    code: str
    config: str
    positions: dict[str, int]
    seals: dict[str, Seal] = {}


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint as read back."""

    header: Header
    payload: memoryview


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
        self.trouble = ""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()

    def write(self, positions: dict[str, int], payload: bytes, seals: dict[str, Seal] | None = None) -> None:
        """Write a new checkpoint and drop all but the last two."""
        try:
            self._write(Header(self._role, self._code, self._config, positions, seals or {}), payload)
        except OSError as err:
            self.trouble = f"no checkpoint is written ({err.strerror}): a restart replays from the one before"
            log.warning("checkpoint not written", folder=str(self._folder), error=str(err))
        else:
            self.trouble = ""

    def _write(self, of: Header, payload: bytes) -> None:
        header = msgspec.json.encode(of)
        content = (len(header).to_bytes(4, "big"), header, payload)  # never joined: a payload may have 200 MB
        checksum = hashlib.blake2b(digest_size=_CHECKSUM)
        for part in content:
            checksum.update(part)
        number = max((int(path.stem) for path in self._files()), default=0) + 1
        target = self._folder / f"{number:012d}.ckpt"
        temporary = target.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                file.writelines((_MAGIC, checksum.digest(), *content))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """Give the newest checkpoint that is whole and belongs to this code and configuration."""
        return next(self.candidates(), None)

    def candidates(self) -> Iterator[Checkpoint]:
        """Give the checkpoints that are whole and belong to this code and configuration, newest first."""
        for path in reversed(self._files()):
            checkpoint = _read(path)
            if checkpoint is None:
                log.warning("checkpoint is damaged, passed over", file=path.name)
                continue
            header = checkpoint.header
            if (header.role, header.code, header.config) != (self._role, self._code, self._config):
                log.warning("checkpoint is of other code or configuration, passed over", file=path.name)
                continue
            yield checkpoint

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.ckpt") if path.stem.isdigit())


def all_in(folder: Path) -> Iterator[tuple[Path, Header]]:
    """Give the headers of every role's checkpoints under a folder; damaged ones are left out."""
    for path in sorted(folder.glob("*/*.ckpt")):
        checkpoint = _read(path)
        if checkpoint is not None:
            yield path, checkpoint.header


def _read(path: Path) -> Checkpoint | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _CHECKSUM
    content = memoryview(data)[start:]
    checksum = hashlib.blake2b(content, digest_size=_CHECKSUM).digest()
    if not data.startswith(_MAGIC) or checksum != data[len(_MAGIC) : start]:
        return None
    size = int.from_bytes(content[:4], "big")
    try:
        header = msgspec.json.decode(content[4 : 4 + size], type=Header)
    except msgspec.MsgspecError:
        return None
    return Checkpoint(header, content[4 + size :])
