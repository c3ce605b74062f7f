"""A calm run, and a short one that has ended."""

import pytest

from tests.system.harness import demo, write_bars
from tests.system.kill_checks import check
from tests.system.killing import MINUTES, SYMBOLS, check_kills, play


@pytest.fixture(scope="session")
def calm(tmp_path_factory):
    """A run in lock-step that nothing disturbed: bars, and what every other run over them must come to."""
    folder = tmp_path_factory.mktemp("calm")
    bars = write_bars(folder / "bars.parquet", SYMBOLS, MINUTES)
    played = play(folder / "run", bars, env={"PYTHONHASHSEED": "1"})
    check_kills(played, {})
    check(played)
    assert played.summary["fills"] > 40, played.summary
    return bars, played


@pytest.fixture(scope="session")
def stopped(tmp_path_factory):
    """Data directory of a demo that ended, with a few fills. Whoever lets something write there takes a copy."""
    made = tmp_path_factory.mktemp("run")
    bars = write_bars(made / "bars.parquet", ["AAA"], 14)
    summary = demo(made / "data", "--bars", str(bars), "--speed", "max")
    assert summary["fills"] >= 2, summary
    return made / "data"
