from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.exchange.config import ExchangeConfig
from tests.exchange.harness import Exchange, Row, rising, running, write_csv

Start = Callable[..., Exchange]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an exchange in lock-step on bars by hand (two stocks and a coin that rise by 1 a minute by default)."""
    with ExitStack() as stack:

        def run(rows: list[Row] | None = None, **settings: Any) -> Exchange:
            if "bars" not in settings and "generator_symbols" not in settings:
                chosen = rows or [*rising("AAPL", 100, 60), *rising("MSFT", 200, 60), *rising("BTC/USD", 5000, 60)]
                settings["bars"] = write_csv(tmp_path / "bars.csv", chosen)
            return stack.enter_context(running(ExchangeConfig(**{"speed": "max", **settings})))

        yield run


@pytest.fixture
def exchange(start: Start) -> Exchange:
    return start()
