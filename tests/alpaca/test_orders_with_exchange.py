"""Orders of every type against the local exchange, over real sockets: sent, read back, listed, replaced, and the races."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.alpaca.connect import connect_trading
from adapters.alpaca.fields import time_ns
from adapters.alpaca.trading import AlpacaVenue
from adapters.exchange.config import ExchangeConfig
from engine.conversions import conversions
from engine.messages import OrderIntent
from engine.ports import Accepted, CancelRequested, Rejected, Unknown, VenueOrder
from engine.values import NS_PER_DAY, NS_PER_MINUTE, OrderClass, OrderType, Side, TimeInForce
from tests.alpaca.local import Exchange, running
from tests.alpaca.wire import Ear, until

D = Decimal
OPEN = time_ns("2025-03-10T13:30:00Z") or 0
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")
LIMIT = {"order_type": OrderType.LIMIT, "limit_px": D("99.5")}
OUT = {"side": Side.SELL}
BRACKET = {"order_class": OrderClass.BRACKET, "take_profit_px": D(120), "stop_loss_px": D(90)}
KINDS: dict[str, dict[str, Any]] = {
    "market": {},
    "limit": LIMIT | {"time_in_force": TimeInForce.GTC},
    "stop": {"order_type": OrderType.STOP, "stop_px": D(110)},
    "stoplimit": {"order_type": OrderType.STOP_LIMIT, "stop_px": D(110), "limit_px": D(111)},
    "ioc": LIMIT | {"time_in_force": TimeInForce.IOC},
    "fok": {"time_in_force": TimeInForce.FOK},
    "cls": {"time_in_force": TimeInForce.CLS},
    "part": LIMIT | {"quantity": D("1.5")},
    "notional": {"notional": D("150.25"), "quantity": D("1.5")},
    "extended": LIMIT | {"extended_hours": True},
    "bracket": LIMIT | BRACKET | {"stop_loss_limit_px": D(89)},
    "oto": BRACKET | {"order_class": OrderClass.OTO, "take_profit_px": None},
    "oco": BRACKET | OUT | {"order_class": OrderClass.OCO, "order_type": OrderType.LIMIT},
    "trailpx": OUT | {"order_type": OrderType.TRAILING_STOP, "trail_px": D("2.5")},
    "trailpc": OUT | {"order_type": OrderType.TRAILING_STOP, "trail_percent": D("1.5")},
}


@pytest.fixture
def exchange(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Exchange]:
    """Flat at 100 for eight minutes, a symbol for each kind of order; DIP falls to 97.5 in the third."""
    symbols = [name.upper() for name in KINDS]
    lines = ["symbol,timestamp,open,high,low,close,volume"]
    for minute in range(8):
        at = f"2025-03-10T13:{30 + minute:02d}:00Z"
        lines += [f"{symbol},{at},100,100,100,100,1000" for symbol in symbols]
        lines.append(f"DIP,{at},100,100,{97.5 if minute == 2 else 100},100,1000")
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    changes = getattr(request, "param", {})
    with running(ExchangeConfig(bars=path, speed="max", key="K", secret="S", **changes)) as server:
        yield server


@pytest.fixture
def venue(exchange: Exchange) -> Iterator[AlpacaVenue]:
    made = AlpacaVenue(exchange.config(orders_per_page=4))
    yield made
    made.close()


def _intent(name: str, symbol: str = "LIMIT", **changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": name,
        "signal_id": "s",
        "bot": "b",
        "symbol": symbol,
        "side": Side.BUY,
        "quantity": D(10),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "ref_px": D(100),
        "reserved": D(1000),
        "decided_ns": 1,
        "valid_until": 2,
    }
    return OrderIntent(**(fields | changes))


def _accepted(outcome: Any) -> VenueOrder:
    assert isinstance(outcome, Accepted), outcome
    return outcome.order


def _order(venue: AlpacaVenue, name: str) -> VenueOrder:
    found = venue.lookup(name)
    assert isinstance(found, VenueOrder), found
    return found


def _working(exchange: Exchange, venue: AlpacaVenue, **changes: Any) -> VenueOrder:
    """A buy limit order `old` that works at 99."""
    exchange.minutes()
    order = _accepted(venue.submit(_intent("old", **({"symbol": "LIMIT"} | LIMIT | {"limit_px": D(99)} | changes))))
    exchange.minutes()
    return order


def test_every_type_and_class_arrives_as_it_was_meant(exchange: Exchange, venue: AlpacaVenue) -> None:
    exchange.minutes()
    for kind, changes in KINDS.items():
        if changes.get("side") is Side.SELL:
            _accepted(venue.submit(_intent(f"{kind}-entry", kind.upper())))
    exchange.minutes()
    for kind, changes in KINDS.items():
        intent = _intent(kind, kind.upper(), **changes)
        order = _accepted(venue.submit(intent))
        for name in ("order_type", "time_in_force", "order_class", "notional", "trail_px", "trail_percent"):
            assert getattr(order, name) == getattr(intent, name), (kind, name)
        is_oco = intent.order_class is OrderClass.OCO
        assert order.limit_px == (intent.take_profit_px if is_oco else intent.limit_px)
        assert order.quantity == (None if intent.notional else intent.quantity)
        if intent.order_type is not OrderType.TRAILING_STOP:
            assert order.stop_px == intent.stop_px
        gains = [leg.limit_px for leg in order.legs if leg.order_type is OrderType.LIMIT]
        losses = [(leg.stop_px, leg.limit_px) for leg in order.legs if leg.stop_px is not None]
        assert gains == ([] if is_oco or intent.take_profit_px is None else [intent.take_profit_px])
        assert losses == ([] if intent.stop_loss_px is None else [(intent.stop_loss_px, intent.stop_loss_limit_px)])
        assert order.unknown == ()


def test_list_has_every_open_order_and_every_group_whole(exchange: Exchange, venue: AlpacaVenue) -> None:
    """In lock-step all orders of a minute have one time: pages of four cannot be told apart by it."""
    exchange.minutes()
    names = [f"far-{number:02d}" for number in range(11)]
    for name in names:
        _accepted(venue.submit(_intent(name, **(LIMIT | {"limit_px": D(50), "quantity": D(1)}))))
    entry = _accepted(venue.submit(_intent("entry", "BRACKET", **BRACKET)))
    _accepted(venue.submit(_intent("gone", "MARKET", quantity=D(1))))
    exchange.minutes(2)
    later = OPEN + 3 * NS_PER_MINUTE
    _accepted(venue.submit(_intent("late", **LIMIT)))
    found = {order.client_order_id: order for order in venue.orders(later)}
    assert sorted(found) == sorted([*names, "entry", "late"])
    assert found["entry"].status == "filled"
    assert [leg.status for leg in found["entry"].legs] == ["new", "new"]
    assert {leg.venue_order_id for leg in found["entry"].legs} == {leg.venue_order_id for leg in entry.legs}
    everything = [order.client_order_id for order in venue.orders(0)]
    assert sorted(everything) == sorted([*names, "entry", "gone", "late"])
    assert everything[-1] == "late"


def test_replaced_order_and_its_end_are_told(exchange: Exchange) -> None:
    async def play() -> None:
        ear = Ear()
        venue, updates = connect_trading(exchange.config(), ear.on_problem)
        listening = asyncio.create_task(updates.run(ear))
        await until(lambda: ear.of("connected"))
        old = await asyncio.to_thread(_working, exchange, venue)
        change = _intent("new", replaces="old", **(LIMIT | {"limit_px": D(98), "quantity": D(7)}))
        new = _accepted(await asyncio.to_thread(venue.replace, change))
        assert (new.replaces, new.limit_px, new.quantity) == (old.venue_order_id, D(98), D(7))
        await exchange.minute()
        await until(lambda: any(update.order.client_order_id == "new" for update in ear.updates))
        told = [(update.order.client_order_id, update.event) for update in ear.updates]
        assert told[-2:] == [("old", "replaced"), ("new", "new")]
        assert ear.updates[-2].order.replaced_by == new.venue_order_id
        again = await asyncio.to_thread(venue.replace, change)  # as after a lost answer
        assert _accepted(again).venue_order_id == new.venue_order_id
        assert isinstance(await asyncio.to_thread(venue.cancel, "new"), CancelRequested)
        await updates.stop()
        await asyncio.wait_for(listening, 5)
        venue.close()

    asyncio.run(play())


@pytest.mark.parametrize("exchange", [{"volume_share_max": 0.004}], indirect=True)
def test_part_that_the_old_order_filled_counts_for_the_new_one(exchange: Exchange, venue: AlpacaVenue) -> None:
    old = _working(exchange, venue, limit_px=D(100))
    assert _order(venue, "old").filled_qty == D(4)
    too_small = venue.replace(_intent("new", replaces="old", **(LIMIT | {"quantity": D(4)})))
    assert too_small == Rejected("not_sent", "quantity must be > what is filled of old, 4, was 4")
    new = _accepted(venue.replace(_intent("new", replaces="old", **(LIMIT | {"limit_px": D(101), "quantity": D(9)}))))
    assert (new.quantity, new.filled_qty) == (D(9), D(4))
    exchange.minutes(3)
    assert _order(venue, "new").status == "filled"
    done = [(fill.venue_order_id == old.venue_order_id, fill.last_qty, fill.cum_qty) for fill in venue.executions(0)]
    assert done == [(True, D(4), D(4)), (False, D(4), D(8)), (False, D(1), D(9))]
    assert venue.account().positions == {"LIMIT": D(9)}


def test_old_order_that_fills_first(exchange: Exchange, venue: AlpacaVenue) -> None:
    """The venue says yes, the old order fills on its way out, and the new one is rejected afterwards."""
    _working(exchange, venue, symbol="DIP", limit_px=D(98))
    exchange.faults({"fault": "fill_before_replace"})
    change = _intent("new", "DIP", replaces="old", **(LIMIT | {"limit_px": D(97)}))
    _accepted(venue.replace(change))
    exchange.minutes()
    assert (_order(venue, "old").status, _order(venue, "new").status) == ("filled", "rejected")
    assert _order(venue, "new").filled_qty == 0
    refused = venue.replace(_intent("newer", "DIP", replaces="old", **(LIMIT | {"limit_px": D(96)})))
    assert isinstance(refused, Rejected)
    assert venue.account().positions == {"DIP": D(10)}


def test_refused_late_the_old_order_lives_on(exchange: Exchange, venue: AlpacaVenue) -> None:
    _working(exchange, venue)
    exchange.faults({"fault": "replace_rejected"})
    _accepted(venue.replace(_intent("new", replaces="old", **(LIMIT | {"limit_px": D(98)}))))
    exchange.minutes()
    assert (_order(venue, "old").status, _order(venue, "new").status) == ("new", "rejected")


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "http_504", "when": "after"},
        {"fault": "reset", "when": "after"},
        {"fault": "html", "when": "after"},
        {"fault": "truncated", "when": "after"},
    ],
    ids=lambda rule: rule["fault"],
)
def test_answer_that_is_lost_after_the_order_was_replaced(
    exchange: Exchange, venue: AlpacaVenue, rule: dict[str, Any]
) -> None:
    _working(exchange, venue)
    exchange.faults(rule | {"method": "PATCH"})
    change = _intent("new", replaces="old", **(LIMIT | {"limit_px": D(98)}))
    assert isinstance(venue.replace(change), Unknown)
    exchange.faults()
    first = _order(venue, "new")
    assert _accepted(venue.replace(change)).venue_order_id == first.venue_order_id, "the old order is on its way out"
    exchange.minutes()
    assert _accepted(venue.replace(change)).venue_order_id == first.venue_order_id, "the old order is replaced"
    assert sorted(order.client_order_id for order in venue.orders(0)) == ["new", "old"]


def test_request_that_was_lost_on_its_way_can_be_sent_again(exchange: Exchange, venue: AlpacaVenue) -> None:
    _working(exchange, venue)
    exchange.faults({"fault": "http_504", "when": "before", "method": "PATCH"})
    change = _intent("new", replaces="old", **(LIMIT | {"limit_px": D(98)}))
    assert isinstance(venue.replace(change), Unknown)
    exchange.faults()
    assert _order(venue, "old").status == "new"
    assert _accepted(venue.replace(change)).limit_px == D(98)


def test_exit_of_a_bracket_gets_another_price(exchange: Exchange, venue: AlpacaVenue) -> None:
    exchange.minutes()
    entry = _accepted(venue.submit(_intent("entry", **BRACKET)))
    exchange.minutes()
    loss = next(leg for leg in entry.legs if leg.order_type is OrderType.STOP)
    change = _intent("tighter", side=Side.SELL, order_type=OrderType.STOP, stop_px=D(95), replaces=loss.client_order_id)
    assert _accepted(venue.replace(change)).stop_px == D(95)
    exchange.minutes()
    (group,) = [order for order in venue.orders(0) if order.client_order_id == "entry"]
    assert {leg.client_order_id: leg.status for leg in group.legs if leg.order_type is OrderType.STOP} == {
        "tighter": "new"
    }


# --- what happens without an order -----------------------------------------------------------------------------------


def test_split_is_announced_done_and_put_together(exchange: Exchange, venue: AlpacaVenue) -> None:
    _working(exchange, venue, limit_px=D(101))
    _accepted(venue.submit(_intent("far", **(LIMIT | {"limit_px": D(50), "time_in_force": TimeInForce.GTC}))))
    exchange.minutes()
    told = exchange.control("splits", {"symbol": "LIMIT", "ratio": "0.25", "at_once": True, "orders": "adjust"})
    today = time_ns("2025-03-10T04:00:00Z") or 0
    (announced,) = venue.splits(["LIMIT", "DIP", "BTC/USD"], today, today)
    assert (announced.symbol, announced.ratio, announced.id) == ("LIMIT", D("0.25"), told["id"])
    assert venue.splits(["LIMIT"], today + 1, today + NS_PER_DAY) == []
    exchange.minutes()
    assert venue.account().positions == {"LIMIT": D("2.5")}
    found = conversions(venue.activities(0), OPEN)
    assert (found.others, found.waiting) == ((), ())
    (done,) = found.splits
    assert (done.symbol, done.ratio, done.removed, done.added) == ("LIMIT", D("0.25"), D(10), D("2.5"))
    assert done.effective_ns == told["effective_ns"]
    (far,) = [order for order in venue.orders(OPEN + NS_PER_DAY) if order.client_order_id == "far"]
    assert (far.quantity, far.limit_px) == (D(2), D(200))


def test_transfers_and_dividends_are_activities(exchange: Exchange, venue: AlpacaVenue) -> None:
    exchange.minutes()
    cash = venue.account().cash
    for body in (
        {"activity_type": "CSD", "net_amount": "500"},
        {"activity_type": "DIV", "net_amount": "2.5", "symbol": "LIMIT", "qty": 10},
        {"activity_type": "JNLS", "symbol": "DIP", "qty": "3"},
        {"activity_type": "XYZ", "net_amount": "-1", "symbol": "DIP", "qty": "7"},
    ):
        exchange.control("activities", body)
    told = [(it.kind, it.symbol, it.cash, it.quantity, it.is_known) for it in venue.activities(0)]
    assert told == [
        ("CSD", "", D(500), D(0), True),
        ("DIV", "LIMIT", D("2.5"), D(0), True),
        ("JNLS", "DIP", D(0), D(3), True),
        ("XYZ", "DIP", D(-1), D(0), False),
    ]
    account = venue.account()
    assert account.cash - cash == sum(it.cash for it in venue.activities(0))
    assert account.positions == {"DIP": D(3)}


def test_assets_of_the_exchange(exchange: Exchange, venue: AlpacaVenue) -> None:
    known, unknown = venue.assets(["LIMIT", "NOSUCH"])
    assert (known.is_tradable, known.is_shortable, known.is_fractionable) == (True, True, True)
    assert not unknown.is_tradable
