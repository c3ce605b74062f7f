"""Splits and changes of name: announced ones remembered, stored when they are done, open orders seen to before.

An announced split is stored once, dated by its effective time (midnight in New York of its ex-date):
1. when the venue's positions show it: then what it did with fractions is known;
2. at the latest a quarter of an hour before the session opens, and before any execution from after it is counted;
3. of a symbol that nobody holds, as soon as it has taken effect.
Two activities that tell of a split which nobody announced count as an announcement that is due.

Orders: a simple one goes along with a forward split, at the venue as in the ledger. A group (bracket, OCO, OTO) stays
as it is at the venue and would trigger at the new prices, and a reverse split ends every order: those are asked to end
from the last close before it on. What the venue then still has otherwise than the ledger is asked to end too.
Source: "Orders at Alpaca" (DNR, DNC), FINRA rule 5330. Pure; part of engine.execution.core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.execution.conclusion import Conclusion
from engine.execution.fold import DONE_MAX, ExecOrder, ExecState, ExecutionFold, since
from engine.ids import make_id
from engine.messages import CancelOrder, Split
from engine.ports import VenueAccount, VenueExecution, VenueOrder, VenueSplit
from engine.splits import goes_along, times
from engine.values import NS_PER_DAY, NS_PER_MINUTE, ZERO, Purpose, normal, plain

SAME_NS = 5 * NS_PER_DAY
"""Two notes of one corporate action lie at most this far apart."""
ASKED_BACK_NS, ASKED_AHEAD_NS = 7 * NS_PER_DAY, 30 * NS_PER_DAY
"""Span in which announced splits are asked for."""
_BEFORE_OPEN_NS = 15 * NS_PER_MINUTE
_NIGHT_NS = 9 * 60 * NS_PER_MINUTE
"""From close to midnight, and from there to the opening, where the calendar is not known: at most."""


class Splitting(ExecutionFold):
    """What is known of splits that are not stored yet."""

    def __init__(self, state: ExecState | None = None, *, done_max: int = DONE_MAX) -> None:
        super().__init__(state, done_max=done_max)
        self._announced: dict[str, VenueSplit] = {}

    def announce(self, splits: Iterable[VenueSplit]) -> None:
        """Remember what the venue announces."""
        for split in splits:
            if not self._is_done(split) and not self._is_moot(split):
                self._announced[split.id] = split

    @property
    def has_done_split(self) -> bool:
        """Whether activities tell of a split that is not stored yet."""
        return any(split.activities for split in self._undone())

    def due_ns(self) -> int:
        """Venue time from which something is to be done about a split; 0 for never."""
        moments = [self._moment(split) for split in self._undone() if not split.activities]
        return min(moments, default=0)

    def splits_before(self, symbol: str, ts_ns: int) -> Conclusion:
        """Give the splits to be stored before something in a symbol, at a venue time, is counted."""
        due = [a for a in self._undone() if symbol in (a.symbol, a.new_symbol) and a.effective_ns <= ts_ns]
        return Conclusion(tuple(_split(a) for a in due))

    def around_splits(self, executions: Sequence[VenueExecution]) -> list[tuple[Conclusion, list[VenueExecution]]]:
        """Cut executions where splits come between them: each part with the splits to be stored before it."""
        rest, parts, before = list(executions), list[tuple[Conclusion, list[VenueExecution]]](), Conclusion()
        for announced in self._undone():
            names, ns = (announced.symbol, announced.new_symbol), announced.effective_ns
            later = [e for e in rest if e.symbol in names and e.ts_event >= ns]
            if later:
                parts.append((before, [e for e in rest if e.ts_event < ns]))
                rest = [e for e in rest if e.ts_event >= ns]
                before = Conclusion((_split(announced),))
        return [*parts, (before, rest)]

    def on_account(self, account: VenueAccount, now_ns: int) -> Conclusion:
        """Conclude which splits to store now, and which orders must end before one."""
        for key in [key for key, a in self._announced.items() if a.effective_ns < now_ns - ASKED_BACK_NS]:
            del self._announced[key]
        wishes = self._prepare(now_ns)
        events: list[Split] = []
        touched: set[str] = set()
        for announced in self._undone():
            names = {announced.symbol, announced.new_symbol}
            if not touched & names:  # a second one of a symbol is judged by the ledger after the first
                split = self._booked(announced, account, now_ns)
                if split is not None:
                    events.append(split)
                    touched |= names
        return Conclusion((*wishes, *events))

    def otherwise_split(self, order: ExecOrder, report: VenueOrder) -> list[CancelOrder]:
        """Wish for the end of an order that a stored split left at the venue otherwise than in the ledger."""
        intent, state = order.intent, self.state
        if not self._may_end(order) or not order.is_open:
            return []
        for split in state.splits.values():
            if intent.symbol != split.new_symbol or since(order) >= split.ts_event:
                continue
            is_other = report.quantity not in (None, intent.quantity) and intent.notional is None
            if is_other or not goes_along(intent, split.ratio):
                return [self._wish(order, split.id, split.ratio, report.updated_ns)]
        return []

    # --- one split ---------------------------------------------------------------------------------------------------

    def _undone(self) -> list[VenueSplit]:
        for key in [key for key, a in self._announced.items() if self._is_done(a) or self._is_moot(a)]:
            del self._announced[key]
        return sorted(self._announced.values(), key=lambda a: (a.effective_ns, a.symbol, a.id))

    def _is_done(self, announced: VenueSplit) -> bool:
        return announced.id in self.state.splits or any(
            (split.symbol, split.new_symbol) == (announced.symbol, announced.new_symbol)
            and abs(split.ts_event - announced.effective_ns) <= SAME_NS
            for split in self.state.splits.values()
        )

    def _is_moot(self, announced: VenueSplit) -> bool:
        """Whether the ledger is in new shares already: opened, or traded, after it."""
        book, ns = self.state.book, announced.effective_ns
        if book.traded.get(announced.symbol, 0) >= ns:
            return True
        return bool(book.held(announced.symbol)) and self.state.opened_ns >= ns

    def _moment(self, announced: VenueSplit) -> int:
        """When something is to be done about it next."""
        if self._in_the_way(announced):
            return self._close_before(announced.effective_ns)
        return self._last_moment(announced)

    def _last_moment(self, announced: VenueSplit) -> int:
        ns = announced.effective_ns
        if not self.state.book.held(announced.symbol):
            return ns
        spans = self.state.sessions
        if any(opened <= ns < closed for opened, closed in spans.items()):
            return ns
        opened = min((opened for opened in spans if opened >= ns), default=ns + _NIGHT_NS)
        return max(ns, min(opened, ns + _NIGHT_NS * 2) - _BEFORE_OPEN_NS)

    def _close_before(self, ns: int) -> int:
        spans = self.state.sessions
        if any(opened <= ns < closed for opened, closed in spans.items()):
            return ns - _BEFORE_OPEN_NS
        return max((closed for closed in spans.values() if closed <= ns), default=ns - _NIGHT_NS)

    def _booked(self, announced: VenueSplit, account: VenueAccount, now_ns: int) -> Split | None:
        """Give the split if the venue's positions show it, or if it cannot wait."""
        before = self.state.book.held(announced.symbol)
        is_late = now_ns >= self._last_moment(announced)
        if not before:
            return _split(announced) if is_late else None
        after, theirs = times(before, announced.ratio), _theirs(account, announced.new_symbol)
        if announced.new_symbol != announced.symbol:
            theirs -= self.state.book.held(announced.new_symbol)
            is_there = not _theirs(account, announced.symbol)
        else:
            is_there = theirs != before
        fraction = normal(after - theirs)
        is_dropped = abs(fraction) < 1 and fraction * after > 0 and theirs == theirs.to_integral_value()
        if is_there and (fraction == 0 or is_dropped) and announced.effective_ns <= now_ns + NS_PER_DAY:
            return _split(announced, fraction)
        return _split(announced) if is_late and not announced.activities else None

    # --- orders in its way -----------------------------------------------------------------------------------------

    def _prepare(self, now_ns: int) -> list[CancelOrder]:
        """Wish for the end of orders that would not go along, once each, from the last close before a split on."""
        wishes: dict[str, CancelOrder] = {}
        for announced in self._undone():
            if now_ns >= self._close_before(announced.effective_ns):
                for order in self._in_the_way(announced):
                    wish = self._wish(order, announced.id, announced.ratio, now_ns)
                    wishes.setdefault(wish.client_order_id, wish)
        return list(wishes.values())

    def _in_the_way(self, announced: VenueSplit) -> list[ExecOrder]:
        return [
            order
            for order in self._open()
            if order.intent.symbol == announced.symbol
            and self._may_end(order)
            and since(order) < announced.effective_ns
            and not goes_along(order.intent, announced.ratio)
        ]

    def _may_end(self, order: ExecOrder) -> bool:
        """Whether it is ours to end: at the venue, of a bot, and not asked to end yet. Orders of others are theirs."""
        intent = order.intent
        return bool(
            order.venue_order_id and intent.purpose is not Purpose.FOREIGN and intent.id not in self.state.unwanted
        )

    def _wish(self, order: ExecOrder, cause: str, ratio: Decimal, now_ns: int) -> CancelOrder:
        state, intent = self.state, order.intent
        wish_id = make_id(state.account, state.run, "cancel", intent.id, cause)
        reason = f"the split of {intent.symbol} ({plain(ratio)} for 1) does not take it along as the ledger does"
        return CancelOrder(wish_id, intent.id, reason, "executor", now_ns)


def _split(announced: VenueSplit, fraction: Decimal = ZERO) -> Split:
    return Split(
        id=announced.id,
        symbol=announced.symbol,
        new_symbol=announced.new_symbol,
        ratio=announced.ratio,
        ts_event=announced.effective_ns,
        fraction_qty=fraction,
    )


def _theirs(account: VenueAccount, symbol: str) -> Decimal:
    return normal(account.positions.get(symbol, ZERO))
