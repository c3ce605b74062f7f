from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from config.logs import configure


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_lines_are_json_on_stderr_with_the_role(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "feed")
    log = structlog.get_logger()
    log.debug("unheard")
    log.info("bars came", symbol="BRK.B", count=3)
    [line] = _lines(capsys)
    assert line.pop("timestamp")
    assert line == {"event": "bars came", "level": "info", "role": "feed", "symbol": "BRK.B", "count": 3}


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning", "risk")
    structlog.get_logger().error("role failed", exc_info=ValueError("boom"))
    [line] = _lines(capsys)
    assert "ValueError: boom" in str(line["exception"])


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(capsys: pytest.CaptureFixture[str], level: str, heard: int) -> None:
    configure(level, "feed")
    log = structlog.get_logger()
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "said")
    assert len(_lines(capsys)) == heard
