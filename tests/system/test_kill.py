"""kill -9 of each role at named points, in lock-step: afterwards the database equals that of an undisturbed run."""

import json

import pytest

from tests.system.harness import bodies, demo, difference, tables, write_bars

pytestmark = [pytest.mark.kill, pytest.mark.system]

SYMBOLS = ["AAA", "BBB", "CCC"]
SETTINGS = {
    "signals.checkpoint_messages": 15,
    "risk.checkpoint_messages": 12,
    "executor.checkpoint_messages": 12,
    "daemon.restart_wait_s_max": 0.05,
    "nats.duplicate_window_s": 2.0,
    "recorder.batch_rows_max": 20,
}
# Every named point; the number says which passing of it, counted from the (re)start before.
PLANS = {
    "feed": [["feed.before_publish", 4], ["feed.after_publish", 5]],
    "signals": [
        ["signals.before_publish", 1], ["signals.after_publish", 2], ["signals.before_checkpoint", 1],
        ["signals.after_checkpoint", 1],
    ],
    "risk": [
        ["risk.before_publish", 2], ["risk.after_publish", 2], ["risk.before_checkpoint", 1],
        ["risk.after_checkpoint", 1], ["risk.after_publish", 1],
    ],
    "executor": [
        ["executor.before_publish", 1], ["executor.after_publish", 1], ["executor.before_post", 1],
        ["executor.after_post", 1], ["executor.before_publish", 2], ["executor.after_publish", 3],
        ["executor.before_checkpoint", 1], ["executor.after_checkpoint", 1], ["executor.after_post", 2],
    ],
    "recorder": [["recorder.before_commit", 3], ["recorder.after_commit", 4], ["recorder.before_commit", 1]],
}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    bars = write_bars(folder / "bars.parquet", SYMBOLS, 45)
    summary = demo(folder / "data", "--bars", str(bars), "--speed", "max", settings=SETTINGS)
    assert summary["fills"] > 20, summary
    assert summary["conflicts"] == 0
    return bars, summary, tables(folder / "data"), bodies(folder / "data")


@pytest.mark.parametrize("role", PLANS)
def test_killed_role_changes_nothing(role, undisturbed, tmp_path):
    _kill(role, 0, undisturbed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("role", [role for role in PLANS if role != "recorder"])
def test_a_role_down_for_longer_than_the_duplicate_window_changes_nothing(role, undisturbed, tmp_path):
    """The server has forgotten the ids by then (2 s here): a role must know by itself what it said."""
    _kill(role, 2.5, undisturbed, tmp_path)


def _kill(role, sleep_s, undisturbed, tmp_path):
    bars, expected, expected_tables, expected_bodies = undisturbed
    kills = PLANS[role] if not sleep_s else PLANS[role][1::2]
    plan = {"folder": str(tmp_path), "role": role, "kills": kills, "sleep_s": sleep_s}
    summary = demo(
        tmp_path / "data", "--bars", str(bars), "--speed", "max",
        settings=SETTINGS, kill_role=True, env={"KILL_PLAN": json.dumps(plan)},
    )  # fmt: skip
    reached = [path.read_text().split()[0] for path in sorted(tmp_path.glob("kill-*"))]
    assert reached == [point for point, _ in kills], "a kill point was never hit"
    assert summary["restarts"] == {role: len(kills)}
    assert summary["venue"] == expected["venue"], "the exchange accepted something else, or twice"
    assert int(summary["venue"]["orders_accepted"]) == summary["orders"]
    got = tables(tmp_path / "data")
    assert got == expected_tables, difference(expected_tables, got)
    streams = bodies(tmp_path / "data")
    assert streams == expected_bodies, difference(expected_bodies, streams)
