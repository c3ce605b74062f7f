"""`tapeline bots compare A B`: two bots over the time in which both decided, side by side.

A shadow's numbers are of its own account, those of a bot that trades of the real one; either may be compared with
either. Money in USD; P&L and drawdown count from the beginning of that time on, with what was held then at its price
then.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from engine.bots import Bot
from engine.errors import ConfigError
from engine.values import NS_PER_S
from tapeline.bots_running import difference
from tapeline.sql import Ask, asking


class Side(msgspec.Struct, frozen=True):
    """One of the two.

    Attributes:
        life: Which life of a shadow is meant; empty for a bot that trades.
        since_ns: It decides bars that close after this, ns UTC.
        numbers: See `_NUMBERS`.
    """

    bot: str
    revision: int
    definition: Bot
    life: str
    since_ns: int
    numbers: dict[str, Any] = {}


_REVISIONS = "SELECT revision, status, cause, from_ts_ns, definition FROM bots WHERE bot = {bot} ORDER BY revision"
_NUMBERS = """
WITH known AS (SELECT * FROM every_performance WHERE bot = {bot} AND life = {life}),
before AS (
    SELECT coalesce(arg_max(pnl, ts_event_ns), 0) AS pnl,
        coalesce(arg_max(realized_pnl, ts_event_ns), 0) AS realized_pnl
    FROM known WHERE ts_event_ns <= {since}
),
counted AS (
    SELECT k.ts_event_ns, k.pnl - b.pnl AS pnl, k.realized_pnl - b.realized_pnl AS realized_pnl, exposure,
        greatest(0, max(k.pnl - b.pnl) OVER (ORDER BY k.ts_event_ns)) - (k.pnl - b.pnl) AS drawdown
    FROM known k, before b WHERE k.ts_event_ns > {since}
),
sums AS (
    SELECT coalesce(arg_max(pnl, ts_event_ns), 0) AS pnl,
        coalesce(arg_max(realized_pnl, ts_event_ns), 0) AS realized_pnl,
        coalesce(max(drawdown), 0) AS drawdown_max, coalesce(max(exposure), 0) AS exposure_max
    FROM counted
),
closed AS (
    SELECT count(*) AS trades, count(*) FILTER (realized_pnl > 0) AS won
    FROM every_trade WHERE bot = {bot} AND life = {life} AND closed_ns > {since}
),
filled AS (
    SELECT count(traded_px) AS fills, coalesce(sum(abs(quantity_change) * traded_px), 0) AS turnover
    FROM every_position_change WHERE bot = {bot} AND life = {life} AND as_of_ns > {since}
)
SELECT sums.*, closed.*, filled.*,
    (SELECT count(*) FROM signals WHERE bot = {bot} AND strategy <> 'guard' AND ts_event_ns > {since}) AS signals,
    (SELECT count(*) FROM {prefix}intents WHERE bot = {bot} AND {of_life} AND decided_ns > {since}) AS orders,
    (SELECT count(*) FROM {prefix}denials WHERE bot = {bot} AND {of_life} AND decided_ns > {since}) AS denials
FROM sums, closed, filled
"""
_SHARED = """
WITH said AS (
    SELECT bot, symbol, bar, direction FROM signals
    WHERE bot IN ({a}, {b}) AND strategy <> 'guard' AND ts_event_ns > {since}
)
SELECT count(*) FROM (SELECT symbol, bar, direction FROM said WHERE bot = {a} INTERSECT
    SELECT symbol, bar, direction FROM said WHERE bot = {b})
"""
_SHOWN = (
    ("P&L", "pnl"), ("realized P&L", "realized_pnl"), ("drawdown at most", "drawdown_max"),
    ("exposure at most", "exposure_max"), ("turnover", "turnover"), ("closed trades", "trades"), ("won", "won"),
    ("signals", "signals"), ("orders", "orders"), ("denials", "denials"), ("fills", "fills"),
)  # fmt: skip


def run_compare(a: str, b: str, data_dir: Path | None, *, as_json: bool) -> int:
    """Print the comparison; 0."""

    async def gathered() -> tuple[Side, Side, int, int]:
        async with asking(data_dir, 0) as ask:
            return await gather(ask, a, b)

    one, other, since, shared = asyncio.run(gathered())
    if as_json:
        found = {"since_ns": since, "same_signals": shared, "bots": {s.bot: _plain(s) for s in (one, other)}}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return 0
    sys.stdout.write(as_text(one, other, since, shared))
    return 0


async def gather(ask: Ask, a: str, b: str) -> tuple[Side, Side, int, int]:
    """Read both bots' numbers since both decide, since when that is (ns UTC), and how many signals were the same.

    Raises:
        ConfigError: There is no such bot, or both are one.
    """
    if a == b:
        msg = f"two bots are compared, and both were {a!r}: see `tapeline bots list`"
        raise ConfigError(msg)
    sides = [await _side(ask, name) for name in (a, b)]
    since = max(side.since_ns for side in sides)
    [one, other] = [msgspec.structs.replace(side, numbers=(await _rows(ask, _query(side, since)))[0]) for side in sides]
    frame, _ = await ask(_SHARED.format(a=_quoted(a), b=_quoted(b), since=since))
    return one, other, since, int(frame.rows()[0][0])


def as_text(one: Side, other: Side, since_ns: int, shared: int) -> str:
    """Write a comparison for a terminal."""
    differs = difference(one.definition, other.definition)
    moment = datetime.fromtimestamp(since_ns // NS_PER_S, UTC)
    lines = [
        f"for bars that close after {moment:%Y-%m-%d %H:%M:%SZ}" if since_ns else "since the beginning",
        f"{one.bot} -> {other.bot}: {differs or 'nothing differs'}",
    ]
    rows: list[list[str]] = [["", _title(one), _title(other), "difference"]]
    for label, name in _SHOWN:
        values = [side.numbers[name] for side in (one, other)]
        is_money = isinstance(values[0], Decimal | float)
        form = "{:,.2f}" if is_money else "{:,}"
        sign = "{:+,.2f}" if is_money else "{:+,}"
        rows.append([label, *map(form.format, values), sign.format(values[1] - values[0])])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines += [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    said = [side.numbers["signals"] for side in (one, other)]
    lines.append(f"same signal at the same bar: {shared:,} of {said[0]:,} and {said[1]:,}")
    return "\n".join(lines) + "\n"


async def _side(ask: Ask, name: str) -> Side:
    found = await _rows(ask, _REVISIONS.format(bot=_quoted(name)))
    if not found:
        known = [row["bot"] for row in await _rows(ask, "SELECT DISTINCT bot FROM bots ORDER BY 1")]
        msg = f"there is no bot {name!r}: choose two of {', '.join(known) or '(none yet)'}"
        raise ConfigError(msg)
    # A name that was removed and used again is another bot.
    ends = [place for place, row in enumerate(found[:-1]) if row["status"] == "removed"]
    first, last = found[ends[-1] + 1 if ends else 0], found[-1]
    definition = msgspec.json.decode(last["definition"], type=Bot)
    life = first["cause"] if definition.shadow_of else ""
    return Side(name, last["revision"], definition, life, first["from_ts_ns"])


def _query(side: Side, since: int) -> str:
    prefix, of_life = ("shadow_", f"life = {_quoted(side.life)}") if side.life else ("", "true")
    return _NUMBERS.format(bot=_quoted(side.bot), life=_quoted(side.life), since=since, prefix=prefix, of_life=of_life)


def _title(side: Side) -> str:
    return f"{side.bot} (shadow)" if side.life else side.bot


def _plain(side: Side) -> dict[str, Any]:
    return {"revision": side.revision, "shadow_of": side.definition.shadow_of, **side.numbers}


async def _rows(ask: Ask, query: str) -> list[dict[str, Any]]:
    frame, _ = await ask(query)
    return frame.rows(named=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
