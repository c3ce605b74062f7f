"""kill -9 of every process: afterwards venue, streams and database tell the same story, in lock-step to the byte.

By default one run with kills drawn from the commit; `-m kill` runs the full set, kills by the clock too. The report at the
end of the session has the seeds and every named point with its hits; CONTRIBUTING.md says how to replay one.
"""

import pytest

from tests.command import test_flatten
from tests.durability import test_mend
from tests.system import test_explain_rebuild
from tests.system.harness import write_bars
from tests.system.kill_checks import check, same
from tests.system.kill_plan import VICTIMS, by_the_clock, halves, kills_of, outage, points, rotating, seed_of_commit
from tests.system.kill_tally import TALLY
from tests.system.killing import SETTINGS, check_kills, play

pytestmark = [pytest.mark.kill, pytest.mark.system]

SEED = seed_of_commit()
PACED_SYMBOLS = [f"S{number}" for number in range(8)]


def in_lock_step(name, plan, calm, folder, away_s=0.0):
    """Play a plan; everything that is promised holds, and every byte is that of the undisturbed run."""
    bars, expected = calm
    played = play(folder, bars, seed=SEED, plan=plan, away_s=away_s)
    TALLY.add(name, played)
    check_kills(played, plan)
    check(played, is_once=not away_s)
    same(played, expected)
    return played


def in_real_time(name, rounds, folder):
    """Kill by the clock while bars come in: what was too late is another story, but one story.

    A venue minute is a second: 120 s, after which a bar or an intent is too old, would be one restart.
    """
    bars = write_bars(folder / "bars.parquet", PACED_SYMBOLS, 8 + 10 * rounds)
    timed = by_the_clock(SEED, rounds)
    settings = {"limits.bar_age_ms_max": 600_000, "limits.intent_valid_ms": 600_000}
    played = play(folder / "run", bars, seed=SEED, speed="60", timed=timed, settings=settings)
    TALLY.add(name, played)
    check_kills(played, {}, timed)
    check(played)
    assert set(played.killed) == set(VICTIMS)


def test_kills_drawn_from_the_commit(calm, tmp_path):
    """At least twelve, of every process."""
    played = in_lock_step("by commit", rotating(SEED), calm, tmp_path)
    assert sum(played.killed.values()) >= 12
    assert set(played.killed) == set(VICTIMS)


def test_every_named_point_has_a_test():
    """A point that is new in the code is killed at by `halves`, or by the test of the command that passes it."""
    planned = [point for plan in halves(SEED) for point, _ in kills_of(plan)]
    commands = [*test_explain_rebuild.POINTS, *test_mend.POINTS, *(point for point, _ in test_flatten.POINTS)]
    assert len(points()) > 50
    assert set(points()) == {*planned, *commands}


@pytest.mark.soak
@pytest.mark.parametrize("half", [0, 1])
def test_every_point(half, calm, tmp_path):
    in_lock_step(f"every point, half {half + 1}", halves(SEED)[half], calm, tmp_path)


@pytest.mark.soak
def test_away_for_longer_than_the_duplicate_window(calm, tmp_path):
    """The server has forgotten the ids by then, and was away itself: a role must know by itself what it said."""
    away_s = 1.25 * SETTINGS["nats.duplicate_window_s"]
    in_lock_step("long away", outage(SEED), calm, tmp_path, away_s)


@pytest.mark.soak
def test_kills_by_the_clock(tmp_path):
    in_real_time("by the clock", 3, tmp_path)


@pytest.mark.soak
def test_every_named_point_was_a_kill(request):
    """Last, and only of a whole run: a point that the code has and no kill met is a hole in this suite."""
    chosen = {item.name for item in request.session.items}
    needed = {name for name, what in globals().items() if name.startswith("test_") and callable(what)}
    needed -= {request.node.name}
    needed |= {"test_rebuild_killed_at_any_point_leaves_a_whole_file", "test_a_mending_killed_at_each_point_goes_on"}
    if missing := {name for name in needed if not any(item.startswith(name) for item in chosen)}:
        pytest.skip(f"a part of the kills only: without {sorted(missing)}")
    ended = {point for point, _ in test_flatten.POINTS}  # by an exception, of a command in our process
    never = [point for point in points() if point not in ended and not TALLY.killed_at[point]]
    assert never == [], "named points that no process was killed at"
    assert sum(TALLY.victims.values()) >= 40
    assert set(VICTIMS) <= set(TALLY.victims)
