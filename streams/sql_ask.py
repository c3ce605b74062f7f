"""The asking side of SQL by request-reply; see sql_rpc for the wire. Light: no FastStream, no DuckDB, no log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError

from engine.errors import TapelineError
from streams.keys import Identity, refusal

CHUNK_HEADER = "Tapeline-Chunk"
TRUNCATED_HEADER = "Tapeline-Truncated"
ERROR_HEADER = "Tapeline-Error"


class SqlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query; `rows_max` 0 means the daemon's own limit."""

    sql: str
    rows_max: int = 0


@asynccontextmanager
async def connected(url: str, identity: Identity | None = None) -> AsyncGenerator[Client]:
    """Connect, and leave at the end. For a command that is judged by how long it takes to start.

    Raises:
        UnreachableError: Nobody answers at `url`.
        ConfigError: It refuses our key, or that we have none.
    """
    import nats  # noqa: PLC0415

    try:
        nc = await nats.connect(
            url,
            name="tapeline-sql",
            connect_timeout=3,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # without it nats-py never stops trying
            error_cb=_silent,
            **(identity.options() if identity is not None else {}),
        )
    except (NatsError, OSError, TimeoutError) as err:
        raise refusal(url, identity, err, "is the daemon running?") from None
    try:
        yield nc
    finally:
        await nc.close()


async def ask_at(
    url: str, prefix: str, sql: str, rows_max: int, timeout_s: float, *, identity: Identity | None = None
) -> tuple[Any, bool]:
    """Connect, ask, leave; as `ask` and `connected`."""
    async with connected(url, identity) as nc:
        return await ask(nc, prefix, sql, rows_max, timeout_s)


async def _silent(_: Exception) -> None:
    return


async def ask(nc: Client, prefix: str, sql: str, rows_max: int, timeout_s: float) -> tuple[Any, bool]:
    """Ask a running recorder; give a polars frame and whether rows were left out.

    Raises:
        TapelineError: The query was refused, the reason as it came; or no recorder runs.
        TimeoutError: No answer in time.
    """
    inbox = nc.new_inbox()
    sub = await nc.subscribe(inbox)
    try:
        await nc.publish(f"{prefix}.sql", msgspec.json.encode(SqlRequest(sql, rows_max)), reply=inbox)
        parts: list[bytes] = []
        truncated = False
        async with asyncio.timeout(timeout_s):
            while True:
                message = await sub.next_msg(timeout=timeout_s)
                headers = message.headers or {}
                if headers.get("Status") == "503":
                    msg = "no recorder answers: is the daemon running? (tapeline status)"
                    raise TapelineError(msg)
                if ERROR_HEADER in headers:
                    raise TapelineError(headers[ERROR_HEADER])
                truncated = truncated or headers.get(TRUNCATED_HEADER) == "true"
                parts.append(message.data)
                number, _, total = headers.get(CHUNK_HEADER, "1/1").partition("/")
                if number == total:
                    import io  # noqa: PLC0415

                    import polars as pl  # noqa: PLC0415

                    return pl.read_ipc_stream(io.BytesIO(b"".join(parts))), truncated
    except ConnectionClosedError:
        msg = "the daemon ended meanwhile: ask again, the file answers"
        raise TapelineError(msg) from None
    finally:
        with contextlib.suppress(NatsError):
            await sub.unsubscribe()
