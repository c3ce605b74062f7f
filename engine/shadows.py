"""Shadows: bots whose orders are recorded and virtually filled, beside the bots that trade.

A fold over the trading stream. Each shadow has a desk of its own: cash as the account was worth when the shadow began,
the account's limits, the exchange's fills. Its signals are those that signals stored; its prices are the minutes that
stand among them (engine.witness). So what a shadow did follows from the stream alone: read again from the beginning it
comes out the same, which is all the memory there is.

Called by streams/shadowing. Never sends anything: what it gives is wrapped in `Shadowed`, on which no role acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from engine.bots import BotStatus, RiskLimits
from engine.desk import Desk
from engine.ids import bar_close_ns, make_id
from engine.messages import (
    AccountOpened,
    AnyBody,
    BotDefined,
    DerivedBar,
    OrderIntent,
    RiskDenied,
    Sessions,
    ShadowBody,
    Shadowed,
    Signal,
    Split,
    SymbolStatus,
    TargetReached,
    VenueFunds,
)
from engine.ports import SimulatedVenue
from engine.strategies import fault_text
from engine.values import MINUTE_BAR, NS_PER_MINUTE, ZERO

MakeVenue = Callable[[Decimal, str], SimulatedVenue]
"""Makes a venue from the cash of its account and a name."""


class _Life:
    """One shadow from its definition until it is removed."""

    def __init__(self, bot: str, cause: str, desk: Desk) -> None:
        self.bot, self.cause, self.desk = bot, cause, desk
        self.symbols: set[str] = set()
        self.seen: dict[str, int] = {}
        self.ordinal = 0
        self.fault = ""

    def is_new(self, minute: DerivedBar) -> bool:
        """Whether a minute of its symbols was not seen yet; it is now. One may be stored twice."""
        if minute.symbol not in self.symbols or minute.ts_event <= self.seen.get(minute.symbol, 0):
            return False
        self.seen[minute.symbol] = minute.ts_event
        return True

    def said_ns(self, signal: Signal) -> int:
        """Give when a signal was said: of a longer bar whose last minute had no trade, when a minute more was over.

        Until then nobody knew that it was over (engine.frames), so the bar of that minute cannot fill its order.
        """
        ended = bar_close_ns(signal.bar) == signal.ts_event and f"|{MINUTE_BAR}|" not in signal.bar
        is_quiet = ended and self.seen.get(signal.symbol, 0) < signal.ts_event
        return signal.ts_event + NS_PER_MINUTE if is_quiet else signal.ts_event


class Shadows:
    """The shadows of an account.

    Args:
        limits: The limits of the account's rules; those of the bot that a shadow stands beside hold for it too.
        make_venue: Gives each desk its venue.
    """

    def __init__(self, limits: RiskLimits, make_venue: MakeVenue) -> None:
        self._limits, self._make_venue = limits, make_venue
        self._lives: dict[str, _Life] = {}
        self._sessions: dict[str, Sessions] = {}
        self._statuses: dict[str, SymbolStatus] = {}
        self._opened: AccountOpened | None = None
        self._worth = ZERO

    @property
    def names(self) -> list[str]:
        """The shadows there are."""
        return sorted(self._lives)

    @property
    def faults(self) -> dict[str, str]:
        """Why shadows stand still, by name: something in them raised."""
        return {name: life.fault for name, life in self._lives.items() if life.fault}

    def apply(self, body: AnyBody) -> list[Shadowed]:
        """Take in a stored message; give what shadows do about it, in order."""
        match body:
            case AccountOpened():
                self._opened, self._worth = body, body.cash
            case VenueFunds():
                self._worth = body.equity
            case Sessions():
                self._sessions[body.asset_class] = _merged(self._sessions.get(body.asset_class), body)
                return self._all(body)
            case SymbolStatus():
                self._statuses[f"{body.symbol}|{body.source}"] = body
                return self._of_symbol(body.symbol, body)
            case Split():
                return self._of_symbol(body.symbol, body)
            case BotDefined():
                return self._define(body)
            case Signal() if body.bot in self._lives:
                life = self._lives[body.bot]
                return self._do(life, lambda: life.desk.take((body,), life.said_ns(body)))
            case DerivedBar() if body.timeframe == MINUTE_BAR:
                return self._pass(body)
            case _:
                pass
        return []

    def _define(self, defined: BotDefined) -> list[Shadowed]:
        name, bot = defined.bot, defined.definition
        life = self._lives.get(name)
        if not bot.shadow_of or defined.status is BotStatus.REMOVED:
            self._lives.pop(name, None)
            return []
        alone = msgspec.structs.replace(defined, definition=msgspec.structs.replace(bot, shadow_of=""))
        told: list[AnyBody] = [alone]
        if life is None:
            life = self._lives[name] = self._begin(defined)
            told = [*self._sessions.values(), *self._statuses.values(), alone]
        life.symbols.update(bot.symbols)
        desk = life.desk
        return self._do(life, lambda: desk.take(told))

    def _begin(self, defined: BotDefined) -> _Life:
        assert self._opened is not None  # noqa: S101  (the first message of every trading stream)
        of = self._opened
        account = make_id(of.account_number, of.run, "shadow", defined.cause)
        opened = AccountOpened(of.venue, account, of.run, self._worth, defined.from_ts)
        limits, name, beside = self._limits, defined.bot, defined.definition.shadow_of
        if beside in limits.bots and name not in limits.bots:
            limits = msgspec.structs.replace(limits, bots={**limits.bots, name: limits.bots[beside]})
        return _Life(name, defined.cause, Desk(opened, limits, self._make_venue(self._worth, account)))

    def _pass(self, minute: DerivedBar) -> list[Shadowed]:
        lives = [life for life in self._lives.values() if life.is_new(minute)]
        return self._each(lives, lambda desk: desk.on_bars((minute,), minute.ts_event))

    def _all(self, body: AnyBody) -> list[Shadowed]:
        return self._each(self._lives.values(), lambda desk: desk.take((body,)))

    def _of_symbol(self, symbol: str, body: AnyBody) -> list[Shadowed]:
        lives = [life for life in self._lives.values() if symbol in life.symbols]
        return self._each(lives, lambda desk: desk.take((body,)))

    def _each(self, lives: Iterable[_Life], work: Callable[[Desk], list[AnyBody]]) -> list[Shadowed]:
        return [said for life in lives for said in self._do(life, lambda of=life: work(of.desk))]

    def _do(self, life: _Life, work: Callable[[], list[AnyBody]]) -> list[Shadowed]:
        """Let a shadow do something; where that raises, it stands still from then on, and no other one."""
        if life.fault:
            return []
        try:
            return self._said(life, work())
        except Exception as fault:  # noqa: BLE001  (whatever is wrong, the others go on)
            life.fault = fault_text(fault)
            return []

    @staticmethod
    def _said(life: _Life, bodies: list[AnyBody]) -> list[Shadowed]:
        said: list[Shadowed] = []
        for body in bodies:
            if isinstance(body, ShadowBody):
                is_verdict = isinstance(body, OrderIntent | RiskDenied | TargetReached)
                moment = body.decided_ns if is_verdict else body.ts_event
                said.append(Shadowed(life.bot, body.symbol, life.cause, life.ordinal, body, moment))
                life.ordinal += 1
        return said


def _merged(known: Sessions | None, new: Sessions) -> Sessions:
    spans = dict(known.spans if known else ()) | dict(new.spans)
    return msgspec.structs.replace(new, spans=tuple(sorted(spans.items())))
