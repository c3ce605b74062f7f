"""What must hold of executions, cash, positions and corrections in a world that has come to rest."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from engine.adoption import FLATTEN
from engine.execution.reconcile import FROM_CASH, FROM_POSITIONS
from engine.ids import fill_key, make_id
from engine.messages import Account, Alert, AnyBody, Command, Correction, Fee, Fill, Position, TradingState
from engine.values import NS_PER_MINUTE, TradingMode, plain
from tests.simulation.checking import demand
from tests.simulation.world import World


def executions(world: World, trading: list[AnyBody]) -> None:
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


def money(world: World, trading: list[AnyBody]) -> None:
    """Ledger and venue agree; the last account and positions said are the ledger's; nothing is reserved."""
    portfolio = world.roles["risk"].service._core.state.portfolio
    ledger = world.exchange.book.ledger
    demand(portfolio.cash == ledger.cash, f"cash is {portfolio.cash}, at the venue {ledger.cash}")
    held = {name: position.qty for name, position in ledger.positions.items()}
    demand(portfolio.net() == held, f"positions are {portfolio.net()}, at the venue {held}")
    nobodys = {
        key for key, holding in portfolio.holdings.items() if holding.signed_qty and key.startswith(f"{FLATTEN}|")
    }
    demand(not nobodys, f"what flattening orders filled is nobody's: {nobodys}")
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


def corrections(world: World, trading: list[AnyBody]) -> None:
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
    stuck = {make_id(account, "run1", "stuck", getattr(body, "id", "")) for body in trading}
    alerts = {body.id for body in trading if isinstance(body, Alert) and body.role == "executor"} - stuck
    commands = {body.id for body in trading if isinstance(body, Command) and body.by == "executor"}
    modes = [body for body in trading if isinstance(body, TradingState) and body.cause in commands]
    left, deaths = len(alerts - alarming), world.deaths["executor"]
    demand(left <= deaths, f"{left} alerts without a correction, executor died {deaths} times")
    demand(bool(alerts) or not modes, f"0 alerts, {len(modes)} changes of the mode")
    told = {body.id for body in corrections if make_id(account, "run1", "alert", body.id) in alerts}
    is_free, knew = True, set[str]()
    for body in trading:
        match body:
            case Alert() if not is_free:
                knew.add(body.id)  # whoever resumes between alert and correction was told
            case TradingState(bot=""):
                is_free = body.mode is TradingMode.ACTIVE
            case Command(by="executor"):
                is_free = False
            case Correction() if body.id in told and make_id(account, "run1", "alert", body.id) not in knew:
                is_latched = world.latch.held(body.ts_event) or world.latch.held(body.ts_event + NS_PER_MINUTE)
                demand(not is_free or is_latched, f"a person was told of correction {body.id}, and trading goes on")
            case _:
                pass
