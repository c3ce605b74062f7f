"""`tapeline doctor`: looks at what a run needs and says what to do about what is missing. Changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from adapters.clock import wall_ns
from config.secrets import VARIABLES, hide
from config.settings import Settings
from engine.errors import ConfigError, TapelineError
from engine.offsets import is_beyond, words
from engine.ports import VenueTime
from engine.values import NS_PER_S
from streams.keys import OPERATOR, SUBSCRIBER, file_of, identity, identity_at
from streams.server import binary
from tapeline import folders
from tapeline.daemon import read_settings
from tapeline.venue import alpaca_config, check_account, interlock

_DISK_GB_MIN = 2.0
_FILES_MIN = 1024
_YEAR_2026_NS = 1_767_225_600 * NS_PER_S

Finding = tuple[str, str, str]
"""Level (ok, warn, FAIL), what was looked at, what was found and what to do."""


def run_doctor(config: Path | None, data_dir: Path | None) -> int:
    """Print a line per check; 0 when none failed."""
    findings: list[Finding] = [_python(), _nats_binary()]
    settings: Settings | None = None
    try:
        settings = read_settings(config, data_dir)
        findings.append(("ok", "configuration", f"{len(settings.bots)} bot(s), {len(settings.symbols)} symbol(s)"))
    except ConfigError as err:
        findings.append(("FAIL", "configuration", str(err)))
    if settings is not None:
        findings.append(_limits(settings))
        for check in (_folder, _disk, _nats_url):
            findings.extend(check(settings))
        findings.extend(_keys_and_clock(settings))
    findings.append(_files())
    for level, what, found in findings:
        sys.stdout.write(f"{level:4}  {what:16} {hide(found)}\n")
    return 1 if any(level == "FAIL" for level, _, _ in findings) else 0


def _limits(settings: Settings) -> Finding:
    """Name the risk controls that are switched off: Knight's had no warning that anybody read."""
    limits = settings.limits
    off = [name for name in limits.__struct_fields__ if getattr(limits, name) is None]
    if not off:
        return ("ok", "risk limits", "every one is set")
    return ("warn", "risk limits", f"{len(off)} are off: {', '.join(off)} (set them under [limits])")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 12) <= sys.version_info[:2] < (3, 15):
        return ("FAIL", "Python", f"{version}: Tapeline needs 3.12 to 3.14; `uv python install 3.13`")
    return ("ok", "Python", version)


def _nats_binary() -> Finding:
    try:
        path = binary()
        done = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (TapelineError, OSError, subprocess.TimeoutExpired) as err:
        return ("FAIL", "nats-server", f"{err}; `uv sync` installs it, or set nats.url to a running server")
    if done.returncode != 0:
        return ("FAIL", "nats-server", f"{path} does not run ({done.stderr.strip()}): install it anew with `uv sync`")
    return ("ok", "nats-server", done.stdout.strip())


def _folder(settings: Settings) -> Iterable[Finding]:
    folder = settings.data_path
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not os.access(parent, os.W_OK):
        yield ("FAIL", "data directory", f"{parent} is not writable: choose another --data-dir, or change its owner")
    elif folder.exists() and folders.is_running(folder):
        yield ("ok", "data directory", f"{folder}, a daemon runs in it")
    else:
        yield ("ok", "data directory", f"{folder}" + ("" if folder.exists() else " (will be created)"))


def _disk(settings: Settings) -> Iterable[Finding]:
    folder = settings.data_path
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(parent).free / 1e9
    level = "ok" if free >= _DISK_GB_MIN else "FAIL"
    more = "" if level == "ok" else f": at least {_DISK_GB_MIN:g} GB are needed; free some or choose another --data-dir"
    yield (level, "disk", f"{free:.1f} GB free{more}")


def _nats_url(settings: Settings) -> Iterable[Finding]:
    if not settings.nats.url:
        yield from _keys(settings.data_path / "nats" / "keys")
        return
    import asyncio

    from streams.connection import connect

    async def probe() -> None:
        who = identity(settings.nats.nkey_file, OPERATOR)
        nc = await connect(settings.nats.url, "tapeline-doctor", identity=who, first_timeout_s=3)
        await nc.close()

    try:
        asyncio.run(probe())
    except TapelineError as err:
        yield ("FAIL", "NATS", str(err))
    else:
        yield ("ok", "NATS", settings.nats.url)


def _keys(folder: Path) -> Iterable[Finding]:
    """Look at the keys of an own nats-server."""
    yield ("ok", "NATS", "an own nats-server will be started")
    if not folder.is_dir():
        yield ("ok", "NATS keys", f"will be made in {folder}")
        return
    try:
        for path in sorted(folder.glob("*.nk")):
            identity_at(path)
    except ConfigError as err:
        yield ("FAIL", "NATS keys", str(err))
    else:
        yield ("ok", "NATS keys", f"read-only key for subscribers: {file_of(folder, SUBSCRIBER)}")


def _keys_and_clock(settings: Settings) -> Iterable[Finding]:
    if wall_ns() < _YEAR_2026_NS:
        yield ("FAIL", "clock", "this machine's clock is years behind: set it (timedatectl set-ntp true)")
    try:
        interlock(settings)
    except ConfigError as err:
        yield ("FAIL", "paper or live", str(err))
        return
    try:
        alpaca = alpaca_config(settings, os.environ)
    except ConfigError as err:
        is_given = any(os.environ.get(name) for variable in VARIABLES for name in (variable, f"{variable}_FILE"))
        yield ("FAIL" if is_given else "warn", "keys", str(err))
        return
    from adapters.alpaca.connect import connect_clock, connect_trading

    def quiet(_level: str, _what: str) -> None:
        return

    venue, _ = connect_trading(alpaca, quiet, lambda number: check_account(settings, number))
    yield from _account(settings, lambda: venue.account().account_number, alpaca.rest_url)
    if settings.venue_clock_url:
        yield ("ok", "clock", "not compared: the venue's time is virtual")
    else:
        yield _clock(connect_clock(alpaca, wall_ns), settings.daemon.clock_offset_ms_max)


def _account(settings: Settings, account: Callable[[], str], url: str) -> Iterable[Finding]:
    try:
        number = account()
    except TapelineError as err:
        yield ("FAIL", "account", str(err))
        return
    wanted = settings.alpaca.account_number
    if wanted and wanted != number:
        yield ("FAIL", "account", f"alpaca.account_number is {wanted}, the keys are of {number}: set the right one")
    else:
        money = "REAL MONEY" if settings.alpaca.live else "paper"
        yield ("ok", "account", f"{number} ({money}) at {url}")


def _clock(venue: VenueTime, offset_ms_max: int) -> Finding:
    """Compare our clock with the venue's, as feed does while it runs."""
    try:
        offset = venue.offset()
    except TapelineError as err:
        return ("warn", "clock", f"not compared: {err}")
    if is_beyond(offset, offset_ms_max):
        more = f"limit {offset_ms_max} ms: set it (timedatectl set-ntp true); trading would be reducing"
        return ("FAIL", "clock", f"{words(offset)}, {more}")
    return ("ok", "clock", words(offset))


def _files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES_MIN:
        return ("warn", "open files", f"limit is {soft}: raise it to {_FILES_MIN} or more (ulimit -n)")
    return ("ok", "open files", f"limit {soft}")
