"""`tapeline explain`: asks the running daemon over NATS, or reads the file when none runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tapeline.explain.chain import Plain, build
from tapeline.explain.find import Row, checked
from tapeline.explain.rows import find, gather
from tapeline.explain.text import as_text
from tapeline.sql import asking

_ROWS_MAX = 10_000


def run_explain(asked: str, data_dir: Path | None, as_json: bool) -> int:
    """Explain one id; exit code 0 when it was found."""
    text = checked(asked)
    chain = asyncio.run(_explain(text, data_dir))
    sys.stdout.write((msgspec.json.encode(chain).decode() if as_json else as_text(chain)) + "\n")
    return 0


async def _explain(text: str, data_dir: Path | None) -> Plain:
    async with asking(data_dir, _ROWS_MAX) as ask_frame:

        async def ask(query: str) -> Sequence[Row]:
            frame, _ = await ask_frame(query)
            return frame.rows(named=True)

        target, columns = await find(text, ask)
        return build(text, target, await gather(target, columns, ask))
