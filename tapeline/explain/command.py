"""`tapeline explain`: asks the running daemon over NATS, or reads the file when none runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.settings import NatsSettings
from engine.errors import TapelineError
from tapeline.explain.chain import Plain, build
from tapeline.explain.find import Row, checked
from tapeline.explain.rows import Ask, find, gather
from tapeline.explain.text import as_text

_ROWS_MAX = 10_000
_SECONDS_MAX = 60.0


def run_explain(asked: str, data_dir: Path | None, as_json: bool) -> int:
    """Explain one id; exit code 0 when it was found."""
    text = checked(asked)
    chain = _explain(text, data_dir)
    sys.stdout.write((msgspec.json.encode(chain).decode() if as_json else as_text(chain)) + "\n")
    return 0


def _explain(text: str, data_dir: Path | None) -> Plain:
    from tapeline.sql import daemon_of

    daemon, folder = daemon_of(data_dir)
    if daemon is not None:
        return asyncio.run(_over_nats(text, daemon))
    from storage.sql import open_read_only

    with open_read_only(folder / "tapeline.duckdb") as service:

        async def ask(query: str) -> Sequence[Row]:
            return service.query(query, row_limit=_ROWS_MAX, time_limit_s=_SECONDS_MAX).frame().rows(named=True)

        return asyncio.run(_chain(text, ask))


async def _over_nats(text: str, nats: NatsSettings) -> Plain:
    from tapeline.sql import lean_nats

    lean_nats()
    from streams.keys import OPERATOR, identity
    from streams.sql_ask import ask as ask_recorder
    from streams.sql_ask import connected

    async with connected(nats.url, identity(nats.nkey_file, OPERATOR)) as nc:

        async def ask(query: str) -> Sequence[Row]:
            try:
                frame, _ = await ask_recorder(nc, nats.prefix, query, _ROWS_MAX, _SECONDS_MAX)
            except TimeoutError:
                msg = f"no answer from the recorder within {_SECONDS_MAX:g} s: see `tapeline status`"
                raise TapelineError(msg) from None
            return frame.rows(named=True)

        return await _chain(text, ask)


async def _chain(text: str, ask: Ask) -> Plain:
    target, columns = await find(text, ask)
    return build(text, target, await gather(target, columns, ask))
