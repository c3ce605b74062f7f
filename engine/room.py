"""Whether there is room to go on: on the disk, and in the trading stream, which discards nothing.

A stream or disk that is full stops everything at once, also what would make positions smaller. So trading goes to
REDUCING while there is still room for that. Called by streams/room. Never looks at a disk.
"""

from __future__ import annotations

import msgspec

_GB = 1_000_000_000


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and the limits.

    Attributes:
        stream: Name of the trading stream.
        stream_bytes: What it holds.
        stream_bytes_max: What it may hold.
        fill_fraction_max: Share of that from which there is too little room.
        folder: The data directory.
        free_bytes: Free for us on its disk.
        free_bytes_min: Below this there is too little room.
    """

    stream: str
    stream_bytes: int
    stream_bytes_max: int
    fill_fraction_max: float
    folder: str
    free_bytes: int
    free_bytes_min: int


def lack_of(room: Room) -> str:
    """Say what is short of room and what to do; empty when nothing is."""
    if room.free_bytes < room.free_bytes_min:
        return (
            f"{room.free_bytes / _GB:.2f} GB are free on the disk of {room.folder}, daemon.disk_free_bytes_min is "
            f"{room.free_bytes_min / _GB:.2f} GB: free some, then `tapeline resume`"
        )
    if room.stream_bytes >= room.fill_fraction_max * room.stream_bytes_max:
        return (
            f"stream {room.stream} holds {room.stream_bytes} of nats.trading_bytes_max = {room.stream_bytes_max} bytes "
            f"(limit: {room.fill_fraction_max:.0%}): raise it and start again, then `tapeline resume`"
        )
    return ""
