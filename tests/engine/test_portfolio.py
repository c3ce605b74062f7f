"""The ledger against a second one made of fractions, which cannot round."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from engine.messages import Fee, OrderIntent
from engine.portfolio import Holding, Portfolio
from engine.values import Side
from tests.engine.build import T0, D, fill, intent

STEP = D("0.000000001")


def _fee(cash: str, quantity: str = "0", symbol: str = "AAPL", id: str = "f1") -> Fee:
    return Fee(id, "CFEE", "alpha", symbol, D(cash), D(quantity), T0)


# --- by hand -------------------------------------------------------------------------------------------------------------

# signed quantity @ price -> held, average, realized so far
TRADES = """
+10 @ 100   | 10    100      0
+10 @ 110   | 20    105      0
-5  @ 120   | 15    105      75
-15 @ 100   | 0     0        0
-4  @ 50    | -4    50       0
-4  @ 60    | -8    55       0
+2  @ 45    | -6    55       20
+10 @ 40    | 4     40       110
-7  @ 41    | -3    41       114
+3  @ 44    | 0     0        105
+0.3 @ 10   | 0.3   10       105
-0.1 @ 13   | 0.2   10       105.3
"""


def test_positions_by_hand_long_short_and_through_zero() -> None:
    held = Holding()
    for line in TRADES.strip().splitlines():
        trade, expected = line.split("|")
        quantity, price = (D(part) for part in trade.split("@"))
        held.trade(quantity, price)
        assert [held.signed_qty, held.avg_px_open, held.realized_pnl] == [D(part) for part in expected.split()], line


def test_a_cost_that_cannot_be_shared_evenly_does_not_drift() -> None:
    """Three shares for 10 USD, sold one by one: the third takes what the rounded two left."""
    held = Holding()
    held.trade(D(2), D("3.33"))
    held.trade(D(1), D("3.34"))
    for _ in range(3):
        held.trade(D(-1), D(4))
    assert (held.signed_qty, held.cost, held.realized_pnl) == (0, 0, 2)


def test_unrealized() -> None:
    held = Holding()
    held.trade(D(-4), D(50))
    assert held.unrealized_pnl(D(45)) == 20
    assert held.unrealized_pnl(D(60)) == -40


def test_cash_pays_and_is_paid_to_the_last_digit() -> None:
    book = Portfolio(cash=D("1000.00"))
    buy = intent("b", Side.BUY, "3")
    book.apply_fill(fill(buy, "3", "3", "33.333333333", commission=D("0.01")))
    assert book.cash == D("1000") - D("99.999999999") - D("0.01")
    sell = intent("s", Side.SELL, "3")
    book.apply_fill(fill(sell, "3", "3", "33.333333333"))
    assert book.cash == D("999.99")
    assert book.realized_pnl == D("-0.01")


def test_a_fee_in_coins_takes_its_cost_out_of_the_holding_as_a_loss() -> None:
    book = Portfolio(cash=D(1000))
    of = intent("b", Side.BUY, "2", symbol="ETH/USD")
    book.apply_fill(fill(of, "2", "2", "100"))
    held = book.apply_fee(_fee("0", "-0.005", "ETH/USD"))
    assert held.signed_qty == D("1.995")
    assert held.avg_px_open == D(100)
    assert held.realized_pnl == D("-0.5")
    assert book.cash == D(800)


def test_a_fee_in_cash() -> None:
    book = Portfolio(cash=D(1000))
    book.apply_fee(_fee("-0.02"))
    assert (book.cash, book.realized_pnl) == (D("999.98"), D("-0.02"))
    assert book.net() == {}


def test_net_sums_over_bots_and_leaves_flat_ones_out() -> None:
    book = Portfolio()
    for number, (bot, side, quantity) in enumerate(
        [("alpha", Side.BUY, "10"), ("beta", Side.SELL, "4"), ("alpha", Side.SELL, "1.50")]
    ):
        of = intent(f"n{number}", side, quantity, bot=bot, symbol="MSFT")
        book.apply_fill(fill(of, quantity, quantity))
    for side in Side:
        of = intent(f"f{side}", side, "7")
        book.apply_fill(fill(of, "7", "7"))
    assert {symbol: str(quantity) for symbol, quantity in book.net().items()} == {"MSFT": "4.5"}


def test_a_reservation_shrinks_with_each_fill_and_ends_with_the_order() -> None:
    book = Portfolio(cash=D(10_000))
    of = intent(quantity="10", reserved=D(1020))
    book.reserve(of)
    book.reserve(of)
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (1020, 10)
    book.apply_fill(fill(of, "4", "4"))
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (612, 6)
    book.release(of.id)
    book.release(of.id)
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (0, 0)
    book.apply_fill(fill(of, "6", "10"))  # late, after the cancellation
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (0, 0)
    assert book.signed_qty("alpha", "AAPL") == 10


def test_a_venue_that_fills_more_than_was_ordered_frees_no_more_than_was_held() -> None:
    book = Portfolio(cash=D(10_000))
    of, other = intent(quantity="10", reserved=D(1020)), intent("i2", quantity="5", reserved=D(510))
    book.reserve(of)
    book.reserve(other)
    book.apply_fill(fill(of, "12", "12"))
    assert (book.reserved, book.working_qty("alpha", "AAPL"), book.signed_qty("alpha", "AAPL")) == (510, 5, 12)


@pytest.mark.parametrize("amounts", [("0.1", "0.2", "-0.3"), ("100", "-100")])
def test_nothing_is_written_as_minus_zero(amounts: tuple[str, ...]) -> None:
    book = Portfolio()
    for number, amount in enumerate(amounts):
        book.apply_fee(_fee(amount, id=str(number)))
    assert str(book.cash) == "0"
    assert str(book.realized_pnl) == "0"
    short = Holding(signed_qty=D(-5))  # held before we came: at no cost we know
    assert str(short.avg_px_open) == "0"


def test_large_amounts_are_exact_too() -> None:
    """Digits of a quantity times those of a price go beyond the 28 that decimal keeps by default."""
    book = Portfolio(cash=D("123456789012.12"))
    quantity, price = D("1234567890.123456789"), D("98.123456789")
    of = intent("b", Side.BUY, str(quantity), symbol="SHIB/USD")
    book.apply_fill(fill(of, quantity, quantity, price))
    assert Fraction(book.cash) == Fraction("123456789012.12") - Fraction(quantity) * Fraction(price)
    held = book.apply_fill(fill(intent("s", Side.SELL, str(quantity), symbol="SHIB/USD"), quantity, quantity, price))
    assert (held.signed_qty, held.cost, held.realized_pnl) == (0, 0, 0)
    assert book.cash == D("123456789012.12")


# --- any sequence --------------------------------------------------------------------------------------------------------


class _Lot:
    """Average cost in fractions, one position."""

    def __init__(self) -> None:
        self.qty = Fraction(0)
        self.cost = Fraction(0)
        self.realized = Fraction(0)
        self.flow = Fraction(0)
        self.reductions = 0

    def trade(self, qty: Fraction, price: Fraction) -> None:
        self.flow -= qty * price
        while qty:
            if self.qty * qty >= 0:
                self.qty += qty
                self.cost += qty * price
                return
            closing = -self.qty if abs(qty) > abs(self.qty) else qty
            taken = self.cost * -closing / self.qty
            self.realized += -closing * price - taken
            self.cost -= taken
            self.qty += closing
            self.reductions += 1
            qty -= closing


_quantities = st.decimals(min_value="0.000000001", max_value=10**6, places=9) | st.integers(1, 1000).map(Decimal)
_prices = st.decimals(min_value="0.0001", max_value=10**5, places=4)


class Ledger(RuleBasedStateMachine):
    """Orders of two bots in two symbols, filled in parts, ended early, with commissions and fees."""

    orders = Bundle("orders")

    @initialize(cash=st.decimals(min_value=0, max_value=10**7, places=2))
    def open(self, cash: Decimal) -> None:
        self.book = Portfolio(cash=cash)
        self.cash = Fraction(cash)
        self.lots: dict[tuple[str, str], _Lot] = defaultdict(_Lot)
        self.leaves: dict[str, tuple[OrderIntent, Decimal]] = {}
        self.filled: dict[str, Decimal] = defaultdict(lambda: D(0))
        self.number = 0

    @rule(
        target=orders,
        bot=st.sampled_from(["alpha", "beta"]),
        symbol=st.sampled_from(["AAPL", "BTC/USD"]),
        side=st.sampled_from(Side),
        quantity=_quantities,
        reserved=st.decimals(min_value=0, max_value=10**6, places=9),
    )
    def reserve(self, bot: str, symbol: str, side: Side, quantity: Decimal, reserved: Decimal) -> OrderIntent:
        self.number += 1
        of = intent(f"o{self.number}", side, str(quantity), bot=bot, symbol=symbol, reserved=reserved)
        self.book.reserve(of)
        self.leaves[of.id] = (of, quantity)
        return of

    @rule(
        of=orders, share=st.integers(1, 10), price=_prices, commission=st.decimals(min_value=0, max_value=10, places=2)
    )
    def fill(self, of: OrderIntent, share: int, price: Decimal, commission: Decimal) -> None:
        left = of.quantity - self.filled[of.id]
        quantity = left if share == 10 else (of.quantity * share / 10).quantize(STEP)
        if not 0 < quantity <= left:
            return
        self.filled[of.id] += quantity
        self.book.apply_fill(fill(of, quantity, self.filled[of.id], price, commission=commission))
        lot = self.lots[of.bot, of.symbol]
        signed = of.side.sign * Fraction(quantity)
        lot.trade(signed, Fraction(price))
        lot.realized -= Fraction(commission)
        lot.flow -= Fraction(commission)
        self.cash -= signed * Fraction(price) + Fraction(commission)
        if of.id in self.leaves:
            self.leaves[of.id] = (of, self.leaves[of.id][1] - quantity)

    @rule(target=orders, of=consumes(orders), again=st.booleans())
    def end(self, of: OrderIntent, again: bool) -> object:
        """End an order; it may still be filled late."""
        self.book.release(of.id)
        if again:
            self.book.release(of.id)
        self.leaves.pop(of.id, None)
        return multiple(of) if self.filled[of.id] < of.quantity else multiple()

    @rule(of=orders)
    def reserve_again(self, of: OrderIntent) -> None:
        if of.id in self.leaves:
            self.book.reserve(of)

    @rule(
        bot=st.sampled_from(["alpha", "beta"]),
        symbol=st.sampled_from(["AAPL", "BTC/USD"]),
        cash=st.decimals(min_value=-100, max_value=100, places=2),
        quantity=st.decimals(min_value="-0.01", max_value="0.01", places=9),
    )
    def fee(self, bot: str, symbol: str, cash: Decimal, quantity: Decimal) -> None:
        self.book.apply_fee(Fee("f", "CFEE", bot, symbol, cash, quantity, T0))
        lot = self.lots[bot, symbol]
        lot.trade(Fraction(quantity), Fraction(0))
        lot.realized += Fraction(cash)
        lot.flow += Fraction(cash)
        self.cash += Fraction(cash)

    @invariant()
    def cash_is_exact(self) -> None:
        assert Fraction(self.book.cash) == self.cash

    @invariant()
    def positions_are_exact_and_pnl_never_drifts(self) -> None:
        for (bot, symbol), lot in self.lots.items():
            held = self.book.holding(bot, symbol)
            assert Fraction(held.signed_qty) == lot.qty
            # What came in is either realized or still in the cost: to the last digit, however often it was rounded.
            assert Fraction(held.realized_pnl) - Fraction(held.cost) == lot.flow
            # Each reduction rounds its share once, and hands at most all earlier errors on.
            assert abs(Fraction(held.realized_pnl) - lot.realized) <= lot.reductions * Fraction(STEP)
            if lot.qty == 0:
                assert held.cost == 0
                assert held.avg_px_open == 0

    @invariant()
    def net_is_the_sum(self) -> None:
        net: dict[str, Fraction] = defaultdict(Fraction)
        for (_, symbol), lot in self.lots.items():
            net[symbol] += lot.qty
        assert {s: Fraction(q) for s, q in self.book.net().items()} == {s: q for s, q in net.items() if q}

    @invariant()
    def reservations_equal_a_recomputation(self) -> None:
        working: dict[str, Decimal] = defaultdict(lambda: D(0))
        reserved = D(0)
        with localcontext(prec=60):
            for of, leaves in self.leaves.values():
                working[f"{of.bot}|{of.symbol}"] += of.side.sign * leaves
                share = of.reserved * leaves / of.quantity
                reserved += of.reserved if leaves == of.quantity else share.quantize(STEP, ROUND_HALF_EVEN)
        assert self.book.working == {key: quantity for key, quantity in working.items() if quantity}
        assert self.book.reserved == reserved
        assert set(self.book.reservations) == set(self.leaves)


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestLedger = Ledger.TestCase
