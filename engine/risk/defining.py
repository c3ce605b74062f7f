"""Bots as they are defined while risk runs: whose signals count, with which capital, stops and orders. Part of core.

A bot that does not run is where a rule could have put it: what it holds may be reduced, its stops stay. Its orders that
rest and would open something are asked to end. Other stops hold for what is held already: guards take them over at
once, and exits at the venue are asked to end, whereupon they are placed anew where the new stops say: not those that
wait for their entry, and not while trading is halted, but as soon as they do not. What must end is looked for at every
decision, so the order in which orders and definitions are stored does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.bots import Bot, BotStatus
from engine.ids import make_id
from engine.messages import BotDefined, CancelOrder, OrderAdopted, OrderIntent, Protection
from engine.risk.guards import Guards
from engine.risk.state import RiskState, remember
from engine.risk.working import OpenOrder, Working
from engine.values import OrderClass, Purpose, TradingMode


class Definitions:
    """The bots of an account.

    Args:
        bots: Those of the settings: they count until the stream says something of them.
        state: Risk's; what the stream said is in it.

    Attributes:
        bots: By name, as they are now, without shadows; those removed too, for what they hold.
        is_due: Whether orders may have to end.
    """

    def __init__(self, bots: Iterable[Bot], state: RiskState) -> None:
        self._state = state
        self.bots = {bot.name: bot for bot in bots if not bot.shadow_of}
        self.bots |= {
            name: defined.definition for name, defined in state.bots.items() if not defined.definition.shadow_of
        }
        self.is_due = True

    def is_shadow(self, bot: str) -> bool:
        """Whether what a bot says is none of this account's."""
        known = self._state.bots.get(bot)
        return known is not None and known.definition.shadow_of != ""

    def trades(self, bot: str, symbol: str) -> bool:
        """Whether a bot of this name trades a symbol, or holds something in it."""
        known = self.bots.get(bot)
        return known is not None and (known.trades(symbol) or self._state.portfolio.signed_qty(bot, symbol) != 0)

    def define(self, body: BotDefined, guards: Guards, working: Working) -> list[Protection]:
        """Take in a definition; give what it changes for what is held. Orders that must end are due afterwards."""
        name, state = body.bot, self._state
        known = state.bots.get(name)
        if known is not None and known.revision >= body.revision:
            return []
        before = self.bots.pop(name, None)
        state.bots[name] = body
        if body.definition.shadow_of:  # and nothing is held under its name: it was removed before
            return []
        self.bots[name] = body.definition
        self.is_due = True
        if before is None or before.stops == body.definition.stops:
            return []
        for parent, key in state.legs_due.items():
            if key.startswith(f"{name}|"):
                remember(state.old_exits, parent, key)
        for order in working.of_bot(name):
            if order.body.purpose is Purpose.PROTECT or _carries_exits(order):
                remember(state.old_exits, order.body.id, f"{name}|{order.body.symbol}")
        held = [key.split("|", 1)[1] for key in state.portfolio.holdings if key.startswith(f"{name}|")]
        return [told for symbol in held for told in guards.restop(name, symbol, body.cause, body.ts_event)]

    def moved(self, body: object, working: Working) -> None:
        """Look again at what is due when an order changed, or trading goes on; forget exits of what is closed."""
        state = self._state
        for order_id, key in list(state.old_exits.items()):
            self.is_due = True
            bot, symbol = key.split("|", 1)
            if not working.of(bot, symbol) and not state.portfolio.signed_qty(bot, symbol):
                del state.old_exits[order_id]
        if isinstance(body, OrderIntent):  # of before a stop, and stored after it
            defined = state.bots.get(body.bot)
            self.is_due = self.is_due or (defined is not None and defined.status is not BotStatus.RUNNING)

    def cancels(self, working: Working, now_ns: int) -> list[CancelOrder]:
        """Wish for the end of orders that no definition stands for any more, once each."""
        self.is_due, state, wishes = False, self._state, list[CancelOrder]()
        for order in list(state.orders.values()) if state.bots else ():
            defined = state.bots.get(order.body.bot)
            if defined is None or order.body.id in state.canceling or not self._is_over(order, defined, working):
                continue
            key = order.body.id
            state.canceling[key] = None
            what = f"bot {defined.bot} is {defined.status}, revision {defined.revision}"
            wish_id = make_id(state.account, state.run, "cancel", key, defined.cause)
            wishes.append(CancelOrder(wish_id, key, what, "risk", now_ns))
        return wishes

    def _is_over(self, order: OpenOrder, defined: BotDefined, working: Working) -> bool:
        """Whether it is an entry, of a bot that does not run or trade it, or an exit of old stops."""
        body = order.body
        if body.purpose is Purpose.PROTECT:
            parent = body.parent if isinstance(body, OrderAdopted) else ""
            is_old = body.id in self._state.old_exits or parent in self._state.old_exits
            is_halted = self._state.mode is TradingMode.HALTED  # no others could be placed
            return is_old and order.is_accepted and not is_halted and not working.waits_for_entry(order)
        is_idle = defined.status is not BotStatus.RUNNING or not defined.definition.trades(body.symbol)
        return is_idle and _may_open(order)


def _may_open(order: OpenOrder) -> bool:
    body = order.body
    return body.purpose is Purpose.TARGET and isinstance(body, OrderIntent) and body.reserved > 0


def _carries_exits(order: OpenOrder) -> bool:
    return isinstance(order.body, OrderIntent) and order.body.order_class is not OrderClass.SIMPLE
