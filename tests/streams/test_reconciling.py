"""Executor and risk against the real exchange: the account is the sum of its owners after each event.

Two bots with opposite views on one symbol, a manual order beside them, a partial fill of a bracket, a split overnight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.exchange.config import ExchangeConfig
from engine.ids import fill_key
from engine.messages import (
    Alert,
    AnyBody,
    Command,
    Correction,
    Fee,
    Fill,
    OrderAdopted,
    Position,
    Split,
)
from engine.values import OrderClass, OrderType, Side, TimeInForce, TradingMode, plain
from streams.connection import Inflow
from streams.topology import Topology
from tests.alpaca.local import Exchange
from tests.alpaca.local import running as serving
from tests.engine.build import D, bot
from tests.streams.desk import Desk, running

# exchange_calendars 4.13 on pandas 3.1; not ours, and not this test's subject.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")
BOTS = (bot(), bot(name="beta"))
EVENING, MORNING = 8, 6


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """The last minutes of a day and the first of the next; an order gets at most four shares a minute."""
    lines = ["symbol,timestamp,open,high,low,close,volume"]
    stamps = [f"2025-03-10T19:{60 - EVENING + n}:00Z" for n in range(EVENING)]
    stamps += [f"2025-03-11T13:{30 + n}:00Z" for n in range(MORNING)]
    lines += [f"AAPL,{stamp},100,100,100,100,{40 if stamp < '2025-03-11' else 4000}" for stamp in stamps]
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    with serving(ExchangeConfig(bars=path, speed="max", volume_share_max=0.1)) as server:
        yield server


def _sums(bodies: list[AnyBody]) -> list[tuple[AnyBody, Decimal]]:
    """After each event that moves the holding: what the last positions told come to, over all bots."""
    held: dict[str, Decimal] = {}
    sums: list[tuple[AnyBody, Decimal]] = []
    moves = {_cause(body): body for body in bodies if isinstance(body, Fill | Fee | Split | Correction)}
    told: dict[str, list[Position]] = {}
    for body in bodies:
        if isinstance(body, Position):
            told.setdefault(body.cause, []).append(body)
    for cause, move in moves.items():
        held |= {position.bot: position.signed_qty for position in told.get(cause, [])}
        sums.append((move, sum(held.values(), D(0))))
    return sums


def _cause(body: AnyBody) -> str:
    return fill_key(body.venue_order_id, plain(body.cum_qty)) if isinstance(body, Fill) else body.id  # type: ignore[union-attr]


async def _venue_after_each(desk: Desk) -> list[Decimal]:
    """The holding after each of the venue's own executions and exchanges of shares, from its activities."""
    rows = await desk.get("/v2/account/activities", direction="asc", page_size=100)
    net, found = D(0), list[Decimal]()
    for row in rows:
        sign = -1 if row.get("side", "").startswith("sell") else 1
        net += sign * D(row["qty"])
        if not (row["activity_type"] == "SPLIT" and D(row["qty"]) < 0):  # taken away; what is given comes next
            found.append(net)
    return found


async def test_positions_by_bot_sum_to_the_venues_net_after_each_event(
    nc: Inflow, topology: Topology, exchange: Exchange, tmp_path: Path
) -> None:
    exchange.control("splits", {"symbol": "AAPL", "ratio": 4, "ex_date": "2025-03-11"})
    async with running(nc, topology, exchange, tmp_path, BOTS) as desk:
        await desk.step()
        await desk.wish("a1", "alpha", Side.BUY, "6")
        await desk.step(2)
        await desk.wish("b1", "beta", Side.SELL, "3")
        await desk.step()
        hand = await desk.post("/v2/orders", symbol="AAPL", qty="5", side="buy", type="market", time_in_force="day")
        await desk.step(EVENING - 5)
        await desk.wish(
            "a2", "alpha", Side.BUY, "10", order_type=OrderType.LIMIT, limit_px=D(101),
            time_in_force=TimeInForce.GTC, order_class=OrderClass.BRACKET, take_profit_px=D(150), stop_loss_px=D(60),
        )  # fmt: skip
        await desk.step()  # the last minute of the day
        assert await desk.net() == {"AAPL": D(6 - 3 + 5 + 4)}
        assert desk.executor._core.state.orders["a2"].filled_qty == 4
        await desk.step()  # overnight
        assert await desk.net() == {"AAPL": D(4 * 12)}
        await desk.wish("b2", "beta", Side.BUY, "12")
        await desk.step(2)
        bodies = await desk.stored()
        net = await desk.net()
        sums = _sums(bodies)
        assert [total for _, total in sums] == await _venue_after_each(desk)
    assert net == {"AAPL": D(48 + 12)} == {"AAPL": sums[-1][1]}
    assert [type(move) for move, _ in sums].count(Split) == 1
    assert not [body for body in bodies if isinstance(body, Correction | Command)]
    owners = {body.bot: body.signed_qty for body in bodies if isinstance(body, Position)}
    assert owners == {"alpha": D(40), "beta": D(0), "manual": D(20)}
    [adopted] = [body for body in bodies if isinstance(body, OrderAdopted) and body.bot == "manual"]
    assert adopted.venue_order_id == hand["id"]


async def test_what_nobody_told_is_found_and_what_nothing_explains_stops_new_risk(
    nc: Inflow, topology: Topology, exchange: Exchange, tmp_path: Path
) -> None:
    async with running(nc, topology, exchange, tmp_path, BOTS) as desk:
        book = desk.executor._core.state.book
        exchange.faults({"fault": "update_lost", "client_order_id": "hand*"})
        order = {"symbol": "AAPL", "qty": "3", "side": "buy", "type": "market", "time_in_force": "day"}
        await desk.post("/v2/orders", client_order_id="hand-1", **order)
        await asyncio.to_thread(
            exchange.control, "activities", {"activity_type": "CSD", "net_amount": "1000", "symbol": ""}
        )
        await desk.step(2)
        assert (book.positions, book.cash) == ({"AAPL": D(3)}, D(100_000 + 1_000 - 300))
        assert not [body for body in await desk.stored() if isinstance(body, Correction)]

        # The venue keeps saying what was held a minute ago.
        exchange.faults({"fault": "stale_positions", "minutes": 1})
        await desk.wish("a1", "alpha", Side.BUY, "2")
        await desk.step()
        await desk.until(lambda: desk.executor.status().counters["corrections"] == 1, "corrected")
        await desk.quiet()
        bodies = await desk.stored()
        [correction] = [body for body in bodies if isinstance(body, Correction)]
        assert (correction.bot, correction.symbol, correction.quantity) == ("unattributed", "AAPL", D(-2))
        [command] = [body for body in bodies if isinstance(body, Command)]
        assert command.mode is TradingMode.REDUCING
        [alert] = [body for body in bodies if isinstance(body, Alert)]
        assert alert.what.startswith("AAPL is 3 at the venue and 5 in the ledger")
        await desk.until(lambda: desk.executor._core.state.mode is TradingMode.REDUCING, "risk obeyed")
        await desk.wish("a2", "alpha", Side.BUY, "1", reserved=D(100))
        assert not desk.executor._core.state.orders["a2"].is_open  # never sent
        await desk.wish("a3", "alpha", Side.SELL, "1")
        exchange.faults()
        await desk.step()
        await desk.until(lambda: desk.executor.status().counters["corrections"] == 2, "corrected again")
        await desk.quiet()
        assert book.positions == await desk.net() == {"AAPL": D(4)}
        bodies = await desk.stored()
        assert _sums(bodies)[-1][1] == 4
        assert sum((body.quantity for body in bodies if isinstance(body, Correction)), D(0)) == 0
