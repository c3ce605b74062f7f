"""`tapeline status`: how each role is. The exit code says healthy, so it serves as a healthcheck."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from config.settings import Settings
from engine.errors import ConfigError, UnreachableError
from engine.values import NS_PER_S
from streams.connection import connect
from streams.keys import OPERATOR, SUBSCRIBER, file_of, identity
from streams.probe import Probe
from streams.role import Status, topology_of
from tapeline import folders, journal
from tapeline.role_main import ROLES

_EVENTS_MAX = 5


def run_status(role: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Ask and print; 0 healthy, 1 not healthy, 4 nothing to ask."""
    if role is not None and role not in ROLES:
        msg = f"unknown role {role!r}: choose from {', '.join(ROLES)}"
        raise ConfigError(msg)
    nats = folders.nats_of_environment() if data_dir is None else None
    told = journal.Journal()
    if nats is not None:
        settings = Settings(nats=nats)
    else:
        folder = folders.resolve(data_dir)
        if not folders.is_running(folder):
            msg = f"no daemon runs in {folder}: start one with `tapeline run --data-dir {folder}`"
            raise UnreachableError(msg)
        settings, told = folders.running_settings(folder), journal.read(folder)
    roles = ROLES if role is None else (role,)
    statuses = asyncio.run(_ask(settings, roles))
    healthy = all(name in statuses and _is_healthy(statuses[name]) for name in roles)
    if as_json:
        answer = {
            "healthy": healthy,
            "nats": settings.nats.url,
            "subscriber_key": _key(settings),
            "roles": statuses,
            "daemon": told,
        }
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        key = f", read-only key {_key(settings)}" if _key(settings) else ""
        sys.stdout.write(f"NATS {settings.nats.url}, subjects under {settings.nats.prefix}.>{key}\n")
        for name in roles:
            sys.stdout.write(_line(name, statuses.get(name)) + "\n")
        for event in told.events[-_EVENTS_MAX:]:
            sys.stdout.write(f"{datetime.fromtimestamp(event.ts_event / NS_PER_S, UTC):%m-%d %H:%M:%SZ} {event.what}\n")
    return 0 if healthy else 1


def _key(settings: Settings) -> str:
    """Where the key for subscribers is, if it is here."""
    path = file_of(Path(settings.nats.nkey_file), SUBSCRIBER) if settings.nats.nkey_file else None
    return str(path) if path is not None and path.exists() else ""


async def _ask(settings: Settings, roles: tuple[str, ...]) -> dict[str, Status]:
    who = identity(settings.nats.nkey_file, OPERATOR)
    nc = await connect(settings.nats.url, "tapeline-status", identity=who, first_timeout_s=3)
    try:
        return await Probe(nc, topology_of(settings)).statuses(roles)
    finally:
        await nc.close()


def _is_healthy(status: Status) -> bool:
    return status.state == "ready" and not status.problems


def _line(role: str, status: Status | None) -> str:
    if status is None:
        return f"{role:9} no answer (not up yet, or down)"
    shown = ((name, count) for name, count in status.counters.items() if not name.endswith("_seq"))  # no counts
    counters = "  ".join(f"{name} {count}" for name, count in shown)
    problems = f"  PROBLEMS: {'; '.join(status.problems)}" if status.problems else ""
    notes = "".join(f"\n{'':9} {note}" for note in status.notes)
    return f"{role:9} {status.state:8} pid {status.pid}  {counters}{problems}{notes}"
