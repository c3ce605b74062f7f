"""`tapeline bots list|show|history`: bots of a daemon that runs, else as its database has them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config import bots as bot_files
from engine.bots import Bot, BotStatus
from engine.messages import BotDefined
from engine.values import plain
from tapeline import folders
from tapeline.bots_running import difference, moment, newest, one, print_rows, revisions_of, short, unknown
from tapeline.sql import asking

_ROWS_MAX = 100_000
_SHOWN = 4
_RECORDED = """
SELECT bot, revision, definition, status, from_ts_ns, "by", cause, ts_event_ns, reason, flatten, past_bars, market_seq
FROM bots ORDER BY bot, revision
"""


def run_list(data_dir: Path | None, *, as_json: bool, everything: bool) -> int:
    """Print a line per bot; removed ones only where everything is asked for."""
    known = newest(_seen(data_dir))
    bots = [bot for bot in known.values() if everything or bot.status is not BotStatus.REMOVED]
    if as_json:
        sys.stdout.write(msgspec.json.encode(bots).decode() + "\n")
        return 0
    rows = [("BOT", "STATUS", "STRATEGY", "SYMBOLS", "CAPITAL", "REVISION", "REASON")]
    rows += [
        (
            bot.bot, _status(bot), bot.definition.strategy, _few(bot.definition.symbols),
            plain(bot.definition.capital), str(bot.revision), short(bot.reason),
        )
        for bot in bots
    ]  # fmt: skip
    print_rows(rows)
    return 0


def run_show(name: str, data_dir: Path | None, *, as_json: bool) -> int:
    """Print a bot as a file that `bots add` and `bots update` take, with what it is now in comments."""
    bot = one(newest(_seen(data_dir)), name)
    if as_json:
        sys.stdout.write(msgspec.json.encode(bot).decode() + "\n")
        return 0
    said = f"{bot.status.value}, revision {bot.revision} by {bot.by}{': ' if bot.reason else ''}{bot.reason}"
    sys.stdout.write(f"# {said}\n# decides bars that close after {moment(bot.from_ts)}\n")
    sys.stdout.write(bot_files.text_of(bot.definition))
    return 0


def run_history(name: str, data_dir: Path | None, *, as_json: bool) -> int:
    """Print every revision of a bot, oldest first, with what it changed."""
    revisions = _seen(data_dir, name)
    if not revisions:
        raise unknown(name, ())
    if as_json:
        sys.stdout.write(msgspec.json.encode(revisions).decode() + "\n")
        return 0
    rows = [("REVISION", "STATUS", "BY", "AT", "AFTER BAR", "CHANGE")]
    for before, bot in zip([None, *revisions], revisions, strict=False):
        moments = moment(bot.ts_event), moment(bot.from_ts)
        change = "; ".join(filter(None, (_difference(before, bot), bot.reason)))
        rows.append((str(bot.revision), bot.status.value, bot.by, *moments, change))
    print_rows(rows)
    return 0


def _seen(data_dir: Path | None, name: str = "") -> list[BotDefined]:
    """Give every revision of one bot, or of all, oldest first; of a data directory where nothing runs as recorded."""
    folder, settings = folders.commanded(data_dir)
    if settings is not None:
        return asyncio.run(revisions_of(settings, name))
    sys.stderr.write(f"tapeline: no daemon runs in {folder}: this is what its database has\n")
    found = asyncio.run(_recorded(data_dir))
    return [bot for bot in found if name in ("", bot.bot)]


async def _recorded(data_dir: Path | None) -> list[BotDefined]:
    async with asking(data_dir, _ROWS_MAX) as ask:
        frame, _ = await ask(_RECORDED)
    return [
        BotDefined(
            bot=row["bot"],
            revision=row["revision"],
            definition=msgspec.json.decode(row["definition"], type=Bot),
            status=BotStatus(row["status"]),
            from_ts=row["from_ts_ns"],
            by=row["by"],
            cause=row["cause"],
            ts_event=row["ts_event_ns"],
            reason=row["reason"],
            flatten=row["flatten"],
            past_bars=row["past_bars"],
            market_seq=row["market_seq"],
        )
        for row in frame.rows(named=True)
    ]


def _difference(before: BotDefined | None, bot: BotDefined) -> str:
    if before is None:
        return "new"
    if before.definition == bot.definition:
        return "" if before.status is bot.status else f"{before.status.value} -> {bot.status.value}"
    return difference(before.definition, bot.definition)


def _status(bot: BotDefined) -> str:
    of = bot.definition.shadow_of
    return f"{bot.status.value} (shadow of {of})" if of else bot.status.value


def _few(symbols: Sequence[str]) -> str:
    more = len(symbols) - _SHOWN
    return " ".join(symbols[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
