"""Exits that the venue shall hold for a position which has none there. Part of risk's core.

An OCO, a stop, a limit or a trailing stop, good till canceled, asked for when nothing else is under way in the symbol;
while it is not there, and where the venue refuses it, the guard watches. Exits that came with an entry (bracket, OTO)
need nothing of this until they end: what expired or was canceled is placed again, in the next session at the latest,
and what ends again and again later and later; the end of it is an alert, and the guard.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.bots import Bot, RiskLimits, Stops
from engine.ids import make_id
from engine.messages import (
    Alert,
    Correction,
    Fee,
    Fill,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Split,
)
from engine.ordering import Terms, can_hold
from engine.risk.guards import Guard, Guards
from engine.risk.state import RiskState
from engine.risk.working import OpenOrder, OrderEnd, Working
from engine.sessions import SessionTable
from engine.values import (
    CRYPTO_LOT,
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
    round_to,
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
        tell: Has a person told.
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
        tell: Callable[[Alert], None],
    ) -> None:
        self._state = state
        self._bots = bots
        self._limits = limits
        self._guards = guards
        self._working = working
        self._sessions = sessions
        self._tell = tell

    def expect_legs(self, intent: OrderIntent) -> None:
        """Note an entry that carries its exits."""
        if intent.order_class is not OrderClass.SIMPLE:
            self._state.legs_due[intent.id] = f"{intent.bot}|{intent.symbol}"

    def ended(self, end: OrderEnd, order: OpenOrder) -> None:
        """Take in the end of an exit: refused, the guard watches; what ended by itself is placed again."""
        if not isinstance(end, OrderFilled):
            self._state.legs_due.pop(order.body.id, None)
        if order.body.purpose is not Purpose.PROTECT:
            return
        bot, symbol = end.bot, end.symbol
        if not isinstance(end, OrderFilled):
            self.tell_bare(end.client_order_id, end.ts_event, f"{bot}|{symbol}")
        if isinstance(end, OrderRejected):
            self._guards.refuse(bot, symbol)
            return
        is_by_itself = isinstance(end, OrderCanceled | OrderExpired) and not order.is_unwanted
        if is_by_itself and self._guards.lose(bot, symbol, end.ts_event):
            what = (
                f"the venue ended exits of {bot} in {symbol} again and again, last {end.client_order_id} "
                f"({type(end).__name__}): risk watches the position from here on; see `tapeline explain` of that order"
            )
            alert_id = make_id(self._state.account, self._state.run, "exits", end.client_order_id)
            self._tell(Alert(alert_id, "error", "risk", what, end.ts_event))

    def booked(self, body: Fill | Fee | Split | Correction) -> None:
        """Tell of a fill that opened a position, or made one larger, after trading was halted."""
        state = self._state
        if not isinstance(body, Fill) or state.mode is not TradingMode.HALTED or body.bot not in self._bots:
            return
        held = state.portfolio.signed_qty(body.bot, body.symbol)
        if held * body.side.sign > 0:
            what = (
                f"order {body.client_order_id} was filled after trading was halted: {body.bot} holds {plain(held)} "
                f"{body.symbol}; if that is not wanted, run `tapeline halt --flatten`"
            )
            alert_id = make_id(state.account, state.run, "late", body.client_order_id, plain(body.cum_qty))
            self._tell(Alert(alert_id, "error", "risk", what, body.ts_event))

    def bare(self) -> dict[str, str]:
        """Say, by `bot|symbol`, what has stops that cannot act: trading is halted, and the venue does not hold them."""
        return self._guards.bare() if self._state.mode is TradingMode.HALTED else {}

    def tell_bare(self, cause: str, ts_event: int, only: str = "") -> None:
        """Tell of those that became known by `cause`; of one position, or of all."""
        state = self._state
        for key, text in self.bare().items():
            if key == only or not only:
                alert_id = make_id(state.account, state.run, "bare", key, cause)
                self._tell(Alert(alert_id, "error", "risk", text, ts_event))

    def wanted(self, now_ns: int) -> list[OrderIntent]:
        """Give the exits to place now, for positions that changed or whose orders ended."""
        intents: list[OrderIntent] = []
        for key in list(self._guards.touched):
            bot, symbol = key.split("|", 1)
            guard = self._guards.get(bot, symbol)
            if guard is None or bot not in self._bots:
                del self._guards.touched[key]
                self._forget_legs(key)
                continue
            if now_ns < guard.exits_not_before or self._is_busy(bot, symbol, now_ns):
                continue
            del self._guards.touched[key]
            intent = self._exit_of(self._bots[bot], symbol, guard, now_ns)
            if intent is not None:
                intents.append(intent)
        return intents

    def _is_busy(self, bot: str, symbol: str, now_ns: int) -> bool:
        """Whether an exit must wait: a mode, the session, a signal, an order that moves the position, unknown legs.

        Legs whose entry was accepted without a word of them may be there: a second exit would sell twice.
        """
        if f"{bot}|{symbol}" in self._state.legs_due.values():
            return True
        is_open = self._sessions.is_open(asset_class_of(symbol), now_ns)
        if self._state.mode is TradingMode.HALTED or not is_open:
            return True
        if any((s.bot, s.symbol) == (bot, symbol) for s, _ in self._state.waiting.values()):
            return True
        return any(
            order.body.purpose is not Purpose.PROTECT or not order.is_accepted or order.is_unwanted
            for order in self._working.of(bot, symbol)
        )

    def _forget_legs(self, key: str) -> None:
        """Wait no more for legs of a position that is gone."""
        for parent in [parent for parent, of in self._state.legs_due.items() if of == key]:
            if parent not in self._state.orders:
                del self._state.legs_due[parent]

    def _exit_of(self, bot: Bot, symbol: str, guard: Guard, now_ns: int) -> OrderIntent | None:
        stops, quantity = bot.stops, self._guards.uncovered(bot.name, symbol)
        if stops is None or stops.held_by == "risk" or quantity == 0 or guard.fired or guard.refused == guard.cause:
            return None
        if not can_hold(symbol, quantity):
            return None
        shape = _shape(stops, *self._guards.levels(bot.name, symbol, guard))
        if shape is None:
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
            order_type=shape.order_type,
            time_in_force=shape.time_in_force,
            ref_px=state.portfolio.holding(bot.name, symbol).avg_px_open,
            reserved=ZERO,
            decided_ns=now_ns,
            valid_until=now_ns + self._limits.intent_valid_ms * NS_PER_MS,
            limit_px=shape.limit_px,
            stop_px=shape.stop_px,
            trail_percent=shape.trail_percent,
            order_class=shape.order_class,
            take_profit_px=shape.take_profit_px,
            stop_loss_px=shape.stop_loss_px,
            purpose=Purpose.PROTECT,
        )


def _shape(stops: Stops, stop: Decimal | None, target: Decimal | None) -> Terms | None:
    """Give the exit that the venue can hold for these stops at these levels; None where there is none."""
    life = TimeInForce.GTC
    if stops.trailing_stop is not None:
        if stops.stop_loss is not None or stops.take_profit is not None:
            return None  # a trailing stop belongs to no pair, and two exits would hold the shares twice
        trail_percent = round_to(to_decimal(stops.trailing_stop) * _PERCENT, CRYPTO_LOT)  # the venue takes 9 places
        return Terms(OrderType.TRAILING_STOP, life, trail_percent=trail_percent)
    if stop is not None and stop <= ZERO:
        return None
    if stop is None:
        return Terms(OrderType.LIMIT, life, limit_px=target)
    if target is None:
        return Terms(OrderType.STOP, life, stop_px=stop)
    pair = OrderClass.OCO
    return Terms(OrderType.LIMIT, life, limit_px=target, order_class=pair, take_profit_px=target, stop_loss_px=stop)
