"""What moves the account without an order: activities, and what nothing explains. Part of engine.execution.core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.adoption import UNATTRIBUTED
from engine.conversions import ALONE_NS_MAX, KINDS, conversions
from engine.execution.book import FROM_FEES, Book
from engine.execution.charges import give_back, match
from engine.execution.conclusion import Conclusion
from engine.execution.fold import DONE_MAX, ExecState
from engine.execution.reconcile import (
    FROM_ACTIVITIES,
    Difference,
    Seen,
    differences,
    order_differences,
    settle,
    unbooked,
)
from engine.execution.splitting import SAME_NS, Splitting
from engine.ids import make_id
from engine.messages import Alert, AnyBody, Correction, Fee, Split
from engine.ports import VenueAccount, VenueActivity, VenueOrder
from engine.values import ZERO, normal, plain


class Standing:
    """Corrections that activities may explain: what one activity of an answer takes back is gone for the next.

    Args:
        book: As it is before any of them is applied.
    """

    def __init__(self, book: Book) -> None:
        self._advanced = {symbol: dict(of_bots) for symbol, of_bots in book.advanced.items()}
        self._corrected = dict(book.corrected)
        self._charges, self._taken = book.charges, dict[str, set[int]]()

    def payer(self, symbol: str, quantity: Decimal, cash: Decimal) -> str:
        """Name the bot whose execution a fee on coins is for; empty where it is for none that is known."""
        charges, taken = self._charges.get(symbol, []), self._taken.setdefault(symbol, set())
        place = match(charges, -(quantity or cash), is_buy=bool(quantity), taken=taken)
        if place is None:
            return ""
        taken.add(place)
        return charges[place].bot

    def take_advance(self, fee: Fee) -> tuple[str, Decimal]:
        """Give how much of a fee in coins a correction took off already, and of whom: of its bot before others."""
        of_bots = self._advanced.get(fee.symbol, {})
        bot = fee.bot if of_bots.get(fee.bot) else max(of_bots, key=lambda one: of_bots[one], default=fee.bot)
        back = min(sum(of_bots.values(), ZERO), max(-fee.quantity, ZERO))
        give_back(of_bots, bot, back)
        return bot, back

    def take_correction(self, wanted: tuple[str, Decimal, Decimal]) -> str:
        """Give the id of an unexplained correction of this symbol, quantity and cash; empty without one."""
        match = next((key for key, done in self._corrected.items() if done == wanted), "")
        self._corrected.pop(match, None)
        return match


class Accounting(Splitting):
    """What follows for the account from what the venue says of it."""

    def __init__(self, state: ExecState | None = None, *, done_max: int = DONE_MAX) -> None:
        super().__init__(state, done_max=done_max)
        self._waiting_ns: int | None = None
        self.unbooked: tuple[Split, ...] = ()
        """Splits that are stored and that the venue has not booked, as of the last look."""

    # --- activities --------------------------------------------------------------------------------------------------

    def on_activities(self, activities: Iterable[VenueActivity], now_ns: int) -> Conclusion:
        """Turn fees, dividends and transfers into ledger events, each once.

        Shares exchanged for others wait for the venue's positions, which say what became of them (`on_account`).
        """
        rows = list({a.id: a for a in activities if a.id not in self.state.fees}.values())
        told = conversions((row for row in rows if not self._is_of_stored_split(row)), now_ns)
        self.announce(told.splits)
        self._waiting_ns = min((row.ts_event for row in told.waiting), default=now_ns)
        whole = {row.id for row in told.others}
        events: list[AnyBody] = []
        stands = Standing(self.state.book)
        for row in rows:
            cash_id = f"{row.id}|cash"  # what comes in cash with exchanged shares does not wait for them
            cash = ZERO if cash_id in self.state.fees else row.cash
            is_whole = row.id in whole
            quantity = row.quantity if is_whole else ZERO
            payer = stands.payer(row.symbol, quantity, cash) or self.state.last_bot.get(row.symbol, UNATTRIBUTED)
            fee = self._fee(row, row.id if is_whole else cash_id, payer, cash, quantity)
            if fee.cash or fee.quantity:
                events += [*self._taken_back(fee, stands), fee]  # killed between the two, the fee is found again
                if row.id in told.alone or not row.is_known:
                    events.append(self._puzzling(row, now_ns))
        return Conclusion(tuple(events))

    def activities_since(self) -> int:
        """Venue time from which activities may be missing; after a start also those that waited for their partners."""
        state = self.state
        waiting_ns = state.last_activity_ns - ALONE_NS_MAX if self._waiting_ns is None else self._waiting_ns
        return max(min(state.last_activity_ns, waiting_ns), state.opened_ns)

    @staticmethod
    def _fee(activity: VenueActivity, key: str, payer: str, cash: Decimal, quantity: Decimal) -> Fee:
        return Fee(
            id=key,
            kind=activity.kind,
            bot=payer,
            symbol=activity.symbol,
            cash=cash,
            quantity=quantity,
            ts_event=activity.ts_event,
        )

    def _puzzling(self, row: VenueActivity, now_ns: int) -> Alert:
        why = (
            "is of a kind we do not know" if not row.is_known else "is half of an exchange whose other half never came"
        )
        what = (
            f"activity {row.id} ({row.kind} {row.symbol}, {plain(row.quantity)} shares, {plain(row.cash)} USD) {why}: "
            "what it says is booked; compare the position with the venue's"
        )
        return Alert(make_id(self.state.account, self.state.run, "alert", row.id), "error", "executor", what, now_ns)

    def _is_of_stored_split(self, row: VenueActivity) -> bool:
        """Whether a stored split is what this activity tells of."""
        return row.kind in KINDS and any(
            row.symbol in (split.symbol, split.new_symbol) and abs(split.ts_event - row.ts_event) <= SAME_NS
            for split in self.state.splits.values()
        )

    def _taken_back(self, fee: Fee, stands: Standing) -> list[Correction]:
        """Take back what a correction did before the venue posted this."""
        if self.reversal_id(f"fee {fee.id}") in self.state.book.known:
            return []
        bot, back = stands.take_advance(fee)
        if back:
            reason = f"activity {fee.id} is the fee that an earlier correction stood for"
            return [self._reversal(fee, f"fee {fee.id}", bot=bot, quantity=back, source=FROM_FEES, reason=reason)]
        found: list[Correction] = []
        for wanted in (("", ZERO, fee.cash), (fee.symbol, fee.quantity, ZERO)):
            match = stands.take_correction(wanted)
            if match:
                reason = f"activity {fee.id} explains correction {match}"
                back = self._reversal(
                    fee, match, quantity=-wanted[1], cash=-wanted[2], source=FROM_ACTIVITIES, reason=reason
                )
                found.append(back)
        return found

    def _reversal(
        self,
        fee: Fee,
        of: str,
        *,
        quantity: Decimal,
        source: str,
        reason: str,
        bot: str = UNATTRIBUTED,
        cash: Decimal = ZERO,
    ) -> Correction:
        state, symbol = self.state, fee.symbol if quantity else ""
        now = state.book.held(symbol) if quantity else state.book.cash
        return Correction(
            id=self.reversal_id(of),
            bot=bot,
            symbol=symbol,
            quantity=quantity,
            cash=cash,
            ours=normal(now),
            theirs=normal(now + quantity + cash),
            source=source,
            reason=reason,
            ts_event=fee.ts_event,
        )

    # --- looks -------------------------------------------------------------------------------------------------------

    def compare(self, account: VenueAccount, orders: Sequence[VenueOrder], now_ns: int) -> Seen:
        """Say what differs between the venue and the ledger."""
        return Seen(self._differences(account, now_ns), order_differences(self.state, orders))

    def settle(self, account: VenueAccount, *, usd_max: Decimal, now_ns: int, latched: bool) -> Conclusion:
        """Bring the ledger to what the venue has; for when nothing explains what differs."""
        found = self._differences(account, now_ns)
        return Conclusion(tuple(settle(found, self.state, account, usd_max=usd_max, now_ns=now_ns, latched=latched)))

    def _differences(self, account: VenueAccount, now_ns: int) -> tuple[Difference, ...]:
        self.unbooked = unbooked(self.state, account, now_ns)
        symbols = {name for split in self.unbooked for name in (split.symbol, split.new_symbol)}
        return tuple(each for each in differences(self.state.book, account) if each.symbol not in symbols)
