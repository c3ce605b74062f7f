"""What must hold of marks, guards, and whatever protects a position: said again here, without the engine's words.

`Watch` goes through the trading stream beside a ledger that is checked elsewhere. A guard that fires must be told by
somebody who knows nothing of guards: where the stop is, whether a mark is beyond it, whether an exit is under way.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from adapters.exchange.orders import ENTRY
from engine.messages import AnyBody, BarMarks, Fill, Mark, OrderAdopted, OrderIntent, Protection, Signal
from engine.ports import Trade
from engine.risk.guards import STRATEGY
from engine.risk.state import RiskState
from engine.values import NS_PER_S, ZERO, AssetClass, Purpose, TradingMode, asset_class_of, to_decimal
from tests.simulation.checking import TERMINAL, demand
from tests.simulation.world import World

_BEYOND = Decimal("0.0002")
"""Farther than any rounding of a stop to the venue's tick."""
_BACKOFF_NS = 61 * NS_PER_S


def marks(world: World, trading: list[AnyBody]) -> None:
    """Per symbol marks grow in time, and their prices were traded."""
    last: dict[str, int] = {}
    traded: dict[str, list[tuple[int, Decimal]]] = defaultdict(list)
    for tick in world.exchange.ticks_out:
        if isinstance(tick, Trade):
            traded[tick.symbol].append((tick.ts_event, to_decimal(tick.px)))
    for bar in world.exchange.out:  # not those stored: feed may die between a bar's mark and the bar
        if bar.symbol not in world.settings.marked_symbols:
            traded[bar.symbol] += [(bar.ts_event, to_decimal(px)) for px in (bar.low, bar.high, bar.close)]
    for mark in (mark for body in trading for mark in _marks_of(body)):
        demand(mark.ts_event > last.get(mark.symbol, 0), f"mark of {mark.symbol} at {mark.ts_event} came out of order")
        last[mark.symbol] = mark.ts_event
        if mark.last_px is not None:
            true = {px for ns, px in traded[mark.symbol] if ns <= mark.ts_event}
            demand({mark.last_px, mark.low_px, mark.high_px} <= true, f"{mark} has prices that were not traded")


def _marks_of(body: AnyBody) -> list[Mark]:
    if isinstance(body, BarMarks):
        return body.marks()
    return [body] if isinstance(body, Mark) else []


class Watch:
    """Looks at each message and at what follows from it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bots = {bot.name: bot for bot in world.settings.bots}
        self._orders: dict[str, OrderIntent | OrderAdopted] = {}
        self._held: dict[str, Decimal] = {}
        self._opened: dict[str, int] = {}
        self._fired: dict[str, tuple[str, int]] = {}
        """Per position, the exit that is under way, and when it was asked for."""
        self._last: dict[str, int] = {}

    def saw(self, body: AnyBody, caused: list[AnyBody], state: RiskState) -> None:
        """Take in a message, what risk says of it, and risk's state after it."""
        if isinstance(body, OrderIntent | OrderAdopted):
            self._orders[body.id] = body
        if isinstance(body, Fill):
            self._no_exit_goes_through_zero(body, state)
        self._follow(body, state)
        fired = {f"{each.bot}|{each.symbol}": each for each in caused if isinstance(each, Signal)}
        for key, signal in fired.items():
            demand(signal.strategy == STRATEGY, f"risk made {signal}")
            demand(self._held.get(key, ZERO) != 0, f"the guard of {key} fires, and nothing is held")
            other, _ = self._fired.get(key, ("", 0))
            demand(not other, f"the guard of {key} fires twice: {other} is under way, {signal.id} follows")
            self._fired[key] = signal.id, signal.ts_event
            self._last[key] = signal.ts_event
        for mark in _marks_of(body):
            self._fires_when_due(mark, state)
        self._release(body)

    def _no_exit_goes_through_zero(self, fill: Fill, state: RiskState) -> None:
        order, key = self._orders[fill.client_order_id], f"{fill.bot}|{fill.symbol}"
        is_exit = order.purpose is Purpose.PROTECT or (isinstance(order, OrderIntent) and not order.reserved)
        if not is_exit or asset_class_of(fill.symbol) is AssetClass.CRYPTO:
            return  # of coins the venue keeps a fee that is known later
        if fill.client_order_id in self._world.exchange.in_flight:
            return
        if isinstance(order, OrderAdopted) and order.parent in state.orders:
            return  # the fills of its entry are told after it
        before, after = self._held.get(key, ZERO), state.portfolio.signed_qty(fill.bot, fill.symbol)
        demand(before * after >= 0 and abs(after) < abs(before), f"exit {order.id} of {key}: {before} to {after}")

    def _follow(self, body: AnyBody, state: RiskState) -> None:
        for key, holding in state.portfolio.holdings.items():
            before, now = self._held.get(key, ZERO), holding.signed_qty
            if before == now:
                continue
            if before * now <= 0:
                self._opened[key] = int(getattr(body, "ts_event", 0))
                self._fired.pop(key, None)
                self._last.pop(key, None)
            self._held[key] = now

    def _fires_when_due(self, mark: Mark, state: RiskState) -> None:
        """A mark is beyond the stop, risk watches, and no exit is under way: one must begin."""
        if state.mode is TradingMode.HALTED or mark.low_px is None or mark.high_px is None or not self._is_open(mark):
            return
        for name, bot in self._bots.items():
            key = f"{name}|{mark.symbol}"
            held, guard = self._held.get(key, ZERO), state.guards.get(key)
            if not held or bot.stops is None or bot.stops.stop_loss is None:
                continue
            demand(guard is not None, f"{key} is held and has no guard")
            if guard is None or guard.told[2] == 0 or mark.ts_from < self._opened[key] or key in self._fired:
                continue
            loss = to_decimal(bot.stops.stop_loss) + _BEYOND
            entry = state.portfolio.holdings[key].avg_px_open
            is_beyond = mark.low_px < entry * (1 - loss) if held > 0 else mark.high_px > entry * (1 + loss)
            is_soon = key in self._last and mark.ts_event - self._last[key] <= _BACKOFF_NS
            is_known = state.quotes[mark.symbol] == mark  # one that came late says nothing
            demand(not is_beyond or is_soon or not is_known, f"{key}: {mark} is beyond the stop, and no guard fires")

    def _is_open(self, mark: Mark) -> bool:
        is_crypto = asset_class_of(mark.symbol) is AssetClass.CRYPTO
        return is_crypto or any(opened <= mark.ts_event < closed for opened, closed in self._world.market.sessions)

    def _release(self, body: AnyBody) -> None:
        """An exit came to nothing: the guard may fire again."""
        signal_id = ""
        if isinstance(body, TERMINAL):
            order = self._orders.get(body.client_order_id)
            signal_id = order.signal_id if isinstance(order, OrderIntent) else ""
        elif not isinstance(body, OrderIntent):
            signal_id = getattr(body, "signal_id", "")
        for key in [key for key, (known, _) in self._fired.items() if known == signal_id]:
            del self._fired[key]


def at_rest(world: World) -> None:
    """Who is said to protect a position does, whole; and a guard that fired has an exit under way."""
    trading = world.bodies(world.server.trading)
    orders = {body.id: body for body in trading if isinstance(body, OrderIntent)}
    told = {f"{body.bot}|{body.symbol}": body for body in trading if isinstance(body, Protection)}
    state: RiskState = world.roles["risk"].service._core.state
    covered = _covered(world, orders)
    for bot in world.settings.bots:
        for symbol in bot.symbols if bot.stops is not None else ():
            key = f"{bot.name}|{symbol}"
            held = abs(state.portfolio.signed_qty(bot.name, symbol))
            said = told.get(key)
            if not held:
                demand(said is None or said.holder == "none", f"nothing is held of {key}, said is {said}")
                continue
            demand(said is not None and key in state.guards, f"{key} is held, and nobody protects it")
            assert said is not None
            demand(said.venue_qty + said.risk_qty == held, f"{key} holds {held}, {said}")
            at_venue = min(covered[key], held)
            demand(said.venue_qty == at_venue, f"the venue protects {at_venue} of {key}, {said}")
            is_moving = any(
                order.body.bot == bot.name and order.body.symbol == symbol and order.body.purpose is not Purpose.PROTECT
                for order in state.orders.values()
            ) or any((s.bot, s.symbol) == (bot.name, symbol) for s, _ in state.waiting.values())
            demand(not state.guards[key].fired or is_moving, f"the guard of {key} fired, and nothing closes it")


def _covered(world: World, orders: dict[str, OrderIntent]) -> dict[str, Decimal]:
    """What open exits at the venue protect, by `bot|symbol`: of each group the smallest.

    Those that wait do not, nor those that somebody asked to end: at rest a cancel may wait for the venue's rate limit.
    """
    groups: dict[tuple[str, str], Decimal] = {}
    unwanted = world.roles["executor"].service._core.state.unwanted
    for order in world.exchange.book.orders.values():
        head = order.parent or order
        intent = orders.get(head.client_order_id)
        if intent is None or not order.is_open or order.status == "held" or head.client_order_id in unwanted:
            continue
        if order.place != ENTRY or intent.purpose is Purpose.PROTECT:
            key = f"{intent.bot}|{intent.symbol}", head.client_order_id
            groups[key] = min(groups.get(key, order.leaves_qty), order.leaves_qty)
    covered: dict[str, Decimal] = defaultdict(Decimal)
    for (key, _), quantity in groups.items():
        covered[key] += quantity
    return covered
