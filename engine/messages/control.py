"""Bodies of the account as a whole: sessions, trading mode, which bots there are, alerts."""

from __future__ import annotations

from decimal import Decimal

from engine.bots import Bot, BotStatus
from engine.messages.base import Body
from engine.values import AssetClass, Side, TradingMode


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
        market_seq: Position of the market stream up to which all was decided by then: its place in a replay.
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
    market_seq: int = 0


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
        ts_event: The moment, ns UTC: the end of a window, or a multiple of the bot's trading_frequency.
        market_seq: Position of the market stream up to which all was decided by then: its place in a replay.
    """

    id: str
    bot: str
    symbols: dict[str, int]
    ts_event: int
    market_seq: int = 0


class FillTold(Body, frozen=True):
    """A fill that a bot's strategy was told of by `on_fill`, and where among its bars.

    Attributes:
        id: Hash of (account, run, bot, symbol, fill).
        fill: Key of the fill (engine.ids.fill_key).
        number: Its place among those told of the bot in the symbol, from 1.
        quantity: Shares or coins of this fill.
        price: Of this fill, USD.
        commission: Of this fill, USD.
        position: What the bot holds of the symbol after it, signed.
        average_px: What that was bought or sold for on average, USD; 0 where nothing is held.
        order_id: client_order_id of its order.
        bar_ts: Close of the last 1-minute bar that was decided before it, ns UTC; 0: none.
        frame_ts: Close of the newest bar that a strategy of the bot in the symbol was moved by.
        ts_event: Time of the fill, ns UTC.
        life: Of a shadow, which of its lives; else empty.
        market_seq: Position of the market stream up to which all was decided by then: its place in a replay.
    """

    id: str
    bot: str
    symbol: str
    fill: str
    number: int
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    position: Decimal
    average_px: Decimal
    order_id: str
    bar_ts: int
    frame_ts: int
    ts_event: int
    life: str = ""
    market_seq: int = 0


class Alert(Body, frozen=True):
    """Something a person should look at. `level`: info, warning, error, critical."""

    id: str
    level: str
    role: str
    what: str
    ts_event: int
