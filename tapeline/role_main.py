"""Runs one role in this process: `python -m tapeline.role_main ROLE SETTINGS_FILE`.

Here a role gets its clock, its adapters and its hook; only here and in `venue` it is known whether the venue is Alpaca
or a local exchange, and all it changes are URLs and the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from adapters.clock import VenueClock, WallClock, wall_ns
from config import logs
from config.secrets import guard_tracebacks, hide
from config.settings import Settings
from engine.errors import ConfigError, TapelineError
from streams.checkpoint import CheckpointStore
from streams.latch import Latch
from streams.locks import FolderLock
from streams.role import Context, NoPoints, Points, Service, run_role
from tapeline.venue import alpaca_config, check_account

ROLES = ("recorder", "executor", "risk", "signals", "feed")
"""All roles, in the order in which they start; they stop in reverse."""
_MEMORY_BESIDE_MB = 2048
"""What recorder's process may use beside DuckDB's own limit; a query that wants more is refused, recorder lives on."""


def main(argv: list[str], points: Points | None = None) -> int:
    """Run a role; return the exit code. The last error goes to stderr and to `run/<role>.error` for the supervisor."""
    guard_tracebacks()
    role, settings_file = argv
    settings = msgspec.json.decode(Path(settings_file).read_bytes(), type=Settings)
    return run(role, settings, points or NoPoints())


def run(role: str, settings: Settings, points: Points) -> int:
    """Run a role with these settings until it is stopped."""
    logs.configure(settings.log.level, role)
    error_file = settings.data_path / "run" / f"{role}.error"
    error_file.parent.mkdir(parents=True, exist_ok=True)
    error_file.unlink(missing_ok=True)
    try:
        return _run(role, settings, points)
    except TapelineError as err:
        said = hide(str(err))
        with contextlib.suppress(OSError):  # a full disk
            error_file.write_text(said, encoding="utf-8")
        sys.stderr.write(f"tapeline {role}: {said}\n")
        return err.exit_code


def _run(role: str, settings: Settings, points: Points) -> int:
    lock = FolderLock(settings.data_path / "run", f"{role}.lock", role)
    clock = VenueClock(settings.venue_clock_url) if settings.venue_clock_url else WallClock()
    work = run_role(role, settings, _maker(role, settings, clock), clock=clock, wall_ns=wall_ns, points=points)
    try:
        return run_loop(work)
    finally:
        lock.release()


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _maker(role: str, settings: Settings, clock: VenueClock | WallClock) -> Callable[[Context], Service]:
    """Choose the service; vendors are imported by the roles that need them only."""
    match role:
        case "feed":
            from adapters.alpaca.connect import connect_clock, connect_feed
            from streams.services.feed import Feed

            alpaca = alpaca_config(settings, os.environ)
            # A venue whose time is virtual has none to compare ours with.
            venue_time = None if settings.venue_clock_url else connect_clock(alpaca, wall_ns)
            return lambda context: Feed(
                context, lambda is_open: connect_feed(alpaca, wall_ns, clock.estimate_ns, is_open), venue_time
            )
        case "signals":
            from config import own
            from streams.services.signals import Signals

            own.learn_installed()
            return lambda context: Signals(context, _store(settings, "signals", signals_code()))
        case "risk":
            from adapters.simulated import shadow_venue
            from engine.risk import RiskState
            from streams.services.risk import Risk

            return lambda context: Risk(context, _store(settings, "risk", _schema_hash(RiskState)), shadow_venue)
        case "executor":
            from adapters.alpaca.connect import connect_trading
            from engine.execution import ExecState
            from streams.services.executor import Executor

            settings = msgspec.structs.replace(settings, run_id=run_id(settings))
            alpaca = alpaca_config(settings, os.environ)
            venue, updates = connect_trading(alpaca, _log_problem, lambda number: check_account(settings, number))

            def executor(context: Context) -> Service:
                context.settings = settings
                store = _store(settings, "executor", _schema_hash(ExecState))
                return Executor(context, store, venue, updates, Latch(settings.data_path))

            return executor
        case "recorder":
            from storage.instance import cap_process_memory
            from streams.services.recorder import Recorder

            cap_process_memory(settings.recorder.memory_mb_max + _MEMORY_BESIDE_MB)
            return lambda context: Recorder(context, database_path(settings), settings.data_path / "snapshots")
        case _:
            msg = f"unknown role {role!r}: choose from {', '.join(ROLES)}"
            raise ConfigError(msg)


def database_path(settings: Settings) -> Path:
    """Where the DuckDB file of a data directory is."""
    return settings.data_path / "tapeline.duckdb"


def run_id(settings: Settings) -> str:
    """Give the run id of a data directory: from the settings, else written down at the first start."""
    if settings.run_id:
        return settings.run_id
    path = settings.data_path / "run_id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(uuid.uuid4().hex[:12], encoding="ascii")
        temporary.replace(path)
    return path.read_text(encoding="ascii").strip()


def signals_code() -> str:
    """Hash of what pickled strategies depend on: the engine's sources, talipp, strategies of installed packages."""
    from importlib.metadata import entry_points

    from config.own import GROUP
    from engine.indicators import LIBRARY

    engine = Path(__file__).parent.parent / "engine"
    digest = hashlib.blake2b(LIBRARY.encode(), digest_size=16)
    for point in entry_points(group=GROUP):
        digest.update(f"{point.name} {point.value} {point.dist and point.dist.version}".encode())
    for path in sorted(engine.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _schema_hash(state: type[msgspec.Struct]) -> str:
    schema = msgspec.json.encode(msgspec.json.schema(state), order="deterministic")
    return hashlib.blake2b(schema, digest_size=16).hexdigest()


def _store(settings: Settings, role: str, code: str, config: str = "") -> Callable[[str], CheckpointStore]:
    folder = settings.data_path / "checkpoints" / role
    return lambda identity: CheckpointStore(folder, role, code, f"{identity}/{config}")


def _log_problem(level: str, what: str) -> None:
    import structlog

    structlog.get_logger().log({"critical": 50, "error": 40, "warning": 30}.get(level, 20), what)


if __name__ == "__main__":
    ended = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)  # everything is closed; DuckDB 2.0's binding ends an interpreter with 30 lines about leaks
