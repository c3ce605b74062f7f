"""Bodies of the account as a whole: sessions, trading mode, alerts."""

from __future__ import annotations

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


class Alert(Body, frozen=True):
    """Something a person should look at. `level`: info, warning, error, critical."""

    id: str
    level: str
    role: str
    what: str
    ts_event: int
