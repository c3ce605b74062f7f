"""Views of what came of it, against bookkeeping by hand: trades, P&L of each execution, equity, drawdown, win rate."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec
import pytest

from engine.bots import BotStatus
from engine.messages import Bar, BotDefined, Fill, Position, Protection, Shadowed
from engine.values import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S, Side
from storage.sql import SqlService
from storage.writer import Writer
from tests.engine import build
from tests.storage import samples

D = Decimal
T0 = samples.T0 // NS_PER_MINUTE * NS_PER_MINUTE


class Book:
    """A bot's holding in a symbol, by average cost."""

    def __init__(self) -> None:
        self.quantity = self.entry = self.realized = self.price = D(0)
        self.begun = D(0)

    def trade(self, signed: Decimal, px: Decimal) -> Decimal:
        """Book an execution; give what it realized."""
        closing = (
            D(0) if self.quantity * signed >= 0 else min(abs(signed), abs(self.quantity)) * (1 if signed > 0 else -1)
        )
        gained = -closing * (px - self.entry)
        opening = signed - closing
        self.quantity += closing
        if opening:
            whole = abs(self.quantity) + abs(opening)
            self.entry = ((self.entry * abs(self.quantity) + px * abs(opening)) / whole).quantize(D("1e-9"))
            self.quantity += opening
        if not self.quantity:
            self.entry = D(0)
        self.realized += gained
        self.price = px
        return gained

    @property
    def open_pnl(self) -> Decimal:
        return self.quantity * (self.price - self.entry)


class Day:
    """Random bars and executions of two bots in three symbols, and what they come to."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.bodies: list[object] = []
        self.bars: list[Bar] = []
        self.books: dict[tuple[str, str], Book] = {}
        self.gains: dict[str, Decimal] = {}
        self.trades: list[tuple[str, str, str, Decimal]] = []
        self.equity: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
        prices = {"AAPL": D(100), "MSFT": D(50), "BTC/USD": D(20_000)}
        for minute in range(1, 40):
            now = T0 + minute * NS_PER_MINUTE
            at = now - 40 * NS_PER_S
            for _ in range(draw.randint(0, 3)):
                at += draw.choice((0, NS_PER_S, 1))
                self._trade(draw, prices, at)
            for symbol in list(prices):
                if draw.random() < 0.7:
                    prices[symbol] = (prices[symbol] * D(draw.randint(990, 1010)) / 1000).quantize(D("0.01"))
                    self._bar(symbol, prices[symbol], now)

    def _trade(self, draw: random.Random, prices: dict[str, Decimal], now: int) -> None:
        bot, symbol = draw.choice(("alpha", "beta")), draw.choice(list(prices))
        book = self.books.setdefault((bot, symbol), Book())
        signed = draw.choice((D(10), D(-10), D(4), D(-4), -book.quantity or D(3)))
        px = prices[symbol] + D(draw.randint(-20, 20)) / 100
        name, before = f"v{len(self.gains)}", book.quantity
        gained = self.gains[name] = book.trade(signed, px)
        side = Side.BUY if signed > 0 else Side.SELL
        self.bodies.append(Fill(name, abs(signed), f"c-{name}", bot, symbol, side, abs(signed), px, now))
        plain = format(abs(signed), "f")
        self.bodies.append(Position(bot, symbol, book.quantity, book.entry, book.realized, f"{name}|{plain}", now))
        book.begun += gained
        if before and before * book.quantity <= 0:
            self.trades.append((bot, symbol, "long" if before > 0 else "short", book.begun))
            book.begun = D(0)
        if draw.random() < 0.3:
            self._fee(bot, symbol, D(draw.randint(1, 50)) / 100)
        self._value(bot, now)

    def _fee(self, bot: str, symbol: str, amount: Decimal) -> None:
        """Book what the venue took, dated long before as fees are: it is the last trade's, also when that has ended."""
        book = self.books[bot, symbol]
        book.realized -= amount
        if book.quantity:
            book.begun -= amount
        else:
            number = max(n for n, trade in enumerate(self.trades) if trade[:2] == (bot, symbol))
            self.trades[number] = (*self.trades[number][:3], self.trades[number][3] - amount)
        cause = f"activity-{len(self.bodies)}"
        self.bodies.append(Position(bot, symbol, book.quantity, book.entry, book.realized, cause, T0 - NS_PER_DAY))

    def _bar(self, symbol: str, close: Decimal, now: int) -> None:
        self.bars.append(msgspec.structs.replace(samples.bar(symbol, close=float(close)), ts_event=now))
        for (bot, of), book in self.books.items():
            if of == symbol:
                book.price = close
                if book.quantity:
                    self._value(bot, now)

    def _value(self, bot: str, now: int) -> None:
        own = [book for (name, _), book in self.books.items() if name == bot]
        pnl = sum((book.realized + book.open_pnl for book in own), D(0))
        self.equity[bot, now] = pnl, sum((abs(book.quantity * book.price) for book in own), D(0))


def _service(tmp_path, day: Day, *more):
    with Writer.open(tmp_path / "t.duckdb", memory_limit_mb=64, threads=1) as writer:
        bodies = [*more, *day.bodies]
        writer.write("trading", len(bodies), samples.messages(*bodies))
        writer.write("market", len(day.bars), samples.messages(*day.bars))
        with SqlService.beside(writer) as service:
            yield service


@pytest.mark.parametrize("seed", range(8))
def test_trades_and_their_pnl(tmp_path, seed):
    day = Day(seed)
    for service in _service(tmp_path, day):
        pnl = "SELECT venue_order_id, pnl FROM executed_trades"
        assert dict(service.query(pnl).frame().rows()) == day.gains
        ended = "SELECT bot, symbol, side, realized_pnl FROM trades WHERE closed_at IS NOT NULL"
        assert sorted(service.query(ended).frame().rows()) == sorted(day.trades)
        assert service.query("SELECT * FROM trades").frame().height >= len(day.trades)
        still = (
            "SELECT bot, symbol, signed_qty, entry_px, current_px, unrealized_pnl FROM trades WHERE closed_at IS NULL"
        )
        last = {bar.symbol: D(str(bar.close)) for bar in day.bars}
        assert {row[:2]: row[2:] for row in service.query(still).frame().rows()} == {
            key: (book.quantity, book.entry, last[key[1]], (book.quantity * (last[key[1]] - book.entry)))
            for key, book in day.books.items()
            if book.quantity
        }
        assert len(day.trades) > 3


@pytest.mark.parametrize("seed", range(8))
def test_equity_drawdown_and_win_rate_at_each_moment(tmp_path, seed):
    day = Day(seed)
    first = BotDefined("alpha", 1, build.bot(capital=D(1000)), BotStatus.RUNNING, 0, "file", "x", T0)
    richer = build.bot(capital=D(5000), strategy="rsi")
    from_ts = T0 + 20 * NS_PER_MINUTE
    undone = msgspec.structs.replace(first, revision=2, definition=build.bot(capital=D(7)), from_ts=from_ts)
    later = msgspec.structs.replace(first, revision=3, definition=richer, from_ts=from_ts)
    for service in _service(tmp_path, day, first, undone, later):
        columns = "bot, ts_event_ns, capital, strategy, pnl, equity, exposure, drawdown, trades, wins, win_rate"
        rows = service.query(f"SELECT {columns} FROM strategy_performance ORDER BY ts_event_ns").frame().rows()
        assert {(row[0], row[1]) for row in rows} == set(day.equity)
        peak: dict[str, Decimal] = {}
        for bot, now, capital, strategy, pnl, equity, exposure, drawdown, trades, wins, rate in rows:
            own, held = day.equity[bot, now]
            peak[bot] = max(peak.get(bot, D(0)), own)
            assert (pnl, exposure, drawdown) == (own, held, peak[bot] - own)
            named = (D(1000), "sma_crossover") if now < later.from_ts else (D(5000), "rsi")
            assert (capital, strategy) == (named if bot == "alpha" else (D(0), None))
            assert equity == capital + own
            assert rate == (wins / trades if trades else None)
        for bot in ("alpha", "beta"):
            ended = [pnl for name, _, _, pnl in day.trades if name == bot]
            newest = [row for row in rows if row[0] == bot][-1]
            assert newest[8:10] == (len(ended), sum(pnl > 0 for pnl in ended))


def test_stop_and_target_of_what_is_held(tmp_path):
    day = Day(0)
    key, book = next((key, book) for key, book in day.books.items() if book.quantity)
    told = Protection(*key, "risk", D(0), abs(book.quantity), "x", T0, stop_px=D(90), target_px=D(120))
    for service in _service(tmp_path, day, told):
        query = "SELECT bot, symbol, stop_px, target_px FROM trades WHERE closed_at IS NULL AND stop_px IS NOT NULL"
        assert service.query(query).frame().rows() == [(*key, D(90), D(120))]


def test_what_a_shadow_did_is_counted_as_what_is_real_and_beside_it(tmp_path):
    day, other = Day(3), Day(5)
    shadowed = [
        Shadowed(body.bot, body.symbol, f"life-{body.bot}", number, body, body.ts_event)
        for number, body in enumerate(other.bodies)
    ]
    views = {
        "every_performance": "bot, ts_event_ns, pnl, realized_pnl, exposure, drawdown, trades, wins",
        "every_trade": "bot, symbol, side, quantity, entry_px, exit_px, opened_at, closed_at, realized_pnl",
    }
    found = []
    other.bars = day.bars
    for folder, of, more in (("alone", day, []), ("beside", day, shadowed), ("real", other, [])):
        (tmp_path / folder).mkdir()
        for service in _service(tmp_path / folder, of, *more):
            found.append(
                {
                    (view, is_shadow): sorted(
                        service.query(
                            f"SELECT {columns} FROM {view} WHERE (life <> '') = {is_shadow}", row_limit=100_000
                        )
                        .frame()
                        .rows(),
                        key=str,
                    )
                    for view, columns in views.items()
                    for is_shadow in (True, False)
                }
            )
    alone, beside, real = found
    for view in views:
        assert beside[view, False] == alone[view, False]
        assert beside[view, True] == real[view, False]
        assert len(beside[view, True]) > 3
