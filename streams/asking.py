"""What a wish about a bot is judged by: what the trading stream says last, and executor of symbols nobody knows yet."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from engine.messages import AnyBody, BotDefined, ChangeBot, Position, SymbolStatus, VenueFunds, decode
from engine.roster import FILE, Facts
from streams.role import Context, last_per_subject
from streams.subjects import escape

_ASK_S_MAX = 10.0
_FEW = 20


def assets_subject(prefix: str) -> str:
    """Give the subject on which executor says how the venue lists symbols; the question is their list, as JSON."""
    return f"{prefix}.cmd.assets"


async def facts_of(context: Context, wish: ChangeBot, known: BotDefined | None) -> Facts:
    """Gather the facts.

    Args:
        context: The role's.
        wish: About a bot.
        known: The bot as it is.
    """
    prefix, stream = context.topology.prefix, context.topology.trading
    held: dict[str, Decimal] = {}
    if known is not None:
        for data in await last_per_subject(context, stream, f"{prefix}.positions.{escape(wish.bot)}.>"):
            body = decode(data).body
            if isinstance(body, Position):
                held[body.symbol] = body.signed_qty
    if wish.definition is None:
        return Facts(held=held)
    before = () if known is None else known.definition.symbols
    new = [symbol for symbol in wish.definition.symbols if symbol not in before]
    funds = await _last(context, f"{prefix}.funds")
    assets = await _assets(context, new, may_ask=wish.by != FILE)
    return Facts(assets=assets, funds=funds if isinstance(funds, VenueFunds) else None, held=held)


async def _assets(context: Context, symbols: Sequence[str], *, may_ask: bool) -> dict[str, SymbolStatus]:
    prefix = f"{context.topology.prefix}.status.assets"
    if len(symbols) > _FEW:
        stored = [
            decode(data).body for data in await last_per_subject(context, context.topology.trading, f"{prefix}.>")
        ]
    else:
        stored = [await _last(context, f"{prefix}.{escape(symbol)}") for symbol in symbols]
    known = {said.symbol: said for said in stored if isinstance(said, SymbolStatus)}
    found = {symbol: known[symbol] for symbol in symbols if symbol in known}
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown and may_ask:
        with contextlib.suppress(NatsError, TimeoutError, msgspec.DecodeError):
            question = msgspec.json.encode(unknown)
            answer = await context.nc.request(assets_subject(context.topology.prefix), question, timeout=_ASK_S_MAX)
            found |= {said.symbol: said for said in msgspec.json.decode(answer.data, type=list[SymbolStatus])}
    return found


async def _last(context: Context, subject: str) -> AnyBody | None:
    try:
        raw = await context.js.get_last_msg(context.topology.trading, subject)
    except NotFoundError:
        return None
    return decode(raw.data or b"").body
