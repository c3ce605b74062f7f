"""Bodies of the account as a whole: sessions, trading mode, which bots there are, alerts."""

from __future__ import annotations

from engine.bots import Bot, BotStatus
from engine.messages.base import Body
from engine.values import AssetClass, TradingMode


class Sessions(Body, frozen=True):
    """Regular sessions as the venue's calendar gives them: pairs (open, close) in ns UTC, ascending."""

    asset_class: AssetClass
    spans: tuple[tuple[int, int], ...]
    ts_event: int


class Command(Body, frozen=True):
    """What a person wants of the account: `active` (resume), `reducing` or `halted`.

    Attributes:
        id: Chosen once by who commands; a command of a known id is a repetition.
        by: Who: a user name, or the role that found the latch file.
    """

    id: str
    mode: TradingMode
    reason: str
    by: str
    ts_event: int


class TradingState(Body, frozen=True):
    """The trading mode of the account, or of one bot, from here on.

    Attributes:
        cause: Id of the command, or of the denial that latched it.
        bot: Name of the bot; empty for the account.
    """

    mode: TradingMode
    reason: str
    cause: str
    ts_event: int
    bot: str = ""


class ChangeBot(Body, frozen=True):
    """A wish: a new bot, another definition or another status of one. signals answers: BotDefined or BotRefused.

    Attributes:
        id: Chosen once by who wishes; one of a known id is a repetition.
        bot: Its name.
        revision: The one that was looked at; another one by now, and the wish is refused. 0: there is none.
        by: Who: a user name, or `file` for what a bot file says.
        definition: None leaves it as it is.
        status: None leaves it as it is; a new bot runs.
        flatten: With status paused or stopped: its positions are closed.
    """

    id: str
    bot: str
    revision: int
    by: str
    ts_event: int
    reason: str = ""
    definition: Bot | None = None
    status: BotStatus | None = None
    flatten: bool = False


class BotDefined(Body, frozen=True):
    """What a bot is from here on. The last one of its subject counts.

    Attributes:
        revision: 1 and up, by one.
        from_ts: It decides on bars that close after this, ns UTC; what closed by then is decided as before.
        cause: Id of the wish, or of the fault.
        past_bars: How many bars of its timeframe, from before the first that there is, its strategy is warmed up with.
    """

    bot: str
    revision: int
    definition: Bot
    status: BotStatus
    from_ts: int
    by: str
    cause: str
    ts_event: int
    reason: str = ""
    flatten: bool = False
    past_bars: int = 0


class BotRefused(Body, frozen=True):
    """Why a wish about a bot was not granted: field, value and mend; the bot is as it was.

    Attributes:
        revision: The bot's; 0 if there is none.
        cause: Id of the wish.
    """

    bot: str
    revision: int
    reason: str
    cause: str
    ts_event: int


class Timer(Body, frozen=True):
    """A moment of a bot that came without a bar: what was to be said then is said at the last price known.

    Attributes:
        id: Hash of (account, run, bot, moment, symbols).
        symbols: Those of which no bar from the moment on was there, although it was waited for; each with the close of
            its last bar, ns UTC. What comes late, from before the moment, is decided as after it.
        trades: The last trade of each of them that bots were asked about, ns UTC; of those that look at every tick.
        ts_event: The moment, ns UTC: the end of a window, or a multiple of the bot's trading_frequency.
    """

    id: str
    bot: str
    symbols: dict[str, int]
    ts_event: int
    trades: dict[str, int] = {}  # noqa: RUF012 - msgspec copies an empty default


class Alert(Body, frozen=True):
    """Something a person should look at. `level`: info, warning, error, critical."""

    id: str
    level: str
    role: str
    what: str
    ts_event: int
