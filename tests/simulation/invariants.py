"""What must hold of a world that has come to rest, and of each order request as it leaves.

Whole bodies are compared, never counts: what the streams hold, what the venue did, and what the living roles believe
are three accounts of one story.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, cast

import msgspec

from engine.execution import ExecutionCore
from engine.execution.reconcile import FROM_CASH, FROM_POSITIONS
from engine.ids import fill_key, make_id
from engine.messages import (
    Account,
    Alert,
    AnyBody,
    Bar,
    CancelOrder,
    Command,
    Correction,
    Fee,
    Fill,
    Gap,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSubmitted,
    Position,
    RiskDenied,
    Sessions,
    Signal,
    SymbolStatus,
    TargetReached,
    TradingState,
    body_json,
)
from engine.risk import RiskCore
from engine.signals import SignalEngine
from engine.values import NS_PER_MS, NS_PER_S, plain
from tests.simulation.world import FoundError, World

_TERMINAL = (OrderFilled, OrderCanceled, OrderExpired, OrderRejected)
_VERDICTS = (OrderIntent, RiskDenied, TargetReached)
_SEND_NS_MAX = 15 * NS_PER_S
"""From the look at valid_until to the request's arrival: the acknowledgement of OrderSubmitted, the rate, the way."""


def demand(holds: bool, what: str) -> None:
    """Raise unless it holds."""
    if not holds:
        raise FoundError(what)


def check(world: World) -> None:
    """Check a world that has come to rest. Raises FoundError."""
    demand(not world.failures, world.failures[0] if world.failures else "")
    trading = world.bodies(world.server.trading)
    _once(world, trading)
    _verdicts(trading)
    _stale(world, trading)
    _lives(world, trading)
    _executions(world, trading)
    _money(world, trading)
    _corrections(world, trading)
    _beliefs(world, trading)
    market = world.bodies(world.server.market)
    _bars(world, market)
    _indicators(world, market, trading)


def _natural_key(body: AnyBody) -> str:
    """What a message is about: said once, whatever its id."""
    kind = type(body).__name__
    match body:
        case Signal():
            return f"{kind} {body.bot} {body.bar}"
        case Fill():
            return f"{kind} {fill_key(body.venue_order_id, plain(body.cum_qty))}"
        case Position():
            return f"{kind} {body.bot} {body.symbol} {body.cause}"
        case Account() | TradingState():
            return f"{kind} {body.cause}"
        case OrderIntent() | RiskDenied() | TargetReached():
            return f"verdict {body.id}"
        case Fee() | CancelOrder() | OrderAdopted() | Correction() | Command() | Alert():
            return f"{kind} {body.id}"
        case SymbolStatus():
            return f"{kind} {body.symbol} {body.source} {body.ts_event}"
        case Sessions():
            return f"{kind} {body.spans}"
        case _:
            return f"{kind} {getattr(body, 'client_order_id', '')}"


def _once(world: World, trading: list[AnyBody]) -> None:
    seen: dict[str, str] = {}
    for msg_id, body in zip(world.server.trading.ids, trading, strict=True):
        key = _natural_key(body)
        other = seen.setdefault(key, msg_id)
        demand(other == msg_id, f"said under two ids: {key}")
    counts = Counter(world.server.trading.ids)
    twice = [msg_id for msg_id, count in counts.items() if count > 1]
    demand(not twice, f"stored twice under one id: {[k for k, i in seen.items() if i in twice]}")


def _verdicts(trading: list[AnyBody]) -> None:
    """Each signal has one verdict; more only for what is left after an order that stopped at zero."""
    signals = {body.id for body in trading if isinstance(body, Signal)}
    answers: dict[str, list[Any]] = defaultdict(list)
    for body in trading:
        if isinstance(body, _VERDICTS):
            answers[body.signal_id].append(body)
    unanswered = signals - set(answers)
    demand(not unanswered, f"signals without a verdict: {sorted(unanswered)}")
    demand(signals == set(answers), "a verdict for a signal that is not stored")
    for signal_id, given in answers.items():
        early = [body for body in given[:-1] if not isinstance(body, OrderIntent)]
        demand(not early, f"signal {signal_id} was answered again after {type(early[0]).__name__ if early else ''}")


def _stale(world: World, trading: list[AnyBody]) -> None:
    """An order that adds risk rests on a fresh bar."""
    signals = {body.id: body for body in trading if isinstance(body, Signal)}
    age_max = world.settings.limits.bar_age_ms_max
    for body in trading:
        if isinstance(body, OrderIntent) and body.reserved:
            age_ms = (body.decided_ns - signals[body.signal_id].ts_event) // NS_PER_MS
            demand(age_ms <= age_max, f"intent {body.id} rests on a bar of {age_ms} ms")


def _lives(world: World, trading: list[AnyBody]) -> None:
    """Every intent: submitted before posted, at the venue at most once, one end, the venue's own."""
    events: dict[str, list[AnyBody]] = defaultdict(list)
    intents = {body.id: body for body in trading if isinstance(body, OrderIntent | OrderAdopted)}
    for body in trading:
        if isinstance(
            body, OrderSubmitted | OrderAccepted | Fill | OrderFilled | OrderCanceled | OrderExpired | OrderRejected
        ):
            demand(body.client_order_id in intents, f"event of an unknown order: {body}")
            events[body.client_order_id].append(body)
    at_venue = world.exchange.book.by_client_id
    for key in set(at_venue) - set(intents):
        order = at_venue[key]
        is_trace = order.is_open or order.filled_qty
        demand(not is_trace, f"order {key} at the venue is of no intent, and was not adopted")
    for key in {body.id for body in trading if isinstance(body, OrderAdopted)}:
        demand(key in at_venue, f"adopted {key} is not at the venue")
        demand(world.exchange.is_by_hand(key), f"order {key} was adopted, and it is ours")
    for key, intent in intents.items():
        ends = [body for body in events[key] if isinstance(body, _TERMINAL)]
        demand(len(ends) == 1, f"intent {key} ended {len(ends)} times: {[type(e).__name__ for e in events[key]]}")
        order = at_venue.get(key)
        said = _end_said(ends[0])
        truth = "none" if order is None else order.status
        demand(said == truth, f"intent {key} ended as {said}, at the venue it is {truth}")
        if order is not None:
            demand(order.terms.qty == intent.quantity, f"order {key} has another quantity than its intent")
            demand(not order.is_open, f"order {key} is open")


def _end_said(end: AnyBody) -> str:
    match end:
        case OrderFilled():
            return "filled"
        case OrderCanceled():
            return "canceled"
        case OrderExpired(reason="venue"):
            return "expired"
        case _:
            return "none"


def _executions(world: World, trading: list[AnyBody]) -> None:
    """Each execution of the venue is stored once, as it was."""
    book = world.exchange.book
    stored = {
        (body.venue_order_id, body.cum_qty): (
            body.client_order_id,
            body.side.value,
            body.last_qty,
            body.last_px,
            body.ts_event,
        )
        for body in trading
        if isinstance(body, Fill)
    }
    done = {
        (it.order_id, it.cum_qty): (
            book.orders[it.order_id].client_order_id,
            it.side,
            it.qty,
            it.price,
            it.ns // 1000 * 1000,
        )
        for it in book.ledger.activities
        if it.kind == "FILL"
    }
    demand(not set(done) - set(stored), f"{len(set(done) - set(stored))} executions were not stored")
    demand(stored == done, "a fill is stored that is not the venue's")
    fees = {body.id: (body.cash, body.quantity) for body in trading if isinstance(body, Fee)}
    charged = {
        it.id: (it.net_amount, it.qty)
        for it in book.ledger.activities
        if it.kind != "FILL" and (it.net_amount or it.qty)
    }
    demand(fees == charged, f"fees stored: {len(fees)}, charged: {len(charged)}")


def _money(world: World, trading: list[AnyBody]) -> None:
    """Ledger and venue agree; the last account and positions said are the ledger's; nothing is reserved."""
    portfolio = world.roles["risk"].service._core.state.portfolio
    ledger = world.exchange.book.ledger
    demand(portfolio.cash == ledger.cash, f"cash is {portfolio.cash}, at the venue {ledger.cash}")
    held = {name: position.qty for name, position in ledger.positions.items()}
    demand(portfolio.net() == held, f"positions are {portfolio.net()}, at the venue {held}")
    demand(not portfolio.reservations, f"reserved for orders that ended: {list(portfolio.reservations)}")
    demand(
        not portfolio.working and portfolio.reserved == 0, f"still working: {portfolio.working} {portfolio.reserved}"
    )
    causes = {
        fill_key(b.venue_order_id, plain(b.cum_qty)) if isinstance(b, Fill) else b.id
        for b in trading
        if isinstance(b, Fill | Fee | Correction)
    }
    of_cash = {b.id for b in trading if isinstance(b, Correction) and not b.symbol}
    for kind, expected in ((Position, causes - of_cash), (Account, causes)):
        said = {body.cause for body in trading if isinstance(body, kind)}
        demand(said == expected, f"{kind.__name__} messages miss {len(expected - said)} fills, fees and corrections")
    last: dict[str, Decimal] = {}
    for body in trading:
        if isinstance(body, Position):
            last[f"{body.bot}|{body.symbol}"] = body.signed_qty
    owned = {key: holding.signed_qty for key, holding in portfolio.holdings.items()}
    demand(all(owned.get(key) == qty for key, qty in last.items()), "the last position said is not the ledger's")


def _corrections(world: World, trading: list[AnyBody]) -> None:
    """Corrections are what the venue did behind everybody's back, and nothing else is left of them."""
    corrections = [body for body in trading if isinstance(body, Correction)]
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for body in corrections:
        sums[body.symbol] += body.quantity + body.cash
    left = {symbol: amount for symbol, amount in sums.items() if amount}
    slips = {symbol: amount for symbol, amount in world.exchange.slips.items() if amount}
    demand(left == slips, f"corrected by {left}, the venue slipped by {slips}")
    if not (world.exchange.slips or world.faults.seen["activity_late"]):
        demand(not corrections, f"corrected what a fault explains: {corrections}")
    strange = [body for body in corrections if body.source == "positions" and body.symbol not in world.exchange.slips]
    demand(not strange, f"corrected a position that did not slip: {strange}")
    _alerts(world, trading, corrections)


def _alerts(world: World, trading: list[AnyBody], corrections: list[Correction]) -> None:
    """Alert, command, correction, in this order: a change of the mode was told of, a correction alone is no reason.

    Killed between an alert and its correction, executor looks anew: the difference has another number by then, or
    is explained. Such an alert is left over, at most one for each death.
    """
    account = world.exchange.book.account_number
    alarming = {
        make_id(account, "run1", "alert", body.id) for body in corrections if body.source in (FROM_POSITIONS, FROM_CASH)
    }
    alerts = {body.id for body in trading if isinstance(body, Alert)}
    modes = [body for body in trading if isinstance(body, TradingState)]
    left, deaths = len(alerts - alarming), world.deaths["executor"]
    demand(left <= deaths, f"{left} alerts without a correction, executor died {deaths} times")
    demand(bool(alerts) or not modes, f"0 alerts, {len(modes)} changes of the mode")
    demand(
        bool(modes) or not alerts & alarming, f"{len(alerts & alarming)} alerts of corrections, no change of the mode"
    )


def _beliefs(world: World, trading: list[AnyBody]) -> None:
    """What risk and executor hold after all their deaths is what the stream alone gives."""
    risk = RiskCore(world.settings.bots, world.settings.limits)
    executor = ExecutionCore()
    for body in trading:
        risk.apply(body)
        executor.apply(body)
    alive = world.roles["risk"].service._core.state
    # The highest P&L depends on what was applied between a decision and its place in the stream: a restart may move it.
    risk.state.track.peak = alive.track.peak
    demand(risk.state == alive, "risk's state is not what the stream gives")
    known = world.roles["executor"].service._core.state
    for name in ("orders", "open_ids", "by_venue_id", "fees", "fills", "last_bot", "book"):
        demand(
            getattr(executor.state, name) == getattr(known, name), f"executor's {name} are not what the stream gives"
        )


def _bars(world: World, market: list[AnyBody]) -> None:
    """Per symbol bars grow in time, are the venue's, and none is missing that was not lost or declared a gap."""
    last: dict[str, int] = {}
    there: set[tuple[str, int]] = set()
    truth = {(bar.symbol, bar.ts_event): bar for bar in world.exchange.out}
    gaps = [body for body in market if isinstance(body, Gap) and body.filled_by == "none"]
    for body in market:
        if not isinstance(body, Bar):
            continue
        key = (body.symbol, body.ts_event)
        demand(body.ts_event > last.get(body.symbol, 0), f"bar {key} came out of order")
        last[body.symbol] = body.ts_event
        demand(msgspec.structs.replace(body, is_backfill=False) == truth[key], f"bar {key} is not the venue's")
        there.add(key)
    declared = {key for key in truth for gap in gaps if gap.symbol == key[0] and gap.ts_from < key[1] <= gap.ts_to}
    missing = set(truth) - there - declared - world.exchange.excused
    demand(not missing, f"bars neither stored nor declared a gap: {sorted(missing)}")


def _indicators(world: World, market: list[AnyBody], trading: list[AnyBody]) -> None:
    """Signals and indicator values are those of a run over the same bars that nobody disturbed."""
    account = world.exchange.book.account_number
    calm = SignalEngine(account, "run1", world.settings.bots)
    for body in trading:
        if isinstance(body, Sessions):
            calm.on_sessions(body)
    expected = [signal for bar in market if isinstance(bar, Bar) for signal in calm.on_bar(bar)]
    said = [body for body in trading if isinstance(body, Signal)]
    demand(_lines(said) == _lines(expected), f"{len(said)} signals, {len(expected)} of an undisturbed run, or others")
    alive = world.roles["signals"].service._engine
    demand(_snapshots(alive) == _snapshots(calm), "indicators differ from those of an undisturbed run")


def _lines(signals: Iterable[Signal]) -> list[bytes]:
    return [body_json(signal) for signal in signals]


def _snapshots(engine: SignalEngine) -> list[Any]:
    slots, _ = cast("Any", engine.state())
    return [
        (key, name, last_ts, published, strategy.snapshot())
        for key, rows in slots.items()
        for name, strategy, last_ts, _, published in rows
    ]


def on_post(world: World, intent: OrderIntent) -> None:
    """An order request leaves: stored as submitted, still wanted, not too old, not repeated blindly."""
    stored = world.stored_orders()
    name = intent.id
    demand((OrderIntent, name) in stored, f"request for {name} without a stored intent")
    demand((OrderSubmitted, name) in stored, f"request for {name} before OrderSubmitted is stored")
    ended = [kind.__name__ for kind in _TERMINAL if (kind, name) in stored]
    demand(not ended, f"request for {name} after {ended}")
    unclear = world.exchange.unclear
    demand(name not in unclear, f"request for {name} is repeated without a lookup")
    unclear.add(name)
    late_ns = world.now_ns() - intent.valid_until
    demand(late_ns <= _SEND_NS_MAX, f"request for {name} left {late_ns / NS_PER_S:.0f} s after valid_until")
