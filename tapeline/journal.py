"""What happened to the daemon's processes, in `run/daemon.json`: `tapeline status` asks roles, which do not know.

Written by the supervisor whenever something happened; a disk that is full keeps the older words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

_KEPT = 20


class Event(msgspec.Struct, frozen=True):
    """Something that happened, and when (wall clock, ns UTC)."""

    ts_event: int
    what: str


class Journal(msgspec.Struct, frozen=True):
    """How often what was restarted since the daemon's start, and the last things that happened, oldest first."""

    restarts: dict[str, int] = {}
    events: tuple[Event, ...] = ()

    def with_event(self, ts_event: int, what: str, restarts: Mapping[str, int]) -> Journal:
        """Give the journal with one more event."""
        return Journal({k: v for k, v in restarts.items() if v}, (*self.events, Event(ts_event, what))[-_KEPT:])


def write(folder: Path, journal: Journal) -> None:
    """Write it whole, if there is room."""
    path = folder / "run" / "daemon.json"
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.encode(journal))
        temporary.replace(path)


def read(folder: Path) -> Journal:
    """Read it; an empty one where there is none."""
    try:
        return msgspec.json.decode((folder / "run" / "daemon.json").read_bytes(), type=Journal)
    except (OSError, msgspec.MsgspecError):
        return Journal()
