"""Defects this simulation found that the code still has: each a one-line mend, applied so that the rest can be seen.

Each has a minimal test in test_found.py that fails without it. A mend whose line is gone from the code is left out:
then the seeds try the code as it is. Delete it here when its defect is mended.
"""

from __future__ import annotations

from tests.simulation.patching import Patch, applies

MENDS = (
    Patch(
        "executions_since_oldest_open",
        "streams.services.executor:Executor._catch_up",
        "max(state.last_execution_ns, state.opened_ns)",
        "max(min([state.last_execution_ns, *(o.intent.decided_ns for o in self._core._open())]), state.opened_ns)",
        "a missed fill older than the newest known one is never asked for, and the executor asks for ever",
        seed=5,
    ),
    Patch(
        "rest_ends_with_rejection",
        "engine.risk.core:RiskCore.apply",
        "self.state.portfolio.release(body.client_order_id)",
        "self.state.portfolio.release(body.client_order_id); "
        "[self.state.waiting.pop(key) for key, (signal, ordinal) in list(self.state.waiting.items()) "
        "if isinstance(body, OrderRejected) and ordinal and (signal.bot, signal.symbol) == (body.bot, body.symbol)]",
        "the rest of a target is ordered again and again while the venue refuses the first order",
        seed=2,
    ),
    Patch(
        "resend_only_while_valid",
        "streams.services.executor:Executor._send",
        "not order.is_open:\n                continue\n            if intent.id in self._resend:",
        "not order.is_open or (intent.id in self._resend and order.venue_order_id) "
        "or intent in ready or intent.id in self.__dict__.get('in_flight', ()):\n                continue\n"
        "            if intent.id in self._resend and now <= intent.valid_until:",
        "an order that waited for the rate or for trade_updates is sent after its valid_until",
        seed=5,
    ),
    Patch(
        "no_checkpoint_ahead_of_the_stream",
        "streams.services.executor:Executor.stop",
        "self._checkpoint()",
        "self._working or self._checkpoint()",
        "stopped while events are being stored, the executor writes a state that holds them: they are never stored",
        seed=154,
    ),
    Patch(
        "in_flight_noted",
        "streams.services.executor:Executor._send",
        'self._counters["submitted"] += 1',
        'self._counters["submitted"] += 1; self.__dict__.setdefault("in_flight", set()).add(intent.id)',
        "an order whose request is under way is sent again, and again after it was refused",
        seed=396,
    ),
    Patch(
        "in_flight_ends",
        "streams.services.executor:Executor._take_outcome",
        "self._posting -= 1",
        "self._posting -= 1; isinstance(outcome, RateLimited) or self.in_flight.discard(intent.id); self._asked.pop(intent.id, None)",
        "as in_flight_noted",
        part_of="in_flight_noted",
    ),
    Patch(
        "in_flight_while_limited",
        "streams.services.executor:Executor._send_later",
        "self._resend.add(intent.id)",
        'self.__dict__.get("in_flight", set()).discard(intent.id); self._resend.add(intent.id)',
        "as in_flight_noted",
        part_of="in_flight_noted",
    ),
    Patch(
        "in_flight_is_not_missing",
        "streams.services.executor:Executor._take_missing",
        "not order.is_open:",
        'not order.is_open or client_order_id in self.__dict__.get("in_flight", ()):',
        "as in_flight_noted",
        part_of="in_flight_noted",
    ),
    Patch(
        "not_found_is_old_news",
        "streams.services.executor:Executor._take_missing",
        "if order is None or",
        "if order is None or order.venue_order_id or",
        "a lookup's `not found` that was overtaken by the acceptance ends the order as never sent",
    ),
    Patch(
        "rest_follows_from_the_verdict",
        "engine.risk.core:RiskCore._await_rest",
        "if order_quantity(target_quantity(bot, signal, intent.ref_px), held, working)[1]:",
        "if not intent.reserved and target_quantity(bot, signal, intent.ref_px) * intent.side.sign > 0:",
        "whether a second order follows is computed again at replay, from a ledger that has moved on since",
        seed=5,
    ),
)


def waiting(without: str = "") -> list[Patch]:
    """The mends whose line is still in the code, but one and its parts."""
    return [patch for patch in MENDS if without not in {patch.name, patch.part_of} - {""} and applies(patch)]
