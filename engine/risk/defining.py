"""Bots as they are defined while risk runs: whose signals count, with which capital, stops and orders. Part of core.

A bot that does not run is where a rule could have put it: what it holds may be reduced, its stops stay. Its orders that
rest and would open something are asked to end. Other stops hold for what is held already: guards take them over at
once, and exits at the venue are asked to end, whereupon they are placed anew where the new stops say.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.bots import Bot, BotStatus
from engine.ids import make_id
from engine.messages import AnyBody, BotDefined, CancelOrder, OrderIntent
from engine.risk.guards import Guards
from engine.risk.state import RiskState
from engine.risk.working import OpenOrder, Working
from engine.values import Purpose, TradingMode


class Definitions:
    """The bots of an account.

    Args:
        bots: Those of the settings: they count until the stream says something of them.
        state: Risk's; what the stream said is in it.

    Attributes:
        bots: By name, as they are now; those removed too, for what they hold.
    """

    def __init__(self, bots: Iterable[Bot], state: RiskState) -> None:
        self._state = state
        self.bots = {bot.name: bot for bot in bots}
        self.bots |= {name: defined.definition for name, defined in state.bots.items()}
        self._symbols = {name: frozenset(bot.symbols) for name, bot in self.bots.items()}

    def trades(self, bot: str, symbol: str) -> bool:
        """Whether a bot of this name trades a symbol, or holds something in it."""
        return symbol in self._symbols.get(bot, ()) or (
            bot in self.bots and self._state.portfolio.signed_qty(bot, symbol) != 0
        )

    def define(self, body: BotDefined, guards: Guards, working: Working) -> list[AnyBody]:
        """Take in a definition; give what it causes."""
        name, state = body.bot, self._state
        known = state.bots.get(name)
        if known is not None and known.revision >= body.revision:
            return []
        before = self.bots.get(name)
        state.bots[name], self.bots[name] = body, body.definition
        self._symbols[name] = frozenset(body.definition.symbols)
        unwanted: list[OpenOrder] = []
        if body.status is not BotStatus.RUNNING:
            unwanted += [order for order in working.of_bot(name) if _may_open(order)]
        caused: list[AnyBody] = []
        if before is not None and before.stops != body.definition.stops:
            for key in [key for key in state.portfolio.holdings if key.startswith(f"{name}|")]:
                caused += guards.restop(name, key.split("|", 1)[1], body.cause, body.ts_event)
            if state.mode is not TradingMode.HALTED:  # no others could be placed
                unwanted += [order for order in working.of_bot(name) if order.body.purpose is Purpose.PROTECT]
        return [*caused, *(self._cancel(order, body) for order in unwanted if order.body.id not in state.canceling)]

    def _cancel(self, order: OpenOrder, body: BotDefined) -> CancelOrder:
        key, what = order.body.id, f"bot {body.bot} is {body.status}, revision {body.revision}"
        wish_id = make_id(self._state.account, self._state.run, "cancel", key, body.cause)
        return CancelOrder(wish_id, key, what, "risk", body.ts_event)


def _may_open(order: OpenOrder) -> bool:
    body = order.body
    return body.purpose is Purpose.TARGET and order.is_resting and isinstance(body, OrderIntent) and body.reserved > 0
