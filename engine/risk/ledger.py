"""What moves cash and holdings, booked once each: the ledger's opening, fills, fees. Part of engine.risk.core.

After each of them the sum of a symbol over all bots, with `manual`, `unattributed` and `flatten`, is the venue's net.
Fills of `tapeline halt --flatten` are shared out over the bots whose positions they close.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.adoption import FLATTEN, UNATTRIBUTED
from engine.ids import fill_key
from engine.messages import Account, AccountOpened, AnyBody, Fee, Fill, OrderAdopted, Position
from engine.risk.exposure import Exposure
from engine.risk.guards import Guards
from engine.risk.state import RiskState, remember
from engine.risk.working import Working
from engine.sessions import SessionTable
from engine.values import ZERO, Purpose, multiplier, normal, plain


class Ledger:
    """The books of an account.

    Args:
        state: Risk's; the portfolio in it is changed here and by reservations only.
        exposure: Sums over the portfolio.
        working: The open orders.
        guards: Follow the positions.
        sessions: Tell when a trading day begins.
    """

    def __init__(
        self, state: RiskState, exposure: Exposure, working: Working, guards: Guards, sessions: SessionTable
    ) -> None:
        self._state = state
        self._exposure = exposure
        self._working = working
        self._guards = guards
        self._sessions = sessions

    def open(self, opened: AccountOpened) -> None:
        """Take over what the account held before Tapeline came: counted, owned by no bot, at the prices of then."""
        state = self._state
        if state.account:
            return
        state.account, state.run = opened.account_number, opened.run
        state.portfolio.cash = opened.cash
        for symbol, quantity in opened.positions.items():
            held, price = state.portfolio.holding(UNATTRIBUTED, symbol), opened.prices.get(symbol)
            held.signed_qty = quantity
            if price is not None:
                held.cost = quantity * price
                self._exposure.mark(symbol, price, opened.ts_event)
            self._exposure.touch(UNATTRIBUTED, symbol)

    def book_fill(self, fill: Fill) -> list[AnyBody]:
        """Book an execution; nothing for one that is booked."""
        state = self._state
        booked = state.filled.get(fill.venue_order_id, ZERO)
        if fill.cum_qty <= booked:
            return []
        remember(state.filled, fill.venue_order_id, fill.cum_qty)
        state.track.turn(self._sessions.day_start(fill.ts_event), self._exposure)
        self._working.fill(fill)
        cause = fill_key(fill.venue_order_id, plain(fill.cum_qty))
        bodies: list[AnyBody] = []
        for part in self._parts(fill):
            state.portfolio.apply_fill(part)
            self._exposure.touch(part.bot, part.symbol)
            self._exposure.mark(part.symbol, part.last_px, part.ts_event, also_equal=False)
            state.track.observe(part.bot, self._exposure)
            bodies.append(self.position(part.bot, part.symbol, cause, part.ts_event))
            bodies += self._guards.moved(part.bot, part.symbol, part.last_px, cause, part.ts_event)
        return [*bodies, self.account(cause, fill.ts_event)]

    def book_fee(self, fee: Fee) -> list[AnyBody]:
        """Book a fee or another activity; nothing for one that is booked."""
        state = self._state
        if fee.id in state.fees:
            return []
        remember(state.fees, fee.id, fee.ts_event)
        bodies: list[AnyBody] = []
        for part in state.portfolio.parts_of(fee):
            held = state.portfolio.apply_fee(part)
            self._exposure.touch(part.bot, part.symbol)
            bodies.append(self.position(part.bot, part.symbol, fee.id, fee.ts_event))
            bodies += self._guards.moved(part.bot, part.symbol, held.avg_px_open, fee.id, fee.ts_event)
        return [*bodies, self.account(fee.id, fee.ts_event)]

    def adopt(self, adopted: OrderAdopted) -> list[AnyBody]:
        """Count an order that others placed; what protects or flattens reserves nothing."""
        self._state.legs_due.pop(adopted.parent, None)
        if self._working.get(adopted.id) is not None:
            return []
        self._working.add(adopted)
        if adopted.purpose is Purpose.FOREIGN:
            price = adopted.limit_px or self._exposure.last(adopted.symbol) or ZERO
            left, key = adopted.quantity - adopted.filled_qty, f"{adopted.bot}|{adopted.symbol}"
            cash = left * price * multiplier(adopted.symbol)
            self._state.portfolio.reserve_for(adopted.id, key, adopted.side.sign * left, cash)
            self._exposure.touch(adopted.bot, adopted.symbol)
        return list(self._guards.told(adopted.bot, adopted.symbol, f"{adopted.id}|adopted", adopted.ts_event))

    def position(self, bot: str, symbol: str, cause: str, ts_event: int) -> Position:
        """Say what a bot holds."""
        held = self._state.portfolio.holding(bot, symbol)
        return Position(bot, symbol, held.signed_qty, held.avg_px_open, held.realized_pnl, cause, ts_event)

    def account(self, cause: str, ts_event: int) -> Account:
        """Say what the account has in cash."""
        book = self._state.portfolio
        return Account(book.cash, book.reserved, normal(self._exposure.account.realized), cause, ts_event)

    def _parts(self, fill: Fill) -> list[Fill]:
        """Share a flattening fill out over the bots that hold the other side, by name; the rest belongs to nobody."""
        if fill.bot != FLATTEN:
            return [fill]
        left, parts = fill.last_qty, list[tuple[str, Decimal]]()
        for key in sorted(self._state.portfolio.holdings):
            bot, symbol = key.split("|", 1)
            held = self._state.portfolio.signed_qty(bot, symbol)
            if symbol == fill.symbol and held * fill.side.sign < 0 and left:
                part = min(left, abs(held))
                parts.append((bot, part))
                left -= part
        if left:
            parts.append((UNATTRIBUTED, left))
        return [msgspec.structs.replace(fill, bot=bot, last_qty=quantity) for bot, quantity in parts]
