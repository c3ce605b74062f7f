"""An event loop in virtual time: one thread, no sockets, first come first served, and time that leaps to the next timer.

The real services run on it unchanged: asyncio's own tasks, locks, queues and timeouts. A "thread" of run_in_executor
is a call made at one virtual moment whose answer comes at a later one. Every task belongs to the incarnation of a role
in whose context it was made, so that a kill finds all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

_STEPS_MAX = 30_000
_TICK_S = 1e-6
OWNER: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("owner", default=None)


class Killed(BaseException):
    """The process is gone: raised where a role passes the point at which it dies."""


class Incarnation:
    """One life of one role. What a dead one still asks for does not happen."""

    def __init__(self, role: str, number: int) -> None:
        self.role = role
        self.number = number
        self.is_alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self.service: Any = None
        self.main: asyncio.Task[Any] | None = None


class LivelockError(AssertionError):
    """The roles do something over and over again."""


class Handle:
    """A callback that is due, or will be."""

    __slots__ = ("_args", "_callback", "_context", "_is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    def cancelled(self) -> bool:
        return self._is_cancelled

    def run(self) -> None:
        if not self._is_cancelled:
            self._context.run(self._callback, *self._args)


class SimLoop(asyncio.AbstractEventLoop):
    """Virtual time in seconds from 0.

    Args:
        latency: Seconds a "thread" takes to get its request out and its answer back; called for each.
    """

    def __init__(self, latency: Callable[[], float]) -> None:
        self.now = 0.0
        self.slow_s = 0.0
        self._latency = latency
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self.steps = 0

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: Any) -> None:
        """Nobody retrieves the exceptions of killed tasks."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        context = kwargs.get("context") or contextvars.copy_context()
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, context=context)
        owner = context.get(OWNER)
        if owner is not None:
            owner.tasks.append(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context or contextvars.copy_context())
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        # A real clock moves between two looks at it; waiting for a rounding error must end here too.
        return self.call_at(self.now + max(delay, _TICK_S), callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context or contextvars.copy_context())
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = self.create_future()
        self.call_later(self._latency(), self._call, future, func, args)
        return future

    def _call(self, future: asyncio.Future[Any], func: Callable[..., object], args: tuple[Any, ...]) -> None:
        owner = OWNER.get()
        if owner is None or not owner.is_alive:
            return
        self.slow_s = 0.0
        try:
            result = func(*args)
        except Killed:
            return
        except Exception as err:  # noqa: BLE001  (an answer like any other)
            self.call_later(self._latency() + self.slow_s, _fail, future, err)
        else:
            self.call_later(self._latency() + self.slow_s, _answer, future, result)

    # --- running -----------------------------------------------------------------------------------------------------

    def spawn(self, owner: Incarnation | None, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to `owner`."""
        context = contextvars.Context()
        context.run(OWNER.set, owner)
        return self.create_task(coro, context=context)

    def run_until(self, until: float) -> None:
        """Let everything happen that is due up to `until`."""
        ready, timers = self._ready, self._timers
        with _running(self):
            while True:
                while ready:
                    ready.popleft().run()
                    self.steps += 1
                    if self.steps > _STEPS_MAX:
                        msg = f"no rest after {self.steps} steps at second {self.now:.1f}"
                        raise LivelockError(msg)
                if not timers or timers[0][0] > until:
                    break
                when, _, handle = heapq.heappop(timers)
                if not handle.cancelled():
                    self.now = max(self.now, when)
                    ready.append(handle)
            self.now = until


@contextlib.contextmanager
def _running(loop: SimLoop) -> Generator[None]:
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)


def _answer(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], err: Exception) -> None:
    if not future.done():
        future.set_exception(err)
