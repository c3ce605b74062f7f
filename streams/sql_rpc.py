"""SQL by request-reply: `<prefix>.sql`, asked with a JSON query, answered by Arrow IPC in chunks.

Request: `{"sql": "...", "rows_max": 1000}`. Reply: one or more messages to the reply subject, payloads concatenated are
an Arrow IPC stream; header `Tapeline-Chunk: 2/3`, on the first also `Tapeline-Truncated: true|false`. A refusal is one
message with the header `Tapeline-Error` and no payload. `<prefix>.cmd.snapshot` makes a snapshot file and answers with
its path. Served by FastStream: one message at a time is enough here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from faststream.nats import NatsBroker
from faststream.nats.message import NatsMessage
from faststream.nats.security import NatsNKey
from nats.aio.client import Client

from config.settings import RecorderSettings
from engine.errors import TapelineError
from storage.ipc import chunks
from storage.sql import SqlService
from streams.keys import Identity
from streams.sql_ask import CHUNK_HEADER, ERROR_HEADER, TRUNCATED_HEADER, SqlRequest

CHUNK_BYTES = 512 * 1024
_WORKERS = 4


class SqlResponder:
    """Answers queries on a connection of its own, so that a large answer never waits behind a stream."""

    def __init__(
        self,
        nc: Client,
        prefix: str,
        sql: SqlService,
        snapshot: Callable[[], Awaitable[Path]],
        settings: RecorderSettings,
        *,
        identity: Identity | None = None,
    ) -> None:
        self._sql = sql
        self._settings = settings
        self._snapshot = snapshot
        url = nc.connected_url.geturl() if nc.connected_url else ""
        self._broker = NatsBroker(
            url,
            apply_types=False,
            logger=None,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            security=None if identity is None else NatsNKey.from_seed(identity.seed),
            inbox_prefix="_INBOX" if identity is None else identity.inbox,
        )
        on_sql = self._broker.subscriber(f"{prefix}.sql", decoder=_whole, no_reply=True, max_workers=_WORKERS)
        on_sql(self._answer)
        on_snapshot = self._broker.subscriber(f"{prefix}.cmd.snapshot", decoder=_whole, no_reply=True)
        on_snapshot(self._answer_snapshot)

    async def start(self) -> None:
        """Connect and listen."""
        await self._broker.start()

    def use(self, sql: SqlService) -> None:
        """Answer from another file from here on."""
        self._sql = sql

    async def stop(self) -> None:
        """Finish what is being answered and disconnect."""
        await self._broker.stop()

    async def _answer(self, message: NatsMessage) -> None:
        reply = message.raw_message.reply
        try:
            request = msgspec.json.decode(message.body, type=SqlRequest)
            rows_max = min(request.rows_max or self._settings.sql_rows_max, self._settings.sql_rows_max)
            future = self._sql.submit(request.sql, row_limit=rows_max, time_limit_s=self._settings.sql_s_max)
            result = await asyncio.wrap_future(future)
        except (TapelineError, msgspec.MsgspecError) as err:
            await self._broker.publish(b"", reply, headers={ERROR_HEADER: _header(str(err))})
            return
        parts = list(chunks(result.to_ipc(), CHUNK_BYTES))
        for number, part in enumerate(parts, 1):
            headers = {CHUNK_HEADER: f"{number}/{len(parts)}"}
            if number == 1:
                headers[TRUNCATED_HEADER] = str(result.truncated).lower()
            await self._broker.publish(part, reply, headers=headers)

    async def _answer_snapshot(self, message: NatsMessage) -> None:
        reply = message.raw_message.reply
        try:
            path = await self._snapshot()
        except (TapelineError, OSError) as err:
            await self._broker.publish(b"", reply, headers={ERROR_HEADER: _header(str(err))})
            return
        await self._broker.publish(str(path).encode(), reply)


async def _whole(message: NatsMessage) -> NatsMessage:
    """Hand the message itself to the handler, which needs the reply subject; FastStream awaits its decoders."""
    return message


def _header(text: str) -> str:
    return " ".join(text.split())
