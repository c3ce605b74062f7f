"""Starts nats-server and the roles of one data directory, restarts what dies, stops everything in order.

It decides nothing about trading and holds no state of its own: what must survive is with the roles. A role that ends
with a configuration error is not restarted: it would fail the same way, so everything stops and says why.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from adapters.clock import wall_ns
from config.secrets import without_secrets
from config.settings import Settings
from engine.errors import BusyError, ConfigError, TapelineError
from streams.locks import FolderLock
from streams.loss import HoleError
from streams.process import spawn, stop
from streams.role import topology_of
from streams.server import NatsServer, guarded_server
from tapeline import journal
from tapeline.bytecode import child_environment
from tapeline.fence.watch import Watch
from tapeline.mend import is_pending, mend_in_child
from tapeline.server_keeper import ServerKeeper
from tapeline.venue import KEYED_ROLES

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 60.0
_STOP_S_MAX = 20.0
_MENDS_MAX = 3
# Nobody waits for recording. Everything else comes to its turn: an executor that gives way is starved by any other
# program on the machine, and orders lie there meanwhile.
_NICE = {"recorder": 15}
_FATAL = (ConfigError.exit_code,)
_EARLY_S, _GAVE_UP_MAX = 10.0, 3


class _Child:
    """One role's process, how often it was restarted, and how often in a row it ended itself soon after its start."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.restarts = 0
        self.failures = 0
        self.gave_up = 0
        self.next_at = 0.0


class Supervisor:
    """The daemon of one data directory.

    Args:
        settings: The whole settings; with `nats.url` empty an own nats-server is started.
        roles: Roles to run, in starting order.
        role_command: Program that runs a role; gets the role's name and the settings file appended.
        environment: Environment of the roles, keys included; those that need no keys are not given them.
        quiet: Roles log to `logs/<role>.log` instead of our stderr.
    """

    def __init__(
        self,
        settings: Settings,
        roles: Sequence[str],
        *,
        role_command: Sequence[str] = (sys.executable, "-m", "tapeline.role_main"),
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        self._roles = [_Child(role) for role in roles]
        self._command = list(role_command)
        self._keyed = child_environment(os.environ if environment is None else environment)
        self._quiet = quiet
        self._folder = settings.data_path
        self._mends = 0
        self._journal = journal.Journal()
        self._lock = FolderLock(self._folder)
        self._is_locked = True
        self._server: NatsServer | None = None
        nats = settings.nats
        if not nats.url:
            self._server = guarded_server(self._folder / "nats", topology_of(settings))
            nats = msgspec.structs.replace(nats, url=self._server.url, nkey_file=self._server.nkey_file, is_own=True)
        self._keeper = None if self._server is None else ServerKeeper(self._server, self._folder / "nats")
        self.settings = msgspec.structs.replace(settings, nats=nats)
        self._watch: Watch | None = None
        if settings.daemon.cancel_on_death_s and "executor" in roles:
            self._watch = Watch(self._settings_file, self._keyed, self._folder / "logs" / "deadman.log")

    @property
    def restarts(self) -> dict[str, int]:
        """How often each role was restarted."""
        return {child.role: child.restarts for child in self._roles}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs."""
        pids = {c.role: c.process.pid for c in self._roles if c.process is not None and c.process.poll() is None}
        if self._server is not None and self._server.is_running:
            pids["nats"] = self._server.pid
        return pids

    def start(self) -> None:
        """Start everything; roles come up side by side and wait for each other by the streams."""
        settings_file = self._settings_file
        settings_file.parent.mkdir(parents=True, exist_ok=True)
        settings_file.write_bytes(msgspec.json.encode(self.settings))
        journal.write(self._folder, self._journal)
        if self._keeper is not None:
            if is_pending(self._folder):
                self._mend()
            self._keeper.start()
        for child in self._roles:
            self._start(child)

    @property
    def _settings_file(self) -> Path:
        return self._folder / "run" / "settings.json"

    def _start(self, child: _Child) -> None:
        argv = [*self._command, child.role, str(self._settings_file)]
        environment = self._keyed if child.role in KEYED_ROLES else without_secrets(self._keyed)
        if self._quiet:
            logs = self._folder / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            with (logs / f"{child.role}.log").open("ab") as file:
                child.process = spawn(
                    argv, environment=environment, stdout=file, stderr=file, nice=_NICE.get(child.role, 0)
                )
        else:
            child.process = spawn(argv, environment=environment, nice=_NICE.get(child.role, 0))
        child.started_at = time.monotonic()
        self._tell_watch(child)

    def _tell_watch(self, child: _Child) -> None:
        if self._watch is not None and child.role == "executor" and child.process is not None:
            self._watch.tell(child.process.pid)

    def poll(self) -> None:
        """Look after the children: restart with backoff what died. Call it a few times a second.

        Raises:
            TapelineError: A role ended with an error that a restart cannot mend, its own words; or nats-server did not
                start five times in a row.
        """
        now = time.monotonic()
        if self._keeper is not None and (what := self._keeper.poll()):
            self._happened(what)
        has_server = self._server is None or self._server.is_running
        for child in self._roles:
            if child.process is None:
                if has_server and now >= child.next_at:
                    child.restarts += 1
                    self._start(child)
                continue
            code = child.process.poll()
            if code is None:
                self._tell_watch(child)
                if child.failures and now - child.started_at > _STEADY_S:
                    child.failures = 0
                continue
            if code == HoleError.exit_code and self._server is not None and self._keeper is not None:
                self._mend_now(self._server, self._keeper)
                return
            # A process that was killed may come back as often as that happens; one that gives up at once will not stay.
            is_early = now - child.started_at < _EARLY_S
            child.gave_up = child.gave_up + 1 if code > 0 and is_early else 0
            self._raise_if_fatal(child, code)
            wait = self._wait_s(child.failures)
            child.failures += 1
            child.process = None
            child.next_at = now + wait
            self._happened(f"role {child.role} ended with code {code} and is started again after {wait:g} s")

    def _mend(self) -> None:
        """Make the trading stream whole, while nothing else runs. Raises TapelineError where that cannot be."""
        if said := mend_in_child(self._folder, without_secrets(self._keyed)):
            self._happened(f"{said}; look at it, then `tapeline resume`")

    def _happened(self, what: str) -> None:
        """Say it in the log, and to `tapeline status`."""
        log.error(what)
        restarts = self.restarts | {"nats": 0 if self._keeper is None else self._keeper.restarts}
        self._journal = self._journal.with_event(wall_ns(), what, restarts)
        journal.write(self._folder, self._journal)

    def _mend_now(self, server: NatsServer, keeper: ServerKeeper) -> None:
        """Stop everything, mend, start everything again: a role found that the trading stream lost messages."""
        self._mends += 1
        if self._mends > _MENDS_MAX:
            msg = f"the trading stream loses messages again and again: look at the disk under {self._folder}"
            raise TapelineError(msg)
        self._stop_roles()
        server.stop()
        self._mend()
        keeper.start()
        for child in self._roles:
            child.restarts += 1
            self._start(child)

    def _stop_roles(self) -> None:
        for child in reversed(self._roles):
            if child.process is not None:
                stop(child.process, _STOP_S_MAX)
                child.process = None

    def _wait_s(self, failures: int) -> float:
        return min(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)], self.settings.daemon.restart_wait_s_max)

    def _raise_if_fatal(self, child: _Child, code: int) -> None:
        if code in _FATAL or child.gave_up > _GAVE_UP_MAX:
            error_file = self._folder / "run" / f"{child.role}.error"
            why = error_file.read_text(encoding="utf-8") if error_file.exists() else f"ended with code {code}"
            error = ConfigError if code == ConfigError.exit_code else TapelineError
            if code == BusyError.exit_code:
                error = BusyError
            msg = why if self._quiet or code in _FATAL else f"role {child.role} does not stay up: {why}"
            raise error(msg)

    def stop(self) -> None:
        """Stop the roles in the order in which messages flow, then nats-server; nothing is left running. Idempotent."""
        self._stop_roles()
        if self._watch is not None:
            self._watch.stop()
        if self._is_locked and self.settings.daemon.cancel_on_exit:
            self._cancel_everything()
        if self._server is not None:
            self._server.stop()
        if self._is_locked:
            self._lock.release()
            self._is_locked = False

    def _cancel_everything(self) -> None:
        """Cancel every open order of the account; the roles that could send another have ended."""
        from tapeline.fence.access import check_account, open_access
        from tapeline.fence.act import cancel_everything

        try:
            access = open_access(self.settings, self._keyed)
            check_account(access)
            cancel_everything(access, log.warning, _STOP_S_MAX)
        except TapelineError as err:
            log.critical("orders stay open at the venue", reason=str(err))
