"""`tapeline bots add|update|start|stop|pause|remove|rollback|shadow|promote`: bots of a running daemon.

A change is a wish like any other message (`ChangeBot`); signals answers it, and the command waits for the answer and
says it. What was looked at counts: a bot that another person changed meanwhile is refused, not overwritten.
"""

from __future__ import annotations

import asyncio
import getpass
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapters.clock import wall_ns
from config import bots as bot_files
from config.settings import Settings
from engine.bots import Bot, BotStatus
from engine.errors import ConfigError, TapelineError
from engine.messages import AnyBody, BotDefined, BotRefused, ChangeBot
from engine.values import NS_PER_S
from tapeline.talking import daemon_settings, operator

_ANSWER_S_MAX = 30.0


def run_add(files: Sequence[Path], reason: str, data_dir: Path | None) -> int:
    """Add bots of files. Raises ConfigError before anything is asked where a file is none."""
    settings = daemon_settings(data_dir)
    bots = [bot_files.load(path, settings.universes) for path in files]
    bot_files.validate_all(bots)
    wishes = [_wish(bot.name, 0, reason, definition=bot) for bot in bots]
    return asyncio.run(_ask(settings, wishes))


def run_update(name: str, file: Path | None, changes: Sequence[str], reason: str, data_dir: Path | None) -> int:
    """Change what a bot is: to what a file says, or single fields."""
    if (file is None) == (not changes):
        msg = "say what to change: either --file FILE, or --set field=value (again for more)"
        raise ConfigError(msg)
    settings = daemon_settings(data_dir)
    known = one(asyncio.run(known_bots(settings)), name)
    new = _changed(settings, known.definition, file, changes)
    return asyncio.run(_ask(settings, [_wish(name, known.revision, reason, definition=new)]))


def run_status(names: Sequence[str], status: BotStatus, reason: str, data_dir: Path | None, *, flatten: bool) -> int:
    """Start, pause, stop or remove bots."""
    settings = daemon_settings(data_dir)
    known = asyncio.run(known_bots(settings))
    bots = [one(known, name) for name in dict.fromkeys(names)]
    wishes = [_wish(bot.bot, bot.revision, reason, status=status, flatten=flatten) for bot in bots]
    return asyncio.run(_ask(settings, wishes))


def run_rollback(name: str, revision: int, reason: str, data_dir: Path | None) -> int:
    """Make a bot what it was at a revision; its status stays."""
    settings = daemon_settings(data_dir)
    revisions = asyncio.run(revisions_of(settings, name))
    found = next((bot for bot in revisions if bot.revision == revision), None)
    if found is None:
        what = f"there are 1 to {revisions[-1].revision}" if revisions else "there is no bot of this name"
        msg = f"bot {name} has no revision {revision}: {what}"
        raise ConfigError(msg)
    said = reason or f"as at revision {revision}"
    return asyncio.run(_ask(settings, [_wish(name, revisions[-1].revision, said, definition=found.definition)]))


def run_shadow(
    name: str, new: str, file: Path | None, changes: Sequence[str], *, reason: str, data_dir: Path | None
) -> int:
    """Add a shadow of a bot: what it is but for some fields, or what a file says."""
    if file is not None and changes:
        msg = "say in what it differs by --file FILE or by --set field=value (again for more), not by both"
        raise ConfigError(msg)
    if new == name:
        msg = f"a shadow needs a name of its own, was {new}"
        raise ConfigError(msg)
    if any(change.partition("=")[0].strip() in ("name", "shadow_of") for change in changes):
        msg = f"name and shadow_of are said by the command itself: tapeline bots shadow {name} --as {new}"
        raise ConfigError(msg)
    settings = daemon_settings(data_dir)
    of = one(asyncio.run(known_bots(settings)), name)
    bot = _changed(settings, of.definition, file, changes)
    shadow = msgspec.structs.replace(bot, name=new, shadow_of=name)
    said = f"{name} at revision {of.revision}, {difference(of.definition, shadow) or 'as it is'}"
    said = "; ".join(filter(None, (reason, said)))
    return asyncio.run(_ask(settings, [_wish(new, 0, said, definition=shadow)]))


def run_promote(name: str, reason: str, data_dir: Path | None) -> int:
    """Let the bot that a shadow stands beside be what the shadow is, and remove the shadow.

    What was changed of the bot since the shadow began stays; changed otherwise in both, it is for a person to decide.
    """
    settings = daemon_settings(data_dir)
    revisions = asyncio.run(revisions_of(settings))
    known = {bot.bot: bot for bot in revisions}
    shadow = one(known, name)
    if not shadow.definition.shadow_of:
        msg = f"bot {name} is no shadow, it trades already: see `tapeline bots list`"
        raise ConfigError(msg)
    of = one(known, shadow.definition.shadow_of)
    new = _taken_over(of.definition, shadow.definition, _stood_beside(revisions, name, of.bot))
    changes = difference(of.definition, new)
    said = "; ".join(filter(None, (reason, f"promoted from shadow {name} at revision {shadow.revision}", changes)))
    wishes = [_wish(of.bot, of.revision, said, definition=new)] if changes else []
    if code := asyncio.run(_ask(settings, wishes)):
        return code
    sys.stdout.write(f"bot {of.bot}: {changes or 'is already what the shadow is'}\n")
    return asyncio.run(_ask(settings, [_wish(name, shadow.revision, said, status=BotStatus.REMOVED)]))


def _stood_beside(revisions: Sequence[BotDefined], shadow: str, name: str) -> Bot:
    """Give what a bot was when its shadow began."""
    own = [bot for bot in revisions if bot.bot == shadow]
    ends = [place for place, bot in enumerate(own[:-1]) if bot.status is BotStatus.REMOVED]
    began = own[ends[-1] + 1 if ends else 0]
    earlier = [bot.definition for bot in revisions if bot.bot == name and bot.ts_event <= began.ts_event]
    return earlier[-1] if earlier else next(bot.definition for bot in revisions if bot.bot == name)


def _taken_over(now: Bot, shadow: Bot, before: Bot) -> Bot:
    """Give a bot with what its shadow has otherwise than it had when the shadow began. Raises ConfigError."""
    fields: dict[str, object] = {}
    for field in (name for name in now.__struct_fields__ if name not in ("name", "shadow_of")):
        was, wanted, has = getattr(before, field), getattr(shadow, field), getattr(now, field)
        if wanted in (was, has):
            continue
        if has != was:
            msg = (
                f"{field} of bot {now.name} was changed since shadow {shadow.name} began, {short(was)} -> "
                f"{short(has)}, and is {short(wanted)} in the shadow: update one of them, so that both are the same"
            )
            raise ConfigError(msg)
        fields[field] = wanted
    return msgspec.structs.replace(now, **fields)


def _changed(settings: Settings, bot: Bot, file: Path | None, changes: Sequence[str]) -> Bot:
    universes = settings.universes
    return bot_files.changed(bot, changes, universes) if file is None else bot_files.load(file, universes)


def _wish(name: str, revision: int, reason: str, **more: object) -> ChangeBot:
    return ChangeBot(secrets.token_hex(16), name, revision, getpass.getuser(), wall_ns(), reason, **more)  # type: ignore[arg-type]


async def known_bots(settings: Settings) -> dict[str, BotDefined]:
    """Every bot at its last revision, by name."""
    return newest(await revisions_of(settings))


def newest(revisions: Iterable[BotDefined]) -> dict[str, BotDefined]:
    """Give every bot at its last revision, by name."""
    return {bot.bot: bot for bot in sorted(revisions, key=lambda bot: (bot.bot, bot.revision))}


async def revisions_of(settings: Settings, name: str = "") -> list[BotDefined]:
    """Give every revision of one bot, or of all, oldest first."""
    from streams.commanding import definitions
    from streams.role import topology_of

    async with operator(settings, "bots") as nc:
        return await definitions(nc, topology_of(settings), name)


async def _ask(settings: Settings, wishes: Iterable[ChangeBot]) -> int:
    """Store wishes one by one, wait for each answer, say it; 0 when all were granted."""
    from streams.commanding import follow
    from streams.role import topology_of

    refused = 0
    async with operator(settings, "bots") as nc:
        for wish in wishes:
            answer = await follow(
                nc, topology_of(settings), wish, _answer_to(wish), wall_ns=wall_ns(), wait_s=_ANSWER_S_MAX
            )
            if answer is None:
                msg = (
                    f"the wish about bot {wish.bot} is stored, but signals does not answer within {_ANSWER_S_MAX:g} s: "
                    "it will when it can; see `tapeline status`"
                )
                raise TapelineError(msg)
            if isinstance(answer, BotRefused):
                refused += 1
                sys.stderr.write(f"tapeline: bot {wish.bot} stays as it is: {answer.reason}\n")
            else:
                since = f", for bars that close after {moment(answer.from_ts)}" if answer.from_ts else ""
                sys.stdout.write(f"bot {answer.bot}: {answer.status.value}, revision {answer.revision}{since}\n")
    return 1 if refused else 0


def _answer_to(wish: ChangeBot) -> Callable[[AnyBody], BotDefined | BotRefused | None]:
    return lambda body: body if isinstance(body, BotDefined | BotRefused) and body.cause == wish.id else None


def one(known: dict[str, BotDefined], name: str) -> BotDefined:
    """Give a bot that was not removed. Raises ConfigError."""
    bot = known.get(name)
    if bot is None or bot.status is BotStatus.REMOVED:
        raise unknown(name, [bot.bot for bot in known.values() if bot.status is not BotStatus.REMOVED])
    return bot


def unknown(name: str, there: Iterable[str]) -> ConfigError:
    """Make the error that there is no bot of a name."""
    names = ", ".join(there)
    said = f"known are {names}" if names else "see `tapeline bots list`"
    return ConfigError(f"there is no bot {name!r}: {said}")


def difference(before: Bot, after: Bot) -> str:
    """Say in which fields a definition differs from another one, but for their names."""
    fields: list[str] = []
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and name not in ("name", "shadow_of"):
            fields.append("code: other" if name == "code" else f"{name}: {short(old)} -> {short(new)}")
    return ", ".join(fields)


def short(value: object, most: int = 60) -> str:
    """Write a value for a cell of a table."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else f"{text[: most - 3]}..."


def moment(ts_ns: int, without: str = "-") -> str:
    """Write a time, ns UTC, to the second; `without` where there is none."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%SZ}" if ts_ns > 0 else without


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Write a table for a terminal, its head first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
