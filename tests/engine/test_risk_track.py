"""Counts of orders in a window, against counting all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.risk.track import ACCOUNT, Track
from engine.values import NS_PER_MINUTE, NS_PER_S, Side
from tests.engine.build import T0, intent

WINDOW_S = 600

steps = st.lists(
    st.tuples(
        # Mostly forward, now and then a clock that was set back.
        st.integers(min_value=-2, max_value=40).map(lambda s: s * NS_PER_S),
        st.sampled_from(["alpha", "beta"]),
        st.sampled_from(["AAPL", "MSFT"]),
        st.sampled_from([Side.BUY, Side.SELL]),
    ),
    max_size=60,
)


@given(steps, st.integers(min_value=0, max_value=700))
def test_a_window_counts_what_is_younger_than_its_beginning(
    moves: list[tuple[int, str, str, Side]], later_s: int
) -> None:
    track, now = Track(), T0
    every: list[tuple[int, str, str, Side]] = []
    for step, bot, symbol, side in moves:
        now += step
        track.approved(intent(f"i{len(every)}", side, bot=bot, symbol=symbol, decided_ns=now), WINDOW_S * NS_PER_S)
        every.append((now, bot, symbol, side))
    now = max((at for at, *_ in every), default=now) + later_s * NS_PER_S
    minute = [bot for at, bot, *_ in every if at > now - NS_PER_MINUTE]
    assert track.in_minute(ACCOUNT, now) == len(minute)
    for bot in ("alpha", "beta"):
        assert track.in_minute(bot, now) == minute.count(bot)
        for symbol in ("AAPL", "MSFT"):
            for side in Side:
                since = now - WINDOW_S * NS_PER_S
                expected = sum(
                    what == (bot, symbol, side) and at > since for at, *rest in every for what in [tuple(rest)]
                )
                assert track.same_side(bot, symbol, side, since) == expected
    assert all(times == sorted(times) for table in (track.minute, track.sides) for times in table.values())


def test_what_left_the_window_is_forgotten() -> None:
    track = Track()
    for number in range(1_000):
        track.approved(intent(f"i{number}", decided_ns=T0 + number * NS_PER_S), WINDOW_S * NS_PER_S)
    assert len(track.minute[ACCOUNT]) == 60
    assert [len(times) for times in track.sides.values()] == [WINDOW_S]
