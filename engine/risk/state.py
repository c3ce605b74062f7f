"""Everything risk must remember; written to checkpoints as it is."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from engine.messages import BotDefined, Mark, ReplaceOrder, Signal, SymbolStatus, VenueFunds
from engine.portfolio import Portfolio
from engine.risk.guards import Guard
from engine.risk.track import Track
from engine.risk.working import OpenOrder
from engine.values import ZERO, TradingMode

_REMEMBERED_MAX = 100_000
_T = TypeVar("_T")


class Block(msgspec.Struct, frozen=True):
    """Why a symbol is blocked: its price and the one before it that does not explain it, USD."""

    reason: str
    before_px: Decimal
    px: Decimal
    ts_event: int


class Target(msgspec.Struct):
    """What became of the last target that a bot's strategy said of a symbol; the signal is in `answered`.

    Attributes:
        signal_id: The signal.
        ordinal: Of its next verdict.
        attempts: How often its exit was asked for again.
        not_before: Venue time before which it is not asked for again.
        is_left_alone: A person asked its order to end.
    """

    signal_id: str
    ordinal: int = 0
    attempts: int = 0
    not_before: int = 0
    is_left_alone: bool = False


class RiskState(msgspec.Struct):
    """The state of one account.

    Attributes:
        filled: Cumulative filled quantity booked per venue order: a fill at or below it is a repetition.
        fees: Ids of fees booked.
        waiting: What has no verdict yet, in stream order: signal and ordinal (1 and up: the rest of a target that
            needs more than one order).
        wishes: What persons want of working orders, not answered yet.
        answered: Per bot and symbol, of its strategy and of its guard, the last signal answered; it or an older one
            coming again is a repetition.
        mode: Latched: rules make it stricter, only a person's command makes it ACTIVE again.
        bot_modes: Bots that a rule latched to REDUCING, with the reason.
        marks: Last known prices, USD, with their times.
        earlier: The prices before those.
        commands: Ids of commands and of wishes to replace that were obeyed.
        orders: Open orders by client_order_id.
        canceling: Open orders that were asked to end.
        guards: By `bot|symbol`.
        stopped: Per `bot|symbol`, when a guard closed its position last.
        quotes: Last mark per symbol, of symbols that feed follows.
        statuses: By `symbol|source`.
        splits: Ids of splits booked.
        corrections: Ids of corrections booked.
        funds: What the venue said last of what may be spent.
        venue_gap: By how much that was less than what the ledger let be spent then, USD, at most 0.
        blocked: Symbols whose price nothing explains.
        targets: Last target per `bot|symbol`.
        bots: As the stream defined them last.
        old_exits: Exits, and entries that carry exits, of stops that are others by now, with their `bot|symbol`.
        legs_due: Entries that carry exits of which none is known yet, with their `bot|symbol`.
    """

    account: str = ""
    run: str = ""
    portfolio: Portfolio = msgspec.field(default_factory=Portfolio)
    sessions: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    filled: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    fees: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    waiting: dict[str, tuple[Signal, int]] = msgspec.field(default_factory=dict[str, tuple[Signal, int]])
    wishes: dict[str, ReplaceOrder] = msgspec.field(default_factory=dict[str, ReplaceOrder])
    answered: dict[str, Signal] = msgspec.field(default_factory=dict[str, Signal])
    mode: TradingMode = TradingMode.ACTIVE
    mode_reason: str = ""
    bot_modes: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    marks: dict[str, tuple[int, Decimal]] = msgspec.field(default_factory=dict[str, tuple[int, Decimal]])
    track: Track = msgspec.field(default_factory=Track)
    commands: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    orders: dict[str, OpenOrder] = msgspec.field(default_factory=dict[str, OpenOrder])
    canceling: dict[str, None] = msgspec.field(default_factory=dict[str, None])
    guards: dict[str, Guard] = msgspec.field(default_factory=dict[str, Guard])
    stopped: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    quotes: dict[str, Mark] = msgspec.field(default_factory=dict[str, Mark])
    statuses: dict[str, SymbolStatus] = msgspec.field(default_factory=dict[str, SymbolStatus])
    splits: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    corrections: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    earlier: dict[str, tuple[int, Decimal]] = msgspec.field(default_factory=dict[str, tuple[int, Decimal]])
    funds: VenueFunds | None = None
    venue_gap: Decimal = ZERO
    blocked: dict[str, Block] = msgspec.field(default_factory=dict[str, Block])
    targets: dict[str, Target] = msgspec.field(default_factory=dict[str, Target])
    legs_due: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    old_exits: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    bots: dict[str, BotDefined] = msgspec.field(default_factory=dict[str, BotDefined])


def remember(table: dict[str, _T], key: str, value: _T) -> None:
    """Keep the newest entries; what is older can no longer be repeated by any source."""
    table.pop(key, None)
    table[key] = value
    if len(table) > _REMEMBERED_MAX:
        del table[next(iter(table))]
