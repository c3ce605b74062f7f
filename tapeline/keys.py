"""`tapeline keys`: keys and rights for a nats-server that others run, as `tapeline run` makes them for its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.settings import parse
from streams import access, keys
from streams.locks import FolderLock
from streams.role import topology_of

ACCOUNTS = "accounts.conf"


def run_keys(folder: Path, prefix: str, *, apart: bool) -> int:
    """Make what is missing, write accounts.conf anew, and say what is where."""
    topology = topology_of(parse({"nats": {"prefix": prefix}}))
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, "keys.lock", "keys")
    try:
        if apart:
            made = {user: keys.make(folder / user, (user,))[user] for user in access.USERS}
        else:
            made = keys.make(folder, access.USERS)
        target = (folder / "nats" if apart else folder) / ACCOUNTS
        target.parent.mkdir(exist_ok=True)
        _write(target, access.guarded(topology, {user: identity.public for user, identity in made.items()}))
    finally:
        lock.release()
    for user, identity in made.items():
        sys.stdout.write(f"{user:10} {identity.public}  {identity.file}\n")
    sys.stdout.write(f"include {target} in nats-server's configuration; name the files in TAPELINE_NATS__NKEY_FILE\n")
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole; it holds public keys only."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
