"""A bounded lane for blocking REST calls: a few threads, a rate, in order per key, and a count of what is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class RestLane:
    """Runs blocking calls off the loop.

    Args:
        workers: Threads.
        per_min_max: Calls per minute; a token bucket of a tenth of it allows bursts.
    """

    def __init__(self, workers: int, per_min_max: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="rest")
        self._rate = per_min_max / 60.0
        self._tokens_max = max(1.0, per_min_max / 10.0)
        self._tokens = self._tokens_max
        self._filled_at = time.monotonic()
        self._order: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}
        self.open = 0

    async def call(self, key: str, function: Callable[[], _T]) -> _T:
        """Run `function` in a thread, after every earlier call with the same key."""
        self.open += 1
        lock = self._order.setdefault(key, asyncio.Lock())
        self._users[key] = self._users.get(key, 0) + 1
        try:
            async with lock:
                await self._take_token()
                return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        finally:
            self.open -= 1
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._order[key]

    async def _take_token(self) -> None:
        while True:
            now = time.monotonic()
            self._tokens = min(self._tokens_max, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._rate)

    def close(self) -> None:
        """Let running calls end, start no other."""
        self._pool.shutdown(wait=False, cancel_futures=True)
