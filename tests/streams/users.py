"""Users of a guarded nats-server as tests sign them in, and who may say what, written down a second time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import nats

from streams import keys
from streams.server import NatsServer
from tapeline.role_main import ROLES
from tests.streams.wire import topology_of

TOPOLOGY = topology_of("tape")
# Who may store what: in streams.access it is a program, here it is a promise.
OWNERS = {
    "bars.1m.AAPL": "feed",
    "updates.1m.AAPL": "feed",
    "past.1d.AAPL": "feed",
    "ticks.AAPL": "feed",
    "gaps.AAPL": "feed",
    "marks.AAPL": "feed",
    "barmarks": "feed",
    "status.statuses.AAPL": "feed",
    "status.lulds.AAPL": "feed",
    "status.assets.AAPL": "executor",
    "signals.bot.AAPL": "signals",
    "guards.bot.AAPL": "risk",
    "intents.bot.AAPL": "risk",
    "denials.bot.AAPL": "risk",
    "reached.bot.AAPL": "risk",
    "positions.bot.AAPL": "risk",
    "protections.bot.AAPL": "risk",
    "shadows.bot.AAPL": "risk",
    "account": "risk",
    "state": "risk",
    "orders.bot.AAPL": "executor",
    "fills.bot.AAPL": "executor",
    "fees.bot.AAPL": "executor",
    "corrections.bot.AAPL": "executor",
    "splits.AAPL": "executor",
    "bots.bot": "signals",
    "refusals.bot": "signals",
    "timers.bot": "signals",
    "told.bot.AAPL": "signals",
    "indicators.bot.AAPL": "signals",
    "derived.5m.AAPL": "signals",
    "derived_updates.5m.AAPL": "signals",
    "changes.bot": "signals operator",
    "opened": "executor",
    "funds": "executor",
    "sessions.us_equity": "executor",
    "commands": "executor feed recorder risk signals operator",
    "alerts.error": "executor feed recorder risk signals",
}
# Not stored.
SPOKEN = {"cmd.state": "risk"} | {f"cmd.progress.{role}": role for role in ROLES}
ASKED = {"sql": "operator subscriber", "cmd.snapshot": "operator", "cmd.assets": "signals"} | {
    f"cmd.status.{role}": f"operator subscriber {role}" for role in ROLES
}


class User:
    """A connection of one user, and what nats-server refused it."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.nc: Any = None
        self.identity: keys.Identity | None = None

    async def tries(self, subject: str, data: bytes = b"", reply: str = "") -> bool:
        """Publish; whether nats-server let it through."""
        before = len(self.refused)
        await self.nc.publish(subject, data, reply=reply)
        await self._settle()
        return len(self.refused) == before

    async def _settle(self) -> None:
        """Wait for nats-server's opinion. nats-py's first ping may overtake what was published before it."""
        await self.nc.flush()
        await self.nc.flush()

    async def hears(self, subject: str) -> bool:
        """Subscribe; whether nats-server let us."""
        before = len(self.refused)
        sub = await self.nc.subscribe(subject)
        await self._settle()
        if allowed := len(self.refused) == before:
            await sub.unsubscribe()
        return allowed


@asynccontextmanager
async def signed_in(server: NatsServer, *names: str) -> AsyncIterator[list[User]]:
    async with AsyncExitStack() as stack:
        users = []
        for name in names:
            user = User()

            async def note(error: Exception, user: User = user) -> None:
                user.refused.append(str(error))

            user.identity = keys.identity(server.nkey_file, name)
            assert user.identity is not None
            user.nc = await nats.connect(server.url, error_cb=note, **user.identity.options())
            stack.push_async_callback(user.nc.close)
            users.append(user)
        yield users


async def count(server: NatsServer, stream: str) -> int:
    async with signed_in(server, "operator") as [operator]:
        return (await operator.nc.jetstream(timeout=5).stream_info(stream)).state.last_seq
