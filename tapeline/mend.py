"""Makes the trading stream of a data directory whole where it lost messages, and puts right what hung on the lost ones.

Run by the supervisor while everything of it is stopped (`python -m tapeline.mend FOLDER`, a process of its own: it
opens the database), and by `tapeline rebuild`. Trading is latched before; whoever resumes it has read what was done.
Killed at any moment, the next start goes on.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.clock import wall_ns
from config import logs
from config.settings import Settings
from engine.errors import ConfigError, TapelineError
from streams.checkpoint import all_in
from streams.connection import Inflow, connect
from streams.keys import identity
from streams.latch import Latch
from streams.loss import Hole, Holes, look, seen_path
from streams.process import spawn
from streams.role import NoPoints, Points, topology_of
from streams.seals import Seal, Seen, stands
from streams.server import LONELY, NatsServer, lonely_server
from streams.topology import ensure
from tapeline import folders
from tapeline.role_main import ROLES

if TYPE_CHECKING:
    from storage.archive import Archive
    from streams.mend import Mended


def is_pending(folder: Path) -> bool:
    """Whether a role wrote down a hole that nobody mended, or a mending was cut short."""
    return bool(Holes(folder).read()) or _spool(folder).exists()


def mend_folder(folder: Path, settings: Settings, points: Points | None = None) -> str:
    """Make the trading stream whole; say what was done, nothing when it is whole. The folder's lock is held.

    Args:
        folder: The data directory; nothing of its daemon runs.
        settings: Of its daemon.
        points: Hook for tests.

    Raises:
        ConfigError: It cannot be made whole enough to go on.
    """
    from storage.archive import open_archive

    server = lonely_server(folder / "nats")
    server.start()
    try:
        with open_archive(folder / "tapeline.duckdb", memory_limit_mb=settings.recorder.memory_mb_max) as archive:
            return asyncio.run(_mend(server, folder, settings, archive, points or NoPoints()))
    finally:
        server.stop()


def mend_in_child(folder: Path, environment: Mapping[str, str]) -> str:
    """Do it in a process of its own, for a daemon that has the folder's lock; say what was done.

    Raises:
        ConfigError: It cannot be made whole enough to go on.
        TapelineError: Something else hindered it; its own words.
    """
    argv = [sys.executable, "-m", "tapeline.mend", str(folder)]
    child = spawn(argv, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, errors = (text.decode().strip() for text in child.communicate())
    if child.returncode != 0:
        error = ConfigError if child.returncode == ConfigError.exit_code else TapelineError
        last = errors.splitlines()[-1] if errors else f"ended with code {child.returncode}"
        msg = f"the trading stream could not be made whole: {last}"
        raise error(msg)
    return said


async def _mend(server: NatsServer, folder: Path, settings: Settings, archive: Archive | None, points: Points) -> str:
    from streams.mend import Mend

    topology = topology_of(settings)
    who = identity(server.nkey_file, LONELY)
    nc = await connect(server.url, "tapeline-mend", identity=who, kind=Inflow)
    try:
        await ensure(nc.jetstream(timeout=5), topology)
        mend = Mend(nc, topology, _spool(folder), points)
        holes = await _holes(nc, topology.trading, folder)
        mended = await mend.gather(holes, archive, wall_ns())
        if mended is None:
            _forget(folder)
            return ""
        Latch(folder).set(str(mended), "mend", wall_ns())
        _keep_damaged(folder, topology.trading)
        await mend.refill()
        await _put_right(nc, folder, mended, archive)
        points.hit("mend.before_done")
        mend.done()
        return str(mended)
    finally:
        await nc.close()


async def _holes(nc: Inflow, stream: str, folder: Path) -> list[Hole]:
    """Give what is known to be lost: what roles wrote down, and what their seals say."""
    known = [hole for hole in Holes(folder).read() if hole.stream == stream]
    if _spool(folder).exists():
        return known
    seals = [Seen(seen_path(folder, role)).read() for role in ROLES]
    for seal in sorted((seal for seal in seals if seal is not None), key=lambda seal: seal.seq):
        hole = await look(nc, stream, [seal])
        known += [] if hole is None else [hole]
    return known


async def _put_right(nc: Inflow, folder: Path, mended: Mended, archive: Archive | None) -> None:
    """Let go of what was made from the damaged stream: rows after the hole, checkpoints whose seal is gone, notes."""
    if archive is not None:
        archive.forget(mended.stream, mended.first - 1)
    js = nc.jetstream(timeout=5)
    for path, header in all_in(folder / "checkpoints"):
        at = header.positions.get(mended.stream, 0)
        seal = header.seals.get(mended.stream, Seal(at, 0, ""))
        if at >= mended.first and not await stands(js, mended.stream, seal):
            path.unlink()
    _forget(folder)


def _forget(folder: Path) -> None:
    for role in ROLES:
        seen_path(folder, role).unlink(missing_ok=True)
    Holes(folder).forget()


def _keep_damaged(folder: Path, stream: str) -> None:
    """Copy the damaged stream's files beside the store, once, for whoever wants to look at them."""
    made = datetime.fromtimestamp(int(_spool(folder).stat().st_mtime), UTC)
    kept = folder / "nats" / f"{stream}.before-{made:%Y%m%dT%H%M%SZ}"
    for source in (folder / "nats" / "store").glob(f"jetstream/*/streams/{stream}"):
        if kept.exists():
            return
        part = kept.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        part.rename(kept)


def _spool(folder: Path) -> Path:
    return folder / "nats" / "mend.spool"


def main(argv: list[str]) -> int:
    """Mend the folder named and print what was done."""
    (name,) = argv
    folder = Path(name)
    logs.configure("warning", "mend")
    try:
        said = mend_folder(folder, folders.running_settings(folder))
    except TapelineError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
