from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BusyError, ConfigError, UnreachableError
from streams.connection import connect
from streams.process import spawn, stop
from streams.server import NatsServer, binary

_OWNER = """
import sys, time
from pathlib import Path
from streams.server import NatsServer
server = NatsServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.port, flush=True)
sys.stdin.read()
"""


def _poll(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether the process does anything; a dead one nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_it_runs_with_streams_on_and_stops(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    assert (server.pid, server.is_running) == (0, False)
    server.start()
    assert server.is_running
    nc = await connect(server.url, "test")
    account = await nc.jetstream().account_info()
    assert account.streams == 0
    await nc.close()
    pid = server.pid
    server.stop()
    assert (server.pid, server.is_running) == (0, False)
    assert not _runs(pid)
    assert not _listens(server.port)
    server.stop()


def test_it_listens_on_loopback_only(own_server: NatsServer) -> None:
    sockets = Path("/proc/net/tcp").read_text().splitlines()[1:]
    mine = [line.split()[1] for line in sockets if line.split()[1].endswith(f":{own_server.port:04X}")]
    assert {address.partition(":")[0] for address in mine} == {"0100007F"}


def test_the_port_is_kept_over_restarts(tmp_path: Path) -> None:
    first = NatsServer(tmp_path)
    first.start()
    first.stop()
    again = NatsServer(tmp_path)
    assert again.port == first.port
    assert (tmp_path / "port").read_text() == str(first.port)
    again.start()
    again.stop()
    assert NatsServer(tmp_path / "other").port != first.port


async def test_messages_survive_kill_and_restart(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    nc = await connect(server.url, "test")
    await nc.jetstream().add_stream(name="kept", subjects=["kept"])
    for number in range(10):
        await nc.jetstream().publish("kept", str(number).encode())
    await nc.close()
    os.kill(server.pid, signal.SIGKILL)
    _poll(lambda: not server.is_running, "nats-server is dead")
    server.start()
    nc = await connect(server.url, "test")
    assert (await nc.jetstream().stream_info("kept")).state.messages == 10
    await nc.close()
    server.stop()


def test_a_busy_port_is_one_line_that_names_port_and_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.server._PORT_FREE_S_MAX", 0.1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "port").write_text(str(port))
        server = NatsServer(tmp_path)
        with pytest.raises(BusyError) as caught:
            server.start()
    text = str(caught.value)
    assert "\n" not in text
    assert f"port {port}" in text
    assert str(tmp_path / "port") in text
    assert not server.is_running


@pytest.mark.parametrize("content", ["", "four", "70000", "0", "-1"])
def test_a_port_file_that_holds_no_port_is_one_line_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "port").write_text(content)
    with pytest.raises(ConfigError) as caught:
        NatsServer(tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(tmp_path / "port") in text
    assert "delete" in text


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    (tmp_path / "store").write_text("a file where the store should be")
    with pytest.raises(UnreachableError, match="did not start") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert "nats.log" in str(caught.value)
    assert not server.is_running


def test_the_binary_is_the_wheels() -> None:
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("nats-server: v2.")


@pytest.mark.kill
def test_no_orphan_when_the_owner_is_killed_and_a_successor_starts_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, port = (int(part) for part in owner.stdout.readline().split())
    assert _runs(pid)
    assert _listens(port)
    owner.kill()
    owner.communicate()
    # The former server may still be closing its files: that is waited for, not reported as a busy port.
    successor = NatsServer(folder)
    successor.start()
    assert successor.port == port
    assert successor.pid != pid
    _poll(lambda: not _runs(pid), "the orphan is gone")
    successor.stop()


@pytest.mark.kill
def test_children_die_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from streams.process import spawn;"
        "child = spawn([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.kill()
    parent.communicate()
    _poll(lambda: not _runs(child), "the child is gone")


def test_stop_asks_first_and_then_insists() -> None:
    willing = spawn([sys.executable, "-c", "import time; time.sleep(600)"])
    assert stop(willing, 10.0) == -signal.SIGTERM
    assert stop(willing, 10.0) == -signal.SIGTERM
    stubborn = spawn(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert stop(stubborn, 0.1) == -signal.SIGKILL
    stubborn.stdout.close()


async def test_a_server_that_does_not_answer_is_one_line_that_names_it() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(UnreachableError) as caught:
            await connect(url, "test", first_timeout_s=1)
    assert url in str(caught.value)
    assert "nats.url" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_lost_connection_comes_back_and_tells_its_owner(own_server: NatsServer) -> None:
    told: list[str] = []

    async def back() -> None:
        told.append("back")

    nc = await connect(own_server.url, "test", on_reconnected=back)
    own_server.stop()
    _poll(lambda: not _listens(own_server.port), "the server is gone")
    own_server.start()
    from tests.streams.wire import until

    await until(lambda: told == ["back"], "told once")
    await nc.flush()
    await nc.close()


@pytest.mark.skipif(sys.platform != "linux", reason="policies of Linux")
def test_a_child_that_gives_way_runs_where_nobody_else_does() -> None:
    giving, other = (spawn([sys.executable, "-c", "import time; time.sleep(600)"], nice=nice) for nice in (15, 0))
    try:
        assert os.getpriority(os.PRIO_PROCESS, giving.pid) == 15
        assert os.sched_getscheduler(giving.pid) == os.SCHED_IDLE
        assert os.sched_getscheduler(other.pid) == os.SCHED_OTHER
    finally:
        for child in (giving, other):
            stop(child, 5)
