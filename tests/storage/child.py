"""A process that the kill tests start: writes numbered bars, one per sequence, and dies where it is told to.

    python -m tests.storage.child PATH SEED TOTAL POINT NTH
    python -m tests.storage.child PATH hold          holds the file until its stdin ends

POINT is one of POINTS: at its NTH passing the process kills itself with SIGKILL. `none` writes to the end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

from storage import snapshot
from storage.writer import Writer
from tests.storage.samples import bars, fill, messages

POINTS = ("begun", "rows_in", "position_in", "committed", "checkpointing", "copied")


def body_list(start: int, count: int) -> list[object]:
    """Bodies of the sequences `start`+1.. : nine bars, then a fill."""
    every = bars(start, count, symbols=20)
    return [fill(f"v{n}") if n % 10 == 9 else every[n - start] for n in range(start, start + count)]


def main() -> None:
    path, rest = Path(sys.argv[1]), sys.argv[2:]
    writer = Writer.open(path, memory_limit_mb=64, threads=1, snapshot_dir=path.parent / "snapshots")
    if rest == ["hold"]:
        print("holding", flush=True)
        sys.stdin.read()
        return
    seed, total, point, nth = int(rest[0]), int(rest[1]), rest[2], int(rest[3])
    passed = 0

    def at(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    hook(writer, at)
    rng = random.Random(seed)
    done = writer.positions().get("s", 0)
    while done < total:
        size = min(rng.randint(1, 700), total - done)
        writer.write("s", done + size, messages(*body_list(done, size)))
        done += size
        if rng.random() < 0.2:
            at("checkpointing")
            writer.checkpoint()
        if rng.random() < 0.2:
            snapshot.take(writer.instance)
    print("done", flush=True)
    writer.close()


def hook(writer: Writer, at) -> None:
    """Call `at(point)` inside the writer's transaction and inside a snapshot."""
    store, move, trim, sync = writer._store, writer._move, writer._trim, snapshot.sync

    def stored(*args) -> None:
        at("begun")
        store(*args)
        at("rows_in")

    def moved(*args) -> None:
        move(*args)
        at("position_in")

    def trimmed(*args) -> None:
        at("committed")
        trim(*args)

    def synced(path: Path) -> None:
        if path.is_file():
            at("copied")
        sync(path)

    writer._store, writer._move, writer._trim = stored, moved, trimmed
    snapshot.sync = synced


if __name__ == "__main__":
    main()
