"""Who may do what on NATS, as data, and the part of nats-server's configuration that says so.

Each role may publish what it owns and ask JetStream for what it reads; nobody but the executor, who opens the ledger,
makes or changes streams. Subscribers live in an account of their own, into which events are exported and out of which
only questions lead. That border is not a matter of taste: within one account a user who may ask JetStream anything can
make the server publish for him, since an answer goes to any reply subject and a consumer delivers to any subject,
unchecked (nats-server issue 8274; tried on 2.15.1: a stored command was stored again). So subscribers get no consumers
either, and read streams by direct gets. Among roles the rights guard against mistakes, not against a role taken over.

Whoever lets a role publish something new adds it here; the system tests fail on any violation in nats-server's log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.keys import OPERATOR, SUBSCRIBER, inbox_of
from streams.subjects import state_subject
from streams.topology import Topology

ACCOUNT = "TAPELINE"
"""The account of roles and operator; its streams lie in a folder of this name."""
_READERS = "SUBSCRIBERS"
_AUTH_S_MAX = 10
"""A client on a busy machine may take this long to prove who it is; nats-server's own limit is 2 s."""

_OWN: dict[str, tuple[str, ...]] = {
    "feed": (
        "bars.*.*", "updates.*.*", "past.*.*", "ticks.*", "gaps.*", "marks.*", "barmarks",
        "status.statuses.*", "status.lulds.*", "commands", "alerts.*",
    ),
    "signals": (
        "signals.*.*", "indicators.*.*", "derived.*.*", "derived_updates.*.*",
        "bots.*", "changes.*", "refusals.*", "timers.*", "told.*.*", "commands", "alerts.*",
    ),
    "risk": (
        "guards.*.*", "intents.*.*", "denials.*.*", "reached.*.*", "positions.*.*", "protections.*.*", "account",
        "shadows.*.*", "state", "commands", "alerts.*",
    ),
    "executor": (
        "orders.*.*", "fills.*.*", "fees.*.*", "corrections.*.*", "splits.*", "status.assets.*", "opened", "funds",
        "sessions.*",
        "commands", "alerts.*",
    ),
    "recorder": ("commands", "alerts.*"),
}  # fmt: skip
"""What each role stores, below the prefix. Changes that signals stores are of bot files. Risk's commands are cancels;
feed's and executor's are REDUCING, for a clock, a disk or an account that is wrong, and the one a latch stands for.
Each role commands HALTED when it finds that the trading stream lost messages."""
_READS = {
    "feed": ("market", "trading"),
    "signals": ("market", "trading"),
    "risk": ("trading",),
    "executor": ("trading",),
    "recorder": ("market", "trading"),
}
ROLES = tuple(_OWN)
USERS = (*ROLES, OPERATOR, SUBSCRIBER)


class Rights(msgspec.Struct, frozen=True):
    """Subjects a user may publish on and subscribe to; nothing else."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def rights(topology: Topology, inboxes: Mapping[str, str]) -> dict[str, Rights]:
    """Give every user's rights.

    Args:
        topology: Names of streams and subjects.
        inboxes: Prefix of each user's inboxes.
    """
    found = {role: _role(role, topology, inboxes) for role in ROLES}
    found[OPERATOR] = _operator(topology, inboxes[OPERATOR])
    found[SUBSCRIBER] = _subscriber(topology, inboxes[SUBSCRIBER])
    return found


def _role(role: str, topology: Topology, inboxes: Mapping[str, str]) -> Rights:
    p, own = topology.prefix, f"{inboxes[role]}.>"
    publish = [f"{p}.{tail}" for tail in _OWN[role]]
    publish += [f"{p}.cmd.progress.{role}", f"{p}.cmd.status.{role}"]  # its container asks after its own health
    # Answers, to whoever may ask: no `allow_responses`, by which anybody could have them sent anywhere.
    publish += ["_INBOX.>", f"{inboxes[OPERATOR]}.>", own, "_R_.>"]
    subscribe = [own, f"{p}.cmd.status.{role}"]
    every = _streams(topology, ("market", "trading"))
    publish += [f"$JS.API.STREAM.INFO.{stream}" for stream in every]  # all wait until there are streams
    for stream in _streams(topology, _READS[role]):
        publish += _reading(stream)
    bucket = topology.bucket
    publish += [f"$JS.API.STREAM.{what}.KV_{bucket}" for what in ("INFO", "CREATE", "MSG.GET")]
    publish += [f"$KV.{bucket}.{role}"]
    match role:
        case "risk":
            publish += [state_subject(p)]
        case "signals":
            publish += [f"{p}.cmd.assets"]
        case "executor":
            subscribe += [state_subject(p), f"{p}.cmd.assets"]
            publish += [f"{inboxes['signals']}.>"]
            publish += [f"$JS.API.STREAM.{what}.{stream}" for stream in every for what in ("CREATE", "UPDATE")]
        case "recorder":
            subscribe += [f"{p}.sql", f"{p}.cmd.snapshot"]
        case _:
            pass
    return Rights(_once(publish), _once(subscribe))


def _operator(topology: Topology, inbox: str) -> Rights:
    """Commands, questions, reading, and taking a message away that nobody can read."""
    p = topology.prefix
    publish = [f"{p}.commands", f"{p}.changes.*", f"{p}.sql", f"{p}.cmd.snapshot", f"{p}.cmd.status.*"]
    publish += ["$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST"]
    for stream in _streams(topology, ("market", "trading")):
        publish += [*_reading(stream), f"$JS.API.CONSUMER.CREATE.{stream}.>", f"$JS.API.CONSUMER.INFO.{stream}.*"]
        publish += [f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*", f"$JS.ACK.{stream}.>"]
        publish += [f"$JS.API.DIRECT.GET.{stream}.>", f"$JS.API.STREAM.MSG.DELETE.{stream}"]
    return Rights(_once(publish), (f"{p}.>", "_INBOX.>", f"{inbox}.>"))


def _subscriber(topology: Topology, inbox: str) -> Rights:
    """Events and questions. What it may ask JetStream stands below a domain of its own."""
    p = topology.prefix
    asked = [f"$JS.{p}.API.{tail}" for tail in _direct(topology)]
    return Rights((f"{p}.sql", f"{p}.cmd.status.*", *asked), (f"{p}.>", "_INBOX.>", f"{inbox}.>"))


def _reading(stream: str) -> list[str]:
    """What a reader of a stream asks of JetStream: consumers of its own, single messages, flow control."""
    asked = (
        f"STREAM.INFO.{stream}", f"STREAM.MSG.GET.{stream}", f"DIRECT.GET.{stream}",
        f"CONSUMER.CREATE.{stream}", f"CONSUMER.DELETE.{stream}.*",
    )  # fmt: skip
    return [*(f"$JS.API.{tail}" for tail in asked), f"$JS.FC.{stream}.>"]


def _direct(topology: Topology) -> list[str]:
    """What subscribers may ask about streams: how they are, and messages."""
    streams = _streams(topology, ("market", "trading"))
    return [
        tail
        for stream in streams
        for tail in (f"STREAM.INFO.{stream}", f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>")
    ]


def _streams(topology: Topology, names: Iterable[str]) -> list[str]:
    return [{"market": topology.market, "trading": topology.trading}[name] for name in names]


def _once(subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subjects))


def guarded(topology: Topology, public: Mapping[str, str]) -> str:
    """Write the accounts of a guarded nats-server.

    Args:
        topology: Names of streams and subjects.
        public: Public key of each user.
    """
    given = rights(topology, {user: inbox_of(key) for user, key in public.items()})
    inside = [_user(public[user], given[user]) for user in USERS if user != SUBSCRIBER]
    p = topology.prefix
    events = [subject for config in topology.streams() for subject in config.subjects or []]
    events += [state_subject(p), f"{p}.cmd.progress.*"]
    questions = {f"{p}.sql": f"{p}.sql", f"{p}.cmd.status.*": f"{p}.cmd.status.*"}
    questions |= {f"$JS.API.{tail}": f"$JS.{p}.API.{tail}" for tail in _direct(topology)}
    exports = [f'{{stream: "{subject}", accounts: [{_READERS}]}}' for subject in events]
    imports = [f'{{stream: {{account: {ACCOUNT}, subject: "{subject}"}}}}' for subject in events]
    for subject, asked in questions.items():
        # An answer of several messages (SQL, batches of direct gets) is a stream of answers to nats-server.
        exports.append(f'{{service: "{subject}", response_type: Stream, accounts: [{_READERS}]}}')
        imports.append(f'{{service: {{account: {ACCOUNT}, subject: "{subject}"}}, to: "{asked}"}}')
    return (
        f"authorization {{ timeout: {_AUTH_S_MAX} }}\n"
        "accounts {\n"
        f"  {ACCOUNT} {{\n    jetstream: enabled\n    users: {_list(inside)}\n    exports: {_list(exports)}\n  }}\n"
        f"  {_READERS} {{\n    users: {_list([_user(public[SUBSCRIBER], given[SUBSCRIBER])])}\n"
        f"    imports: {_list(imports)}\n  }}\n"
        "}\n"
    )


def lonely(public: str) -> str:
    """Write the accounts of a server for one user, who may do everything, on the same streams."""
    return f"accounts {{ {ACCOUNT} {{ jetstream: enabled, users: [{{nkey: {public}}}] }} }}\n"


def unguarded() -> str:
    """Write the accounts of a server that lets everybody in, on the same streams. For tests and measurements."""
    user = "anybody"
    return (
        f"accounts {{ {ACCOUNT} {{ jetstream: enabled, users: [{{user: {user}, password: {user}}}] }} }}\n"
        f"no_auth_user: {user}\n"
    )


def _user(public: str, given: Rights) -> str:
    allowed = (f"{name}: {{allow: {_quoted(subjects)}}}" for name, subjects in _pairs(given))
    return f"{{nkey: {public}, permissions: {{{', '.join(allowed)}}}}}"


def _pairs(given: Rights) -> Iterable[tuple[str, tuple[str, ...]]]:
    return (("publish", given.publish), ("subscribe", given.subscribe))


def _quoted(subjects: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{subject}"' for subject in subjects) + "]"


def _list(items: Iterable[str]) -> str:
    return "[\n" + "".join(f"      {item}\n" for item in items) + "    ]"
