"""Subscribers on a real nats-server: they hear and read everything, and nothing they do reaches a role."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from streams.server import NatsServer
from tapeline.role_main import ROLES
from tests.streams.users import OWNERS, SPOKEN, TOPOLOGY, User, count, signed_in
from tests.streams.wire import until


async def test_a_subscriber_hears_every_event(guarded: NatsServer) -> None:
    async with signed_in(guarded, "subscriber", *ROLES) as [subscriber, *roles]:
        heard: set[str] = set()

        async def on_message(msg: Any) -> None:
            heard.add(msg.subject.removeprefix("tape."))

        await subscriber.nc.subscribe("tape.>", cb=on_message)
        await subscriber.nc.flush()
        said = {**OWNERS, **SPOKEN}
        for name, role in zip(ROLES, roles, strict=True):
            for subject, owners in said.items():
                if name in owners.split():
                    await role.tries(f"tape.{subject}")
        await until(lambda: heard == set(said), "all of it is heard")


async def test_a_subscriber_reads_streams_by_direct_gets(guarded: NatsServer) -> None:
    async with signed_in(guarded, "executor", "subscriber") as [executor, subscriber]:
        first = (await executor.nc.jetstream().publish("tape.fills.b.S", b"1")).seq
        for number in (2, 3):
            await executor.nc.jetstream().publish("tape.fills.b.S", str(number).encode())
        js = subscriber.nc.jetstream(domain="tape", timeout=5)
        assert (await js.stream_info(TOPOLOGY.trading)).state.last_seq == first + 2
        assert (await js.get_msg(TOPOLOGY.trading, first, direct=True)).data == b"1"
        assert (await js.get_last_msg(TOPOLOGY.trading, "tape.fills.b.S", direct=True)).data == b"3"
        inbox = subscriber.nc.new_inbox()
        sub = await subscriber.nc.subscribe(inbox)
        request = {"seq": first, "batch": 10, "next_by_subj": "tape.fills.>"}
        await subscriber.nc.publish(
            f"$JS.tape.API.DIRECT.GET.{TOPOLOGY.trading}", json.dumps(request).encode(), reply=inbox
        )
        got = [(await sub.next_msg(timeout=5)).data for _ in range(4)]
        assert got == [b"1", b"2", b"3", b""]
        assert subscriber.refused == []


async def test_a_subscriber_asks_recorder_and_roles(guarded: NatsServer) -> None:
    async with signed_in(guarded, "recorder", "subscriber", "operator") as [recorder, subscriber, operator]:

        async def answer(msg: Any) -> None:
            for number in (b"1", b"2", b"3"):
                await recorder.nc.publish(msg.reply, number)

        await recorder.nc.subscribe("tape.sql", cb=answer)
        await recorder.nc.subscribe("tape.cmd.status.recorder", cb=answer)
        await recorder.nc.flush()
        for asker in (subscriber, operator):
            for inbox in (asker.nc.new_inbox(), f"_INBOX.{asker.nc.new_inbox()}"):
                sub = await asker.nc.subscribe(inbox)
                await asker.nc.publish("tape.sql", b"{}", reply=inbox)
                assert [(await sub.next_msg(timeout=5)).data for _ in range(3)] == [b"1", b"2", b"3"]
            assert (await asker.nc.request("tape.cmd.status.recorder", b"", timeout=5)).data == b"1"


# Ways in which one user may make the server, or a role, publish for him: an answer goes where the question says.
_TRICKS: dict[str, Callable[[User, str], Awaitable[bool]]] = {
    "stream info": lambda user, to: user.tries("$JS.tape.API.STREAM.INFO.TAPE_TRADING", b"", to),
    "stored message": lambda user, to: user.tries("$JS.tape.API.DIRECT.GET.TAPE_TRADING", b'{"seq": 1}', to),
    "last message": lambda user, to: user.tries("$JS.tape.API.DIRECT.GET.TAPE_TRADING.tape.state", b"", to),
    "sql": lambda user, to: user.tries("tape.sql", b'{"sql": "SELECT 1"}', to),
    "status": lambda user, to: user.tries("tape.cmd.status.recorder", b"", to),
}
_TARGETS = (
    "tape.commands", "tape.intents.b.S", "tape.state", "tape.cmd.state", "tape.cmd.snapshot", "tape.signals.b.S",
    "$JS.API.STREAM.PURGE.TAPE_TRADING", "$JS.API.STREAM.DELETE.TAPE_TRADING",
)  # fmt: skip


@pytest.mark.parametrize("trick", _TRICKS)
async def test_no_answer_to_a_subscriber_becomes_a_message_to_roles(guarded: NatsServer, trick: str) -> None:
    async with signed_in(guarded, "recorder", "operator", "subscriber", "risk") as [recorder, operator, user, risk]:
        await risk.nc.jetstream().publish("tape.state", b"{}")
        heard: list[str] = []
        asked: list[str] = []

        async def on_message(msg: Any) -> None:
            heard.append(msg.subject)

        async def answer(msg: Any) -> None:
            asked.append(msg.subject)
            await recorder.nc.publish(msg.reply, b"{}")

        await operator.nc.subscribe("tape.>", cb=on_message)
        for subject in ("tape.sql", "tape.cmd.status.recorder", "tape.cmd.snapshot"):
            await recorder.nc.subscribe(subject, cb=answer)
        await recorder.nc.flush()
        await operator.nc.flush()
        before = {stream: await count(guarded, stream) for stream in (TOPOLOGY.market, TOPOLOGY.trading)}
        for target in _TARGETS:
            await _TRICKS[trick](user, target)
        if trick in ("sql", "status"):
            await until(lambda: len(asked) == len(_TARGETS), "every question was answered")
            await recorder.nc.flush()
        inbox = await user.nc.subscribe(f"{user.nc.new_inbox()}.end")
        await user.nc.publish("$JS.tape.API.STREAM.INFO.TAPE_TRADING", b"", reply=inbox.subject)
        await inbox.next_msg(timeout=5)  # nats-server is done with everything before
        await operator.nc.flush()
        assert before == {stream: await count(guarded, stream) for stream in (TOPOLOGY.market, TOPOLOGY.trading)}
        assert set(heard) <= {"tape.sql", "tape.cmd.status.recorder"}
        assert set(asked) <= {"tape.sql", "tape.cmd.status.recorder"}
        assert recorder.refused == []


async def test_a_subscriber_makes_no_consumer(guarded: NatsServer) -> None:
    """Within an account a consumer delivers to any subject: that would be a way to write commands."""
    async with signed_in(guarded, "subscriber") as [user]:
        config = {"stream_name": "TAPE_MARKET", "config": {"deliver_subject": "tape.commands", "ack_policy": "none"}}
        for api in ("$JS.API", "$JS.tape.API"):
            for tail in ("", ".x", ".x.tape.>"):
                for stream in ("TAPE_MARKET", "TAPE_TRADING"):
                    assert not await user.tries(f"{api}.CONSUMER.CREATE.{stream}{tail}", json.dumps(config).encode())


async def test_nobody_answers_a_subscribers_question_to_a_role_that_is_down(guarded: NatsServer) -> None:
    async with signed_in(guarded, "subscriber") as [user]:
        with pytest.raises((NatsTimeout, NoRespondersError)):
            await user.nc.request("tape.cmd.status.feed", b"", timeout=0.3)
