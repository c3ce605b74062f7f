"""kill -9 of a process that writes: rows and positions agree, whatever the moment."""

import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from storage.bodies import read_all
from storage.sql import open_read_only
from storage.writer import Writer
from tests.storage.child import POINTS, body_list

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.kill


@contextmanager
def child(path, *args):
    command = [sys.executable, "-m", "tests.storage.child", str(path), *map(str, args)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def bytes_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a checkpoint removes the WAL
        return 0


def check(path, *, at_least=0):
    """Compare whole bodies with what the position says; give the position."""
    with Writer.open(path, memory_limit_mb=64, threads=1, snapshot_dir=path.parent / "snapshots") as writer:
        position = writer.positions().get("s", 0)
        found = read_all(writer.instance)
        with writer.instance.reading() as cursor:
            ((keys,),) = cursor.execute("SELECT count(*) FROM row_keys").fetchall()
    expected = body_list(0, position)
    assert position >= at_least
    assert found["bars"] == [body for n, body in enumerate(expected) if n % 10 != 9]
    assert found["fills"] == [body for n, body in enumerate(expected) if n % 10 == 9]
    assert keys == len(found["fills"])
    return position


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1])
def test_every_named_point(tmp_path, seed):
    """One file dies at each point in turn and goes on after each: nothing lost, nothing doubled, whole at the end."""
    path, rng, position = tmp_path / "t.duckdb", random.Random(seed), 0
    for point in POINTS:
        with child(path, rng.randrange(10**6), 10**9, point, rng.randint(1, 3)) as process:
            assert process.wait(60) == -signal.SIGKILL, f"seed {seed}: the point {point} was never hit"
        before, position = position, check(path, at_least=position)
        assert position > before or point in ("begun", "rows_in", "position_in")
        parts = [file for file in (tmp_path / "snapshots").iterdir() if file.name.startswith(".")]
        assert parts == [], "leftovers of a snapshot outlive the next opening"
        if (tmp_path / "snapshots" / "snapshot.duckdb").exists():
            with open_read_only(tmp_path / "snapshots" / "snapshot.duckdb") as service:
                rows = "SELECT (SELECT count(*) FROM bars) + (SELECT count(*) FROM fills), seq FROM recorder_positions"
                ((count, seq),) = service.query(rows).frame().rows()
                assert count == seq
    with child(path, seed, position + 500, "none", 0) as process:
        assert process.wait(60) == 0
    assert check(path) == position + 500


def test_a_kill_from_outside(tmp_path):
    """No named point: the parent kills after some output of work, wherever the child is."""
    path = tmp_path / "t.duckdb"
    for seed in range(2):
        # The first 130 KB are the schema.
        wal, size, until = Path(f"{path}.wal"), 300_000 * (seed + 1), monotonic() + 30
        with child(path, seed, 10**9, "none", 0) as process:
            while process.poll() is None and bytes_of(wal) <= size:
                assert monotonic() < until, f"seed {seed}: the WAL never reached {size} bytes"
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
        assert check(path) > 0
