"""What one bot is in one symbol: the version that decides, those that come after it, and what it said. Part of signals.

Plain attributes: they are pickled into checkpoints as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.bots import Bot, BotStatus
from engine.messages import Bar, BotDefined, FillTold
from engine.messages.market import PastBar
from engine.strategies import Strategy, Target, fault_text, make
from engine.values import Direction, asset_class_of

FILLS_MAX = 100
"""So many of the newest fills a strategy is told of that is made anew."""
_LOOKS = (BotStatus.RUNNING, BotStatus.PAUSED)


class Version:
    """A revision of a bot in a symbol.

    Attributes:
        strategy: None while it goes on with that of the version before it, and where it does not look at bars.
        is_fresh: Whether its strategy is its own.
        first_ts: Close of the first bar its strategy was moved by; 0: none yet.
        last_ts: Close of the last one.
        faults: How often its strategy raised.
        past_bars: How many bars from before the first that there is it is warmed up with.
        life: Of a shadow, which of its lives; else empty.
        session: Opening of the session that its strategy was told of last, ns UTC.
    """

    __slots__ = (
        "bot",
        "fault",
        "faults",
        "first_ts",
        "flatten",
        "from_ts",
        "is_fresh",
        "last_ts",
        "life",
        "past_bars",
        "revision",
        "session",
        "status",
        "strategy",
    )

    def __init__(self, defined: BotDefined, *, is_fresh: bool, life: str = "") -> None:
        self.bot: Bot = defined.definition
        self.status = defined.status
        self.revision = defined.revision
        self.from_ts = defined.from_ts
        self.flatten = defined.flatten
        self.past_bars = defined.past_bars
        self.life = life
        self.is_fresh = is_fresh
        self.strategy: Strategy | None = None
        self.first_ts = self.last_ts = 0
        self.session = 0
        self.faults = 0
        self.fault = ""
        if is_fresh:
            self.renew()

    def is_news(self, bar: Bar) -> bool:
        """Whether its strategy is to be moved by a bar."""
        return bar.timeframe == self.bot.timeframe and bar.ts_event > self.last_ts

    def known_of(self, bars: Sequence[Bar]) -> list[Bar]:
        """Give the bars that it knows of: of those from before the first as many as its bot wants."""
        past = [bar for bar in bars if isinstance(bar, PastBar) and bar.of == self.bot.timeframe]
        of_stream = [bar for bar in bars if not isinstance(bar, PastBar)]
        return [*past[len(past) - min(self.past_bars, len(past)) :], *of_stream]

    @property
    def hears_fills(self) -> bool:
        """Whether its strategy wants to be told of fills: its class says so, for its attributes may raise."""
        return self.strategy is not None and hasattr(type(self.strategy), "on_fill")

    def renew(self) -> None:
        """Make its strategy anew; `fault` says why that cannot be: a package is gone, its class raises."""
        self.strategy, self.first_ts, self.last_ts, self.session, self.fault = None, 0, 0, 0, ""
        try:
            self.strategy = make(self.bot.source, self.bot.params)
        except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a user's class raises)
            self.fault = f"strategy {self.bot.strategy} cannot be made: {fault_text(err)}"


class Slot:
    """One bot in one symbol.

    Attributes:
        active: The version that decides; None before its first bar.
        coming: Those after it, by revision.
        emitted_until: Close of the bar of the last signal.
        silent_until: Close of the last bar at which nothing is said any more, by a stop that closes positions.
        published: The last target said; None: whatever comes next is said.
        said: Id of the last signal; empty: none.
        last: Close, revision and price of the last bar.
        seen: The last moment at which it was asked what it wants: close of a live bar, or of a timer.
        owes_flat: Whether it should have been flat by now, and nothing could be said of that.
        wish: A target, with what it rests on, that waits for such a moment.
        moved: End of the newest bar that a strategy was moved by.
        traded: The last trade that it was asked about.
        shown_until: Close of the last bar of which the strategy's values were said.
        due: The next moment at which it may have to speak without a bar; 0: none.
        told: How many fills strategies were told of.
        fills: The newest of them, in today's shares.
    """

    __slots__ = (
        "active", "asset_class", "bot", "coming", "due", "emitted_until", "fills", "is_senseless", "last",
        "moved", "owes_flat", "published", "said", "seen", "shown_until", "silent_until", "symbol", "told",
        "traded", "wish",
    )  # fmt: skip

    def __init__(self, bot: str, symbol: str) -> None:
        self.bot = bot
        self.symbol = symbol
        self.asset_class = asset_class_of(symbol)
        self.active: Version | None = None
        self.coming: list[Version] = []
        self.emitted_until = 0
        self.silent_until = 0
        self.published: tuple[Direction, float] | None = (Direction.FLAT, 0.0)
        self.said = ""
        self.last: tuple[int, int, float] | None = None
        self.is_senseless = False
        self.seen = 0
        self.shown_until = 0
        self.owes_flat = False
        self.wish: tuple[Target, dict[str, float]] | None = None
        self.traded = 0
        self.due = self.told = self.moved = 0
        self.fills: list[FillTold] = []

    def __getstate__(self) -> tuple[object, ...]:
        """Give what a checkpoint keeps."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        """Take it back."""
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)

    @property
    def hears_fills(self) -> bool:
        """Whether a strategy of it wants to be told of fills."""
        return any(version.hears_fills for version in self.versions())

    @property
    def is_behind(self) -> bool:
        """Whether something was said of a later time than it has come to."""
        return self.emitted_until > max(self.seen, 0 if self.last is None else self.last[0])

    def versions(self) -> list[Version]:
        """Give the one that decides and those that come."""
        return [*([] if self.active is None else [self.active]), *self.coming]

    def goes_on(self, bot: Bot) -> bool:
        """Whether a version with this definition goes on with what the newest one knows."""
        newest = self.versions()[-1:]
        return bool(newest) and newest[0].status in _LOOKS and _same(newest[0].bot, bot, self.symbol)

    def add(self, defined: BotDefined, life: str = "") -> Version:
        """Take in a version; it takes over when its time comes."""
        looks = defined.status in _LOOKS and defined.definition.trades(self.symbol)
        version = Version(defined, is_fresh=looks and not self.goes_on(defined.definition), life=life)
        if looks and not version.is_fresh and (newest := self.versions()[-1]).strategy is None:
            version.fault = newest.fault  # it goes on with one that could not be made
        self.coming.append(version)
        return version

    def take_over(self) -> None:
        """Let the next version decide from here on."""
        old, new = self.active, self.coming.pop(0)
        goes_on = not new.is_fresh and new.status in _LOOKS and new.bot.trades(self.symbol)
        if not goes_on:
            self.wish = None
        elif old is not None:
            new.strategy, new.faults, new.session = old.strategy, old.faults, old.session
            new.first_ts, new.last_ts = old.first_ts, old.last_ts
        if old is not None and old.flatten and new.status is not BotStatus.RUNNING:
            new.flatten = True  # what was to be closed may not be said yet
        is_first = old is None
        speaks_anew = new.status is BotStatus.RUNNING and not (goes_on and old and old.status is BotStatus.RUNNING)
        if speaks_anew and not is_first and new.from_ts >= self.emitted_until:
            self.published = None
        self.active = new


def _same(one: Bot, other: Bot, symbol: str) -> bool:
    """Whether two definitions have the same strategy look at the same bars of a symbol."""
    keys = [(bot.source, bot.params, bot.timeframe, bot.trades(symbol)) for bot in (one, other)]
    return keys[0] == keys[1] and other.trades(symbol)
