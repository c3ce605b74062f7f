"""What must hold of a world that has come to rest, and of each order request as it leaves.

Whole bodies are compared, never counts: what the streams hold, what the venue did, and what the living roles believe
are three accounts of one story.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from engine.adoption import FLATTEN, FLATTEN_PREFIX
from engine.bots import BotStatus
from engine.execution import ExecutionCore
from engine.ids import fill_key
from engine.messages import (
    Account,
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
    IndicatorValues,
    Mark,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    PastBars,
    Position,
    Protection,
    ReplaceOrder,
    RiskDenied,
    Sessions,
    Shadowed,
    Signal,
    SymbolStatus,
    TargetReached,
    Ticks,
    Timer,
    TradingState,
    VenueFunds,
    body_json,
)
from engine.risk import RiskCore
from engine.risk.guards import STRATEGY
from engine.signals import SignalEngine
from engine.values import NS_PER_MS, NS_PER_S, Direction, Purpose, TradingMode, plain
from tests.simulation import check_bars, check_fills, check_money, check_shadows, check_stops
from tests.simulation.checking import TERMINAL, demand
from tests.simulation.world import World

_HEARD_NS_MAX = 30 * NS_PER_S
"""A decision may be under way when a bot is stopped, not for long."""
_MAY_DENY_EXITS = frozenset({"trading_mode", "session", "duplicate", "price_sanity", "superseded"})
_HALTED_S = 20.0
"""A change of the mode is known to everybody by then, or its role is dead."""
_VERDICTS_MAX = 15
_VERDICTS = (OrderIntent, RiskDenied, TargetReached)


def check(world: World) -> None:
    """Check a world that has come to rest. Raises FoundError."""
    demand(not world.failures, world.failures[0] if world.failures else "")
    trading = world.bodies(world.server.trading)
    _once(world, trading)
    _changes(world, trading)
    _verdicts(trading)
    _denials(trading)
    _stale(world, trading)
    _lives(world, trading)
    check_money.executions(world, trading)
    check_money.money(world, trading)
    check_money.corrections(world, trading)
    _beliefs(world, trading)
    check_shadows.shadows(world, trading)
    check_fills.fills(world, trading)
    market = world.bodies(world.server.market)
    check_stops.marks(world, trading)
    check_bars.bars(world, market)
    check_bars.pasts(world, market)
    _indicators(world, market, trading)


def _natural_key(body: AnyBody) -> str:
    """What a message is about: said once, whatever its id."""
    kind = type(body).__name__
    match body:
        case Signal():
            return f"{kind} {body.bot} {body.bar} {body.ts_event}"
        case IndicatorValues():
            return f"{kind} {body.bot} {body.bar}"
        case DerivedBar():
            return f"{kind} {body.symbol} {body.timeframe} {body.ts_event} {body.revision}"
        case Ticks():
            return f"{kind} {body.id}"
        case PastBars():
            return f"{kind} {body.symbol} {body.timeframe} {body.wanted}"
        case FillTold():
            return f"{kind} {body.bot} {body.symbol} {body.fill} {body.life}"
        case Timer():
            return f"{kind} {body.bot} {body.symbols} {body.ts_event}"
        case Fill():
            return f"{kind} {fill_key(body.venue_order_id, plain(body.cum_qty))}"
        case Position():
            return f"{kind} {body.bot} {body.symbol} {body.cause}"
        case Account() | TradingState():
            return f"{kind} {body.cause}"
        case OrderIntent() | RiskDenied() | TargetReached():
            return f"verdict {body.id}"
        case Shadowed():
            return f"{kind} {body.life} {body.ordinal}"
        case BarMarks() | Fee() | CancelOrder() | OrderAdopted() | Correction() | Command() | Alert():
            return f"{kind} {body.id}"
        case ReplaceOrder():
            return f"{kind} {body.id}"
        case ChangeBot():
            return f"{kind} {body.id}"
        case BotDefined():
            return f"{kind} {body.bot} {body.revision}"
        case BotRefused():
            return f"{kind} {body.cause}"
        case Mark():
            return f"{kind} {body.symbol} {body.ts_event}"
        case Protection():
            return f"{kind} {body.bot} {body.symbol} {body.cause}"
        case SymbolStatus():
            return f"{kind} {body.symbol} {body.source} {body.ts_event}"
        case Sessions():
            return f"{kind} {body.spans}"
        case VenueFunds():
            return f"{kind} {body.ts_event}"
        case _:
            return f"{kind} {getattr(body, 'client_order_id', '')}"


def _once(world: World, trading: list[AnyBody]) -> None:
    seen: dict[str, str] = {}
    for msg_id, body in zip(world.server.trading.ids, trading, strict=True):
        key = _natural_key(body)
        other = seen.setdefault(key, msg_id)
        demand(other == msg_id, f"said under two ids: {key}")
    # Executor, killed between an alert and its correction, says both again, under the same ids if nothing moved.
    again = {body.id for body in trading if isinstance(body, Alert | Command)} if world.deaths["executor"] else set()
    # The very same bytes are one message whose acknowledgements were lost for longer than the server remembers ids.
    stored = world.server.trading
    counts = Counter(msg_id for msg_id, _ in {(i, m.data) for i, m in zip(stored.ids, stored.messages, strict=True)})
    twice = [key for key, msg_id in seen.items() if counts[msg_id] > 1 and key.partition(" ")[2] not in again]
    demand(not twice, f"stored twice under one id: {twice}")


def _changes(world: World, trading: list[AnyBody]) -> None:
    """Each wish about a bot has one answer; revisions are by one; all roles have the last one; nobody stopped opens."""
    asked = {body.id for body in trading if isinstance(body, ChangeBot)}
    answers = {body.cause: body for body in trading if isinstance(body, BotDefined | BotRefused)}
    demand(asked == set(answers), f"{len(asked)} wishes about bots, {len(answers)} answers, or to others")
    last: dict[str, BotDefined] = {}
    for body in trading:
        if isinstance(body, BotDefined):
            before = last.get(body.bot)
            demand(body.revision == (1 if before is None else before.revision + 1), f"revision of {body.bot} jumps")
            demand(before is None or body.from_ts >= before.from_ts, f"{body.bot} goes back in time")
            last[body.bot] = body
        is_opening = isinstance(body, OrderIntent) and body.reserved > 0 and not body.replaces
        if is_opening and body.bot in last:
            status, since = last[body.bot].status, last[body.bot].ts_event
            is_late = body.decided_ns > since + _HEARD_NS_MAX
            demand(status is BotStatus.RUNNING or not is_late, f"bot {body.bot} is {status} and opens with {body.id}")
    demand(world.roles["risk"].service._core.state.bots == last, "risk has other bots")
    demand(world.roles["signals"].service._roster.bots == last, "signals have other bots")


def _verdicts(trading: list[AnyBody]) -> None:
    """Each signal and each wish has one verdict; more for what is left after an order that stopped at zero, or an exit."""
    shadows = {body.bot for body in trading if isinstance(body, BotDefined) and body.definition.shadow_of}
    real = [body for body in trading if not (isinstance(body, Signal) and body.bot in shadows)]
    asked = {body.id for body in real if isinstance(body, Signal | ReplaceOrder)}
    answers: dict[str, list[Any]] = defaultdict(list)
    for body in {body.id: body for body in trading if isinstance(body, _VERDICTS)}.values():
        is_exit = isinstance(body, OrderIntent) and body.purpose is Purpose.PROTECT and not body.replaces
        if not is_exit:
            answers[body.signal_id].append(body)
    unanswered = asked - set(answers)
    demand(not unanswered, f"signals or wishes without a verdict: {sorted(unanswered)}")
    demand(asked == set(answers), "a verdict for a signal that is not stored")
    for signal_id, given in answers.items():
        ended = next((at for at, body in enumerate(given) if not isinstance(body, OrderIntent)), len(given))
        again = [body for body in given[ended + 1 :] if isinstance(body, OrderIntent) and body.reserved]
        demand(not again, f"signal {signal_id} has an entry after {type(given[min(ended, len(given) - 1)]).__name__}")
        demand(len(given) <= _VERDICTS_MAX, f"signal {signal_id} has {len(given)} verdicts")


def _denials(trading: list[AnyBody]) -> None:
    """What closes a position is denied for the mode, the session, its price or a repetition, and for nothing else."""
    closing = {body.id for body in trading if isinstance(body, Signal) and body.direction is Direction.FLAT}
    for body in trading:
        if isinstance(body, RiskDenied) and body.signal_id in closing:
            demand(body.rule in _MAY_DENY_EXITS, f"an exit was denied by {body.rule}: {body.reason}")


def _stale(world: World, trading: list[AnyBody]) -> None:
    """An order that adds risk rests on a fresh bar."""
    signals = {body.id: body for body in trading if isinstance(body, Signal)}
    age_max = world.settings.limits.bar_age_ms_max
    for body in trading:
        if isinstance(body, OrderIntent) and body.reserved and not body.replaces:
            age_ms = (body.decided_ns - signals[body.signal_id].ts_event) // NS_PER_MS
            demand(age_ms <= age_max, f"intent {body.id} rests on a bar of {age_ms} ms")


def _lives(world: World, trading: list[AnyBody]) -> None:
    """Every order: at the venue at most once, one end, the venue's own; known by its intent or adopted."""
    events: dict[str, list[AnyBody]] = defaultdict(list)
    known = {body.id: body for body in trading if isinstance(body, OrderIntent | OrderAdopted)}
    for body in trading:
        if isinstance(body, (OrderSubmitted, OrderAccepted, Fill, *TERMINAL)):
            demand(body.client_order_id in known, f"event of an unknown order: {body}")
            events[body.client_order_id].append(body)
    at_venue = world.exchange.book.by_client_id
    for key in set(at_venue) - set(known):
        order = at_venue[key]
        is_trace = order.is_open or order.filled_qty
        demand(not is_trace, f"order {key} at the venue is of no intent, and was not adopted")
    for key, body in known.items():
        order = at_venue.get(key)
        if isinstance(body, OrderAdopted):
            demand(order is not None, f"adopted {key} is not at the venue")
            _adoption(world, body, order, known)
        ends = [event for event in events[key] if isinstance(event, TERMINAL)]
        demand(len(ends) == 1, f"order {key} ended {len(ends)} times: {[type(e).__name__ for e in events[key]]}")
        said, truth = _end_said(ends[0]), "none" if order is None else order.status
        demand(said == truth, f"order {key} ended as {said}, at the venue it is {truth}")
        if order is not None and isinstance(ends[0], OrderFilled | OrderCanceled | OrderExpired | OrderReplaced):
            told = ends[0].filled_qty
            demand(told == order.filled_qty, f"order {key} ended with {told} filled, at the venue {order.filled_qty}")
        if order is not None and order.parent is None:
            terms = order.terms
            wanted = body.notional or body.quantity
            demand((terms.notional or terms.qty) == wanted, f"order {key} has another quantity than its intent")


def _adoption(world: World, adopted: OrderAdopted, order: Any, known: dict[str, Any]) -> None:
    """Whose an adopted order is: a leg's its parent's, a flattening one nobody's, another's that of who placed it."""
    key = adopted.id
    if order.parent is not None:
        head = known[order.parent.client_order_id]
        wanted = (head.bot, Purpose.PROTECT, head.id)
    elif key.startswith(FLATTEN_PREFIX):
        wanted = (FLATTEN, Purpose.FLATTEN, "")
    else:
        demand(world.exchange.is_by_hand(key), f"order {key} was adopted, and it is ours")
        wanted = (world.settings.executor.foreign_orders, Purpose.FOREIGN, "")
    demand((adopted.bot, adopted.purpose, adopted.parent) == wanted, f"{key} was adopted as {adopted}, not {wanted}")


def _end_said(end: AnyBody) -> str:
    match end:
        case OrderFilled():
            return "filled"
        case OrderCanceled():
            return "canceled"
        case OrderExpired(reason="venue"):
            return "expired"
        case OrderReplaced():
            return "replaced"
        case OrderRejected(venue_order_id=name) if name:
            return "rejected"
        case _:
            return "none"


def _beliefs(world: World, trading: list[AnyBody]) -> None:
    """What risk and executor hold after all their deaths is what the stream alone gives."""
    risk = RiskCore(world.settings.bots, world.settings.limits)
    executor = ExecutionCore()
    owed, watch = set[str](), check_stops.Watch(world)
    for body in trading:
        caused = risk.apply(body)
        owed.update(_natural_key(each) for each in caused)
        watch.saw(body, caused, risk.state)
        executor.apply(body)
    said = {
        _natural_key(body) for body in trading if isinstance(body, Protection | Position | Account) or _is_guard(body)
    }
    owed = {key for key in owed if key.startswith(("Protection ", "Position ", "Account ", "Signal "))}
    demand(
        said == owed, f"of what risk owes, {sorted(owed - said)[:3]} is not said, {sorted(said - owed)[:3]} too much"
    )
    alive = world.roles["risk"].service._core.state
    # The highest P&L, and that at a day's turn, depend on what was applied between a decision and its place in the
    # stream: a restart may move them.
    risk.state.track.peak, risk.state.track.day_pnl = alive.track.peak, alive.track.day_pnl
    demand(risk.state == alive, "risk's state is not what the stream gives")
    known = world.roles["executor"].service._core.state
    for name in ("orders", "open_ids", "by_venue_id", "fees", "fills", "last_bot", "book"):
        demand(
            getattr(executor.state, name) == getattr(known, name), f"executor's {name} are not what the stream gives"
        )


def _indicators(world: World, market: list[AnyBody], trading: list[AnyBody]) -> None:
    """Signals and indicator values are those of a run over the same bars that nobody disturbed."""
    account = world.exchange.book.account_number
    calm = SignalEngine(account, "run1", ())
    for body in trading:
        if isinstance(body, Sessions):
            calm.on_sessions(body)
        elif isinstance(body, BotDefined | Timer | FillTold):
            calm.expect(body)
    expected: list[Signal] = []
    for number, bar in enumerate(market, 1):
        expected += check_bars.define(calm, market, number - 1)
        if isinstance(bar, PastBars):
            calm.on_past(bar)
        elif isinstance(bar, Ticks):
            expected += calm.on_ticks(bar)
        elif isinstance(bar, Bar):
            expected += calm.come_before(bar)
            expected += calm.on_bar(bar, check_bars.newest(market[:number]) if calm.needs_past(bar) else ())
    expected += check_bars.define(calm, market, len(market))
    demand(not calm.is_expecting, "something was done at a place that bars do not come to")
    told = {body.id for body in trading if isinstance(body, Timer)}
    new = [timer for timer in calm.timers() if timer.id not in told]
    demand(not new, f"moments without a bar that nobody stored: {new}")
    alerts = [body.id for body in trading if isinstance(body, Alert) and body.role == "signals"]
    demand(len(set(alerts)) == len(alerts), "an alert of signals is stored twice")
    demand({alert.id for alert in calm.alerts()} <= set(alerts), "an alert of an undisturbed run is missing")
    seen = [body_json(body) for body in trading if isinstance(body, IndicatorValues)]
    demand(sorted(seen) == sorted(map(body_json, calm.shown())), "values shown are not those of an undisturbed run")
    made = [body_json(body) for body in trading if isinstance(body, DerivedBar)]
    demand(set(made) <= set(map(body_json, calm.frames())), "bars made of others are not those of an undisturbed run")
    said = [body for body in trading if isinstance(body, Signal) and not _is_guard(body)]
    demand(_lines(said) == _lines(expected), f"{len(said)} signals, {len(expected)} of an undisturbed run, or others")
    alive = world.roles["signals"].service._engine
    demand(alive.snapshots() == calm.snapshots(), "indicators differ from those of an undisturbed run")


def _is_guard(body: AnyBody) -> bool:
    return isinstance(body, Signal) and body.strategy == STRATEGY


def _lines(signals: Iterable[Signal]) -> list[bytes]:
    return [body_json(signal) for signal in signals]


def on_post(world: World, intent: OrderIntent) -> None:
    """An order request leaves: stored as submitted, still wanted, not too old, not repeated blindly."""
    stored = world.stored_orders()
    name = intent.id
    demand((OrderIntent, name) in stored, f"request for {name} without a stored intent")
    demand((OrderSubmitted, name) in stored, f"request for {name} before OrderSubmitted is stored")
    ended = [kind.__name__ for kind in TERMINAL if (kind, name) in stored]
    demand(not ended, f"request for {name} after {ended}")
    unclear = world.exchange.unclear
    demand(name not in unclear, f"request for {name} is repeated without a lookup")
    unclear.add(name)
    demand(world.now_ns() <= intent.valid_until, f"request for {name} left after valid_until")
    demand(not world.latch.is_set(), f"request for {name} left while the latch was set")
    mode, since = world.mode()
    is_halted = mode is TradingMode.HALTED and world.loop.now - since > _HALTED_S
    demand(not is_halted, f"request for {name} left while trading was halted")
    known = world.roles["executor"].service._core.state.mode
    demand(known is not TradingMode.HALTED, f"request for {name} left, and executor knew that trading is halted")


def at_rest(world: World) -> None:
    """Nothing went wrong for minutes, and all is as it was left: before a person ends it."""
    check_stops.at_rest(world)
