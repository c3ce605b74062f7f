"""`tapeline rebuild`: the database file made anew from the streams, in a file beside, then put in place.

The streams are the truth and the file is made from them; what they no longer hold because it aged out is carried over
from the file before, which is kept under another name. A trading stream that lost messages is made whole first, from
the file before (tapeline.mend). Refuses while anything of the daemon runs here. Killed at any
moment, the next call begins again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.clock import wall_ns
from config.settings import Settings
from engine.errors import ConfigError
from streams.keys import OPERATOR, identity
from streams.locks import FolderLock
from streams.role import NoPoints, Points, topology_of
from streams.server import guarded_server
from tapeline import folders
from tapeline.mend import is_pending, mend_folder

if TYPE_CHECKING:
    from storage.carry import TableChange
    from streams.refill import Refilled

_MARKET_TABLES = ("bars", "gaps")


def run_rebuild(data_dir: Path | None, points: Points | None = None) -> int:
    """Make the file anew and say what was done.

    Args:
        data_dir: The data directory; None means the one used last here.
        points: Hook for tests.
    """
    folder = folders.resolve(data_dir)
    store = folder / "nats" / "store"
    if not store.is_dir():
        msg = f"{store} does not exist: rebuild reads the streams that a nats-server of this data directory stored"
        raise ConfigError(msg)
    settings = folders.running_settings(folder) if (folder / "run" / "settings.json").exists() else Settings()
    with ExitStack() as held:
        held.callback(FolderLock(folder).release)
        held.callback(FolderLock(folder / "run", "recorder.lock", "recorder").release)
        started = time.monotonic()
        lines = _rebuild(folder, settings, points or NoPoints())
        sys.stdout.write("\n".join([*lines, f"done in {time.monotonic() - started:.1f} s"]) + "\n")
    return 0


def _rebuild(folder: Path, settings: Settings, points: Points) -> list[str]:
    """Do the work under the locks; give the report."""
    from storage import replace
    from storage.carry import carry, close_log, look
    from storage.writer import Writer

    path = folder / "tapeline.duckdb"
    replace.remove_parts(path)
    memory = settings.recorder.memory_mb_max
    unreadable = close_log(path, memory_limit_mb=memory) if path.exists() else f"{path} does not exist"
    old = None if unreadable else path
    part = replace.part_path(path)
    streams = _read_streams(folder, settings, part, points)
    mended = ""
    if _is_damaged(folder, streams[-1], old, memory):
        part.unlink()
        mended = mend_folder(folder, settings, points)
        streams = _read_streams(folder, settings, part, points)
    firsts = _first_times(streams)
    changes = look(part, old, firsts)
    if old is not None and any(change.carried for change in changes):
        whole = replace.part_path(path, "-whole")
        Writer.open(whole, memory_limit_mb=memory, threads=settings.recorder.threads).close()
        carry(whole, part, old, firsts)
        points.hit("rebuild.carried")
        part.unlink()
        part = whole
    found = look(part, None, firsts)
    points.hit("rebuild.before_keep")
    kept = replace.keep(path, f"{datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC):%Y%m%dT%H%M%SZ}")
    points.hit("rebuild.before_put")
    replace.put(part, path)
    points.hit("rebuild.after_put")
    lines = report(path, kept, unreadable, streams=streams, changes=changes, found=found)
    return [f"made whole first: {mended}", *lines] if mended else lines


def _is_damaged(folder: Path, trading: Refilled, old: Path | None, memory: int) -> bool:
    """Whether the trading stream lost messages: its sequences have a hole, or the old file knows later ones."""
    from storage.archive import open_archive

    if not trading.is_there or is_pending(folder) or trading.messages != trading.last_seq:
        return True
    if old is None:
        return False
    with open_archive(old, memory_limit_mb=memory) as archive:
        return archive is not None and archive.last_seq > trading.last_seq


def _read_streams(folder: Path, settings: Settings, part: Path, points: Points) -> list[Refilled]:
    """Write a new file from the streams, with a nats-server of our own on the store."""
    from storage.writer import Writer
    from streams.refill import refill

    recorder = settings.recorder
    topology = topology_of(settings)
    server = guarded_server(folder / "nats", topology)
    server.start()
    try:
        who = identity(server.nkey_file, OPERATOR)
        with Writer.open(part, memory_limit_mb=recorder.memory_mb_max, threads=recorder.threads) as writer:
            points.hit("rebuild.begun")
            streams = asyncio.run(refill(server.url, topology, writer, recorder.batch_rows_max, points, identity=who))
    finally:
        server.stop()
    if not any(stream.is_there for stream in streams):
        part.unlink()
        msg = (
            f"{folder / 'nats' / 'store'} holds neither {topology.market} nor {topology.trading}: nothing to rebuild "
            f"from; name the data directory whose daemon used the prefix {topology.prefix!r}"
        )
        raise ConfigError(msg)
    return streams


def _first_times(streams: Sequence[Refilled]) -> dict[str, int | None]:
    """Give the time of the first message of each table's stream."""
    from storage.tables import TABLES

    market, trading = streams
    return {table.name: (market if table.name in _MARKET_TABLES else trading).first_ns for table in TABLES}


def report(
    path: Path,
    kept: Path | None,
    unreadable: str,
    *,
    streams: Sequence[Refilled],
    changes: Sequence[TableChange],
    found: Sequence[TableChange],
) -> list[str]:
    """Say what was done, for people.

    Args:
        path: The new file, in place.
        kept: Where the old one is; None when there was none.
        unreadable: Why nothing could be taken from the old one; empty when it could be read.
        streams: What was read.
        changes: The streams' tables against the old file's.
        found: The tables of the new file.
    """
    lines = [f"made anew: {path}", f"kept the file before: {kept}" if kept else "there was no file before"]
    if unreadable and kept:
        lines.append(f"nothing was carried over from it: {unreadable}")
    lines += [_stream_line(stream) for stream in streams]
    rows = [("table", "rows", "before", "carried over", "first", "last")]
    for change, now in zip(changes, found, strict=True):
        before = "-" if change.before is None else str(change.before)
        rows.append((now.name, str(now.rows), before, str(change.carried), now.first or "-", now.last or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(f"{c:{'>' if 0 < n < 4 else '<'}{widths[n]}}" for n, c in enumerate(r)).rstrip() for r in rows]
    lines.append(_aged_out(sum(change.carried for change in changes), unreadable, streams))
    for change in changes:
        if change.left:
            lines.append(
                f"{change.name}: {change.left} rows of the old file are in no stream, though not older; left there"
            )
        if change.changed:
            lines.append(f"{change.name}: {change.changed} rows of the old file said something else than the streams")
    return lines


def _aged_out(carried: int, unreadable: str, streams: Sequence[Refilled]) -> str:
    if carried:
        return f"carried over from the file before: {carried} rows that the streams no longer hold"
    if not unreadable:
        return "the streams hold all that the file before held from before their first messages"
    if any(stream.first_seq > 1 for stream in streams):
        return "what aged out of the streams is not in the new file: there was no readable file before"
    return "nothing aged out of the streams"


def _stream_line(stream: Refilled) -> str:
    if not stream.is_there:
        return f"stream {stream.stream}: not in the store"
    trouble = "".join(
        f", {count} {what}"
        for count, what in ((stream.duplicates, "duplicates"), (stream.conflicts, "conflicts"))
        if count
    )
    aged = f"; the {stream.first_seq - 1} before them aged out" if stream.first_seq > 1 else ""
    return (
        f"stream {stream.stream}: {stream.messages} messages, sequences {stream.first_seq} to {stream.last_seq}, "
        f"{stream.rows} rows{trouble}{aged}"
    )
