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
    """Give the stored bars of symbols up to a position of the market stream, by time.

    Args:
        context: The role's.
        symbols: Whose bars.
        seq_max: Sequence after which none is taken.
    """
    stream, found = context.topology.market, list[Bar]()
    timeframe = context.settings.feed.timeframe
    for symbol in symbols:
        subject = f"{context.topology.prefix}.bars.{timeframe}.{escape(symbol)}"
        try:
            last = (await context.js.get_last_msg(stream, subject)).seq or 0
        except NotFoundError:
            continue
        reader = context.reader(stream, 0, [subject])
        await reader.start()
        seq = 0
        while seq < min(last, seq_max):
            for item in await reader.batch(_BATCH_MAX):
                seq = item.seq
                body = read(item, stream, decode_market).body
                if isinstance(body, Bar) and seq <= seq_max:
                    found.append(body)
        await reader.stop()
        context.readers.remove(reader)
    return sorted(found, key=lambda bar: (bar.ts_event, bar.symbol))
