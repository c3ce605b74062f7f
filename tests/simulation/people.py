"""People of one seed: they halt, with and without flattening, resume, change bots, and wish orders changed or ended."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from adapters.exchange.orders import Order
from engine.bots import BotStatus
from engine.ids import make_id
from engine.messages import (
    AnyBody,
    BotDefined,
    CancelOrder,
    ChangeBot,
    Command,
    Head,
    ReplaceOrder,
    decode,
    encode,
)
from engine.values import TradingMode, price_tick, round_to
from streams.subjects import subject_of
from tests.simulation.flatten import Flatten
from tests.simulation.rest import VenueRest

if TYPE_CHECKING:
    from tests.simulation.world import World


class People:
    """Whoever sits at the command line.

    Args:
        world: Where.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._said = 0

    def halt(self) -> None:
        """Halt; often flatten; resume after a while, or leave that to nobody."""
        self._world.faults.seen["halt"] += 1
        self._world.loop.spawn(None, self._halt())

    async def _halt(self) -> None:
        world, draw = self._world, self._world.faults.draw
        if world.latch.is_set():
            return
        if draw.random() < 0.25:  # over NATS alone, from elsewhere
            self._command(TradingMode.HALTED)
            await asyncio.sleep(draw.choice((30.0, 90.0, 200.0)))
            self._command(TradingMode.ACTIVE)
            return
        note = world.latch.set("by hand", "person", world.now_ns())
        if draw.random() < 0.7:  # else nobody could reach NATS: executor tells
            await asyncio.sleep(world.faults.latency())
            self._say(Command(note.id, TradingMode.HALTED, note.reason, note.by, note.ts_event), note.id)
        if draw.random() < 0.7:
            world.faults.seen["flatten"] += 1
            if await Flatten(world.exchange, VenueRest(world.exchange), note.id).run():
                world.faults.seen["flat"] += 1
                world.on_flat()
        await asyncio.sleep(draw.choice((5.0, 60.0, 200.0)))
        if draw.random() < 0.8:
            world.latch.clear(world.now_ns())
            await asyncio.sleep(world.faults.latency())
            self._command(TradingMode.ACTIVE)

    def end(self) -> None:
        """Halt for good, without a latch, so that nothing new is begun."""
        self._command(TradingMode.HALTED)

    def _command(self, mode: TradingMode) -> None:
        name = self._name("command")
        self._say(Command(name, mode, "by hand", "person", self._world.now_ns()), name)

    def wish(self) -> None:
        """Wish an open order of a bot changed, or ended."""
        world, draw = self._world, self._world.faults.draw
        orders = [order for order in world.exchange.book.orders.values() if order.is_open and not order.parent]
        found = [order for order in orders if not world.exchange.is_by_hand(order.client_order_id)] or orders
        if not found:
            return
        order = draw.choice(found)
        name, now = self._name("wish"), world.now_ns()
        if draw.random() < 0.4:
            world.faults.seen["wish to cancel"] += 1
            self._say(CancelOrder(name, order.client_order_id, "by hand", "person", now), name)
            return
        world.faults.seen["wish to replace"] += 1
        quantity, limit_px, stop_px = self._changes(order)
        self._say(
            ReplaceOrder(
                name, order.client_order_id, "by hand", "person", now,
                quantity=quantity, limit_px=limit_px, stop_px=stop_px,
            ),
            name,
        )  # fmt: skip

    def change(self) -> None:
        """Wish a bot paused, stopped or running, with other parameters or other capital; now and then one too late."""
        world, draw = self._world, self._world.faults.draw
        stored = world.server.trading.last_per_subject(f"{world.prefix}.bots.>")
        known = [body for data in stored if isinstance(body := decode(data).body, BotDefined)]
        if not known:
            return
        bot, name = draw.choice(known), self._name("change")
        revision = bot.revision - (draw.random() < 0.1)
        definition, status = None, None
        match draw.randrange(5):
            case 0:
                status = BotStatus.PAUSED
            case 1:
                status = BotStatus.STOPPED
            case 2:
                fast, slow = draw.choice(((1, 2), (2, 4), (1, 3)))
                params = {**bot.definition.params, "fast": fast, "slow": slow}
                if bot.definition.strategy == "sma_crossover":
                    definition = msgspec.structs.replace(bot.definition, params=params)
            case 3:
                capital = bot.definition.capital * draw.choice((Decimal("0.5"), Decimal("0.9")))
                definition = msgspec.structs.replace(bot.definition, capital=round_to(capital, Decimal(1)))
            case _:
                status = BotStatus.RUNNING
        if status is None and definition is None:
            status = BotStatus.RUNNING
        world.faults.seen["change of a bot"] += 1
        self._say(ChangeBot(name, bot.bot, revision, "person", world.now_ns(), "", definition, status), name)

    def _changes(self, order: Order) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Another price where the order has one, else a smaller quantity."""
        draw, terms = self._world.faults.draw, order.terms
        factor = Decimal(draw.choice(("0.997", "0.9995", "1.0005", "1.003")))
        prices = [
            None if px is None else round_to(px * factor, price_tick(terms.symbol, px))
            for px in (terms.limit_px, terms.stop_px)
        ]
        smaller = draw.random() < 0.3 or prices == [None, None]
        quantity = None if terms.qty is None or not smaller else max(terms.qty // 2, Decimal(1))
        return quantity, prices[0], prices[1]

    def _name(self, kind: str) -> str:
        self._said += 1
        return make_id("person", kind, str(self._said))

    def _say(self, body: AnyBody, msg_id: str) -> None:
        """Store it: whoever commands tries until it is."""
        world = self._world
        data = encode(Head(world.now_ns()), body)
        world.server.trading.append(subject_of(world.prefix, body), data, msg_id, world.loop.now)
