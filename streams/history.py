"""Bars of a few symbols read back from the market stream: what strategies are made anew from. Called by signals."""

from __future__ import annotations

from collections.abc import Iterable

from nats.js.errors import NotFoundError

from engine.messages import Bar, decode_market
from streams.reader import read
from streams.role import Context
from streams.subjects import escape

_BATCH_MAX = 5_000


async def bars_until(context: Context, symbols: Iterable[str], seq_max: int) -> list[Bar]:
    """Give the stored bars of symbols up to a position of the market stream, by time, the newest revision of each.

    Args:
        context: The role's.
        symbols: Whose bars.
        seq_max: Sequence after which none is taken.
    """
    stream, found = context.topology.market, dict[tuple[int, str], Bar]()
    timeframe = context.settings.feed.timeframe
    for symbol in symbols:
        subjects = [f"{context.topology.prefix}.{kind}.{timeframe}.{escape(symbol)}" for kind in ("bars", "updates")]
        last = max([await _last(context, stream, subject) for subject in subjects])
        if not last:
            continue
        reader = context.reader(stream, 0, subjects)
        await reader.start()
        seq = 0
        while seq < min(last, seq_max):
            for item in await reader.batch(_BATCH_MAX):
                seq = item.seq
                body = read(item, stream, decode_market).body
                if isinstance(body, Bar) and seq <= seq_max:
                    known = found.setdefault((body.ts_event, body.symbol), body)
                    if body.revision > known.revision:
                        found[body.ts_event, body.symbol] = body
        await reader.stop()
        context.readers.remove(reader)
    return [found[key] for key in sorted(found)]


async def _last(context: Context, stream: str, subject: str) -> int:
    try:
        return (await context.js.get_last_msg(stream, subject)).seq or 0
    except NotFoundError:
        return 0
