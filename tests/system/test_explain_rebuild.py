"""explain and rebuild on what a real run left: over NATS and from the file; made anew, and killed while at it."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest

from config.settings import Settings
from engine.errors import BusyError, ConfigError, TapelineError
from storage.bodies import read_all
from storage.sql import open_read_only
from storage.writer import Writer
from streams.connection import connect
from streams.server import NatsServer
from tapeline.explain.command import run_explain
from tapeline.rebuild import run_rebuild
from tapeline.supervisor import Supervisor
from tests.system.harness import tables
from tests.system.kill_tally import TALLY

pytestmark = pytest.mark.system

POINTS = (
    "rebuild.begun", "rebuild.after_commit", "rebuild.carried", "rebuild.before_keep", "rebuild.before_put",
    "rebuild.after_put",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(stopped, tmp_path_factory):
    """A stopped run with a few fills; every test leaves its rows as they were."""
    return Path(shutil.copytree(stopped, tmp_path_factory.mktemp("run") / "data"))


def whole(folder: Path) -> dict[str, list]:
    """Every table's bodies in the order of recording."""
    with Writer.open(folder / "tapeline.duckdb", memory_limit_mb=64, threads=1) as writer:
        return read_all(writer.instance)


def positions(folder: Path) -> list[tuple]:
    with open_read_only(folder / "tapeline.duckdb") as sql:
        return sql.query("SELECT stream, seq FROM recorder_positions ORDER BY ALL").frame().rows()


def first_fill(folder: Path) -> dict:
    with open_read_only(folder / "tapeline.duckdb") as sql:
        return sql.query("FROM fills LIMIT 1").frame().row(0, named=True)


@pytest.mark.soak
def test_explain_says_the_same_from_the_file_and_over_nats(folder, capsys):
    fill = first_fill(folder)
    asked = (fill["execution_id"], fill["venue_order_id"], fill["client_order_id"][:8], "no-such-id")

    def answers() -> list[str]:
        found = []
        for text in asked:
            try:
                assert run_explain(text, folder, as_json=True) == 0
                found.append(capsys.readouterr().out)
            except TapelineError as err:
                found.append(str(err))
        return found

    from_file = answers()
    chain = json.loads(from_file[0])
    assert chain["kind"] == "fill"
    assert chain["missing"] == []
    assert [step["what"] for step in chain["steps"]][:6] == [
        "bar received", "signal", "intent", "OrderSubmitted", "OrderAccepted", "fill",
    ]  # fmt: skip
    assert chain["orders"][0]["fills"][0]["position"]["cause"] == chain["target"]
    assert "'no-such-id'" in from_file[3]
    daemon = Supervisor(Settings(data_dir=str(folder)), ["recorder"], quiet=True)
    try:
        daemon.start()
        _until_it_answers(folder, capsys)
        assert answers() == from_file
        with pytest.raises(BusyError, match="in use by another daemon"):
            run_rebuild(folder)
    finally:
        daemon.stop()


def _until_it_answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deadline = monotonic() + 30
    while True:
        try:
            run_explain("no-such-id", folder, as_json=True)
        except TapelineError as err:
            if "no-such-id" in str(err) or monotonic() > deadline:
                return
        sleep(0.05)


@pytest.mark.soak
def test_rebuild_makes_the_same_file_and_keeps_the_old_one(folder, capsys):
    before, rows, at = whole(folder), tables(folder), positions(folder)
    assert run_rebuild(folder) == 0
    said = capsys.readouterr().out
    assert "carried over" in said
    assert "hold all that the file before held" in said
    assert whole(folder) == before
    assert tables(folder) == rows
    assert positions(folder) == at
    (kept,) = folder.glob("tapeline.duckdb.before-*")
    assert str(kept) in said
    kept.replace(folder / "tapeline.duckdb")
    assert whole(folder) == before


def test_rebuild_without_a_store_or_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        run_rebuild(tmp_path)
    (tmp_path / "nats" / "store").mkdir(parents=True)
    with pytest.raises(ConfigError, match="nothing to rebuild"):
        run_rebuild(tmp_path)
    assert not list(tmp_path.glob("tapeline.duckdb*"))


async def _age_out(url: str, stream: str, before: int) -> None:
    nc = await connect(url, "test")
    await nc.jetstream().purge_stream(stream, seq=before)
    await nc.close()


@pytest.mark.soak
@pytest.mark.kill
def test_rebuild_killed_at_any_point_leaves_a_whole_file(folder, capsys, tmp_path):
    """Bars aged out: what only the old file holds must survive every kill too."""
    before, at = whole(folder), positions(folder)
    server = NatsServer(folder / "nats")
    server.start()
    asyncio.run(_age_out(server.url, "TAPE_MARKET", 8))
    server.stop()
    script = str(Path(__file__).parent / "kill_rebuild.py")
    for point in POINTS:
        done = subprocess.run(
            [sys.executable, script, str(folder), point, str(tmp_path / point)],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == -9, (point, done.stderr)
        TALLY.add_point("rebuild", point, Counter((tmp_path / point).read_text().split()))
        assert whole(folder) == before, point
    assert run_rebuild(folder) == 0
    said = capsys.readouterr().out
    assert "sequences 8 to 14, 7 rows; the 7 before them aged out" in said
    assert "carried over from the file before: 7 rows" in said
    assert whole(folder) == before
    assert positions(folder) == at
    assert not list(folder.glob("tapeline.duckdb.rebuild*"))
    kept = list(folder.glob("tapeline.duckdb.before-*"))
    assert len(kept) == 2, "of the kill after the swap and of the last one"
    assert not any(path.samefile(folder / "tapeline.duckdb") for path in kept)
    (folder / "tapeline.duckdb").write_bytes(b"junk" * 100)
    assert run_rebuild(folder) == 0
    said = capsys.readouterr().out
    assert "nothing was carried over from it" in said
    assert "what aged out of the streams is not in the new file" in said
    found = whole(folder)
    assert found["bars"] == before["bars"][7:]
    assert found["fills"] == before["fills"]
