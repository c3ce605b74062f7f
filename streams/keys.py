"""The key files with which a user (a role, the operator, a subscriber) proves to nats-server who it is.

A file holds the seed of an nkey (Ed25519) and nothing else, as `nats --nkey` and nats-py's `nkeys_seed` want it. The
server is told the public keys only and asks for a signature, so a seed never leaves its file and the process that read
it. Made once per data directory: a file is whole or not there, also after kill -9, and one that is there is never
written again. Whoever wants a new key deletes the old file while no daemon runs.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Any

from config.secrets import keep, read_private
from engine.errors import ConfigError, TapelineError, UnreachableError

__all__ = ["OPERATOR", "SUBSCRIBER", "Identity", "file_of", "identity", "identity_at", "inbox_of", "make", "refusal"]

OPERATOR = "operator"
"""Whom the `tapeline` command is on NATS."""
SUBSCRIBER = "subscriber"
"""The read-only user, for programs that watch."""
_WHAT = "key file"


class Identity:
    """Who a connection is: a seed, and what is known by it. No struct: nothing can encode or print the seed.

    Attributes:
        file: Where the seed was read.
        public: The public key, as the server knows it.
        inbox: Where answers to this user go; others may not listen there.
    """

    def __init__(self, file: Path, seed: str, public: str) -> None:
        self.file = file
        self.public = public
        self.inbox = inbox_of(public)
        self.seed = seed

    def __repr__(self) -> str:
        return f"Identity({self.public})"

    def options(self) -> dict[str, Any]:
        """Give what nats-py's `connect` is to be told."""
        return {"nkeys_seed_str": self.seed, "inbox_prefix": self.inbox}


def inbox_of(public: str) -> str:
    """Give the prefix of a user's inboxes."""
    return f"_INBOX_{public[-8:]}"


def file_of(folder: Path, user: str) -> Path:
    """Where the key of a user is."""
    return folder / f"{user}.nk"


def make(folder: Path, users: tuple[str, ...]) -> dict[str, Identity]:
    """Give every user's key; what is missing is made. The caller holds the lock of whatever `folder` belongs to.

    Raises:
        ConfigError: A file is there and cannot serve.
    """
    import nkeys  # noqa: PLC0415  (a twentieth of a second, for those who make keys)

    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
    for user in users:
        path = file_of(folder, user)
        if not path.exists():
            _write(path, nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER) + b"\n")
    return {user: identity_at(file_of(folder, user)) for user in users}


def identity(nkey_file: str, user: str) -> Identity | None:
    """Give who we are: by the setting nats.nkey_file (a file, or a folder of files) and our name; None without a key.

    Raises:
        ConfigError: The file is missing, others may read it, or it holds no key.
    """
    if not nkey_file:
        return None
    path = Path(nkey_file)
    return identity_at(file_of(path, user) if path.is_dir() else path)


def identity_at(path: Path) -> Identity:
    """Read a key file. Raises ConfigError as `identity`."""
    import nkeys  # noqa: PLC0415

    seed = read_private(path, _WHAT)
    keep(seed)
    try:
        if not _is_whole(seed):
            raise nkeys.ErrInvalidSeed
        pair = nkeys.from_seed(bytearray(seed.encode("ascii")))
        public = bytes(pair.public_key).decode("ascii")
    except (nkeys.NkeysError, ValueError):
        msg = f"{_WHAT} {path} holds no seed of an nkey user (SU...): delete it, a new one is made at the next start"
        raise ConfigError(msg) from None
    return Identity(path, seed, public)


def refusal(url: str, identity: Identity | None, err: Exception, mend: str) -> TapelineError:
    """Say why there is no connection.

    Args:
        url: Where it should lead.
        identity: Who asked for it.
        err: What came instead.
        mend: What to do when nobody answers.
    """
    why = str(err) or type(err).__name__
    if "authorization violation" not in why.lower():
        return UnreachableError(f"NATS does not answer at {url} ({why}): {mend}")
    if identity is None:
        return ConfigError(
            f"NATS at {url} demands a key: name the file with the seed in nats.nkey_file (TAPELINE_NATS__NKEY_FILE)"
        )
    return ConfigError(f"NATS at {url} does not know the key in {identity.file}: name one that it knows")


def _is_whole(seed: str) -> bool:
    """Whether it is a user's seed with the right checksum, at which the nkeys package does not look."""
    import nkeys  # noqa: PLC0415

    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        return False
    return len(raw) == 36 and seed.startswith("SU") and nkeys.crc16_checksum(raw[:34]) == raw[34:]


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, private from its first moment."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)  # of one who was killed here
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, 0o600)
        file.write(content)
        file.flush()
        os.fsync(number)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
