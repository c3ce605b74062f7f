"""`tapeline run`: the daemon against Alpaca (or whatever the settings' URLs name), until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config import bots as bot_files
from config import logs
from config.settings import Settings, load
from engine.errors import ConfigError
from tapeline import folders
from tapeline.role_main import ROLES, run
from tapeline.supervisor import Supervisor
from tapeline.venue import KEYED_ROLES, alpaca_config

_POLL_S = 0.2


def read_settings(config: Path | None, data_dir: Path | None) -> Settings:
    """Read settings and bots, and refuse what cannot run before anything starts. Raises ConfigError."""
    settings = load(config, os.environ, {} if data_dir is None else {"data_dir": str(data_dir)})
    bot_files.check_universes(settings.universes)
    inline = tuple(bot_files.with_code(bot, Path()) for bot in settings.bots)
    bots = inline + tuple(bot_files.load(Path(name), settings.universes) for name in settings.bot_files)
    bot_files.validate_all(bots)
    bot_files.check_limits(settings.limits, bots)
    return msgspec.structs.replace(settings, bots=bots, bot_files=())


def run_daemon(roles: Sequence[str], config: Path | None, data_dir: Path | None) -> int:
    """Run all roles, or the named ones."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        msg = f"unknown role {unknown[0]!r}: choose from {', '.join(ROLES)}"
        raise ConfigError(msg)
    settings = read_settings(config, data_dir)
    if roles and not settings.nats.url:
        msg = "single roles need a NATS that all of them reach: set nats.url (TAPELINE_NATS__URL=nats://host:4222)"
        raise ConfigError(msg)
    chosen = [role for role in ROLES if role in roles] or list(ROLES)
    if set(KEYED_ROLES) & set(chosen):
        alpaca_config(settings, os.environ)  # a missing key is said before anything starts
    if len(chosen) == 1:
        from streams.role import NoPoints

        return run(chosen[0], settings, NoPoints())
    logs.configure(settings.log.level, "daemon")
    supervisor = Supervisor(settings, chosen)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    try:
        supervisor.start()
        folders.remember(settings.data_path)
        sys.stderr.write(f"tapeline: running in {settings.data_path}, NATS at {supervisor.settings.nats.url}\n")
        if not settings.bots:
            sys.stderr.write("tapeline: bot_files names no bot: see `tapeline bots list`, add one with `bots add`\n")
        while not stopping.wait(_POLL_S):
            supervisor.poll()
    finally:
        supervisor.stop()
    sys.stderr.write(f"tapeline: stopped; {_left(settings, chosen)}\n")
    return 0


def _left(settings: Settings, roles: Sequence[str]) -> str:
    if "executor" not in roles:
        return "what executor does elsewhere goes on"
    orders = (
        "open orders were to be canceled (daemon.cancel_on_exit)"
        if settings.daemon.cancel_on_exit
        else "orders at the venue stay open"
    )
    return f"{orders}, positions stay: `tapeline halt --flatten` ends both"
