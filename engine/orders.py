"""Life of an order: a table of legal moves and one function that follows it. State comes from events, never set.

The shape is NautilusTrader's (model/orders/base.pyx:101-165). Odd moves carry the reason from the real world.
Called by engine.execution.
"""

from __future__ import annotations

from enum import StrEnum

from engine.errors import BrokenPromiseError


class OrderStatus(StrEnum):
    """State of an order, our words."""

    INITIALIZED = "initialized"
    DENIED = "denied"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"


_S = OrderStatus
_OPEN_MOVES = {
    _S.PENDING_CANCEL,
    _S.PENDING_REPLACE,
    _S.PARTIALLY_FILLED,
    _S.FILLED,
    _S.CANCELED,
    _S.EXPIRED,
    _S.REPLACED,
    _S.REJECTED,  # the venue may refuse after its 200 (Alpaca-API #107)
}
MOVES: dict[OrderStatus, set[OrderStatus]] = {
    _S.INITIALIZED: {_S.DENIED, _S.SUBMITTED, _S.EXPIRED},  # expired: not sent in time, or with nothing left to close
    _S.SUBMITTED: {_S.ACCEPTED, *_OPEN_MOVES},  # fills may overtake the acceptance (Alpaca-API #74)
    _S.ACCEPTED: _OPEN_MOVES,
    _S.PENDING_CANCEL: {_S.ACCEPTED, *_OPEN_MOVES},  # cancel refused: the order lives on
    _S.PENDING_REPLACE: {_S.ACCEPTED, *_OPEN_MOVES},
    _S.PARTIALLY_FILLED: _OPEN_MOVES,
    # Fill and cancel race (Alpaca-API #71): a late fill is booked, and one of a part leaves the order ended, for an
    # open state here would let it end a second time.
    _S.CANCELED: {_S.FILLED},
    _S.EXPIRED: {_S.FILLED},
    _S.REPLACED: {_S.FILLED},
    _S.DENIED: set(),
    _S.REJECTED: set(),
    _S.FILLED: set(),
}
TERMINAL = frozenset({_S.DENIED, _S.REJECTED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REPLACED})

# All 18 of Alpaca's states. done_for_day is not terminal: a gtc order wakes up the next day.
_FROM_VENUE: dict[str, OrderStatus] = {
    "new": _S.ACCEPTED,
    "accepted": _S.ACCEPTED,
    "pending_new": _S.ACCEPTED,
    "accepted_for_bidding": _S.ACCEPTED,
    "held": _S.ACCEPTED,
    "pending_review": _S.ACCEPTED,
    "stopped": _S.ACCEPTED,
    "suspended": _S.ACCEPTED,
    "calculated": _S.ACCEPTED,
    "done_for_day": _S.ACCEPTED,
    "partially_filled": _S.PARTIALLY_FILLED,
    "filled": _S.FILLED,
    "canceled": _S.CANCELED,
    "expired": _S.EXPIRED,
    "replaced": _S.REPLACED,
    "pending_cancel": _S.PENDING_CANCEL,
    "pending_replace": _S.PENDING_REPLACE,
    "rejected": _S.REJECTED,
}


def from_venue(status: str) -> OrderStatus:
    """Map the venue's word for an order's state.

    Raises:
        BrokenPromiseError: A word we do not know: never guessed.
    """
    try:
        return _FROM_VENUE[status]
    except KeyError:
        msg = f"the venue reports an order status we do not know: {status!r}; add it to engine/orders.py"
        raise BrokenPromiseError(msg) from None


def has_ended(status: str) -> bool:
    """Tell whether the venue's word says that an order is over; one we do not know says no."""
    return _FROM_VENUE.get(status) in TERMINAL


def move(status: OrderStatus, to: OrderStatus) -> OrderStatus | None:
    """Follow the table: the new state, or None where the event is late or repeated and changes nothing."""
    if to in MOVES[status]:
        return to
    return None
