"""Which data directory a command means, and whether a daemon runs in it."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapters.clock import wall_ns
from config.settings import NatsSettings, Settings, configured_data_dir, parse
from engine.errors import ConfigError

HOME = Path("tapeline-data")
_LATEST = HOME / "latest"


def fresh(what: str) -> Path:
    """Name a new folder for a run of its own."""
    stamp = datetime.fromtimestamp(wall_ns() / 1e9, UTC).strftime("%Y%m%d-%H%M%S")
    return HOME / f"{what}-{stamp}-{os.getpid()}"


def remember(folder: Path) -> None:
    """Note the data directory used last, for commands that name none."""
    HOME.mkdir(parents=True, exist_ok=True)
    temporary = _LATEST.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(str(folder.absolute()), encoding="utf-8")
    temporary.replace(_LATEST)


def resolve(folder: Path | None) -> Path:
    """Give the data directory meant: the option, else TAPELINE_DATA_DIR, else the one known here, a running one first.

    Known are the one used last, the `data_dir` of the settings file (TAPELINE_CONFIG, else tapeline.toml), which counts
    as absent where it cannot be read and a daemon runs in another, and the default one where a daemon runs in it.

    Raises:
        ConfigError: None is known, it does not exist, or daemons run in both.
    """
    named = folder or (Path(os.environ["TAPELINE_DATA_DIR"]) if os.environ.get("TAPELINE_DATA_DIR") else None)
    if named is None:
        named = _known_here()
    if named is None:
        msg = "no data directory known here: run `tapeline demo` first, or give --data-dir"
        raise ConfigError(msg)
    if not named.is_dir():
        msg = f"data directory {named} does not exist: give --data-dir with one that does"
        raise ConfigError(msg)
    return named


def _known_here() -> Path | None:
    latest = Path(_LATEST.read_text(encoding="utf-8").strip()) if _LATEST.exists() else None
    fault, configured = None, None
    try:
        configured = configured_data_dir(os.environ)
    except ConfigError as err:  # a halt must not wait for a file to be mended
        fault = err
    known = list(dict.fromkeys(path.absolute() for path in (latest, configured) if path is not None))
    default = Path(Settings().data_dir).absolute()
    running = [path for path in dict.fromkeys([*known, default]) if path.is_dir() and is_running(path)]
    if len(running) > 1:
        msg = f"daemons run in {running[0]} and in {running[1]}: say which one is meant with --data-dir"
        raise ConfigError(msg)
    if not running and fault is not None:
        raise fault
    return next(iter([*running, *known]), None)


def nats_of_environment() -> NatsSettings | None:
    """Give the NATS that TAPELINE_NATS__URL names, for a machine without the data directory; None when it is not set.

    Raises:
        ConfigError: A variable holds what no setting takes.
    """
    names = ("url", "prefix", "nkey_file")
    found = {name: os.environ.get(f"TAPELINE_NATS__{name.upper()}", "") for name in names}
    return parse({"nats": {k: v for k, v in found.items() if v}}).nats if found["url"] else None


def is_running(folder: Path) -> bool:
    """Whether a daemon holds the data directory."""
    path = folder / "lock"
    if not path.exists():
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def running_settings(folder: Path) -> Settings:
    """Give the settings the daemon of this directory runs with.

    Raises:
        ConfigError: None ever ran here.
    """
    path = folder / "run" / "settings.json"
    if not path.exists():
        msg = f"no daemon was ever started in {folder}: start one with `tapeline run --data-dir {folder}`"
        raise ConfigError(msg)
    return msgspec.json.decode(path.read_bytes(), type=Settings)


def commanded(folder: Path | None, *, needs_folder: bool = False) -> tuple[Path | None, Settings | None]:
    """Give whom a command is for: the data directory, and the settings of the daemon.

    Args:
        folder: The option; where it is None, TAPELINE_NATS__URL names a daemon anywhere.
        needs_folder: Give the data directory also where a NATS is named.

    Returns:
        The data directory, None where only a NATS is named; settings, None where no daemon runs in the directory.
    """
    if folder is None and (nats := nats_of_environment()) is not None:
        return resolve(None) if needs_folder else None, Settings(nats=nats)
    found = resolve(folder)
    return found, running_settings(found) if is_running(found) else None
