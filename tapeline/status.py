"""`tapeline status`: how each role is. The exit code says healthy, so it serves as a healthcheck."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from config.settings import NatsSettings, Settings
from engine.errors import ConfigError, UnreachableError
from streams.connection import connect
from streams.probe import Probe
from streams.role import Status, topology_of
from tapeline import folders
from tapeline.role_main import ROLES


def run_status(role: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Ask and print; 0 healthy, 1 not healthy, 4 nothing to ask."""
    if role is not None and role not in ROLES:
        msg = f"unknown role {role!r}: choose from {', '.join(ROLES)}"
        raise ConfigError(msg)
    url = os.environ.get("TAPELINE_NATS__URL", "") if data_dir is None else ""
    if url:
        prefix = os.environ.get("TAPELINE_NATS__PREFIX", "tape")
        settings = Settings(nats=NatsSettings(url=url, prefix=prefix))
    else:
        folder = folders.resolve(data_dir)
        if not folders.is_running(folder):
            msg = f"no daemon runs in {folder}: start one with `tapeline run --data-dir {folder}`"
            raise UnreachableError(msg)
        settings = folders.running_settings(folder)
    roles = ROLES if role is None else (role,)
    statuses = asyncio.run(_ask(settings, roles))
    healthy = all(name in statuses and _is_healthy(statuses[name]) for name in roles)
    if as_json:
        answer = {"healthy": healthy, "nats": settings.nats.url, "roles": statuses}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        sys.stdout.write(f"NATS {settings.nats.url}, subjects under {settings.nats.prefix}.>\n")
        for name in roles:
            sys.stdout.write(_line(name, statuses.get(name)) + "\n")
    return 0 if healthy else 1


async def _ask(settings: Settings, roles: tuple[str, ...]) -> dict[str, Status]:
    nc = await connect(settings.nats.url, "tapeline-status", first_timeout_s=3)
    try:
        return await Probe(nc, topology_of(settings)).statuses(roles)
    finally:
        await nc.close()


def _is_healthy(status: Status) -> bool:
    return status.state == "ready" and not status.problems


def _line(role: str, status: Status | None) -> str:
    if status is None:
        return f"{role:9} no answer (not up yet, or down)"
    counters = "  ".join(f"{name} {count}" for name, count in status.counters.items())
    problems = f"  PROBLEMS: {'; '.join(status.problems)}" if status.problems else ""
    notes = "".join(f"\n{'':9} {note}" for note in status.notes)
    return f"{role:9} {status.state:8} pid {status.pid}  {counters}{problems}{notes}"
