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
    ),
    Patch(
        "rest_ends_with_rejection",
        "engine.risk.core:RiskCore.apply",
        "self.state.portfolio.release(body.client_order_id)",
        "self.state.portfolio.release(body.client_order_id); "
        "[self.state.waiting.pop(key) for key, (signal, ordinal) in list(self.state.waiting.items()) "
        "if isinstance(body, OrderRejected) and ordinal and (signal.bot, signal.symbol) == (body.bot, body.symbol)]",
        "the rest of a target is ordered again and again while the venue refuses the first order",
    ),
    Patch(
        "resend_only_while_valid",
        "streams.services.executor:Executor._send",
        "not order.is_open:\n                continue\n            if intent.id in self._resend:",
        "not order.is_open or (intent.id in self._resend and order.venue_order_id):\n                continue\n"
        "            if intent.id in self._resend and now <= intent.valid_until:",
        "an order that waited for the rate or for trade_updates is sent after its valid_until",
    ),
    Patch(
        "no_checkpoint_ahead_of_the_stream",
        "streams.services.executor:Executor.stop",
        "self._checkpoint()",
        "self._working or self._checkpoint()",
        "stopped while events are being stored, the executor writes a state that holds them: they are never stored",
    ),
)


def waiting() -> list[Patch]:
    """The mends whose line is still in the code."""
    return [patch for patch in MENDS if applies(patch)]
