"""When there is too little room, and what is said then."""

from __future__ import annotations

import msgspec
import pytest

from engine.room import Room, lack_of

PLENTY = Room(
    stream="TAPE_TRADING", stream_bytes=899, stream_bytes_max=1_000, fill_fraction_max=0.9,
    folder="data", free_bytes=1_000, free_bytes_min=1_000,
)  # fmt: skip


def test_at_the_limits_there_is_room() -> None:
    assert lack_of(PLENTY) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stream_bytes": 900}, ["TAPE_TRADING holds 900", "nats.trading_bytes_max = 1000", "90%"]),
        ({"free_bytes": 999}, ["the disk of data", "daemon.disk_free_bytes_min", "tapeline resume"]),
        ({"free_bytes": 0, "stream_bytes": 1_000}, ["0.00 GB are free"]),
    ],
)
def test_below_them_it_says_what_and_what_to_do(change: dict[str, int], words: list[str]) -> None:
    said = lack_of(msgspec.structs.replace(PLENTY, **change))
    assert all(word in said for word in words), said
