"""`tapeline bots compare A B`: two bots over the time in which both decided, side by side.

A shadow's numbers are of its own account, those of a bot that trades of the real one; either may be compared with
either. Money in USD; P&L and drawdown count from the beginning of that time on, with what was held then at its price
then. Of a running daemon the last two minutes are left out: of them one side may be recorded further than the other.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from engine.bots import Bot
from engine.errors import ConfigError
from engine.values import NS_PER_MINUTE
from tapeline.bots_running import difference, moment
from tapeline.sql import Ask, asking, daemon_of, quoted, rows_of


class Side(msgspec.Struct, frozen=True):
    """One of the two.

    Attributes:
        life: Which life of a shadow is meant; empty for a bot that trades.
        since_ns: It decides bars that close after this, ns UTC.
        until_ns: And none that close after this: it was removed, or nothing is recorded after it.
        changed_ns: When it was changed, by the closes of the last bars before.
        numbers: See `_NUMBERS`.
    """

    bot: str
    revision: int
    definition: Bot
    life: str
    since_ns: int
    until_ns: int
    changed_ns: tuple[int, ...] = ()
    numbers: dict[str, Any] = {}


class Comparison(msgspec.Struct, frozen=True):
    """Two sides over bars that close after `since_ns` up to `until_ns`; `shared`: equal signals at equal bars."""

    one: Side
    other: Side
    since_ns: int
    until_ns: int
    shared: int


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
    FROM known k, before b WHERE k.ts_event_ns > {since} AND k.ts_event_ns <= {until}
),
sums AS (
    SELECT coalesce(arg_max(pnl, ts_event_ns), 0) AS pnl,
        coalesce(arg_max(realized_pnl, ts_event_ns), 0) AS realized_pnl,
        coalesce(max(drawdown), 0) AS drawdown_max, coalesce(max(exposure), 0) AS exposure_max
    FROM counted
),
closed AS (
    SELECT count(*) AS trades, count(*) FILTER (realized_pnl > 0) AS won
    FROM every_trade WHERE bot = {bot} AND life = {life} AND closed_ns > {since} AND closed_ns <= {until}
),
filled AS (
    SELECT count(traded_px) AS fills, coalesce(sum(abs(quantity_change) * traded_px), 0) AS turnover
    FROM every_position_change WHERE bot = {bot} AND life = {life} AND as_of_ns > {since} AND as_of_ns <= {until}
)
SELECT sums.*, closed.*, filled.*,
    (SELECT count(*) FROM signals WHERE bot = {bot} AND strategy <> 'guard'
        AND ts_event_ns > {since} AND ts_event_ns <= {until}) AS signals,
    (SELECT count(*) FROM {prefix}intents WHERE bot = {bot} AND {of_life}
        AND decided_ns > {since} AND decided_ns <= {until}) AS orders,
    (SELECT count(*) FROM {prefix}denials WHERE bot = {bot} AND {of_life}
        AND decided_ns > {since} AND decided_ns <= {until}) AS denials
FROM sums, closed, filled
"""
_NEWEST = """
SELECT coalesce(max(ts_event_ns), 0) FROM {table} WHERE timeframe = '1m'
    AND symbol IN (SELECT unnest(from_json(definition->'symbols', '["VARCHAR"]')) FROM bots WHERE bot = {bot})
"""
_BEHIND_NS = 2 * NS_PER_MINUTE
_SHARED = """
WITH said AS (
    SELECT bot, symbol, bar, direction FROM signals
    WHERE bot IN ({a}, {b}) AND strategy <> 'guard' AND ts_event_ns > {since} AND ts_event_ns <= {until}
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
    is_live = daemon_of(data_dir)[0] is not None

    async def gathered() -> Comparison:
        async with asking(data_dir, 0) as ask:
            return await gather(ask, a, b, behind_ns=_BEHIND_NS if is_live else 0)

    found = asyncio.run(gathered())
    if as_json:
        sides = {side.bot: _plain(side) for side in (found.one, found.other)}
        shown = {"since_ns": found.since_ns, "until_ns": found.until_ns, "same_signals": found.shared, "bots": sides}
        sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
        return 0
    sys.stdout.write(as_text(found))
    return 0


async def gather(ask: Ask, a: str, b: str, *, behind_ns: int = 0) -> Comparison:
    """Read both bots' numbers over the time in which both decided.

    Args:
        ask: Asks the database.
        a: One.
        b: The other.
        behind_ns: How much of the newest is left out.

    Raises:
        ConfigError: There is no such bot, both are one, or there is no such time.
    """
    if a == b:
        msg = f"two bots are compared, and both were {a!r}: see `tapeline bots list`"
        raise ConfigError(msg)
    one, other = [await _side(ask, name, behind_ns) for name in (a, b)]
    since, until = max(one.since_ns, other.since_ns), min(one.until_ns, other.until_ns)
    if since >= until:
        spans = ", ".join(
            f"{side.bot} from {moment(side.since_ns, 'the beginning')} to {moment(side.until_ns)}"
            for side in (one, other)
        )
        msg = f"there is no time in which both decided: {spans}; wait for bars, or compare others"
        raise ConfigError(msg)
    [one, other] = [
        msgspec.structs.replace(side, numbers=(await rows_of(ask, _query(side, since, until)))[0])
        for side in (one, other)
    ]
    frame, _ = await ask(_SHARED.format(a=quoted(a), b=quoted(b), since=since, until=until))
    return Comparison(one, other, since, until, int(frame.rows()[0][0]))


def as_text(found: Comparison) -> str:
    """Write a comparison for a terminal."""
    one, other = found.one, found.other
    lines = [
        f"bars that close after {moment(found.since_ns, 'the beginning')}, up to {moment(found.until_ns)}",
        f"{one.bot} -> {other.bot}: {difference(one.definition, other.definition) or 'nothing differs'}",
    ]
    for side in (one, other):
        changed = sum(found.since_ns < ts_ns < found.until_ns for ts_ns in side.changed_ns)
        lines += [f"{side.bot} was changed in between: see `tapeline changes {side.bot}`"] if changed else []
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
    lines.append(f"same signal at the same bar: {found.shared:,} of {said[0]:,} and {said[1]:,}")
    return "\n".join(lines) + "\n"


async def _side(ask: Ask, name: str, behind_ns: int) -> Side:
    found = await rows_of(ask, _REVISIONS.format(bot=quoted(name)))
    if not found:
        known = [row["bot"] for row in await rows_of(ask, "SELECT DISTINCT bot FROM bots ORDER BY 1")]
        msg = f"of bot {name!r} nothing is recorded: choose two of {', '.join(known) or '(none yet)'}, or wait a moment"
        raise ConfigError(msg)
    # A name that was removed and used again is another bot.
    ends = [place for place, row in enumerate(found[:-1]) if row["status"] == "removed"]
    own = found[ends[-1] + 1 if ends else 0 :]
    first, last = own[0], own[-1]
    definition = msgspec.json.decode(last["definition"], type=Bot)
    table = "derived_bars" if definition.shadow_of else "bars"
    frame, _ = await ask(_NEWEST.format(table=table, bot=quoted(name)))
    until = int(frame.rows()[0][0]) - behind_ns
    if last["status"] == "removed":
        until = min(until, last["from_ts_ns"])
    pairs = itertools.pairwise(own)
    changed = tuple(row["from_ts_ns"] for before, row in pairs if row["definition"] != before["definition"])
    life = first["cause"] if definition.shadow_of else ""
    return Side(name, last["revision"], definition, life, first["from_ts_ns"], until, changed)


def _query(side: Side, since: int, until: int) -> str:
    prefix, of_life = ("shadow_", f"life = {quoted(side.life)}") if side.life else ("", "true")
    return _NUMBERS.format(
        bot=quoted(side.bot), life=quoted(side.life), since=since, until=until, prefix=prefix, of_life=of_life
    )


def _title(side: Side) -> str:
    return f"{side.bot} (shadow)" if side.life else side.bot


def _plain(side: Side) -> dict[str, Any]:
    return {"revision": side.revision, "shadow_of": side.definition.shadow_of, **side.numbers}
