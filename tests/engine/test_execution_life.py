"""One order between the venue and the executor's core: reports late, doubled, in any order, and restarts in between."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.execution import Conclusion, ExecState, ExecutionCore
from engine.messages import (
    AnyBody,
    Fill,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderSubmitted,
)
from engine.ports import Accepted, VenueExecution, VenueOrder, VenueUpdate
from tests.engine.build import T0, D, intent, opened

ENDS = (OrderFilled, OrderCanceled, OrderExpired, OrderRejected)


class OrderAtVenue(RuleBasedStateMachine):
    """The venue's order moves; what it says of it comes whenever it likes, as often as it likes."""

    @initialize(quantity=st.integers(1, 30))
    def begin(self, quantity: int) -> None:
        self.of = intent("o", quantity=str(quantity))
        self.stored: list[AnyBody] = [opened(), self.of, OrderSubmitted("o", self.of.bot, self.of.symbol, T0)]
        self.core = ExecutionCore()
        for body in self.stored:
            self.core.apply(body)
        self.status = "new"
        self.filled = D(0)
        self.done: list[VenueExecution] = []
        self.said = [VenueUpdate("new", self.order(), T0)]

    def order(self) -> VenueOrder:
        of = self.of
        return VenueOrder("o", "v", of.symbol, of.side, self.status, of.quantity, self.filled, D(100), T0, T0)

    @property
    def is_open(self) -> bool:
        return self.status in ("new", "partially_filled")

    def store(self, conclusion: Conclusion) -> None:
        for event in conclusion.events:
            self.core.apply(event)
        self.stored += conclusion.events

    # --- at the venue ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.is_open)
    @rule(part=st.integers(1, 30))
    def fills(self, part: int) -> None:
        last = min(D(part), self.of.quantity - self.filled)
        self.filled += last
        self.status = "filled" if self.filled == self.of.quantity else "partially_filled"
        at = T0 + len(self.done)
        execution = VenueExecution("v", self.filled, self.of.symbol, self.of.side, last, D(100 + len(self.done)), at)
        self.done.append(execution)
        event = "fill" if self.status == "filled" else "partial_fill"
        self.said.append(VenueUpdate(event, self.order(), at, execution))

    @precondition(lambda self: self.is_open)
    @rule(status=st.sampled_from(["canceled", "expired"]))
    def ends(self, status: str) -> None:
        self.status = status
        self.said.append(VenueUpdate(status, self.order(), T0 + len(self.done)))

    # --- what reaches us ---------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def an_event_comes(self, data: st.DataObject) -> None:
        self.store(self.core.on_update(data.draw(st.sampled_from(self.said))))

    @rule()
    def the_post_is_answered(self) -> None:
        self.store(self.core.on_outcome("o", Accepted(self.order()), T0))

    @rule()
    def executions_are_asked_for(self) -> None:
        self.store(self.core.on_executions(self.done))

    @rule()
    def it_is_looked_up(self) -> None:
        self.store(self.core.on_order(self.order()))

    @rule()
    def the_stream_comes_back(self) -> None:
        for body in self.stored:
            self.core.apply(body)

    @rule(whole=st.booleans())
    def restart(self, whole: bool) -> None:
        if whole:
            self.core = ExecutionCore()
            for body in self.stored:
                self.core.apply(body)
        else:
            state = msgspec.msgpack.encode(self.core.state)
            self.core = ExecutionCore(msgspec.msgpack.decode(state, type=ExecState))

    # --- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_said_twice(self) -> None:
        fills = [body for body in self.stored if isinstance(body, Fill)]
        assert [fill.cum_qty for fill in fills] == [execution.cum_qty for execution in self.done[: len(fills)]]
        assert [fill.last_px for fill in fills] == [execution.last_px for execution in self.done[: len(fills)]]
        assert sum(isinstance(body, OrderAccepted) for body in self.stored) <= 1
        assert sum(isinstance(body, ENDS) for body in self.stored) <= 1
        assert self.core.state.orders["o"].filled_qty == sum((fill.last_qty for fill in fills), Decimal(0))

    @invariant()
    def the_stream_alone_gives_the_same(self) -> None:
        again = ExecutionCore()
        for body in self.stored:
            again.apply(body)
        assert again.state == self.core.state

    def teardown(self) -> None:
        """A round of questions, as after a reconnect, and everything is known."""
        if not hasattr(self, "of"):
            return
        self.store(self.core.on_order(self.order()))
        self.store(self.core.on_executions(self.done))
        self.store(self.core.on_order(self.order()))
        assert sum(isinstance(body, Fill) for body in self.stored) == len(self.done)
        ends = [type(body) for body in self.stored if isinstance(body, ENDS)]
        expected = {"filled": [OrderFilled], "canceled": [OrderCanceled], "expired": [OrderExpired]}
        assert ends == expected.get(self.status, [])


OrderAtVenue.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
TestOrderAtVenue = OrderAtVenue.TestCase
