"""`tapeline halt --flatten`, the part at the venue: cancel everything, verify, close every position, verify.

It looks, does what engine.flattening decides, says each step in one line, and looks again until the account is flat or
the time is up. It keeps no state of its own: killed anywhere and run again it goes on from what the venue says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from engine.errors import BrokenPromiseError, UnreachableError
from engine.flattening import Flattening, Look, Plan
from engine.messages import OrderIntent
from engine.ports import Accepted, OpenOrder, RateLimited, Rejected, Unknown, VenueOrder
from engine.values import NS_PER_S, plain
from streams.role import Points
from streams.subjects import escape
from tapeline.fence.access import Access, check_account

_WORKERS = 4
_PAUSES_S = (0.2, 0.2, 0.4, 1.0, 2.0)
"""Between looks; the last one goes on. A look is five requests of the venue's 200 a minute."""
_CANCEL_AGAIN_S = 2.0
_DAYS_NS = 7 * 24 * 3600 * NS_PER_S


def say(line: str) -> None:
    """Tell a person a step."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Flattener:
    """Brings the account to nothing.

    Args:
        access: The way to the venue.
        latch_id: Id of the halt; equal ids never do anything twice.
        points: Hook for tests.
    """

    def __init__(self, access: Access, latch_id: str, points: Points) -> None:
        self._venue, self._fence, self._now_ns = access.venue, access.fence, access.now_ns
        self._settings = access.settings.flatten
        self._access = access
        self._points = points
        self._core = Flattening(latch_id, escape, int(self._settings.positions_lag_s * NS_PER_S))
        self._sessions: tuple[tuple[int, int], ...] | None = None
        self._canceled_at = -_CANCEL_AGAIN_S
        self._not_before = 0.0
        self._said: dict[str, str] = {}

    def run(self) -> bool:
        """Work until the account is flat; True when it is.

        Raises:
            UnreachableError: The venue did not answer in the whole time; run it again, nothing is done twice.
            ConfigError: The keys are refused, or of another account.
        """
        deadline = time.monotonic() + self._settings.wait_s_max
        self._begin(deadline)
        flat_at, turn = None, 0
        while True:
            plan, has_sent = self._turn(deadline)
            if plan is not None and plan.is_flat:
                flat_at = flat_at or time.monotonic()
                if time.monotonic() - flat_at >= self._settings.confirm_s:
                    say("the account is flat: no order is open, no position is held")
                    return True
            else:
                flat_at = None
            if plan is not None and plan.is_over and not plan.is_flat:
                return self._leave(plan)
            if flat_at is None and time.monotonic() > deadline:  # what looks flat is looked at to the end of confirm_s
                return self._leave(plan)
            time.sleep(max(_PAUSES_S[min(turn, len(_PAUSES_S) - 1)], self._not_before - time.monotonic()))
            turn = 0 if has_sent else turn + 1

    def _begin(self, deadline: float) -> None:
        """Make sure whose account it is."""
        while True:
            try:
                account = check_account(self._access)
                break
            except UnreachableError as err:
                if time.monotonic() > deadline:
                    raise
                self._tell("venue", f"{err}; trying again")
        say(f"account {account}")
        self._points.hit("flatten.begun")

    def _turn(self, deadline: float) -> tuple[Plan | None, bool]:
        """Look and act once; no plan where the venue did not answer. Also whether it took an order."""
        try:
            plan = self._core.plan(self._look())
        except (UnreachableError, BrokenPromiseError) as err:
            # What cannot be read among the latest executions is not among them any more a few seconds later.
            if time.monotonic() > deadline:
                raise
            self._tell("venue", f"{err}; trying again")
            return None, False
        for symbol, why in (plan.waiting | plan.queued).items():
            self._tell(symbol, f"{symbol}: {why}")
        return plan, self._send(plan.send)

    def _look(self) -> Look:
        """Cancel what is open; then ask the venue, where each answer is not older than what was asked before it."""
        now_ns = self._now_ns()
        orders, is_whole = self._fence.open_orders()
        self._cancel(self._core.in_the_way(orders), len(orders))
        self._learn(self._core.unknown(orders))
        executions = self._venue.executions(now_ns - int(self._settings.positions_lag_s * NS_PER_S))
        positions = self._venue.account().positions
        return Look(now_ns, orders, executions, positions, self._known_sessions(now_ns), is_whole)

    def _known_sessions(self, now_ns: int) -> tuple[tuple[int, int], ...]:
        """Ask for the calendar once. It only says whether an order waits for the opening: without it, none does."""
        if self._sessions is None:
            try:
                self._sessions = tuple(self._venue.sessions(now_ns - _DAYS_NS, now_ns + _DAYS_NS))
            except UnreachableError:
                return ((now_ns, now_ns + 1),)
        return self._sessions

    def _learn(self, ids: Iterable[str]) -> None:
        for client_order_id in ids:
            found = self._venue.lookup(client_order_id)
            if isinstance(found, VenueOrder):
                self._core.learn(found)
                if found.status == "filled":
                    self._tell(client_order_id, f"{found.symbol}: {found.side} {plain(found.filled_qty)} filled")

    def _cancel(self, orders: tuple[OpenOrder, ...], open_count: int) -> None:
        """Ask for the end of what is in the way: all at once, or one by one where closing orders of ours are open."""
        if not orders or time.monotonic() - self._canceled_at < _CANCEL_AGAIN_S:
            return
        self._points.hit("flatten.before_cancel")
        if len(orders) == open_count:
            self._fence.cancel_all()
        else:
            for order in orders:
                self._fence.cancel(order.venue_order_id)
        self._canceled_at = time.monotonic()
        self._points.hit("flatten.after_cancel")
        say(f"cancel asked for {len(orders)} open orders")

    # --- closing orders ----------------------------------------------------------------------------------------------

    def _send(self, intents: tuple[OrderIntent, ...]) -> bool:
        """Send one order per symbol, a few at a time; what the venue did not take is decided anew at the next look."""
        if not intents:
            return False
        has_sent = False
        with ThreadPoolExecutor(_WORKERS) as pool:
            outcomes = list(pool.map(self._submit, intents))
        for intent, outcome in zip(intents, outcomes, strict=True):
            what = f"{intent.symbol}: {intent.side} {plain(intent.quantity)} at market ({intent.id})"
            match outcome:
                case Accepted(order):
                    self._core.learn(order)
                    has_sent = True
                    say(f"{what} sent")
                case Rejected("duplicate", _):
                    self._learn([intent.id])  # an earlier round, on the other side
                case Rejected(_, reason):
                    self._core.refused(intent.symbol, reason)
                    say(f"{what} refused by the venue: {reason}")
                case RateLimited(retry_after_s):
                    self._not_before = time.monotonic() + retry_after_s
                case Unknown(reason):
                    say(f"{what}: whether the venue has it is not known ({reason}); asking")
                    self._learn([intent.id])
        return has_sent

    def _submit(self, intent: OrderIntent) -> Accepted | Rejected | Unknown | RateLimited:
        self._points.hit("flatten.before_post")
        try:
            outcome = self._venue.submit(intent)
        except UnreachableError as err:
            outcome = Unknown(str(err))
        self._points.hit("flatten.after_post")
        return outcome

    # --- saying ------------------------------------------------------------------------------------------------------

    def _leave(self, plan: Plan | None) -> bool:
        """Say what is left."""
        found = (plan.waiting | plan.queued | plan.stuck) if plan is not None else {}
        for symbol, why in sorted(found.items()):
            say(f"{symbol} is not flat: {why}")
        return False

    def _tell(self, what: str, line: str) -> None:
        """Say a line once, until there is another one about the same."""
        if self._said.get(what) != line:
            self._said[what] = line
            say(line)
