"""What signals says, as messages: each with the id that makes a repetition one. Called by streams/services/signals."""

from __future__ import annotations

from engine.errors import BrokenPromiseError
from engine.ids import bar_key, make_id
from engine.messages import (
    Alert,
    AnyBody,
    BotDefined,
    BotRefused,
    DerivedBar,
    FillTold,
    IndicatorValues,
    Signal,
    Timer,
)
from streams.publisher import Outgoing
from streams.role import Context


def said(context: Context, body: AnyBody) -> Outgoing:
    """Give a body as it is published."""
    match body:
        case BotDefined() | BotRefused():
            return context.outgoing(body, make_id(context.account, context.run, "bot", body.cause))
        case Signal():
            return context.outgoing(body, body.id, trace=body.bar)
        case IndicatorValues():
            values_id = make_id(context.account, context.run, body.bot, "values", body.bar)
            return context.outgoing(body, values_id, trace=body.bar)
        case DerivedBar():
            key = bar_key(body.symbol, body.timeframe, body.ts_event, body.revision)
            return context.outgoing(body, make_id(context.account, context.run, "derived", key), trace=key)
        case Alert() | Timer() | FillTold():
            return context.outgoing(body, body.id)
        case _:
            msg = f"signals does not make {type(body).__name__}"
            raise BrokenPromiseError(msg)
