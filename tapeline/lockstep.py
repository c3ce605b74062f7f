"""Lock-step: drives a local exchange at `--speed max` by its control URL, step by step, each when all is quiet.

A step is (a) the venue's events of the interval, (b) its bars. Quiet: feed, signals, risk and executor have nothing
under way, have applied their streams to their ends, and the venue's own counts of bars, executions, activities and
ended orders are the engine's. Roles announce how far they are whenever they did something; an announcement holds
position and last published sequence of one moment, and a position moves only when its outputs are stored. So the end
of a stream is the highest published sequence announced, and roles that are all at that end owe nothing: one look is
enough. The recorder is waited for at the end only, for nothing it does can change a decision. No sleeps: the driver
waits for announcements, and asks the roles outright when none comes for a second (one was killed and starts again).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from engine.errors import BrokenPromiseError, UnreachableError
from streams.probe import Probe
from streams.role import Status

DECIDING = ("feed", "signals", "risk", "executor")
_ASK_AFTER_S = 1.0


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

    async def accepted(self) -> dict[str, int]:
        """Ask when each order was taken in: wall time, ns UTC, by client_order_id."""
        return msgspec.json.decode(await self._request("GET", "/accepted"), type=dict[str, int])

    async def step(self, phase: str) -> Step:
        """Let the venue do a phase."""
        return msgspec.json.decode(await self._request("POST", "/step", {"phase": phase}), type=Step)

    async def start(self) -> None:
        """Start a held timed run, or go on with it."""
        await self._request("POST", "/start", {})

    async def hold(self) -> None:
        """Stop a timed run at its next close."""
        await self._request("POST", "/hold", {})

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


class Quiet:
    """Knows how far every role is, from its announcements.

    Args:
        probe: For asking outright.
        control: The venue's own counts.
        timeout_s: Longest wait for quiet.
        on_wait: Called while waiting: looks after the processes.
    """

    def __init__(
        self, probe: Probe, control: Control, timeout_s: float, on_wait: Callable[[], Awaitable[None]]
    ) -> None:
        self._probe = probe
        self._control = control
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._statuses: dict[str, Status] = {}
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Listen."""
        await self._probe.listen(self._take)

    def _take(self, status: Status) -> None:
        self._statuses[status.role] = status
        self._news.set()

    async def wait(self, roles: tuple[str, ...] = DECIDING) -> VenueStatus:
        """Wait until all is quiet.

        Raises:
            BrokenPromiseError: Not quiet in time; says what was missing.
        """
        deadline = time.monotonic() + self._timeout_s
        venue = await self._control.status()
        while True:
            self._news.clear()
            missing = missing_for_quiet(self._probe, roles, self._statuses, venue)
            if not missing:
                return venue
            if time.monotonic() > deadline:
                msg = f"lock-step: not quiet after {self._timeout_s:g} s: {missing}"
                raise BrokenPromiseError(msg)
            await self._on_wait()
            try:
                await asyncio.wait_for(self._news.wait(), _ASK_AFTER_S)
            except TimeoutError:
                self._statuses = await self._probe.statuses((*DECIDING, "recorder"))
                venue = await self._control.status()


def missing_for_quiet(probe: Probe, roles: tuple[str, ...], statuses: dict[str, Status], venue: VenueStatus) -> str:
    """Say what is not quiet yet; empty when all is."""
    ends: dict[str, int] = {}
    for status in statuses.values():
        for stream, seq in status.published.items():
            ends[stream] = max(ends.get(stream, 0), seq)
    for role in roles:
        status = statuses.get(role)
        if status is None:
            return f"{role} said nothing yet"
        if status.state != "ready" or status.busy:
            return f"{role} is {status.state} with {status.busy} under way {status.counters}"
        for stream, position in status.positions.items():
            if position < ends.get(stream, 0):
                return f"{role} is at {position} of {ends[stream]} in {stream}"
    feed, executor = statuses["feed"].counters, statuses["executor"].counters
    if feed["positions_seq"] < (last := statuses["risk"].counters["positions_seq"]):
        return f"feed knows positions up to {feed['positions_seq']}, risk stored some at {last}"
    if statuses["signals"].counters.get("fills_seq", last) < last:
        return f"signals knows fills up to {statuses['signals'].counters['fills_seq']}, risk stored positions at {last}"
    beside = feed["gaps"] + feed["pasts"] + feed["ticks"]
    pairs = (
        ("bars", ends.get(probe.topology.market, 0) - beside, venue.bars_emitted),
        ("fills", executor["fills"], venue.executions),
        ("activities", executor["fees"], venue.activities),
        ("what signals has to do again", statuses["signals"].counters["expected"], 0),
        ("revisions of bots", feed["revisions"], statuses["signals"].counters["revisions"]),
        ("splits", statuses["signals"].counters["splits"], executor["splits"]),
        ("ended orders", executor["ended"], venue.orders_terminal),
        ("bars waiting for history", feed["waiting"], 0),
        ("symbols without trades and quotes", feed["unmarked"], 0),
        ("connection to trade_updates", executor["connected"], 1),
    )
    for what, ours, theirs in pairs:
        if ours != theirs:
            return f"{what}: engine {ours}, venue {theirs}"
    if 0 < executor["due_ns"] <= venue.venue_ns:
        return f"executor has to do something about a split since {executor['due_ns']}"
    return ""


async def drive(
    quiet: Quiet, control: Control, *, on_look: Callable[[], Awaitable[None]], should_stop: Callable[[], bool]
) -> None:
    """Run the venue to its end, or until `should_stop` says so between two steps; then wait for the recorder too."""
    everybody = (*DECIDING, "recorder")
    await quiet.wait(everybody)
    finished = False
    while not (finished or should_stop()):
        await on_look()
        step = await control.step("events")
        if step.events:
            await quiet.wait()
        if step.finished:
            break
        finished = (await control.step("bars")).finished
        await quiet.wait()
    await quiet.wait(everybody)
