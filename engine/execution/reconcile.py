"""Does the venue have what the stream says it has? Differences between the two, and when they count.

The venue's answers are not of one moment: a fill may show in the positions before it shows in the executions. So a
difference counts only when it is the same in two looks in a row with nothing stored between them and nothing under
way, and again after the venue was asked for everything that could explain it (`Looks`). What is left then becomes a
`Correction` of `unattributed`; above a limit trading goes to REDUCING and a person is told. Pure; called by
engine.execution.accounting.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import Enum

import msgspec

from engine.adoption import UNATTRIBUTED
from engine.execution.book import FROM_FEES, USD, Book
from engine.execution.charges import shared
from engine.execution.fold import ExecState
from engine.ids import make_id
from engine.messages import Alert, AnyBody, Command, Correction, Split
from engine.orders import TERMINAL, from_venue
from engine.ports import VenueAccount, VenueOrder
from engine.splits import times
from engine.values import NS_PER_DAY, ZERO, AssetClass, TradingMode, asset_class_of, normal, plain

CENT = Decimal("0.01")
"""The venue rounds cash to cents: less than one is no difference."""
FROM_POSITIONS, FROM_CASH, FROM_ACTIVITIES, FROM_SPLITS = "positions", "cash", "activities", "splits"
"""Where a correction comes from: two answers of the venue; an activity that came late and explains an earlier one; a
fraction of a share that the venue did not keep in a split."""
_SPLIT_NS_MAX = 5 * NS_PER_DAY


class Difference(msgspec.Struct, frozen=True):
    """Cash (symbol empty) or a net holding that differs."""

    symbol: str
    ours: Decimal
    theirs: Decimal

    @property
    def missing(self) -> Decimal:
        """What to add to ours."""
        return self.theirs - self.ours


class Seen(msgspec.Struct, frozen=True):
    """What differed in one look: of the account, and of orders, by id with what is wrong."""

    account: tuple[Difference, ...] = ()
    orders: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.account or self.orders)


class Step(Enum):
    """What to do after a look: nothing, look again soon, ask for everything and look again, or correct."""

    AGREED = "agreed"
    AGAIN = "again"
    SWEEP = "sweep"
    SETTLE = "settle"


class Looks:
    """Counts looks at the venue that show the same."""

    def __init__(self) -> None:
        self._last: tuple[Seen, int] | None = None
        self._swept = False

    @property
    def is_open(self) -> bool:
        """Whether a difference is being looked into."""
        return self._last is not None

    def reset(self) -> None:
        """Begin anew: what was seen is of another time."""
        self._last, self._swept = None, False

    def take(self, seen: Seen, moves: int, *, is_idle: bool) -> Step:
        """Judge a look.

        Args:
            seen: What differs.
            moves: How often the ledger had moved.
            is_idle: Whether no request is under way that could explain it.
        """
        if not seen:
            self.reset()
            return Step.AGREED
        if (seen, moves) != self._last or not is_idle:
            self._last, self._swept = (seen, moves), False
            return Step.AGAIN
        if not self._swept:
            self._swept = True
            return Step.SWEEP
        self.reset()
        return Step.SETTLE


def differences(book: Book, account: VenueAccount) -> tuple[Difference, ...]:
    """Compare the ledger with the account, symbols in order, cash first; fees in USD that may be taken already pass."""
    found: list[Difference] = []
    cash = normal(account.cash - book.cash)
    if abs(cash) >= CENT and not -book.may_miss(USD) <= cash <= 0:
        found.append(Difference(USD, book.cash, normal(account.cash)))
    for symbol in sorted({*book.positions, *account.positions}):
        ours, theirs = book.held(symbol), normal(account.positions.get(symbol, ZERO))
        if ours != theirs:
            found.append(Difference(symbol, ours, theirs))
    return tuple(found)


def unbooked(state: ExecState, account: VenueAccount, now_ns: int) -> tuple[Split, ...]:
    """Give splits of the last day that the ledger has and the venue's positions do not show yet."""
    found: list[Split] = []
    for split in state.splits.values():
        ours = state.book.held(split.new_symbol)
        theirs = normal(account.positions.get(split.symbol, ZERO))
        is_new = 0 <= now_ns - split.ts_event <= NS_PER_DAY and bool(theirs)
        is_same = split.new_symbol == split.symbol and theirs == ours
        if is_new and not is_same and times(theirs, split.ratio) == normal(ours + split.fraction_qty):
            found.append(split)
    return tuple(found)


def order_differences(state: ExecState, listed: Iterable[VenueOrder]) -> tuple[str, ...]:
    """Compare open orders with the venue's list: unknown ones, those that ended, those that filled otherwise."""
    found: list[str] = []
    there: set[str] = set()
    for report in _flat(listed):
        key = state.by_venue_id.get(report.venue_order_id) or report.client_order_id
        there.add(key)
        order, is_over = state.orders.get(key), from_venue(report.status) in TERMINAL
        if order is None:
            if not is_over or report.filled_qty:
                found.append(f"{key or report.venue_order_id} unknown")
        elif report.filled_qty != order.filled_qty and not report.replaces:  # else it counts along a chain of orders
            found.append(f"{key} filled {plain(report.filled_qty)}")
        elif is_over and order.is_open:
            found.append(f"{key} {report.status}")
    found += [f"{key} gone" for key in state.open_ids if state.orders[key].venue_order_id and key not in there]
    return tuple(sorted(found))


def settle(
    found: Iterable[Difference],
    state: ExecState,
    account: VenueAccount,
    *,
    usd_max: Decimal,
    now_ns: int,
    latched: bool,
) -> list[AnyBody]:
    """Bring the ledger to what the venue has. Corrections come last: killed before them, all of it is said again.

    Args:
        found: Differences that nothing explains.
        state: The executor's.
        account: What the venue said; its prices tell what a difference is worth.
        usd_max: A difference above it is more than a rounding: a person must look.
        now_ns: Venue time.
        latched: Whether the latch file is there.
    """
    corrections: list[AnyBody] = []
    alerts: list[Alert] = []
    for each in found:
        if advances := _fee_advances(each, state, account, now_ns):
            corrections += advances
            continue
        small = _fraction(each, state, account, now_ns)
        correction = small or _correction(each, state, account, now_ns)
        corrections.append(correction)
        if small is None and _worth(each, account) > usd_max:
            alerts.append(_alert(each, correction, state, now_ns))
    if alerts and not latched:  # said while trading is halted too: a person may be resuming it right now
        command_id = make_id(state.account, state.run, "reducing", alerts[0].id)
        reason = alerts[0].what.partition(":")[0]
        return [*alerts, Command(command_id, TradingMode.REDUCING, reason, "executor", now_ns), *corrections]
    return [*alerts, *corrections]


def _fee_advances(each: Difference, state: ExecState, account: VenueAccount, now_ns: int) -> list[Correction]:
    """Take off coins that the venue kept as fees which it posts at the end of the day, of each bot its own."""
    if (
        asset_class_of(each.symbol) is not AssetClass.CRYPTO
        or not -state.book.may_miss(each.symbol) <= each.missing < 0
    ):
        return []
    book, found, ours = state.book, list[Correction](), each.ours
    advanced = book.advanced.get(each.symbol, {})
    parts = shared(book.charges.get(each.symbol, []), advanced, -each.missing)
    for bot, part in (parts or {state.last_bot.get(each.symbol, UNATTRIBUTED): -each.missing}).items():
        correction = Correction(
            id=make_id(_id(each, state), bot) if found else _id(each, state),
            bot=bot,
            symbol=each.symbol,
            quantity=normal(-part),
            cash=ZERO,
            ours=normal(ours),
            theirs=normal(ours - part),
            source=FROM_FEES,
            reason="the venue took a fee in coins that it has not posted yet",
            ts_event=now_ns,
            price=account.prices.get(each.symbol),
        )
        ours -= part
        found.append(correction)
    return found


def _fraction(each: Difference, state: ExecState, account: VenueAccount, now_ns: int) -> Correction | None:
    """Take off what the venue did not keep of a share in a split that was stored before the venue booked it."""
    is_split = any(
        split.new_symbol == each.symbol and now_ns - split.ts_event <= _SPLIT_NS_MAX for split in state.splits.values()
    )
    is_whole = each.theirs == each.theirs.to_integral_value() and abs(each.theirs) < abs(each.ours)
    if not is_split or not is_whole or abs(each.missing) >= 1:
        return None
    correction = _correction(each, state, account, now_ns)
    return msgspec.structs.replace(
        correction, source=FROM_SPLITS, reason="the venue did not keep a fraction of a share in a split"
    )


def _correction(each: Difference, state: ExecState, account: VenueAccount, now_ns: int) -> Correction:
    is_cash = each.symbol == USD
    return Correction(
        id=_id(each, state),
        bot=UNATTRIBUTED,
        symbol=each.symbol,
        quantity=ZERO if is_cash else normal(each.missing),
        cash=normal(each.missing) if is_cash else ZERO,
        ours=each.ours,
        theirs=each.theirs,
        source=FROM_CASH if is_cash else FROM_POSITIONS,
        reason="no order, execution, activity or split of the venue explains it",
        ts_event=now_ns,
        price=account.prices.get(each.symbol),
    )


def _id(each: Difference, state: ExecState) -> str:
    return make_id(
        state.account, state.run, "correction", each.symbol, plain(each.ours), plain(each.theirs), state.book.moves
    )


def _worth(each: Difference, account: VenueAccount) -> Decimal:
    """USD; without a price a holding is worth more than any limit."""
    if each.symbol == USD:
        return abs(each.missing)
    price = account.prices.get(each.symbol)
    return Decimal("Infinity") if price is None else abs(each.missing) * price


def _alert(each: Difference, correction: Correction, state: ExecState, now_ns: int) -> Alert:
    what = (
        f"{each.symbol or 'cash'} is {plain(each.theirs)} at the venue and {plain(each.ours)} in the ledger, and "
        f"nothing explains it: the difference is counted as {UNATTRIBUTED}; look for trades, transfers or corporate "
        "actions made elsewhere, then run `tapeline resume`"
    )
    return Alert(make_id(state.account, state.run, "alert", correction.id), "error", "executor", what, now_ns)


def _flat(orders: Iterable[VenueOrder]) -> Iterable[VenueOrder]:
    for order in orders:
        yield order
        yield from _flat(order.legs)
