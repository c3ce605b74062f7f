"""`tapeline bots list|show|history` of a data directory in which no daemon runs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from engine.bots import BotStatus
from engine.errors import ConfigError
from engine.messages import BotDefined
from storage.writer import Writer
from tapeline.bots_seen import run_history, run_list, run_show
from tests.engine.build import T0, D, bot, minute
from tests.storage import samples

FIRST = BotDefined("alpha", 1, bot(), BotStatus.RUNNING, T0, "file", "w1", T0)
LATER = msgspec.structs.replace(
    FIRST,
    revision=2,
    definition=msgspec.structs.replace(bot(), capital=D(7)),
    by="ann",
    reason="less",
    from_ts=minute(2),
)
SHADOW = BotDefined("beta", 1, bot(name="beta", shadow_of="alpha"), BotStatus.RUNNING, T0, "ann", "w3", T0)
GONE = msgspec.structs.replace(SHADOW, bot="gone", definition=bot(name="gone"), status=BotStatus.REMOVED, cause="w4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bodies = [FIRST, LATER, SHADOW, GONE]
    with Writer.open(tmp_path / "tapeline.duckdb", memory_limit_mb=64, threads=1) as writer:
        writer.write("trading", len(bodies), samples.messages(*bodies))
    return tmp_path


def test_as_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_list(folder, as_json=False, everything=False) == 0
    shown = capsys.readouterr()
    assert [line.split()[:2] for line in shown.out.splitlines()[1:]] == [["alpha", "running"], ["beta", "running"]]
    assert "running (shadow of alpha)" in shown.out
    assert shown.err == f"tapeline: no daemon runs in {folder}: this is what its database has\n"
    assert run_list(folder, as_json=True, everything=True) == 0
    assert [one["bot"] for one in json.loads(capsys.readouterr().out)] == ["alpha", "beta", "gone"]
    assert run_show("alpha", folder, as_json=False) == 0
    assert tomllib.loads(capsys.readouterr().out)["capital"] == "7"
    assert run_history("alpha", folder, as_json=True) == 0
    read = msgspec.json.decode(capsys.readouterr().out, type=list[BotDefined])
    assert read == [FIRST, LATER]
    assert run_history("alpha", folder, as_json=False) == 0
    assert 'capital: "100000" -> "7"; less' in capsys.readouterr().out
    with pytest.raises(ConfigError, match="there is no bot 'gone': known are alpha, beta"):
        run_show("gone", folder, as_json=False)
