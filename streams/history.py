"""Bars of a few symbols read back from the market stream: what strategies are made anew from. Called by signals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nats.js.errors import NotFoundError

from engine.messages import Bar, PastBars, decode_market
from streams.reader import read
from streams.role import Context
from streams.subjects import escape

_BATCH_MAX = 5_000


_Key = tuple[int, str, str, str]


class History(NamedTuple):
    """Bars of a few symbols.

    Attributes:
        bars: By time, of each the revision that counts.
        pending: Corrections that count from the next bar of their symbol on.
    """

    bars: list[Bar]
    pending: list[Bar]


async def bars_until(context: Context, symbols: Iterable[str], seq_max: int) -> History:
    """Give the stored bars of symbols up to a position of the market stream.

    Those from before the first that there is, too, in every timeframe in which they were fetched.

    Args:
        context: The role's.
        symbols: Whose bars.
        seq_max: Sequence after which none is taken.
    """
    stream, found = context.topology.market, dict[_Key, Bar]()
    pending: list[Bar] = []
    timeframe = context.settings.feed.timeframe
    past = dict[_Key, Bar]()
    for symbol in symbols:
        kinds = (f"bars.{timeframe}", f"updates.{timeframe}", "past.*")
        subjects = [f"{context.topology.prefix}.{kind}.{escape(symbol)}" for kind in kinds]
        last = max([await _last(context, stream, subject) for subject in subjects])
        if not last:
            continue
        reader = context.reader(stream, 0, subjects)
        await reader.start()
        seq, newest, waiting = 0, 0, list[Bar]()
        while seq < min(last, seq_max):
            for item in await reader.batch(_BATCH_MAX):
                seq = item.seq
                body = read(item, stream, decode_market).body
                if isinstance(body, Bar) and seq <= seq_max:
                    if body.revision:
                        waiting.append(body)
                        continue
                    if body.ts_event > newest:
                        newest = body.ts_event
                        _count(found, waiting)
                        waiting.clear()
                    _count(found, (body,))
                elif isinstance(body, PastBars) and seq <= seq_max:
                    past |= {(bar.ts_event, bar.symbol, bar.timeframe, bar.of): bar for bar in body.every()}
        await reader.stop()
        context.readers.remove(reader)
        pending += waiting
    found = past | found
    return History([found[key] for key in sorted(found)], pending)


def _count(found: dict[_Key, Bar], bars: Iterable[Bar]) -> None:
    """Let bars count, of each the newest revision."""
    for bar in bars:
        key = bar.ts_event, bar.symbol, bar.timeframe, ""
        if bar.revision >= found.setdefault(key, bar).revision:
            found[key] = bar


async def _last(context: Context, stream: str, subject: str) -> int:
    try:
        return (await context.js.get_last_msg(stream, subject)).seq or 0
    except NotFoundError:
        return 0
