"""`tapeline changes`: what was changed while the daemon ran, field by field."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from engine.bots import BotStatus
from engine.errors import ConfigError
from engine.messages import BotDefined, Command, TradingState
from engine.values import TradingMode
from storage.writer import Writer
from tapeline.changes import run_changes
from tests.engine.build import T0, D, bot, minute
from tests.storage import samples

FIRST = BotDefined("alpha", 1, bot(), BotStatus.RUNNING, T0, "file", "w1", T0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    richer = msgspec.structs.replace(bot(), capital=D(7), params={"fast": 2, "slow": 9})
    later = [
        msgspec.structs.replace(FIRST, revision=2, definition=richer, by="ann", reason="try it", ts_event=minute(2)),
        msgspec.structs.replace(
            FIRST, revision=3, definition=richer, status=BotStatus.PAUSED, by="bob", cause="w3", ts_event=minute(3)
        ),
    ]
    halt = Command("c1", TradingMode.HALTED, "odd", "ann", minute(4))
    told = [
        TradingState(TradingMode.HALTED, "odd", "c1", minute(4)),
        TradingState(TradingMode.REDUCING, "losses", "denial-1", minute(5), bot="alpha"),
    ]
    bodies = [FIRST, *later, halt, *told]
    with Writer.open(tmp_path / "tapeline.duckdb", memory_limit_mb=64, threads=1) as writer:
        writer.write("trading", len(bodies), samples.messages(*bodies))
    return tmp_path


def test_each_field_that_changed_is_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_changes(None, folder, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["bot"], row["field"], row["old"], row["new"], row["by"], row["reason"]) for row in found] == [
        ("alpha", "capital", '"100000"', '"7"', "ann", "try it"),
        ("alpha", "params", "{}", '{"fast":2,"slow":9}', "ann", "try it"),
        ("alpha", "status", '"running"', '"paused"', "bob", ""),
        ("", "trading_mode", '"active"', '"halted"', "ann", "odd"),
        ("alpha", "trading_mode", '"active"', '"reducing"', "risk", "losses"),
    ]


def test_for_a_person_and_of_one_bot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_changes("alpha", folder, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[1].split()[2:] == ["alpha", "capital", "100000", "7", "ann", "try", "it"]
    with pytest.raises(ConfigError, match="there is no bot 'beta': choose one of alpha"):
        run_changes("beta", folder, as_json=False)
