"""AlpacaTime against a server whose clock is wrong, coarse, slow or mute, and against the local exchange."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import requests

from adapters.alpaca.clock import AlpacaTime, resolution_ns
from adapters.alpaca.parse import rfc3339, time_ns
from engine.errors import ConfigError, UnreachableError
from engine.ports import ClockOffset
from tests.alpaca import test_with_exchange
from tests.alpaca.test_with_exchange import Exchange
from tests.alpaca.wire import DROP, HANG, Wire

venue = test_with_exchange.exchange  # the fixture, by another name

NOW = time_ns("2026-03-10T14:00:00.25Z") or 0
MS = 10**6
S = 10**9


def _clock(wire: Wire, *stamps: Any, took_ms: tuple[int, ...] = (20, 20, 20)) -> AlpacaTime:
    replies = [
        stamp if stamp in (HANG, DROP) or isinstance(stamp, tuple) else (200, {"timestamp": stamp}) for stamp in stamps
    ]
    wire.routes["GET", "/v2/clock"] = replies
    ticks = itertools.chain.from_iterable((0, took * MS) for took in took_ms)
    return AlpacaTime(wire.config(read_attempts_max=1), lambda: NOW, lambda: next(ticks))


def _said(ahead_ms: float) -> str:
    return rfc3339(NOW - int(ahead_ms * MS))


def test_the_middle_of_question_and_answer_is_compared(wire: Wire) -> None:
    assert _clock(wire, _said(1500)).offset() == ClockOffset(1510 * MS, 10 * MS)
    assert _clock(wire, _said(-1500)).offset() == ClockOffset(-1490 * MS, 10 * MS)


def test_of_three_answers_the_quickest_counts(wire: Wire) -> None:
    clock = _clock(wire, _said(900), _said(700), _said(800), took_ms=(300, 40, 60))
    assert clock.offset() == ClockOffset(720 * MS, 20 * MS)
    assert len(wire.requests) == 3


def test_alpacas_own_form_is_read(wire: Wire) -> None:
    clock = _clock(wire, "2026-03-10T10:00:00.000000000-04:00")
    assert clock.offset() == ClockOffset(260 * MS, 10 * MS)


def test_whole_seconds_are_known_to_be_coarse(wire: Wire) -> None:
    clock = _clock(wire, "2026-03-10T10:00:00-04:00")
    assert clock.offset() == ClockOffset(-240 * MS, 510 * MS)


@pytest.mark.parametrize(
    ("text", "resolution"),
    [
        ("2025-06-24T14:15:22-04:00", S), ("2025-06-24T14:15:22Z", S), ("2025-06-24T14:15:22.5-04:00", S // 10),
        ("2025-06-24T14:15:22.123456789-04:00", 1), ("2025-06-24T14:15:22.123Z", MS),
    ],
)  # fmt: skip
def test_decimals_say_how_exact_it_is(text: str, resolution: int) -> None:
    assert resolution_ns(text) == resolution


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (DROP, "GET /clock"),
        (HANG, "GET /clock"),
        ((200, "<html>oops</html>"), "not JSON"),
        ((200, []), "timestamp must be a time, was None"),
        ((200, {"timestamp": 5}), "was 5"),
        ((200, {"timestamp": "soon"}), "was 'soon'"),
        ((404, {"code": 40410000, "message": "not found"}), "refused (404): not found"),
        ((429, {"message": "too many requests."}), "rate limit"),
        ((500, {"message": "internal"}), "HTTP 500"),
    ],
)
def test_what_is_no_answer_is_said(wire: Wire, reply: Any, says: str) -> None:
    with pytest.raises(UnreachableError, match="the clock of http://127") as caught:
        _clock(wire, reply).offset()
    assert says in str(caught.value)


def test_one_good_answer_is_enough(wire: Wire) -> None:
    assert _clock(wire, (500, {"message": "internal"}), _said(0), DROP).offset().error_ns == 10 * MS


def test_a_refused_key_is_named(wire: Wire) -> None:
    with pytest.raises(ConfigError, match="ALPACA_API_KEY"):
        _clock(wire, (401, {"message": "unauthorized."})).offset()


def test_the_exchange_is_compared_in_its_own_time(venue: Exchange, tmp_path: Path) -> None:
    venue_ns = requests.get(f"{venue.urls['control']}/clock", timeout=5).json()["venue_ns"]
    clock = AlpacaTime(venue.config(), lambda: venue_ns)
    found = clock.offset()
    assert abs(found.offset_ns) <= found.error_ns
    rule = {"rules": [{"fault": "clock_skew", "skew_s": -90.0}]}
    assert requests.post(f"{venue.urls['control']}/faults", json=rule, timeout=5).status_code == 200
    skewed = clock.offset()
    assert abs(skewed.offset_ns - 90 * S) <= skewed.error_ns
    clock.close()
