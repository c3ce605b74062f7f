"""Ways to break the code by one line. A simulation that does not see one of them is not worth its time.

`SEEDS` holds the first seed from 1 that finds each; the test plays that one alone. After a change to the simulation or
to the code, find them anew: `python -m tests.simulation --mutant NAME`.
"""

from __future__ import annotations

from tests.simulation.patching import Patch

_EXECUTOR = "streams.services.executor:Executor"
_SENDER = "streams.executing.sending:Sender"
_EXECUTION = "engine.execution:ExecutionCore"
_ALL = (
    Patch(
        "random_id_per_attempt",
        f"{_SENDER}._post",
        "self._venue.submit(intent)",
        'self._venue.submit(msgspec.structs.replace(intent, id=f"{intent.id[:20]}{self.submitted}"))',
        "each request has an id of its own",
    ),
    Patch(
        "position_before_publish",
        "streams.pipeline:Pipeline.publish",
        "            if outgoing:",
        "            self.position = taken[-1][1]\n            if outgoing:",
        "the position moves before what followed is stored",
    ),
    Patch(
        "repeated_bar_published",
        "engine.ingest:IngestCore.on_bars",
        "if bar.ts_event <= last.get(bar.symbol, 0):",
        "if False:",
        "a bar that is known is published again",
    ),
    Patch(
        "bars_pass_the_gap",
        "engine.ingest:IngestCore.on_bars",
        "if held and bar.symbol in held:",
        "if False:",
        "live bars do not wait for the gap to be closed",
    ),
    Patch(
        "feed_forgets_what_it_said",
        "streams.services.feed:Feed.start",
        "known[body.symbol] = body.ts_event",
        "pass",
        "a restarted feed starts from the opening",
    ),
    Patch(
        "signals_forget_what_they_said",
        "streams.services.signals:Signals.start",
        "engine.on_own_signal(said)",
        "pass",
        "restarted signals do not look at their own last outputs",
    ),
    Patch(
        "reservation_not_released",
        "engine.risk.core:RiskCore._end",
        "self.state.portfolio.release(end.client_order_id)",
        "None",
        "what is reserved stays reserved when the order ends",
    ),
    Patch(
        "own_echo_applied_twice",
        "engine.risk.core:RiskCore._take_order",
        "if self._working.get(intent.id) is not None:",
        "if False:",
        "a verdict is applied when it is made and again when it comes back",
    ),
    Patch(
        "stale_check_off",
        "engine.risk.rules_market:stale_bar",
        "if 0 <= age_ms <=",
        "if 0 <= age_ms or age_ms <=",
        "decisions rest on old bars",
    ),
    Patch(
        "signal_answered_twice",
        "streams.services.risk:Risk._decide_on",
        "silent = batch[-1].seq < self._end_at_start",
        "silent = False",
        "a restarted risk answers before it has read its own verdicts",
    ),
    Patch(
        "ledger_messages_not_owed",
        "streams.services.risk:Risk._apply",
        "for ledger in core.apply(body):",
        "for ledger in core.apply(body)[: None if item.seq > self._end_at_start else 0]:",
        "positions of fills read at the start are not said",
    ),
    Patch(
        "fill_keyed_by_execution_id",
        f"{_EXECUTION}._fills",
        "if execution.cum_qty <= filled:",
        "if execution.cum_qty <= filled and (execution.execution_id or not order.filled_qty):",
        "the same execution told by activities is another one",
    ),
    Patch(
        "partial_fill_ends_the_order",
        f"{_EXECUTION}._fills",
        "if order.is_open and _is_whole(order, filled, status):",
        "if order.is_open:",
        "what is left after a partial fill is ignored",
    ),
    Patch(
        "canceled_order_ends_again",
        f"{_EXECUTION}._end",
        "if not order.is_open or status",
        "if status",
        "a repeated end is stored again",
    ),
    Patch(
        "fee_told_twice",
        f"{_EXECUTION}._apply_fee",
        "state.fees[fee.id] = fee.ts_event",
        "pass",
        "an activity that is known is stored again",
    ),
    Patch(
        "account_not_compared",
        "engine.execution.reconcile:differences",
        "if ours != theirs:",
        "if False:",
        "a position that differs is not seen",
    ),
    Patch(
        "difference_believed_at_once",
        "engine.execution.reconcile:Looks.take",
        "if (seen, moves) != self._last or not is_idle:",
        "if False:",
        "one look that differs is enough",
    ),
    Patch(
        "late_activity_counts_beside_its_correction",
        f"{_EXECUTION}._taken_back",
        "if back := stands.take_advance(fee):",
        "if (back := stands.take_advance(fee)) < 0:",
        "the fee that a correction stood for is taken once more",
    ),
    Patch(
        "advance_taken_back_twice",
        "engine.execution.accounting:Standing.take_advance",
        "self._advanced[fee.symbol] -= back",
        "pass",
        "two fees of one answer take back the same correction",
    ),
    Patch(
        "resend_without_lookup",
        f"{_EXECUTOR}._take_outcome",
        "asks.ids.add(intent.id)",
        "self._sender.again(intent)",
        "after an unknown outcome the request is repeated blindly",
    ),
    Patch(
        "post_before_submitted_is_stored",
        f"{_SENDER}.send",
        "await publish(events)",
        "self._tasks.spawn(publish(events))",
        "the request leaves while OrderSubmitted is on its way",
    ),
    Patch(
        "unsent_forgotten",
        f"{_EXECUTOR}.start",
        "self._sender.add(intent)",
        "pass",
        "intents read at the start are never sent",
    ),
    Patch(
        "unresolved_not_asked",
        f"{_EXECUTOR}._open_ids",
        " | set(self._core.unresolved())",
        "",
        "orders without an answer are not looked up after a restart",
    ),
    Patch(
        "sent_when_too_late",
        f"{_EXECUTION}.submit",
        "is_pointless or now_ns > intent.valid_until or not",
        "is_pointless or not",
        "an intent is sent whatever its age",
    ),
    Patch(
        "checkpoint_ahead_of_its_state",
        "streams.pipeline:Pipeline.checkpoint",
        "self._store.write({self._reader.stream: self.position}",
        "self._store.write({self._reader.stream: self.position + 1}",
        "one message is never applied after a restart",
    ),
)
MUTANTS = {patch.name: patch for patch in _ALL}
SEEDS = {
    "random_id_per_attempt": 1,
    "position_before_publish": 4,
    "repeated_bar_published": 15,
    "bars_pass_the_gap": 36,
    "feed_forgets_what_it_said": 1,
    "signals_forget_what_they_said": 6,
    "reservation_not_released": 1,
    "own_echo_applied_twice": 1,
    "stale_check_off": 1,
    "signal_answered_twice": 32,
    "ledger_messages_not_owed": 3,
    "fill_keyed_by_execution_id": 4,
    "partial_fill_ends_the_order": 3,
    "canceled_order_ends_again": 1,
    "fee_told_twice": 1,
    "account_not_compared": 18,
    "difference_believed_at_once": 81,
    "late_activity_counts_beside_its_correction": 56,
    "advance_taken_back_twice": 364,
    "resend_without_lookup": 4,
    "post_before_submitted_is_stored": 1,
    "unsent_forgotten": 1,
    "unresolved_not_asked": 1,
    "sent_when_too_late": 7,
    "checkpoint_ahead_of_its_state": 3,
}
