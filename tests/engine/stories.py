"""Random stories of a ledger: what is stored in the market stream, and what is done beside it, in order."""

from __future__ import annotations

import random

import msgspec

from config import own
from engine.bots import Bot, BotStatus
from engine.ids import fill_key
from engine.messages import Bar, ChangeBot, PastBars, Position, Split, Ticks
from engine.values import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Side, is_seconds, plain
from engine.window import Window
from tests.engine import build
from tests.engine.build import OWNER, D
from tests.engine.test_frames import bar_at, wall
from tests.engine.world import Filled, Look, Step

NAMES = ("a", "b", "c", "d", "shadow")
SYMBOLS = "AAPL", "MSFT"
TIMEFRAMES = ("1s", "2s", "5s", "5s", "10s", "30s", "1m", "1m", "2m", "3m", "5m")
FREQUENCIES = ("every_bar", "every_bar", "every_tick", 7, 45, 90)
STARTS = ("2026-11-24T09:25", "2026-11-24T09:30", "2026-11-24T09:30", "2026-11-24T15:50", "2026-11-24T15:50")
WINDOWS = (
    Window(market_hours=True, flatten_before_s=60),
    Window(start="09:30", end="09:36", flatten_before_s=30),
    Window(start="15:00", end="15:56", flatten_before_s=75),
    Window(start="09:32", end="15:55"),
)
TRADER = '''
from tapeline.api import Bar, Direction, OwnFill, Target, Trade


class Trader:
    """Knows in which order bars, trades and fills came."""

    def __init__(self) -> None:
        self.bars = self.fills = 0
        self.last = self.mixed = 0.0

    def on_fill(self, fill: OwnFill) -> None:
        self.fills += 1
        self.mixed = 0.5 * self.mixed + 0.001 * fill.position + 0.01 * self.bars

    def on_bar(self, bar: Bar) -> Target:
        self.bars += 1
        self.mixed = 0.9 * self.mixed + bar.close + 0.1 * self.fills
        is_higher, self.last = bar.close > self.last, bar.close
        return Target(Direction.LONG if is_higher else Direction.SHORT, 1.0, "its bar")

    def on_tick(self, trade: Trade) -> Target:
        self.mixed = 0.9 * self.mixed + trade.px
        return Target(Direction.LONG if trade.px > self.last else Direction.FLAT, 1.0, "its trade")

    def snapshot(self) -> dict[str, float]:
        return {"bars": float(self.bars), "fills": float(self.fills), "mixed": self.mixed}
'''
RAISING = TRADER.replace(
    "        self.bars += 1\n",
    "        self.bars += 1\n"
    "        if round(bar.close * 100) % 3 == 0:\n"
    '            raise ValueError("a price that it cannot bear")\n',
)
CODES = (("owner.py:Owner", OWNER), ("trader.py:Trader", TRADER), ("trader.py:Trader", RAISING))


class Story:
    """One story; the same seed tells the same one.

    Attributes:
        steps: What happens, in order.
    """

    def __init__(self, seed: int) -> None:
        self._draw = draw = random.Random(seed)
        self._start = wall(draw.choice(STARTS))
        self._px = {"AAPL": 100.0, "MSFT": 50.0}
        self._renamed = ""
        self._splits = self._fills = 0
        self._known: list[str] = []
        self._given: list[Bar] = []
        self._held_back: list[Bar] = []
        self._wishes, self._filled = draw.choice((0.01, 0.03, 0.08)), draw.choice((0.02, 0.06))
        self._looks, self._split = draw.choice((0.05, 0.2)), draw.choice((0.0, 0.004, 0.01))
        self.steps: list[Step] = []
        for name in NAMES[: draw.randint(1, 4)]:
            self._wish(name, self._start, definition=self._bot(name))
        for minute in range(draw.choice((6, 9, 14))):
            opens = self._start + minute * NS_PER_MINUTE
            self._trade(opens)
            self._close(opens + NS_PER_MINUTE)
            self._beside(opens + NS_PER_MINUTE + NS_PER_S)

    # --- the market --------------------------------------------------------------------------------------------------

    def _trade(self, opens: int) -> None:
        """A minute of trades and quotes; some of them, from before it, come late."""
        draw, second = self._draw, self._draw.uniform(0, 10)
        while second < 60:
            symbol = draw.choice(("AAPL", "AAPL", "MSFT"))
            self._px[symbol] *= 1 + draw.gauss(0, 0.002)
            now = opens + round(second * NS_PER_S)
            trades = self._ticks(now, self._px[symbol], draw.choice((0, 1, 1, 2)))
            quotes = self._ticks(now, self._px[symbol], draw.choice((0, 1, 1)))
            if trades or quotes:
                last = max(ts for ts, _ in trades + quotes)
                traded = tuple((ts, px, 10.0) for ts, px in trades)
                quoted = tuple((ts, px - 0.01, px + 0.01) for ts, px in quotes)
                self.steps.append(Ticks(f"t{len(self.steps)}", self._today(symbol), traded, last, quoted))
            second += draw.choice((0.4, 1, 3, 9, 14, 25))
            self._beside(now)

    def _ticks(self, now: int, px: float, count: int) -> list[tuple[int, float]]:
        draw = self._draw
        return sorted(
            (now + number * 200 * NS_PER_MS - draw.choice((0, 0, 0, 4)) * NS_PER_S, px * (1 + draw.gauss(0, 0.001)))
            for number in range(count)
        )

    def _close(self, closes: int) -> None:
        """The bars of a minute; some are missing, late, fetched later or corrected; and bars from before the first."""
        draw = self._draw
        for symbol in draw.sample(SYMBOLS, 2):
            bar, fate = bar_at(closes, round(self._px[symbol], 2), self._today(symbol)), draw.random()
            if fate < 0.7:
                self._give(bar)
            elif fate < 0.85:
                self._held_back.append(bar)
            self._beside(closes)
        if self._held_back and draw.random() < 0.5:
            bar = self._held_back.pop(draw.randrange(len(self._held_back)))
            self._give(msgspec.structs.replace(bar, is_backfill=draw.random() < 0.6))
        if self._given and draw.random() < 0.25:
            bar = draw.choice(self._given)
            more = {"revision": draw.choice((1, 1, 2)), "close": bar.close * 1.01, "high": bar.high * 1.02}
            self.steps.append(msgspec.structs.replace(bar, **more))
        if draw.random() < 0.15:
            self._give_past(draw.choice(SYMBOLS), draw.choice((1, 1, 2, 5)), closes)

    def _give(self, bar: Bar) -> None:
        self.steps.append(bar)
        self._given.append(bar)

    def _give_past(self, symbol: str, minutes: int, now: int) -> None:
        span = minutes * NS_PER_MINUTE
        first = min((bar.ts_event for bar in self._given if bar.symbol == symbol), default=now) - NS_PER_MINUTE
        end = min(self._start, first) // span * span
        old = tuple(
            (end - span * ago, 99.0 + ago, 100.0 + ago, 98.0 + ago, 99.5 + self._draw.random(), 5.0)
            for ago in range(6, -1, -1)
        )
        past_id = f"p{len(self.steps)}"
        self.steps.append(PastBars(past_id, symbol, f"{minutes}m", 7, end - 7 * span, first, old, (), now))

    def _today(self, symbol: str) -> str:
        """Give the name that a symbol has now, but for stragglers."""
        return self._renamed if self._renamed and symbol == "AAPL" and self._draw.random() < 0.95 else symbol

    # --- beside it ---------------------------------------------------------------------------------------------------

    def _beside(self, now: int) -> None:
        draw = self._draw
        while draw.random() < self._wishes:
            self._wish_any(now)
        if draw.random() < self._filled:
            self._fill(draw.choice(self._known), draw.choice(SYMBOLS), now)
        if draw.random() < self._looks:
            self.steps.append(Look(now + draw.choice((0, 0, 3, 6, 70)) * NS_PER_S))
        if draw.random() < self._split and self._splits < 2:
            self._convert(now - draw.choice((0, 0, 5, 60, 200)) * NS_PER_S)

    def _wish_any(self, now: int) -> None:
        draw, name = self._draw, self._draw.choice(self._known)
        match draw.choice(("define", "define", "define", "run", "run", "pause", "stop", "remove", "flatten")):
            case "define":
                name = draw.choice(NAMES)
                self._wish(name, now, self._bot(name), draw.choice((None, None, BotStatus.RUNNING)))
            case "run":
                self._wish(name, now, status=BotStatus.RUNNING)
            case "pause":
                self._wish(name, now, status=BotStatus.PAUSED)
            case "stop":
                self._wish(name, now, status=BotStatus.STOPPED)
            case "remove":
                self._wish(name, now, status=BotStatus.REMOVED)
            case _:
                self._wish(name, now, status=draw.choice((BotStatus.PAUSED, BotStatus.STOPPED)), flatten=True)

    def _wish(
        self,
        name: str,
        now: int,
        definition: Bot | None = None,
        status: BotStatus | None = None,
        *,
        flatten: bool = False,
    ) -> None:
        wish_id = f"w{len(self.steps)}"
        self.steps.append(ChangeBot(wish_id, name, 0, "me", now, "", definition, status, flatten))

    def _bot(self, name: str) -> Bot:
        draw = self._draw
        timeframe, frequency = draw.choice(TIMEFRAMES), draw.choice(FREQUENCIES)
        fields: dict[str, object] = {
            "name": name,
            "timeframe": timeframe,
            "trading_frequency": frequency,
            "publish_indicators": draw.random() < 0.6,
            "symbols": draw.choice((SYMBOLS, ("AAPL",), ("MSFT",), ("AAPL", "AAPX"), ("AAPL", "AAPX", "MSFT"))),
            "quotes": frequency == "every_tick" and draw.random() < 0.5,
            "window": draw.choice(WINDOWS) if draw.random() < 0.3 else None,
            "session": "any" if draw.random() < 0.3 else "regular",
            "warm_up_bars": draw.choice((None, None, 0, 2, 5)),
            "shadow_of": "a" if name == "shadow" else "",
        }
        if is_seconds(timeframe):
            fields["warm_up_bars"] = None
        if draw.random() < 0.35:
            fields["params"] = {"fast": draw.choice((1, 2)), "slow": draw.choice((3, 4, 6)), "allow_short": True}
        else:
            fields["strategy"], fields["code"] = draw.choice(CODES)
        self._known.append(name)
        made = build.bot(**fields)
        own.learn(made)
        return made

    def _fill(self, name: str, symbol: str, now: int) -> None:
        draw, px = self._draw, D(str(round(self._px[symbol], 2)))
        self._fills += 1
        side, held = draw.choice((Side.BUY, Side.SELL)), D(draw.choice((-10, 0, 10, 20)))
        order = build.intent(f"o{self._fills}", side, bot=name, symbol=self._today(symbol))
        fill = build.fill(order, "10", "10", px, ts_event=now)
        key = fill_key(fill.venue_order_id, plain(fill.cum_qty))
        self.steps.append(Filled(fill, Position(name, order.symbol, held, px if held else D(0), D(0), key, now)))

    def _convert(self, effective: int) -> None:
        """A split, or a change of name with or without one; it becomes known at once or later."""
        draw, old = self._draw, self._renamed or "AAPL"
        if draw.random() < 0.4 and not self._renamed:
            self._renamed, ratio = "AAPX", D(draw.choice(("2", "4", "0.5", "1")))
        else:
            ratio = D(draw.choice(("2", "0.5")))
        self._splits += 1
        self._px["AAPL"] /= float(ratio)
        self.steps.append(Split(f"ca{self._splits}", old, self._renamed or old, ratio, effective))
