"""The way to the venue of a data directory without its daemon: settings as it ran with, keys, and whose account it is.

Nothing is done to an account before it is known to be the one that this data directory trades.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.clock import VenueClock, wall_ns
from config.settings import Settings, load
from engine.errors import ConfigError
from engine.ports import Fence, Venue
from streams.owner import known_account
from tapeline import folders
from tapeline.venue import alpaca_config
from tapeline.venue import check_account as interlock_account

if TYPE_CHECKING:
    from adapters.alpaca.config import AlpacaConfig

LOCAL_KEYS = {"ALPACA_API_KEY": "demo", "ALPACA_SECRET_KEY": "demo"}
"""Keys of a local exchange that was started by the demo: it takes any."""


class Access(msgspec.Struct, frozen=True):
    """What a fence works with. `now_ns` gives venue time."""

    settings: Settings
    venue: Venue
    fence: Fence
    now_ns: Callable[[], int]


def fence_settings(folder: Path) -> Settings:
    """Give the settings of the daemon that runs or last ran here, else those that one would start with now."""
    if (folder / "run" / "settings.json").exists():
        return folders.running_settings(folder)
    return load(None, os.environ, {"data_dir": str(folder)})


def fence_keys(settings: Settings, environment: Mapping[str, str]) -> AlpacaConfig:
    """Put URLs and keys together as the daemon does. Raises ConfigError where there are no keys."""
    given = {name: value for name, value in environment.items() if value}
    local = {name: value for name, value in LOCAL_KEYS.items() if f"{name}_FILE" not in given}
    return alpaca_config(settings, {**local, **given} if settings.venue_clock_url else given)


def open_access(settings: Settings, environment: Mapping[str, str] | None = None) -> Access:
    """Make the connection; nothing is asked yet. Raises ConfigError where there are no keys."""
    alpaca = fence_keys(settings, os.environ if environment is None else environment)
    from adapters.alpaca.fence import AlpacaFence
    from adapters.alpaca.trading import AlpacaVenue

    url = settings.venue_clock_url
    return Access(settings, AlpacaVenue(alpaca), AlpacaFence(alpaca), (lambda: _ask(url)) if url else wall_ns)


def check_account(access: Access) -> str:
    """Give the account's number, which is that of this data directory.

    Raises:
        ConfigError: It is another one, or it is not known which one it should be; nothing was done to it.
    """
    folder, found = access.settings.data_path, access.fence.account_number()
    interlock_account(access.settings, found)
    wanted = known_account(folder) or access.settings.alpaca.account_number
    if not wanted:
        wanted = load(None, os.environ).alpaca.account_number
    if not wanted:
        msg = (
            f"no daemon ever traded from {folder}, and the keys are of account {found}: nothing was done to it; "
            f"if it is the one you mean, set alpaca.account_number (TAPELINE_ALPACA__ACCOUNT_NUMBER={found})"
        )
        raise ConfigError(msg)
    if wanted != found:
        msg = (
            f"data directory {folder} trades account {wanted}, but the keys are of account {found}: "
            f"nothing was done to it; use the keys of {wanted}"
        )
        raise ConfigError(msg)
    return found


def _ask(url: str) -> int:
    async def once() -> int:
        clock = VenueClock(url)
        try:
            return await clock.now_ns()
        finally:
            await clock.close()

    return asyncio.run(once())
