"""`tapeline halt --flatten` of one seed: the steps of tapeline.fence.flatten in virtual time; decisions are the engine's.

It is killed between steps now and then, and begun anew with the same halt, as a person would.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.exchange.orders import Refusal
from adapters.told import order_of
from engine.errors import UnreachableError
from engine.flattening import Flattening, Look, Plan
from engine.messages import OrderIntent
from engine.ports import OpenOrder, VenueOrder
from engine.values import NS_PER_S
from streams.subjects import escape

if TYPE_CHECKING:
    from tests.simulation.rest import VenueRest
    from tests.simulation.venue import Exchange

_LAG_S = 13
"""The simulated venue's positions lag behind by 12 s at most."""
_CANCEL_AGAIN_S = 2.0
_GIVES_UP_S = 600.0


class _KilledError(Exception):
    """The process is gone."""


class Flatten:
    """One command of a person.

    Args:
        exchange: What it works on.
        rest: How it asks; no order leaves by it.
        latch_id: Of the halt.
    """

    def __init__(self, exchange: Exchange, rest: VenueRest, latch_id: str) -> None:
        self._exchange = exchange
        self._rest = rest
        self._latch_id = latch_id
        self._canceled_at = -_CANCEL_AGAIN_S

    async def run(self) -> bool:
        """Work until the account is flat; False when what is left cannot be closed now."""
        loop, draw = self._exchange.loop, self._exchange.faults.draw
        ends = loop.now + _GIVES_UP_S
        while loop.now < ends:
            try:
                return await self._live(ends)
            except _KilledError:
                await asyncio.sleep(draw.uniform(0.5, 20.0))
        return False

    async def _live(self, ends: float) -> bool:
        core = Flattening(self._latch_id, escape, _LAG_S * NS_PER_S)
        while self._exchange.loop.now < ends:
            try:
                plan = core.plan(await self._look(core))
            except UnreachableError:
                await self._step()
                continue
            if plan.is_flat:
                return True
            if plan.is_over:
                return False
            await self._send(core, plan)
            await asyncio.sleep(1.0)
        return False

    async def _step(self) -> None:
        """Time passes between two requests, or the process dies."""
        if self._exchange.faults.hits("flatten_killed"):
            raise _KilledError
        await asyncio.sleep(self._exchange.faults.latency())

    async def _look(self, core: Flattening) -> Look:
        exchange, rest = self._exchange, self._rest
        now_ns = exchange.now_ns
        await self._step()
        listed = [order for order in exchange.book.orders.values() if order.is_open]
        orders = [
            OpenOrder(order.id, order.client_order_id, order.terms.symbol, order.status) for order in listed
        ]  # fmt: skip
        others = core.in_the_way(orders)
        if others and exchange.loop.now - self._canceled_at >= _CANCEL_AGAIN_S:
            await self._step()
            for order in others:
                exchange.book.cancel(order.venue_order_id, exchange.now_ns)
            exchange.acknowledge_soon()
            self._canceled_at = exchange.loop.now
        await self._learn(core, core.unknown(orders))
        executions = rest.executions(now_ns - _LAG_S * NS_PER_S)
        await self._step()
        positions = rest.account().positions
        return Look(now_ns, orders, executions, positions, exchange.market.sessions)

    async def _learn(self, core: Flattening, ids: list[str]) -> None:
        for client_order_id in ids:
            await self._step()
            found = self._rest.lookup(client_order_id)
            if isinstance(found, VenueOrder):
                core.learn(found)

    async def _send(self, core: Flattening, plan: Plan) -> None:
        for intent in plan.send:
            await self._step()
            answer = self._post(intent)
            if isinstance(answer, VenueOrder):
                core.learn(answer)
            elif answer is None or "must be unique" in answer.message:
                await self._step()
                await self._learn(core, [intent.id])
            else:
                core.refused(intent.symbol, answer.message)

    def _post(self, intent: OrderIntent) -> VenueOrder | Refusal | None:
        """Send an order; None where nobody says whether the venue has it."""
        faults = self._exchange.faults
        if faults.hits("post_lost"):
            return None
        answer = self._exchange.take(intent)
        if faults.hits("post_unknown"):
            return None
        return answer if isinstance(answer, Refusal) else order_of(answer, is_nested=True)
