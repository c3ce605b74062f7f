"""Subjects: which body goes where, and how a symbol becomes one token.

A token may not hold `.`, `*`, `>`, blanks (NATS ADR-6); BRK.B and BTC/USD do. Symbols are percent-encoded as in URLs,
with `.` encoded too, so that any language's standard library reads them back; no symbol at all (interest, transfers) is
a lone `%`. Subjects are lower case, symbols as the venue writes them.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

from engine.messages import (
    Account,
    AccountOpened,
    Alert,
    AnyBody,
    Bar,
    BarMarks,
    BotDefined,
    BotRefused,
    CancelOrder,
    ChangeBot,
    Command,
    Correction,
    DerivedBar,
    Fee,
    Fill,
    FillTold,
    Gap,
    IndicatorValues,
    Mark,
    OrderIntent,
    PastBars,
    Position,
    Protection,
    ReplaceOrder,
    RiskDenied,
    Sessions,
    Shadowed,
    Signal,
    Split,
    SymbolStatus,
    TargetReached,
    Ticks,
    Timer,
    TradingState,
    VenueFunds,
)
from engine.values import Purpose

_BOT_MAX = 96
"""A name that is refused for its length is still one token."""
_NOTHING = "%"
"""Never the encoding of a symbol: there a percent sign is followed by two digits."""


@lru_cache(maxsize=65_536)
def escape(symbol: str) -> str:
    """Make a symbol one token: `BRK.B` -> `BRK%2EB`, `BTC/USD` -> `BTC%2FUSD`."""
    return quote(symbol, safe="").replace(".", "%2E").replace("~", "%7E") or _NOTHING


def unescape(token: str) -> str:
    """Inverse of `escape`."""
    return "" if token == _NOTHING else unquote(token)


def state_subject(prefix: str) -> str:
    """Give the subject on which risk confirms the trading mode, twice a second, not stored."""
    return f"{prefix}.cmd.state"


def subject_of(prefix: str, body: AnyBody) -> str:
    """Give the subject a body is published on."""
    match body:
        case DerivedBar():
            kind = "derived_updates" if body.revision else "derived"
            return f"{prefix}.{kind}.{body.timeframe}.{escape(body.symbol)}"
        case Bar():
            # Apart from those as first made: whoever starts again reads the last bar of each symbol.
            return f"{prefix}.{'updates' if body.revision else 'bars'}.{body.timeframe}.{escape(body.symbol)}"
        case PastBars():
            return f"{prefix}.past.{body.timeframe}.{escape(body.symbol)}"
        case Ticks():
            return f"{prefix}.ticks.{escape(body.symbol)}"
        case Gap():
            return f"{prefix}.gaps.{escape(body.symbol)}"
        case Signal():
            # Apart from its strategy's: a restarted signals reads the last thing that its own strategies said.
            kind = "guards" if body.strategy == Purpose.GUARD else "signals"
        case OrderIntent():
            kind = "intents"
        case RiskDenied():
            kind = "denials"
        case TargetReached():
            kind = "reached"
        case Fill():
            kind = "fills"
        case Fee():
            kind = "fees"
        case Position():
            kind = "positions"
        case AccountOpened():
            return f"{prefix}.opened"
        case Account():
            return f"{prefix}.account"
        case VenueFunds():
            return f"{prefix}.funds"
        case Sessions():
            return f"{prefix}.sessions.{body.asset_class.value}"
        case Command() | CancelOrder() | ReplaceOrder():
            return f"{prefix}.commands"
        case ChangeBot():
            return f"{prefix}.changes.{escape(body.bot)}"
        case BotDefined():
            return f"{prefix}.bots.{escape(body.bot)}"
        case IndicatorValues():
            return f"{prefix}.indicators.{escape(body.bot)}.{escape(body.symbol)}"
        case Shadowed():
            kind = "shadows"
        case FillTold():
            kind = "told"
        case Timer():
            return f"{prefix}.timers.{escape(body.bot)}"
        case BotRefused():
            return f"{prefix}.refusals.{escape(body.bot)[:_BOT_MAX]}"
        case Split():
            return f"{prefix}.splits.{escape(body.symbol)}"
        case Mark():
            return f"{prefix}.marks.{escape(body.symbol)}"
        case BarMarks():
            return f"{prefix}.barmarks"
        case SymbolStatus():
            return f"{prefix}.status.{body.source}.{escape(body.symbol)}"
        case Correction():
            kind = "corrections"
        case Protection():
            kind = "protections"
        case TradingState():
            return f"{prefix}.state"
        case Alert():
            return f"{prefix}.alerts.{body.level}"
        case _:
            kind = "orders"
    return f"{prefix}.{kind}.{body.bot}.{escape(body.symbol)}"
