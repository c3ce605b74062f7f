"""Rights of roles and operator on a real nats-server: what each can do, and above all what it cannot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest

from engine.errors import ConfigError
from streams import access, keys
from streams.connection import Inflow, connect
from streams.lease import Lease
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader
from streams.server import NatsServer, guarded_server
from streams.topology import Topology, ensure, wait_for_streams
from tapeline.role_main import ROLES
from tests.streams.users import ASKED, OWNERS, SPOKEN, TOPOLOGY, count, signed_in
from tests.streams.wire import topology_of, until

# --- who may say what ----------------------------------------------------------------------------------------------------


def test_every_role_and_every_subject_has_its_owner() -> None:
    assert set(access.ROLES) == set(ROLES)
    stored = {subject for config in TOPOLOGY.streams() for subject in config.subjects or []}
    assert {_pattern(subject) for subject in OWNERS} == stored


def _pattern(subject: str) -> str:
    kind, *rest = subject.split(".")
    return ".".join(["tape", kind, *("*" for _ in rest)])


@pytest.mark.parametrize("user", access.USERS)
async def test_each_user_stores_its_own_and_nothing_else(guarded: NatsServer, user: str) -> None:
    before = {stream: await count(guarded, stream) for stream in (TOPOLOGY.market, TOPOLOGY.trading)}
    async with signed_in(guarded, user, "operator") as [speaker, operator]:
        allowed = {subject for subject in OWNERS if await speaker.tries(f"tape.{subject}", user.encode())}
        stored: set[str] = set()

        async def is_stored() -> bool:
            js = operator.nc.jetstream(timeout=5)
            for stream, seq in before.items():
                last = (await js.stream_info(stream)).state.last_seq
                for number in range(seq + 1, last + 1):
                    stored.add((await js.get_msg(stream, number)).subject.removeprefix("tape."))
            return stored >= allowed

        await until(is_stored, "what was let through is stored")
    assert stored == allowed == {subject for subject, owners in OWNERS.items() if user in owners.split()}


@pytest.mark.parametrize("user", access.USERS)
async def test_each_user_says_and_asks_its_own_and_nothing_else(guarded: NatsServer, user: str) -> None:
    async with signed_in(guarded, user) as [speaker]:
        for subject, owners in (SPOKEN | ASKED).items():
            assert await speaker.tries(f"tape.{subject}") == (user in owners.split()), subject


@pytest.mark.parametrize("user", access.USERS)
async def test_nobody_but_executor_touches_a_stream_and_nobody_destroys_one(guarded: NatsServer, user: str) -> None:
    async with signed_in(guarded, user) as [one]:
        for stream in (TOPOLOGY.market, TOPOLOGY.trading, "KV_tape_roles"):
            for what in ("DELETE", "PURGE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"):
                assert not await one.tries(f"$JS.API.STREAM.{what}.{stream}"), (what, stream)
            if user != "executor" or stream == "KV_tape_roles":
                assert not await one.tries(f"$JS.API.STREAM.UPDATE.{stream}"), stream
            if user != "operator" or stream == "KV_tape_roles":
                assert not await one.tries(f"$JS.API.STREAM.MSG.DELETE.{stream}"), stream
            assert not await one.tries(f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.x"), stream
        assert not await one.tries("$JS.API.STREAM.CREATE.OTHER", b'{"name": "OTHER", "subjects": ["tape.>"]}')
        assert not await one.tries("$SYS.REQ.SERVER.PING")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_holds_its_own_lease_only(guarded: NatsServer, role: str) -> None:
    async with signed_in(guarded, role) as [one]:
        for other in (*ROLES, "x"):
            assert await one.tries(f"$KV.tape_roles.{other}") == (other == role)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_listens_to_its_own_answers_only(guarded: NatsServer, role: str) -> None:
    async with signed_in(guarded, role, *(other for other in access.USERS if other != role)) as [one, *others]:
        assert one.identity is not None
        assert await one.hears(f"{one.identity.inbox}.x")
        for other in others:
            assert other.identity is not None
            assert not await one.hears(f"{other.identity.inbox}.>")
        for subject in (">", "tape.>", "_INBOX.>", "tape.commands", "tape.signals.>", "$JS.>", "$KV.>"):
            assert not await one.hears(subject), subject
        assert await one.hears("tape.sql") == (role == "recorder")
        assert await one.hears("tape.cmd.state") == (role == "executor")


# --- what roles do, under their rights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
async def test_rights_are_enough_for_what_every_role_does(guarded: NatsServer, role: str) -> None:
    async with signed_in(guarded, role) as [one]:
        who = one.identity
        nc = await connect(guarded.url, role, identity=who, kind=Inflow)
        js = nc.jetstream(timeout=5)
        await (ensure(js, TOPOLOGY) if role == "executor" else wait_for_streams(js, TOPOLOGY))
        lease = Lease(js, TOPOLOGY.bucket, role)
        await lease.acquire(1.0)
        assert lease._kv is not None
        assert await lease._renew(lease._kv) is None
        await lease.release()
        await _write_and_read(nc, role)
        await nc.close()


async def _write_and_read(nc: Inflow, role: str) -> None:
    stream = TOPOLOGY.market if role == "feed" else TOPOLOGY.trading
    subject = {"feed": "tape.bars.1m.B", "signals": "tape.signals.b.B", "risk": "tape.intents.b.B"}.get(role, "")
    subject = subject or "tape.alerts.info"
    publisher = Publisher(nc, stream, role)
    await publisher.sync()
    after = publisher.last_seq
    if role == "feed":
        await publisher.burst([Outgoing(subject, b"{}", "") for _ in range(5)])
    else:
        await publisher.atomic([Outgoing(subject, b"{}", f"{role}-{number}-{after}") for number in range(5)])
    assert publisher.last_seq == after + 5
    assert (await publisher._get(after + 5)).subject == subject
    reader = Reader(nc, stream, after)
    await reader.start()
    async with asyncio.timeout(5):
        found = await reader.batch(5)
        while len(found) < 5:
            found += await reader.batch(5)
    reader.resync()
    await until(lambda: reader._generation == 2, "read anew from the position")
    await reader.stop()


# --- who gets in ---------------------------------------------------------------------------------------------------------


async def test_no_key_and_a_strange_key_are_refused_in_one_line(guarded: NatsServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"demands a key.*nats\.nkey_file") as caught:
        await connect(guarded.url, "test")
    assert "\n" not in str(caught.value)
    strange = keys.make(tmp_path, ("feed",))["feed"]
    with pytest.raises(ConfigError, match="does not know the key") as caught:
        await connect(guarded.url, "test", identity=strange)
    assert str(tmp_path / "feed.nk") in str(caught.value)
    assert strange.seed not in str(caught.value)
    nc = nats.NATS()
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await nc.connect(guarded.url, user="anybody", password="anybody", allow_reconnect=False)
    await nc.close()


async def test_a_restarted_server_knows_its_users_and_they_prove_themselves_anew(tmp_path: Path) -> None:
    for _ in range(2):  # also with keys that were there
        server = guarded_server(tmp_path, TOPOLOGY)
        server.start()
        back = asyncio.Event()

        async def on_back(back: asyncio.Event = back) -> None:
            back.set()

        who = keys.identity(server.nkey_file, "executor")
        nc = await connect(server.url, "test", identity=who, on_reconnected=on_back)
        await ensure(nc.jetstream(timeout=5), TOPOLOGY)
        server.stop()
        server.start()
        await asyncio.wait_for(back.wait(), 10)
        assert (await nc.jetstream(timeout=5).publish("tape.alerts.info", b"{}")).seq > 0
        await nc.close()
        server.stop()


def test_the_servers_files_hold_no_seed(guarded: NatsServer) -> None:
    folder = Path(guarded.nkey_file)
    seeds = [path.read_text().strip() for path in folder.glob("*.nk")]
    assert len(seeds) == len(access.USERS)
    for path in folder.parent.rglob("*"):
        if path.is_file() and path.suffix != ".nk":
            content = path.read_bytes()
            assert not any(seed.encode() in content for seed in seeds), path


async def test_another_prefix_has_its_own_subjects(tmp_path: Path) -> None:
    topology: Topology = topology_of("paper-2")
    server = guarded_server(tmp_path, topology)
    server.start()
    try:
        async with signed_in(server, "executor", "feed", "subscriber") as [executor, feed, subscriber]:
            await ensure(executor.nc.jetstream(timeout=5), topology)
            assert await feed.tries("paper-2.bars.1m.A", b"{}")
            assert not await feed.tries("tape.bars.1m.A", b"{}")
            js = subscriber.nc.jetstream(domain="paper-2", timeout=5)
            assert (await js.get_msg(topology.market, 1, direct=True)).subject == "paper-2.bars.1m.A"
    finally:
        server.stop()


# --- data directories of a version without keys --------------------------------------------------------------------------


async def test_streams_of_a_version_without_users_are_taken_over(tmp_path: Path) -> None:
    old = NatsServer(tmp_path, "# no accounts, no users\n")
    old.start()
    nc = await nats.connect(old.url)
    await ensure(nc.jetstream(), TOPOLOGY)
    for number in range(5):
        await nc.jetstream().publish("tape.commands", str(number).encode())
    await nc.close()
    old.stop()
    for _ in range(2):
        server = guarded_server(tmp_path, TOPOLOGY)
        assert server.port == old.port
        server.start()
        async with signed_in(server, "operator") as [operator]:
            info = await operator.nc.jetstream().stream_info(TOPOLOGY.trading)
            assert (info.state.messages, info.state.last_seq) == (5, 5)
        server.stop()


async def test_streams_of_both_versions_are_nobodys_guess(tmp_path: Path) -> None:
    for text in ("# no accounts, no users\n", ""):
        server = NatsServer(tmp_path, text)
        if text:
            (tmp_path / "store" / "jetstream" / access.ACCOUNT / "streams" / "TAPE_TRADING").mkdir(parents=True)
        else:
            with pytest.raises(ConfigError, match="two versions") as caught:
                server.start()
            assert "$G" in str(caught.value)
            continue
        server._move_streams = lambda: None  # type: ignore[method-assign]
        server.start()
        nc = await nats.connect(server.url)
        await ensure(nc.jetstream(), TOPOLOGY)
        await nc.close()
        server.stop()
