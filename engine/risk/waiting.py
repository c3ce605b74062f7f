"""Which signal is answered when, and what a new order must wait for.

Orders that rest in the book or hold the shares, and those on the other side. Part of engine.risk.core.
"""

from __future__ import annotations

from decimal import Decimal

from engine.adoption import NOBODY
from engine.ids import make_id
from engine.messages import AnyBody, CancelOrder, Signal, Split
from engine.risk.guards import STRATEGY
from engine.risk.state import RiskState
from engine.risk.working import OpenOrder, Working
from engine.values import Purpose


def lineage(signal: Signal) -> str:
    """Name those among which a newer signal takes an older one's place: a strategy's, or a guard's, of one position."""
    return f"{signal.bot}|{signal.symbol}{'|guard' if signal.strategy == STRATEGY else ''}"


def moved_by(body: AnyBody) -> str:
    """Name the symbol whose signals a message may have let go; empty: any. They wait for orders in their own only."""
    return "" if isinstance(body, Split) else getattr(body, "symbol", "")


def turns(waiting: dict[str, tuple[Signal, int]], symbol: str = "") -> list[tuple[Signal, int, str]]:
    """Give the signals in the order of answering, each with its ordinal and the id of the newer one, if there is one.

    A stop closes a position whatever its strategy says meanwhile: exits of guards come first.

    Args:
        waiting: All that wait.
        symbol: Only those in this one; empty: all.
    """
    some = [one for one in waiting.values() if not symbol or one[0].symbol == symbol]
    newest = {lineage(signal): signal.id for signal, _ in some}
    found = [
        (signal, ordinal, "" if newest[lineage(signal)] == signal.id else newest[lineage(signal)])
        for signal, ordinal in some
    ]
    return sorted(found, key=lambda turn: turn[0].strategy != STRATEGY)


def take_out(waiting: dict[str, tuple[Signal, int]], answer_id: str, rest_id: str) -> None:
    """Take out a signal that is answered; what is left of its target, where `rest_id` names its answer, keeps its turn.

    So whose turn it is does not depend on how many signals came together, and is the same in a replay.
    """
    if not rest_id:
        waiting.pop(answer_id, None)
        return
    turns_now = list(waiting.items())
    waiting.clear()
    for key, (signal, ordinal) in turns_now:
        if key == answer_id:
            waiting[rest_id] = signal, ordinal + 1
        else:
            waiting[key] = signal, ordinal


class Way:
    """Looks whether the way is free.

    Args:
        state: Risk's; what was asked to end is noted in it.
        working: The open orders.
    """

    def __init__(self, state: RiskState, working: Working) -> None:
        self.state = state
        self._working = working

    def repeated(self, signal: Signal) -> str:
        """Name the signal answered last if it had the same content; else nothing."""
        last = self.state.answered.get(lineage(signal))
        return "" if last is None or last.id == signal.id or _content(last) != _content(signal) else last.id

    def in_the_way(self, bot: str, symbol: str, quantity: Decimal) -> list[OpenOrder]:
        """Give the orders that must end before an order of this signed quantity may leave.

        The bot's own that rest in the book, and its exits: they hold the shares that a closing order wants, and any
        order on their other side would be a wash trade. For a closing order also entries of other bots that wait on the
        other side: an exit matters more. Exits that the venue holds back until their entry is filled are waited for.
        """
        held = self.state.portfolio.signed_qty(bot, symbol)
        closes, sign = held * quantity < 0, 1 if quantity > 0 else -1
        found = [
            order
            for order in self._working.of(bot, symbol)
            if (order.body.purpose is Purpose.TARGET and order.is_resting)
            or (order.body.purpose is Purpose.PROTECT and (closes or not self._working.waits_for_entry(order)))
        ]
        if closes:
            others = self._working.against(bot, symbol, sign)
            found += [order for order in others if order.body.purpose is Purpose.TARGET and order.is_resting]
        return found

    def cancels(self, orders: list[OpenOrder], signal: Signal, now_ns: int) -> list[CancelOrder]:
        """Wish for the end of orders, once each."""
        wishes: list[CancelOrder] = []
        for order in orders:
            key = order.body.id
            if key not in self.state.canceling:
                self.state.canceling[key] = None
                wish_id = make_id(self.state.account, self.state.run, "cancel", key, signal.id)
                wishes.append(CancelOrder(wish_id, key, f"in the way of signal {signal.id}", "risk", now_ns))
        return wishes

    def must_wait(self, bot: str, symbol: str, quantity: Decimal, ordinal: int) -> bool:
        """Whether a working order must end first: one on the other side, of any bot, or one that leads to zero.

        Or an entry whose exits the venue holds back: they are in the book as soon as it is filled.
        """
        book = self.state.portfolio
        held, working = book.signed_qty(bot, symbol), book.working_qty(bot, symbol)
        if self._working.has_held_exits(bot, symbol):
            return True
        if working != 0 and (ordinal > 0 or (working > 0) != (quantity > 0) or held * (held + working + quantity) < 0):
            return True
        sign = 1 if quantity > 0 else -1
        return any(
            not order.is_resting and order.body.bot not in NOBODY for order in self._working.against(bot, symbol, sign)
        )

    def drop_rest(self, signal_id: str) -> None:
        """Give up the rest of a target whose first order was refused, or had nothing to close: it would be again.

        Of this signal only: what another one waits for may be known here before, and in the stream after.
        """
        waiting = self.state.waiting
        for key in [k for k, (signal, ordinal) in waiting.items() if ordinal and signal.id == signal_id]:
            del waiting[key]


def _content(signal: Signal) -> str:
    return f"{signal.bar}|{signal.direction.value}|{signal.strength!r}"
