"""A person's connection to the daemon of a data directory, or to the NATS that the environment names."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import Settings
from engine.errors import UnreachableError
from tapeline import folders

if TYPE_CHECKING:
    from streams.connection import Client


def daemon_settings(data_dir: Path | None) -> Settings:
    """Give the settings of the daemon that a command is for. Raises UnreachableError where none runs."""
    folder, settings = folders.commanded(data_dir)
    if settings is None:
        msg = f"no daemon runs in {folder}: start one with `tapeline run --data-dir {folder}`"
        raise UnreachableError(msg)
    return settings


@asynccontextmanager
async def operator(settings: Settings, name: str) -> AsyncGenerator[Client]:
    """Be connected as the operator."""
    from streams.connection import connect
    from streams.keys import OPERATOR, identity

    who = identity(settings.nats.nkey_file, OPERATOR)
    nc = await connect(settings.nats.url, f"tapeline-{name}", identity=who, first_timeout_s=3)
    try:
        yield nc
    finally:
        await nc.close()
