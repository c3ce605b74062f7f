"""Exclusive roles: feed, risk, executor and recorder run once per NATS, also when a second machine tries.

A role binds by a compare-and-set on its key in a KV bucket with a short life that it renews; a second one is refused
while the first renews. A holder that finds another's value in its key has lost the binding and must stop at once.
A lease is no fence by itself: orders are fenced by their client_order_id, messages by their ids.

An owner is `machine/process/nonce`. The machine is the host's name with its space of process ids (two containers may
share the one or the other), so that "this process is dead" is only said of processes that we could see; the nonce tells
a process from an earlier one with its number, as in a restarted container.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig
from nats.js.errors import BadRequestError, BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from engine.errors import BusyError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LEASE_S = 3.0
_RENEW_S = 0.75


class Lease:
    """The binding of one role.

    Args:
        js: JetStream context.
        bucket: Name of the bucket.
        role: Key in it.
        hit: Hook for tests: before and after each renewal.
    """

    def __init__(
        self, js: JetStreamContext, bucket: str, role: str, hit: Callable[[str], None] = lambda _: None
    ) -> None:
        self._hit = hit
        self._js = js
        self._bucket = bucket
        self._role = role
        self._owner = f"{_machine()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._kv: KeyValue | None = None
        self._revision = 0

    async def acquire(self, wait_s: float) -> None:
        """Bind, waiting up to `wait_s` for a former holder's lease to run out.

        Raises:
            BusyError: Another process holds the role.
        """
        self._kv = await _bucket(self._js, self._bucket)
        deadline = time.monotonic() + wait_s
        while True:
            holder = await self._try()
            if holder is None:
                return
            if time.monotonic() > deadline:
                msg = f"role {self._role} is held by {holder}: stop that process; a role runs once per NATS"
                raise BusyError(msg)
            await asyncio.sleep(0.1)

    async def _try(self) -> str | None:
        kv = self._kv
        if kv is None:
            return "nobody"
        try:
            return await self._bind(kv)
        except KeyNotFoundError:  # the holder's lease ran out, or was given up, between two of our questions
            return "a process that just left"

    async def _bind(self, kv: KeyValue) -> str | None:
        try:
            self._revision = await kv.create(self._role, self._owner.encode())
        except KeyWrongLastSequenceError:
            entry = await kv.get(self._role)
            holder = (entry.value or b"").decode("utf-8", "replace")
            if holder == self._owner:  # stored, but its answer was lost
                self._revision = entry.revision or 0
                return None
            if not _is_dead_here(holder):
                return holder
            try:
                self._revision = await kv.update(self._role, self._owner.encode(), last=entry.revision)
            except (KeyWrongLastSequenceError, BadRequestError):
                return holder
        return None

    async def keep(self) -> None:
        """Renew until the binding is lost; returns then. A server that is away is waited for."""
        while self._kv is not None:
            await asyncio.sleep(_RENEW_S)
            self._hit(f"{self._role}.before_renew")
            try:
                holder = await self._renew(self._kv)
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("lease not renewed", role=self._role, error=str(err) or type(err).__name__)
                continue
            if holder is not None:
                log.warning("binding lost", role=self._role, holder=holder)
                return
            self._hit(f"{self._role}.after_renew")

    async def _renew(self, kv: KeyValue) -> str | None:
        """Renew, or bind again where the lease ran out while the server was away; who else holds it, if anybody."""
        try:
            self._revision = await kv.update(self._role, self._owner.encode(), last=self._revision)
        except (KeyWrongLastSequenceError, BadRequestError):
            return await self._try()
        return None

    async def release(self) -> None:
        """Give the role up, so that a successor need not wait."""
        if self._kv is None:
            return
        try:
            await self._kv.delete(self._role, last=self._revision)
        except (NatsError, OSError, TimeoutError) as err:
            log.info("lease not released, it will run out", role=self._role, error=str(err))
        self._kv = None


def _machine() -> str:
    """This host and its space of process ids."""
    space = Path("/proc/self/ns/pid")
    number = space.readlink().name.strip("pid:[]") if space.is_symlink() else ""
    return f"{socket.gethostname()}.{number}".rstrip(".")


def _is_dead_here(holder: str) -> bool:
    """Whether the holder was a process of this machine that is gone: then nobody need wait for its lease to run out."""
    machine, _, rest = holder.partition("/")
    pid, _, _ = rest.partition("/")
    if machine != _machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


async def _bucket(js: JetStreamContext, name: str) -> KeyValue:
    try:
        return await js.key_value(name)
    except BucketNotFoundError:
        try:
            return await js.create_key_value(KeyValueConfig(bucket=name, ttl=LEASE_S, history=1))
        except BadRequestError:  # created by another role meanwhile
            return await js.key_value(name)
