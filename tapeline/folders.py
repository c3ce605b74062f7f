"""Which data directory a command means, and whether a daemon runs in it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from config.settings import NatsSettings, Settings
from engine.errors import ConfigError

HOME = Path("tapeline-data")
_LATEST = HOME / "latest"


def remember(folder: Path) -> None:
    """Note the data directory used last, for commands that name none."""
    HOME.mkdir(parents=True, exist_ok=True)
    temporary = _LATEST.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(str(folder.absolute()), encoding="utf-8")
    temporary.replace(_LATEST)


def resolve(folder: Path | None) -> Path:
    """Give the data directory meant: the option, else TAPELINE_DATA_DIR, else the one used last here.

    Raises:
        ConfigError: None is known, or it does not exist.
    """
    named = folder or (Path(os.environ["TAPELINE_DATA_DIR"]) if os.environ.get("TAPELINE_DATA_DIR") else None)
    if named is None and _LATEST.exists():
        named = Path(_LATEST.read_text(encoding="utf-8").strip())
    if named is None:
        msg = "no data directory known here: run `tapeline demo` first, or give --data-dir"
        raise ConfigError(msg)
    if not named.is_dir():
        msg = f"data directory {named} does not exist: give --data-dir with one that does"
        raise ConfigError(msg)
    return named


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
    url = os.environ.get("TAPELINE_NATS__URL", "") if folder is None else ""
    if url:
        settings = Settings(nats=NatsSettings(url=url, prefix=os.environ.get("TAPELINE_NATS__PREFIX", "tape")))
        return resolve(None) if needs_folder else None, settings
    found = resolve(folder)
    return found, running_settings(found) if is_running(found) else None
