"""Logging: structlog JSON lines on stderr, with the role bound. Secrets that this process knows are taken out."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from config.secrets import hide


def configure(level: str, role: str) -> None:
    """Set up logging for this process."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Hiding("%(name)s %(message)s"))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            _without_secrets,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(role=role)


def _without_secrets(_logger: Any, _method: str, line: Any) -> str:
    return hide(str(line))


class _Hiding(logging.Formatter):
    """For the vendors' own logs, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line without secrets."""
        return hide(super().format(record))
