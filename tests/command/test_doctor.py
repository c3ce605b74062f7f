"""`tapeline doctor` and `tapeline status` on what they say of clocks and of what is quiet."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import requests

from config.settings import Settings
from engine.bots import RiskLimits
from streams.role import Status
from tapeline import doctor, status
from tests.alpaca import test_with_exchange
from tests.alpaca.test_with_exchange import Exchange

venue = test_with_exchange.exchange  # the fixture, by another name

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")


def _lines(
    venue: Exchange,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: str = "",
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run doctor against the exchange; give level and words by what was looked at."""
    file = folder / "tapeline.toml"
    file.write_text(f'{more}\n[alpaca]\nrest_url = "{venue.urls["rest"]}"\n', encoding="utf-8")
    monkeypatch.setenv("ALPACA_API_KEY", "K")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "S")
    code = doctor.run_doctor(file, folder / "data")
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    return code, {rest[:16].strip(): (level, rest[16:].strip()) for level, rest in rows}


def test_doctor_prints_how_far_the_clock_is_off(
    venue: Exchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    venue_ns = requests.get(f"{venue.urls['control']}/clock", timeout=5).json()["venue_ns"]
    year_ns = 365 * 24 * 3600 * 10**9
    monkeypatch.setattr(doctor, "_YEAR_2026_NS", 0)
    monkeypatch.setattr(doctor, "wall_ns", lambda: venue_ns + 300 * 10**6)
    _, found = _lines(venue, tmp_path, monkeypatch, capsys)
    assert found["account"][0] == "ok"
    level, words = found["clock"]
    assert level == "ok", "300 ms are within the limit of 1 s, whatever the error"
    assert "s the venue's (+-" in words.replace("ahead of ", "").replace("behind ", "")
    monkeypatch.setattr(doctor, "wall_ns", lambda: venue_ns - year_ns)
    code, found = _lines(venue, tmp_path, monkeypatch, capsys)
    level, words = found["clock"]
    assert (code, level) == (1, "FAIL")
    assert "s behind the venue's (+-" in words
    assert words.startswith("3153")
    assert "limit 1000 ms: set it (timedatectl set-ntp true)" in words


def test_a_virtual_clock_is_not_compared(
    venue: Exchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = f'venue_clock_url = "{venue.urls["control"]}"'
    _, found = _lines(venue, tmp_path, monkeypatch, capsys, more)
    assert found["clock"] == ("ok", "not compared: the venue's time is virtual")


def test_a_venue_that_does_not_answer_is_a_warning(
    venue: Exchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rule = {"rules": [{"fault": "http_500", "path": "/v2/clock"}]}
    assert requests.post(f"{venue.urls['control']}/faults", json=rule, timeout=5).status_code == 200
    _, found = _lines(venue, tmp_path, monkeypatch, capsys)
    assert found["clock"][0] == "warn"
    assert found["clock"][1].startswith("not compared: the clock of http://127.0.0.1")


def test_status_shows_notes_below_and_is_healthy_with_them() -> None:
    notes = ["bars stay away while others come: 2 (AAA, BBB)", "halted: 1 (CCC)"]
    one = Status("feed", 7, "ready", counters={"bars": 3}, notes=notes)
    assert status._is_healthy(one)
    assert status._line("feed", one).splitlines() == [
        "feed      ready    pid 7  bars 3",
        "          bars stay away while others come: 2 (AAA, BBB)",
        "          halted: 1 (CCC)",
    ]


def test_doctor_names_the_controls_that_are_off() -> None:
    level, _, found = doctor._limits(Settings(limits=RiskLimits(daily_loss_usd_max=Decimal(500))))
    assert level == "warn"
    assert "drawdown_usd_max" in found
    assert "daily_loss_usd_max" not in found
    every = {
        name: Decimal(1) if name.endswith("_usd_max") or name == "order_quantity_max" else 1
        for name in RiskLimits.__struct_fields__
        if getattr(RiskLimits(), name) is None
    }
    assert doctor._limits(Settings(limits=RiskLimits(**every)))[0] == "ok"  # type: ignore[arg-type]
