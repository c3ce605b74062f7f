"""What every role shares: connect, bind, become ready, answer for its status, stop in order.

A role is a service (services/) run by `run_role`. Which clock, which adapters and which hook it gets is decided by the
composition root; nothing here or below knows whether it is live.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from config.settings import Settings
from engine.errors import BrokenPromiseError, TapelineError
from engine.messages import AccountOpened, AnyBody, Head, decode, encode
from engine.ports import Clock
from streams.binding import bind, went_away
from streams.checkpoint import Checkpoint, CheckpointStore
from streams.connection import AWAY, Inflow, connect
from streams.halting import halt
from streams.keys import Identity, identity
from streams.lease import Lease
from streams.loss import Guard, HoleError, check, last_readable, recall
from streams.owner import note_account
from streams.publisher import Outgoing, troubles_on
from streams.reader import Reader
from streams.room import RoomWatch
from streams.seals import Seal
from streams.subjects import subject_of
from streams.topology import Topology

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_STOP_S_MAX = 15.0


class Points(Protocol):
    """Named moments of a role's life: bound, started; before and after each renewal, publish, POST, commit, checkpoint.

    Tests kill there.
    """

    def hit(self, name: str) -> None:
        """Pass the point `name`."""
        ...


class NoPoints:
    """The hook of a normal run: nothing happens."""

    def hit(self, name: str) -> None:
        """Do nothing."""


class Status(msgspec.Struct, frozen=True):
    """A role's answer on `<prefix>.cmd.status.<role>`.

    Attributes:
        positions: Last applied sequence per stream; it moves when what followed from it is stored.
        published: Last sequence this role stored, per stream; at its start the stream's end, for a former process of
            this role may have stored up to there and died before it said so.
        busy: Requests to the outside that are open.
        counters: What it counted since start.
        problems: What a person should look at; empty when healthy.
        notes: What a person may want to know.
    """

    role: str
    pid: int
    state: str
    positions: dict[str, int] = {}
    published: dict[str, int] = {}
    busy: int = 0
    counters: dict[str, int] = {}
    problems: list[str] = []
    notes: list[str] = []


class Context(msgspec.Struct):
    """What a service gets from its role.

    Attributes:
        nc: Connection for publishing, asking and answering.
        inflow: Connection of the readers: on one connection an acknowledgement would come after every message that
            nats-server has on its way, a minute of the whole market for instance.
        identity: Who the role is on NATS; None where no key is asked for.
    """

    role: str
    settings: Settings
    topology: Topology
    nc: Client
    inflow: Inflow
    js: JetStreamContext
    clock: Clock
    wall_ns: Callable[[], int]
    points: Points
    readers: list[Reader]
    reconnected: list[Callable[[], None]] = []
    account: str = ""
    run: str = ""
    opened_ns: int = 0
    identity: Identity | None = None
    guard: Guard | None = None
    stores: list[CheckpointStore] = []

    def reader(
        self, stream: str, after: int, subjects: list[str] | None = None, *, since: Checkpoint | Seal | None = None
    ) -> Reader:
        """Make a reader that is told when the connection comes back; of the whole trading stream: one that is guarded.

        Args:
            stream: Its name.
            after: Sequence after which to read.
            subjects: Filter; None reads everything.
            since: What stood at `after`, or the checkpoint that knows it; None where nobody does.
        """
        seal = since.header.seals.get(stream) if isinstance(since, Checkpoint) else since
        guard = self.guard if stream == self.topology.trading and subjects is None else None
        reader = Reader(self.inflow, stream, after, subjects, seal=seal, guard=guard)
        self.readers.append(reader)
        return reader

    async def check(self) -> None:
        """Compare the trading stream with what this role has seen of it. Raises HoleError, ConfigError."""
        if self.guard is not None:
            await check(self.nc, self.topology, self.guard)

    async def recall(self, store: CheckpointStore) -> Checkpoint | None:
        """Give the newest checkpoint whose position in the trading stream still is what it was. Raises HoleError."""
        self.stores.append(store)
        return await recall(self.nc, self.topology.trading, self.guard, store)

    async def end(self, stream: str) -> int:
        """Give the sequence of the last message that can be read."""
        return await last_readable(self.nc, stream)

    def outgoing(
        self, body: AnyBody, msg_id: str, *, ts_recv: int = 0, trace: str = "", refs: dict[str, str] | None = None
    ) -> Outgoing:
        """Wrap a body for publishing."""
        head = Head(self.wall_ns(), ts_recv, trace, refs={k: v for k, v in (refs or {}).items() if v})
        return Outgoing(subject_of(self.topology.prefix, body), encode(head, body), msg_id)

    async def announce(self, status: Status) -> None:
        """Tell whoever listens on `<prefix>.cmd.progress.<role>` how far the role is; called when work was done."""
        answer = msgspec.structs.replace(status, state="ready", pid=os.getpid())
        with contextlib.suppress(NatsError, OSError):
            await self.nc.publish(f"{self.topology.prefix}.cmd.progress.{self.role}", msgspec.json.encode(answer))

    async def identify(self) -> AccountOpened:
        """Wait for the message that says whose stream this is; ids are made from it."""
        subject = f"{self.topology.prefix}.opened"
        while True:
            with contextlib.suppress(NotFoundError, NatsError, TimeoutError):
                raw = await self.js.get_last_msg(self.topology.trading, subject)
                body = decode(raw.data or b"").body
                if not isinstance(body, AccountOpened):
                    msg = f"the message on {subject} is a {type(body).__name__}, not AccountOpened"
                    raise BrokenPromiseError(msg)
                self.account, self.run, self.opened_ns = body.account_number, body.run, body.ts_event
                note_account(self.settings.data_path, body.account_number)
                return body
            await asyncio.sleep(0.05)


class Service(Protocol):
    """One role's work."""

    async def start(self) -> None:
        """Recover state and become ready."""
        ...

    async def run(self) -> None:
        """Work until canceled."""
        ...

    async def stop(self) -> None:
        """Write down what should survive; called once, after `run` ended."""
        ...

    def status(self) -> Status:
        """Say how it is."""
        ...


def topology_of(settings: Settings) -> Topology:
    """Take the streams' names and limits from the settings."""
    nats = settings.nats
    return Topology(
        nats.prefix, nats.market_age_s_max, nats.market_bytes_max, nats.trading_bytes_max, nats.duplicate_window_s
    )


async def run_role(
    role: str,
    settings: Settings,
    make_service: Callable[[Context], Service],
    *,
    clock: Clock,
    wall_ns: Callable[[], int],
    points: Points,
) -> int:
    """Run a role until SIGTERM, SIGINT or a failure; return the exit code.

    Args:
        role: Its name.
        settings: The whole settings; nats.url is set.
        make_service: Builds the service.
        clock: The venue's time.
        wall_ns: Wall clock for heads and latencies.
        points: Hook for tests.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    readers: list[Reader] = []
    reconnected: list[Callable[[], None]] = []

    async def resync() -> None:
        for reader in readers:
            reader.resync()

    async def call_back() -> None:
        for callback in reconnected:
            callback()

    name = f"{settings.nats.prefix}-{role}"
    who = identity(settings.nats.nkey_file, role)
    nc = await connect(settings.nats.url, name, identity=who, on_reconnected=call_back)
    inflow = await connect(settings.nats.url, f"{name}-in", identity=who, kind=Inflow, on_reconnected=resync)
    js = nc.jetstream(timeout=5)
    topology = topology_of(settings)
    lease = Lease(js, topology.bucket, role, points.hit)
    if not await bind(js, topology, lease, role, stopping):
        return 0
    points.hit(f"{role}.after_bind")
    context = Context(
        role, settings, topology, nc, inflow, js, clock, wall_ns, points, readers, reconnected, identity=who
    )
    context.guard = Guard(settings.data_path, role, is_mended=settings.nats.is_own)
    service = make_service(context)
    room = RoomWatch(context)
    state = ["starting"]
    await nc.subscribe(f"{topology.prefix}.cmd.status.{role}", cb=_responder(service, context, room, state))
    keeper = asyncio.create_task(lease.keep())
    looker = asyncio.create_task(room.run()) if role == "executor" else None
    worker = asyncio.create_task(_work(context, service, state))
    stopper = asyncio.create_task(stopping.wait())
    code = 0
    await asyncio.wait({keeper, worker, stopper}, return_when=asyncio.FIRST_COMPLETED)
    state[0] = "stopping"
    loop.call_later(_STOP_S_MAX, os._exit, 1)
    if keeper.done():
        log.error("another process took this role; stopping without another word to anybody")
        os._exit(BrokenPromiseError.exit_code)
    code = await _end(worker, service, context)
    for task in filter(None, (keeper, looker)):
        task.cancel()
    for reader in readers:
        with contextlib.suppress(NatsError, OSError):
            await reader.stop()
    await lease.release()
    for connection in (inflow, nc):
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            await connection.close()
    await clock.close()
    return code


async def _work(context: Context, service: Service, state: list[str]) -> None:
    await context.check()
    await service.start()
    context.points.hit(f"{context.role}.after_start")
    # What a role holds after its start stays: tens of thousands of small objects that a full collection would walk
    # through in the middle of a burst, 0.1 s and more each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    state[0] = "ready"
    await service.run()


async def _end(worker: asyncio.Task[None], service: Service, context: Context) -> int:
    """Stop the work and write the state down; a failure of the work comes first."""
    code = 0
    if worker.done():
        failure = worker.exception()
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        if isinstance(failure, HoleError):
            await halt(context, failure.hole)
        if isinstance(failure, TapelineError):
            raise failure
        if isinstance(failure, AWAY):
            raise went_away(failure)
        if failure is not None:
            log.error("role failed", exc_info=failure)
            msg = f"unexpected {type(failure).__name__}: {failure} (the log has the whole story)"
            raise BrokenPromiseError(msg) from failure
        code = 1
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    await service.stop()
    return code


def _responder(service: Service, context: Context, room: RoomWatch, state: list[str]) -> Any:
    async def answer(msg: Msg) -> None:
        status = service.status()
        troubles = [*troubles_on(context.nc), *(store.trouble for store in context.stores), room.problem]
        status = msgspec.structs.replace(
            status, state=state[0], pid=os.getpid(), problems=[*status.problems, *filter(None, troubles)]
        )
        await msg.respond(msgspec.json.encode(status))

    return answer


async def last_per_subject(context: Context, stream: str, subject: str) -> list[bytes]:
    """Give the last message of every subject that matches, in stream order."""
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: PLC0415

    inbox = context.nc.new_inbox()
    found: list[bytes] = []
    complete = asyncio.Event()
    expected = -1

    async def take(msg: Msg) -> None:
        if msg.reply.startswith("$JS.ACK."):
            found.append(msg.data)
            if len(found) == expected:
                complete.set()

    sub = await context.nc.subscribe(inbox, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    try:
        config = ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            filter_subject=subject,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=5,
        )
        info = await context.js.add_consumer(stream, config)
        expected = (info.num_pending or 0) + info.delivered.consumer_seq if info.delivered else info.num_pending or 0
        if len(found) < expected:
            await asyncio.wait_for(complete.wait(), 30)
    finally:
        await sub.unsubscribe()
    return found
