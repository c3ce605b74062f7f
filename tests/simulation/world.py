"""One seed from beginning to end: the four real services, NATS in memory, the exchange, and a supervisor.

A role is started, dies at a named point, at any moment or by an error, loses its memory and comes back; now and then it
is stopped in order. After the last bar everything works again, whatever is open is canceled, all is let come to rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from adapters.simulated import shadow_venue
from config.settings import ExecutorSettings, FeedSettings, RiskSettings, Settings, SignalsSettings
from engine.bots import RiskLimits
from engine.errors import UnreachableError
from engine.messages import AnyBody, OrderIntent, TradingState, decode
from engine.values import TradingMode
from streams.role import Context, Status, topology_of
from streams.services.executor import Executor
from streams.services.feed import Feed
from streams.services.risk import Risk
from streams.services.signals import Signals
from tests.simulation.faults import Faults
from tests.simulation.history import BarHistory
from tests.simulation.latch import Latch
from tests.simulation.loop import OWNER, Incarnation, Killed, SimLoop
from tests.simulation.market import Market, ns_at
from tests.simulation.memory import Checkpoints, Client, Reader, Server, Stream
from tests.simulation.people import People
from tests.simulation.rest import VenueRest
from tests.simulation.venue import Exchange

ROLES = ("executor", "feed", "signals", "risk")
_FIRST_BAR = 3
_REST_MINUTES = 7
_HEALED_AT_MINUTE = 2
_CANCELED_AT_MINUTE = 5
_FLAT_S = 120.0
"""What somebody did at the venue may be filled a minute later, and shown another one later."""


class FoundError(AssertionError):
    """A promise did not hold in this seed."""


class SimContext(Context):
    """A role's context whose readers read from memory."""

    world: Any = None
    owner: Any = None

    def reader(self, stream: str, after: int, subjects: list[str] | None = None, *, since: Any = None) -> Any:
        made: Any = Reader(self.world.server, self.owner, stream, after, subjects)
        self.readers.append(made)
        return made

    async def recall(self, store: Any) -> Any:
        return store.newest()

    async def end(self, stream: str) -> int:
        return self.world.server.streams[stream].last_seq

    async def announce(self, status: Status) -> None:
        """Nobody listens."""


class _Clock:
    def __init__(self, world: World) -> None:
        self._world = world

    async def now_ns(self) -> int:
        if self._world.faults.draw.random() < 0.1:
            await asyncio.sleep(0.002)
        return self._world.now_ns()

    def look_s(self, every_s: float) -> float | None:
        return every_s

    def estimate_ns(self) -> int:
        return self._world.now_ns()

    def observe(self, ts_event: int) -> None:
        """Not virtual."""

    async def close(self) -> None:
        """Nothing is open."""


class _Points:
    """Dies at named points, when the draw says so."""

    def __init__(self, world: World, owner: Incarnation) -> None:
        self._world = world
        self._owner = owner

    def hit(self, name: str) -> None:
        self._world.points[name] += 1
        if not self._owner.is_alive:
            raise Killed
        if self._world.faults.kills(name):
            self._world.kill(self._owner)
            raise Killed


class World:
    """Everything of one seed.

    Args:
        seed: All randomness comes from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.faults = faults = Faults(seed)
        self.loop = SimLoop(faults.latency)
        self.market = Market(faults.draw, _FIRST_BAR)
        self.settings = _settings(faults, self.market)
        topology = topology_of(self.settings)
        self.server = Server(
            self.loop, faults, self.settings.nats.duplicate_window_s, (topology.market, topology.trading)
        )
        self.prefix = topology.prefix
        self.exchange = Exchange(self.loop, faults, self.market)
        self.exchange.marked = frozenset(self.settings.marked_symbols)
        self.latch = Latch()
        self.people = People(self)
        self.on_rest: Callable[[], None] = lambda: None
        self._stored: set[tuple[type, str]] = set()
        self._mode = TradingMode.ACTIVE, 0.0
        self._looked = 0
        self._bodies: dict[str, list[AnyBody]] = {name: [] for name in self.server.streams}
        self.checkpoints = {role: Checkpoints(role) for role in ROLES}
        self.roles: dict[str, Incarnation] = {}
        self.failures: list[str] = []
        self.points: Counter[str] = Counter()
        self.restarts = 0
        self.deaths: Counter[str] = Counter()
        self._clock = _Clock(self)

    def now_ns(self) -> int:
        """Venue time."""
        return ns_at(self.loop.now)

    # --- roles -------------------------------------------------------------------------------------------------------

    def start(self, role: str) -> None:
        """Give a role a new life."""
        self.restarts += 1
        owner = self.roles[role] = Incarnation(role, self.restarts)
        owner.main = self.loop.spawn(owner, self._live(owner))

    async def _live(self, owner: Incarnation) -> None:
        try:
            owner.service = self.service(owner)
            await owner.service.start()
            await owner.service.run()
        except asyncio.CancelledError:
            raise
        except BaseException as err:  # noqa: BLE001  (a process dies of anything)
            self._died(owner, err)

    def _died(self, owner: Incarnation, err: BaseException) -> None:
        while isinstance(err, BaseExceptionGroup):
            err = err.exceptions[0]
        if not owner.is_alive:
            return
        self.kill(owner)
        if not isinstance(err, UnreachableError):  # the supervisor starts it again
            self.failures.append(f"{owner.role} died of {type(err).__name__}: {err}")

    def service(self, owner: Incarnation) -> Any:
        client: Any = Client(self.server, owner)
        topology = topology_of(self.settings)
        context = SimContext(
            owner.role, self.settings, topology, client, client, client.jetstream(), self._clock, self.now_ns,
            _Points(self, owner), [], [], world=self, owner=owner,
        )  # fmt: skip

        def store(_: str) -> Any:
            return self.checkpoints[owner.role]

        exchange = self.exchange
        match owner.role:
            case "feed":
                bars: Any = exchange.bars
                return Feed(context, lambda _: (bars, BarHistory(exchange)))
            case "signals":
                return Signals(context, store)
            case "risk":
                return Risk(context, store, shadow_venue)
            case _:
                updates: Any = exchange.updates
                latch: Any = self.latch
                return Executor(context, store, VenueRest(exchange), updates, latch)

    def kill(self, owner: Incarnation) -> None:
        """kill -9: nothing it does counts any more, its lines are down; it comes back after a while."""
        if not owner.is_alive:
            return
        self._end(owner)
        self.deaths[owner.role] += 1
        draw = self.faults.draw
        if draw.random() < 0.05:
            self.checkpoints[owner.role].damage()
        # Before the ledger is opened the others ask for it 20 times a second: that is not what is tried here.
        waits = (0.05, 0.5, 3.0, 30.0, 150.0) if self.server.trading.last_seq else (0.05, 0.5, 3.0)
        wait = draw.choice(waits) if self.faults.is_on else 0.05
        self.loop.call_later(wait, self._restart, owner)

    def _restart(self, owner: Incarnation) -> None:
        if self.roles[owner.role] is owner:
            self.start(owner.role)

    def _end(self, owner: Incarnation) -> None:
        owner.is_alive = False
        if owner.role in ("executor", "feed"):
            (self.exchange.updates if owner.role == "executor" else self.exchange.bars).cut()
        for stream in self.server.streams.values():
            stream.readers = [reader for reader in stream.readers if reader.owner is not owner]
        for task in owner.tasks:
            task.cancel()

    async def _stop(self, owner: Incarnation) -> None:
        """SIGTERM, as run_role does it."""
        if not owner.is_alive or owner.main is None:
            return
        owner.main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([owner.main])
        if owner.is_alive and owner.service is not None:
            OWNER.set(owner)
            with contextlib.suppress(Killed):
                await owner.service.stop()
        self.kill(owner)

    # --- the way of the seed -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it. Raises FoundError; `check` is for the caller."""
        last = self.market.first + self.market.count - 1
        for role in ROLES:
            self.start(role)
        self._plan(60.0 * last)
        for number in range(1, last + _HEALED_AT_MINUTE + 1):
            self._minute(number)
        self._heal()
        for number in range(last + _HEALED_AT_MINUTE + 1, last + _REST_MINUTES + 1):
            self._minute(number)
            if number == last + _CANCELED_AT_MINUTE:
                self.loop.run_until(self.loop.now + 20)
                self.on_rest()
                self.people.end()
                self.exchange.cancel()
        self.loop.run_until(self.loop.now + 50)

    def _minute(self, number: int) -> None:
        self.loop.run_until(number * 60.0)
        self.exchange.minute(number)
        if self.failures:
            raise FoundError(self.failures[0])

    def _plan(self, end: float) -> None:
        """What happens at moments of its own: deaths, stops, broken lines, hands at the venue."""
        draw, strength = self.faults.draw, self.faults.strength
        if not strength:
            return
        plans: tuple[tuple[int, Callable[[], None]], ...] = (
            (4, lambda: self.kill(self._any())),
            (3, self._stop_any),
            (3, self.exchange.updates.cut),
            (2, self.exchange.bars.cut),
            (3, self.exchange.cancel),
            (3, lambda: self._once_open(self.exchange.hand)),
            (1, lambda: self._once_open(self.exchange.deposit)),
            (3, lambda: self._once_open(self.people.wish)),
            (3, lambda: self._once_open(self.people.change)),
        )
        if draw.random() < 0.25:
            when = draw.uniform(60.0, end)
            if draw.random() < 0.7:  # into the burst of orders after a minute's bars
                when = when // 60 * 60 + draw.uniform(0.0, 0.4)
            self.loop.call_at(when, self._once_open, self.people.halt)
        if draw.random() < 0.1:
            self.loop.call_at(draw.uniform(60.0, end), self._once_open, self.exchange.slip)
        for most, happen in plans:
            for _ in range(draw.randint(0, round(most * min(strength, 2.0)))):
                # Half of them close to a minute's end, when everybody works.
                when = draw.uniform(1.0, end)
                if draw.random() < 0.5:
                    when = when // 60 * 60 + draw.uniform(0.0, 0.3)
                self.loop.call_at(when, happen)

    def _once_open(self, happen: Callable[[], None]) -> None:
        """What happened before the ledger was opened is in its opening."""
        if self.server.trading.last_seq:
            happen()

    def _any(self) -> Incarnation:
        return self.roles[self.faults.draw.choice(ROLES)]

    def _stop_any(self) -> None:
        self.loop.spawn(None, self._stop(self._any()))

    def on_flat(self) -> None:
        """Somebody was told that the account is flat."""
        book = self.exchange.book
        still_open = [order.client_order_id for order in book.orders.values() if order.is_open]
        held = {name: position.qty for name, position in book.ledger.positions.items()}
        if (still_open or held) and self.loop.now - self.exchange.meddled_at > _FLAT_S:
            self.failures.append(f"flat, it was said, but {still_open} are open and {held} is held")

    def _heal(self) -> None:
        self.faults.is_on = False
        for role in ROLES:
            if not self.roles[role].is_alive:
                self.start(role)
        self.exchange.updates.cut()
        self.exchange.bars.cut()

    # --- looking -----------------------------------------------------------------------------------------------------

    def stored_orders(self) -> set[tuple[type, str]]:
        """Kind and client_order_id of every intent and order event stored so far."""
        for body in self.bodies(self.server.trading)[self._looked :]:
            name = body.id if isinstance(body, OrderIntent) else getattr(body, "client_order_id", "")
            if name:
                self._stored.add((type(body), name))
            if isinstance(body, TradingState) and not body.bot and body.mode is not self._mode[0]:
                self._mode = body.mode, self.loop.now
        self._looked = len(self._bodies[self.server.trading.name])
        return self._stored

    def mode(self) -> tuple[TradingMode, float]:
        """The account's trading mode, and since when it was noticed here; as of `stored_orders`."""
        return self._mode

    def bodies(self, stream: Stream) -> list[AnyBody]:
        """Everything stored so far, decoded once."""
        known = self._bodies[stream.name]
        known += [decode(stored.data).body for stored in stream.messages[len(known) :]]
        return known


def _settings(faults: Faults, market: Market) -> Settings:
    draw = faults.draw
    return Settings(
        run_id="run1",
        bots=market.bots,
        limits=RiskLimits(
            bar_age_ms_max=90_000,
            intent_valid_ms=draw.choice((20_000, 90_000)),
            cooldown_s=draw.choice((0, 0, 60)),
            orders_per_min_max=draw.choice((1_000, 1_000, 2)),
        ),
        signals=SignalsSettings(checkpoint_messages=draw.choice((4, 12, 30)), checkpoint_s=1e8),
        risk=RiskSettings(checkpoint_messages=draw.choice((4, 20, 60)), checkpoint_s=1e8),
        feed=FeedSettings(mark_every_ms=draw.choice((250, 15_000, 30_000))),
        executor=ExecutorSettings(
            checkpoint_messages=draw.choice((4, 20, 60)), checkpoint_s=1e8, activities_every_s=170.0
        ),
        nats=msgspec.structs.replace(Settings().nats, duplicate_window_s=draw.choice((30.0, 120.0))),
    )


def quiet() -> Any:
    """A log that says nothing."""

    def say(*_: object, **__: object) -> None:
        return

    return SimpleNamespace(debug=say, info=say, warning=say, error=say)
