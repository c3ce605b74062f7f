"""What a wish about a bot is judged by: what the trading stream says last, and executor of symbols nobody knows yet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from engine.definitions import name_fault
from engine.messages import (
    AnyBody,
    BotDefined,
    ChangeBot,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    Position,
    SymbolStatus,
    VenueFunds,
    decode,
)
from engine.roster import FILE, Facts
from streams.role import Context, last_per_subject
from streams.subjects import escape

_ASK_S_MAX = 10.0
_FEW, _PER_QUESTION = 20, 1_000


def assets_subject(prefix: str) -> str:
    """Give the subject on which executor says how the venue lists symbols.

    The question is JSON: their list, answered by a list of `SymbolStatus`, or the name of a universe, by symbols.
    """
    return f"{prefix}.cmd.assets"


async def facts_of(context: Context, wish: ChangeBot, bots: Mapping[str, BotDefined]) -> Facts:
    """Gather the facts.

    Args:
        context: The role's.
        wish: About a bot.
        bots: As they are.

    Raises:
        NatsError, TimeoutError: Nobody knows now which symbols there are in its universe; it is to be asked again.
    """
    if name_fault(wish.bot):
        return Facts()
    known = bots.get(wish.bot)
    prefix, stream = context.topology.prefix, context.topology.trading
    held, working = dict[str, Decimal](), frozenset[str]()
    if known is not None:
        for data in await last_per_subject(context, stream, f"{prefix}.positions.{escape(wish.bot)}.>"):
            body = decode(data).body
            if isinstance(body, Position):
                held[body.symbol] = body.signed_qty
        working = await _working(context, wish.bot)
    if wish.definition is None:
        return Facts(held=held, working=working)
    universe = () if wish.definition.symbols else await _universe(context, wish.definition.universe)
    named = () if universe else wish.definition.symbols  # of a universe the venue has just said so
    new = [symbol for symbol in named if known is None or not known.definition.trades(symbol)]
    funds = await _last(context, f"{prefix}.funds")
    assets = await _assets(context, new, may_ask=wish.by != FILE)
    funds = funds if isinstance(funds, VenueFunds) else None
    return Facts(assets=assets, funds=funds, held=held, working=working, universe=universe)


async def _universe(context: Context, name: str) -> tuple[str, ...]:
    """Name the symbols of a universe."""
    if not name:
        return ()
    subject = assets_subject(context.topology.prefix)
    answer = await context.nc.request(subject, msgspec.json.encode(name), timeout=_ASK_S_MAX)
    return tuple(msgspec.json.decode(answer.data, type=list[str]))


async def _working(context: Context, bot: str) -> frozenset[str]:
    """Name the symbols in which the bot's last intent has no end that is the last event there."""
    prefix, stream = context.topology.prefix, context.topology.trading
    ended: set[str] = set()
    for data in await last_per_subject(context, stream, f"{prefix}.orders.{escape(bot)}.>"):
        body = decode(data).body
        if isinstance(body, OrderFilled | OrderCanceled | OrderExpired | OrderRejected | OrderReplaced):
            ended.add(body.client_order_id)
    intents = [decode(d).body for d in await last_per_subject(context, stream, f"{prefix}.intents.{escape(bot)}.>")]
    return frozenset(body.symbol for body in intents if isinstance(body, OrderIntent) and body.id not in ended)


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
        for part in itertools.batched(unknown, _PER_QUESTION):
            try:
                question = msgspec.json.encode(part)
                answer = await context.nc.request(assets_subject(context.topology.prefix), question, timeout=_ASK_S_MAX)
                found |= {said.symbol: said for said in msgspec.json.decode(answer.data, type=list[SymbolStatus])}
            except (NatsError, TimeoutError, msgspec.DecodeError):
                break  # nobody knows now; risk denies what the venue does not trade
    return found


async def _last(context: Context, subject: str) -> AnyBody | None:
    try:
        raw = await context.js.get_last_msg(context.topology.trading, subject)
    except NotFoundError:
        return None
    return decode(raw.data or b"").body
