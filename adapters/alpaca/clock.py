"""How far this machine's clock is from Alpaca's, by GET /v2/clock.

Decides how exact the answer is: Alpaca writes as many decimals as it likes, and none means cut off to a second. It asks
a few times and takes the surest answer, for the first one also opens the connection. Blocking; called by the feed role
in a worker thread and by `tapeline doctor`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.parse import time_ns
from adapters.alpaca.rest import Done, Limited, NoAnswer, Refused, Rest
from engine.errors import UnreachableError
from engine.offsets import best_of, offset_of
from engine.ports import ClockOffset
from engine.values import NS_PER_S

_QUESTIONS = 3
_DECIMALS = re.compile(r":\d\d(?:[.,](\d{1,9}))?")


class AlpacaTime:
    """VenueTime over Alpaca's trading REST; safe to call from several threads.

    Args:
        wall_ns: The clock that is compared, ns UTC.
        monotonic_ns: Measures how long an answer took.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        wall_ns: Callable[[], int],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        def client() -> RESTClient:
            return TradingClient(config.key, config.secret, raw_data=True, url_override=config.rest_url)

        self._url = config.rest_url
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._rest = Rest(config, config.rest_url, client)

    def offset(self) -> ClockOffset:
        """Compare the clocks.

        Raises:
            UnreachableError: Not one usable answer.
            ConfigError: The venue refuses the key.
        """
        answers = [self._ask() for _ in range(_QUESTIONS)]
        offsets = [answer for answer in answers if isinstance(answer, ClockOffset)]
        if not offsets:
            msg = f"the clock of {self._url} cannot be read: {answers[-1]}"
            raise UnreachableError(msg)
        return best_of(offsets)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._rest.close()

    def _ask(self) -> ClockOffset | str:
        asked, began = self._wall_ns(), self._monotonic_ns()
        outcome = self._rest.once("GET", "/clock")
        took = self._monotonic_ns() - began
        match outcome:
            case Done(body):
                return _offset(body, asked, took)
            case Refused(status, _, message):
                return f"refused ({status}): {message}"
            case Limited():
                return "rate limit"
            case NoAnswer(reason):
                return reason


def _offset(body: Any, asked_wall_ns: int, took_ns: int) -> ClockOffset | str:
    text = body.get("timestamp") if isinstance(body, dict) else None
    venue_ns = time_ns(text)
    if venue_ns is None:
        return f"timestamp must be a time, was {text!r:.80}"
    return offset_of(asked_wall_ns, took_ns, venue_ns, resolution_ns(str(text)))


def resolution_ns(timestamp: str) -> int:
    """Give what the last written decimal of a time stands for: 1 s without any."""
    seconds = [found.group(1) or "" for found in _DECIMALS.finditer(timestamp)]
    decimals = next((text for text in seconds if text), "")
    return NS_PER_S // 10 ** len(decimals)
