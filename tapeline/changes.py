"""`tapeline changes`: what was changed while the daemon ran, by whom and why; from the view `setting_changes`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import ConfigError
from engine.ids import make_id
from tapeline.bots_running import print_rows, short
from tapeline.sql import asking, quoted, rows_of

_ROWS_MAX = 1_000
_WIDE = 40
_AT = "max(changed_at) OVER (PARTITION BY bot, revision IS NULL ORDER BY revision, changed_at)"
"""A strategy's fault is of a bar, which may be older by the clock than the change before it."""


def run_changes(bot: str | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Print a line per field that was changed, oldest first; 0.

    Raises:
        ConfigError: There is no bot of this name.
    """
    found = asyncio.run(_changes(bot, data_dir))
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return 0
    rows = [("AT", "OF", "FIELD", "WAS", "IS", "BY", "WHY")]
    for row in found:
        moment, of = f"{row['changed_at']:%Y-%m-%d %H:%M:%SZ}", row["bot"] or "account"
        was, now = (_cell(row["field"], row[name] or "-") for name in ("old", "new"))
        rows.append((moment, of, row["field"], was, now, row["by"], row["reason"]))
    print_rows(rows)
    return 0


def _cell(field: str, value: str) -> str:
    """Write a value for a cell; of code how long it is, and which."""
    if field == "code" and value.startswith('"'):
        text: str = msgspec.json.decode(value)
        return f"{len(text.splitlines())} lines, {make_id(text)[:8]}"
    return short(value.strip('"'), _WIDE)


async def _changes(bot: str | None, data_dir: Path | None) -> list[dict[str, Any]]:
    async with asking(data_dir, _ROWS_MAX) as ask:
        known = (await ask("SELECT DISTINCT bot FROM bots ORDER BY 1"))[0]["bot"].to_list()
        if bot is not None and bot not in known:
            msg = f"there is no bot {bot!r}: choose one of {', '.join(known) or '(none yet)'}"
            raise ConfigError(msg)
        of = "" if bot is None else f"WHERE bot = {quoted(bot)}"
        query = f"SELECT * FROM setting_changes {of} ORDER BY {_AT} DESC, revision DESC, field DESC LIMIT {_ROWS_MAX}"  # noqa: S608
        return (await rows_of(ask, query))[::-1]
