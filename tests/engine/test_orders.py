from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.errors import BrokenPromiseError
from engine.orders import MOVES, TERMINAL, OrderStatus, from_venue, move

S = OrderStatus

# The table as a person would write it on paper: rows from, columns to; x = allowed.
TABLE = """
                  den sub acc rej pca pre par fil can exp rep
initialized        x   x   .   .   .   .   .   .   .   x   .
submitted          .   .   x   x   x   x   x   x   x   x   x
accepted           .   .   .   x   x   x   x   x   x   x   x
pending_cancel     .   .   x   x   x   x   x   x   x   x   x
pending_replace    .   .   x   x   x   x   x   x   x   x   x
partially_filled   .   .   .   x   x   x   x   x   x   x   x
canceled           .   .   .   .   .   .   .   x   .   .   .
expired            .   .   .   .   .   .   .   x   .   .   .
replaced           .   .   .   .   .   .   .   x   .   .   .
denied             .   .   .   .   .   .   .   .   .   .   .
rejected           .   .   .   .   .   .   .   .   .   .   .
filled             .   .   .   .   .   .   .   .   .   .   .
"""
_COLUMNS = [
    S.DENIED, S.SUBMITTED, S.ACCEPTED, S.REJECTED, S.PENDING_CANCEL, S.PENDING_REPLACE,
    S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REPLACED,
]  # fmt: skip


def _table() -> dict[OrderStatus, set[OrderStatus]]:
    rows = [line.split() for line in TABLE.strip().splitlines()[1:]]
    return {S(name): {to for to, mark in zip(_COLUMNS, marks, strict=True) if mark == "x"} for name, *marks in rows}


@pytest.mark.parametrize("status", OrderStatus)
def test_moves_are_those_of_the_table(status: OrderStatus) -> None:
    allowed = _table()[status]
    assert MOVES[status] == allowed
    for to in OrderStatus:
        assert move(status, to) == (to if to in allowed else None)


def test_every_state_can_be_reached_and_every_open_one_can_end() -> None:
    reached = {S.INITIALIZED}
    while len(grown := reached.union(*(MOVES[status] for status in reached))) > len(reached):
        reached = grown
    assert reached == set(OrderStatus)
    for status in set(OrderStatus) - TERMINAL:
        assert MOVES[status] & TERMINAL, status


# All 18 of Alpaca's words (OrderStatus in its API reference), by what they mean to us.
VENUE_WORDS = {
    S.ACCEPTED: (
        "new accepted pending_new accepted_for_bidding held pending_review stopped suspended calculated done_for_day"
    ),
    S.PARTIALLY_FILLED: "partially_filled",
    S.FILLED: "filled",
    S.CANCELED: "canceled",
    S.EXPIRED: "expired",
    S.REPLACED: "replaced",
    S.PENDING_CANCEL: "pending_cancel",
    S.PENDING_REPLACE: "pending_replace",
    S.REJECTED: "rejected",
}


def test_all_18_words_of_the_venue_are_mapped() -> None:
    words = {word: status for status, line in VENUE_WORDS.items() for word in line.split()}
    assert len(words) == 18
    assert {word: from_venue(word) for word in words} == words


def test_the_words_are_those_of_the_venues_own_client() -> None:
    from alpaca.trading.enums import OrderStatus as AlpacaStatus

    assert {from_venue(word.value) for word in AlpacaStatus} == set(VENUE_WORDS)


@pytest.mark.parametrize("word", ["", "NEW", "cancelled", "done", "initialized", "denied", "submitted"])
def test_an_unknown_word_is_an_error_that_names_it(word: str) -> None:
    with pytest.raises(BrokenPromiseError, match=repr(word)):
        from_venue(word)


class OrderLife(RuleBasedStateMachine):
    """Any events in any order: what ended stays ended, and only a fill may still come to what was not filled."""

    def __init__(self) -> None:
        super().__init__()
        self.status = S.INITIALIZED
        self.path = [self.status]

    @rule(to=st.sampled_from(OrderStatus))
    def event(self, to: OrderStatus) -> None:
        before = self.status
        after = move(before, to)
        if after is None:
            return
        assert after is to
        self.status = after
        self.path.append(after)
        if before in TERMINAL:
            assert before in {S.CANCELED, S.EXPIRED, S.REPLACED}
            assert after is S.FILLED

    @rule(to=st.sampled_from(sorted(TERMINAL)))
    def repeated_end(self, to: OrderStatus) -> None:
        """The same end twice moves at most once."""
        after = move(self.status, to)
        if after is not None:
            assert move(after, to) is None

    @precondition(lambda self: self.status in {S.DENIED, S.REJECTED, S.FILLED})
    @rule(to=st.sampled_from(OrderStatus))
    def nothing_follows_the_end(self, to: OrderStatus) -> None:
        assert move(self.status, to) is None

    @invariant()
    def never_back_to_the_start(self) -> None:
        assert S.INITIALIZED not in self.path[1:]
        assert self.path.count(S.SUBMITTED) <= 1
        assert S.DENIED not in self.path[:-1]

    @invariant()
    def ends_once(self) -> None:
        ends = [status for status in self.path if status in TERMINAL]
        assert len(ends) <= 1 or (len(ends) == 2 and ends[1] is S.FILLED)

    @invariant()
    def nothing_reaches_the_venue_unsubmitted(self) -> None:
        at_venue = {S.ACCEPTED, S.PENDING_CANCEL, S.PENDING_REPLACE, S.REJECTED, S.CANCELED, S.REPLACED}
        if at_venue & set(self.path):
            assert self.path[1] is S.SUBMITTED


OrderLife.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestOrderLife = OrderLife.TestCase
