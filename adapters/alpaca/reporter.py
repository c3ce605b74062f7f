"""Says what a person should see, and says it once. Carries no decision; the streams and the REST sides call it.

A venue that refuses a connection every few seconds, or a frame of five hundred bad bars, must not become a flood: the
same text is repeated at most once per interval, and an interval holds at most `PER_INTERVAL_MAX` texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from config.secrets import hide

PER_INTERVAL_MAX = 20
OnProblem = Callable[[str, str], None]
"""`(level, what)`; level is info, warning, error or critical."""


class Reporter:
    """Passes problems on, thinned out.

    Args:
        on_problem: Where they go.
        repeat_s_min: Seconds before the same text is said again.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self, on_problem: OnProblem, repeat_s_min: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_problem = on_problem
        self._repeat_s_min = repeat_s_min
        self._monotonic = monotonic
        self._said: dict[str, float] = {}
        self._began = monotonic()
        self._unsaid = 0

    def report(self, level: str, what: str) -> None:
        """Say it, unless it was said within the interval. `critical` is never counted out."""
        what = hide(what)
        now = self._monotonic()
        if now - self._began >= self._repeat_s_min:
            self._began = now
            self._said = {text: at for text, at in self._said.items() if now - at < self._repeat_s_min}
        if what in self._said:
            return
        if len(self._said) >= PER_INTERVAL_MAX and level != "critical":
            self._unsaid += 1
            return
        self._said[what] = now
        unsaid, self._unsaid = self._unsaid, 0
        self._on_problem(level, f"{what} (and {unsaid} more problems not shown)" if unsaid else what)
