"""How `tapeline sql` prints what DuckDB answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import ConfigError
from storage.writer import Writer
from tapeline import sql


def test_json_keeps_prices_exact_and_sums_of_integers_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tapeline.duckdb"
    Writer.open(path).close()
    query = "SELECT sum(n) AS n, sum(n)::DECIMAL(18, 9) / 10 AS ratio, 0.60::DECIMAL(9, 2) AS px FROM range(1, 4) t(n)"
    assert sql.run_sql(query, tmp_path, "json", None, 0) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 6, "ratio": 0.6, "px": "0.60"}]


def test_csv_has_no_form_for_lists_and_says_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "tapeline.duckdb"
    Writer.open(path).close()
    with pytest.raises(ConfigError, match=r"column .several. .* use --format json"):
        sql.run_sql("SELECT 1 AS n, [1, 2] AS several", tmp_path, "csv", None, 0)
