"""Lock-step: drives a local exchange at `--speed max` by its control URL, step by step, each when all is quiet.

A step is (a) the venue's events of the interval, (b) its bars. Quiet: every role answers, is ready, has nothing under
way, has applied its streams to their ends, and the venue's own counts of bars, executions, activities and ended orders
are those of the engine. One look is enough because of its order: statuses first, ends and the venue after. A position
moves only when its outputs are stored, so a role that had applied everything up to an end read later owes nothing.
No sleeps: every look is a round trip through the loops that do the work.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from engine.errors import BrokenPromiseError, UnreachableError
from streams.role import Status
from tapeline.probe import Probe


class VenueStatus(msgspec.Struct, frozen=True):
    """What the exchange's control URL says."""

    venue_ns: int
    state: str
    bars_emitted: int
    executions: int
    activities: int
    orders_accepted: int
    orders_terminal: int
    rest_open: int
    first_bar_sent_wall_ns: int = 0
    last_bar_sent_wall_ns: int = 0


class Step(msgspec.Struct, frozen=True):
    """What a step did."""

    venue_ns: int
    finished: bool
    events: int = 0
    bars: int = 0


class Control:
    """The control URL of a local exchange."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def status(self) -> VenueStatus:
        """Ask how the venue is."""
        return msgspec.json.decode(await self._request("GET", "/status"), type=VenueStatus)

    async def step(self, phase: str) -> Step:
        """Let the venue do a phase."""
        return msgspec.json.decode(await self._request("POST", "/step", {"phase": phase}), type=Step)

    async def start(self) -> None:
        """Start a held timed run."""
        await self._request("POST", "/start", {})

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> bytes:
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                data = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            msg = f"the exchange at {self._url} does not answer ({str(err) or type(err).__name__})"
            raise UnreachableError(msg) from None
        if response.status != 200:
            msg = f"the exchange refused {method} {path}: {data.decode('utf-8', 'replace')}"
            raise BrokenPromiseError(msg)
        return data


async def wait_quiet(
    probe: Probe,
    control: Control,
    roles: tuple[str, ...],
    timeout_s: float,
    on_look: Callable[[], Awaitable[None]] | None = None,
) -> VenueStatus:
    """Wait until the whole way is quiet.

    Raises:
        BrokenPromiseError: Not quiet in time; says what was missing at the last look.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        statuses = await probe.statuses(roles)
        ends = await probe.ends()
        venue = await control.status()
        missing = _missing(probe, roles, statuses, ends, venue)
        if not missing:
            return venue
        if on_look is not None:
            await on_look()
        if time.monotonic() > deadline:
            msg = f"lock-step: not quiet after {timeout_s:g} s: {missing}"
            raise BrokenPromiseError(msg)


def _missing(
    probe: Probe, roles: tuple[str, ...], statuses: dict[str, Status], ends: dict[str, int], venue: VenueStatus
) -> str:
    """Say what is not quiet yet; empty when all is."""
    market = probe.topology.market
    for role in roles:
        status = statuses.get(role)
        if status is None:
            return f"{role} does not answer"
        if status.state != "ready" or status.busy:
            return f"{role} is {status.state} with {status.busy} under way {status.counters}"
        for stream, position in status.positions.items():
            if position < ends[stream]:
                return f"{role} is at {position} of {ends[stream]} in {stream}"
    feed, executor = statuses["feed"].counters, statuses["executor"].counters
    pairs = (
        ("bars", ends[market], venue.bars_emitted),
        ("fills", executor["fills"], venue.executions),
        ("activities", executor["fees"], venue.activities),
        ("ended orders", executor["orders"] - executor["open"] - executor["rejected"], venue.orders_terminal),
        ("open requests", 0, venue.rest_open),
        ("bars waiting for history", feed["waiting"], 0),
        ("connection to trade_updates", executor["connected"], 1),
    )
    for what, ours, theirs in pairs:
        if ours != theirs:
            return f"{what}: engine {ours}, venue {theirs}"
    return ""


async def drive(
    probe: Probe,
    control: Control,
    roles: tuple[str, ...],
    *,
    timeout_s: float,
    on_look: Callable[[], Awaitable[None]],
    should_stop: Callable[[], bool],
) -> None:
    """Run the venue to its end, or until `should_stop` says so between two steps."""
    await wait_quiet(probe, control, roles, timeout_s, on_look)
    while not should_stop():
        await on_look()
        step = await control.step("events")
        if step.events:
            await wait_quiet(probe, control, roles, timeout_s, on_look)
        if step.finished:
            return
        step = await control.step("bars")
        await wait_quiet(probe, control, roles, timeout_s, on_look)
        if step.finished:
            return
