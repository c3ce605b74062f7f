"""Orders that come by the dozen wait for the end of their burst, never longer than said; a few never wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.executing.sending import Burst


def _burst(times: list[float]) -> Burst:
    burst = Burst(16, 0.02, 0.5)
    for time in times:
        burst.came(time)
    return burst


def test_a_few_never_wait() -> None:
    assert _burst([1.0]).wait_s(1, 1.0) == 0
    assert _burst([1.0] * 15).wait_s(15, 1.0) == 0


def test_sixteen_wait_until_none_came_for_a_while() -> None:
    burst = _burst([1.0] * 16)
    assert round(burst.wait_s(16, 1.0), 6) == 0.02
    assert burst.wait_s(16, 1.015) > 0
    assert burst.wait_s(16, 1.02) == 0
    burst.came(1.015)
    assert burst.wait_s(17, 1.02) > 0
    assert burst.wait_s(17, 1.035) == 0


def test_a_burst_without_end_is_sent_after_the_longest_wait() -> None:
    burst = _burst([1 + number / 100 for number in range(50)])
    assert 0 < burst.wait_s(50, 1.4901) < 0.0101
    burst.came(1.5)
    assert burst.wait_s(51, 1.5) == 0
    burst.came(1.51)
    assert burst.wait_s(52, 1.51) == 0


def test_the_next_burst_waits_again() -> None:
    burst = _burst([1.0] * 16)
    burst.came(3.0)
    assert round(burst.wait_s(17, 3.0), 6) == 0.02


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 100))
def test_nobody_waits_longer_than_the_two_limits(gaps: list[float], count: int) -> None:
    burst, now = Burst(16, 0.02, 0.5), 100.0
    for gap in gaps:
        now += gap
        burst.came(now)
        assert 0 <= burst.wait_s(count, now) <= (0.02 + 1e-9 if count >= 16 else 0)
