"""Exits that the venue shall hold for a position which has none there: an OCO, or a trailing stop. Part of risk's core.

Asked for when nothing else is under way in the symbol; while it is not there, and where the venue refuses it, the guard
watches. Exits that came with an entry (bracket, OTO) need nothing of this.
"""

from __future__ import annotations

from decimal import Decimal

from engine.bots import Bot, RiskLimits, Stops
from engine.ids import make_id
from engine.messages import OrderIntent
from engine.ordering import can_hold
from engine.risk.guards import Guard, Guards
from engine.risk.state import RiskState
from engine.risk.working import Working
from engine.sessions import SessionTable
from engine.values import (
    NS_PER_MS,
    ZERO,
    OrderClass,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
    TradingMode,
    asset_class_of,
    plain,
    to_decimal,
)

_PERCENT = Decimal(100)


class Protector:
    """Asks for exits at the venue.

    Args:
        state: Risk's.
        bots: By name.
        limits: For how long an intent is valid.
        guards: Say what is not covered.
        working: The open orders.
        sessions: Exits are placed in regular hours.
    """

    def __init__(
        self,
        state: RiskState,
        bots: dict[str, Bot],
        *,
        limits: RiskLimits,
        guards: Guards,
        working: Working,
        sessions: SessionTable,
    ) -> None:
        self._state = state
        self._bots = bots
        self._limits = limits
        self._guards = guards
        self._working = working
        self._sessions = sessions

    def wanted(self, now_ns: int) -> list[OrderIntent]:
        """Give the exits to place now, for positions that changed or whose orders ended."""
        intents: list[OrderIntent] = []
        for key in list(self._guards.touched):
            bot, symbol = key.split("|", 1)
            guard = self._guards.get(bot, symbol)
            if guard is None or bot not in self._bots:
                del self._guards.touched[key]
                continue
            if self._is_busy(bot, symbol, now_ns):
                continue
            del self._guards.touched[key]
            intent = self._exit_of(self._bots[bot], symbol, guard, now_ns)
            if intent is not None:
                intents.append(intent)
        return intents

    def _is_busy(self, bot: str, symbol: str, now_ns: int) -> bool:
        """Whether an exit must wait: for a mode, the session, a signal or an order that still moves the position."""
        is_open = self._sessions.is_open(asset_class_of(symbol), now_ns)
        if self._state.mode is TradingMode.HALTED or not is_open:
            return True
        if any((s.bot, s.symbol) == (bot, symbol) for s, _ in self._state.waiting.values()):
            return True
        return any(
            order.body.purpose is not Purpose.PROTECT or not order.is_accepted
            for order in self._working.of(bot, symbol)
        )

    def _exit_of(self, bot: Bot, symbol: str, guard: Guard, now_ns: int) -> OrderIntent | None:
        stops, quantity = bot.stops, self._guards.uncovered(bot.name, symbol)
        if stops is None or stops.held_by == "risk" or quantity == 0 or guard.fired or guard.refused == guard.cause:
            return None
        if not can_hold(symbol, quantity):
            return None
        stop, target = self._guards.levels(bot.name, symbol, guard)
        order_type, order_class, trail = OrderType.LIMIT, OrderClass.OCO, None
        if stops.trailing_stop is not None:
            if not _is_trailing_only(stops):
                return None
            order_type, order_class = OrderType.TRAILING_STOP, OrderClass.SIMPLE
            trail, stop, target = to_decimal(stops.trailing_stop) * _PERCENT, None, None
        elif stop is None or target is None or stop <= ZERO:
            return None
        state = self._state
        attempt = f"{guard.cause}|{plain(quantity)}|{guard.exits}"
        return OrderIntent(
            id=make_id(state.account, state.run, bot.name, "protect", symbol, attempt),
            signal_id=guard.cause,
            bot=bot.name,
            symbol=symbol,
            side=Side.SELL if guard.sign > 0 else Side.BUY,
            quantity=quantity,
            order_type=order_type,
            time_in_force=TimeInForce.GTC,
            ref_px=state.portfolio.holding(bot.name, symbol).avg_px_open,
            reserved=ZERO,
            decided_ns=now_ns,
            valid_until=now_ns + self._limits.intent_valid_ms * NS_PER_MS,
            limit_px=target,
            trail_percent=trail,
            order_class=order_class,
            take_profit_px=target,
            stop_loss_px=stop,
            purpose=Purpose.PROTECT,
        )


def _is_trailing_only(stops: Stops) -> bool:
    return stops.stop_loss is None and stops.take_profit is None
