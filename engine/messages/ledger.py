"""Bodies that move cash or holdings, and what they come to."""

from __future__ import annotations

from decimal import Decimal

from engine.messages.base import Body
from engine.values import Side


class AccountOpened(Body, frozen=True):
    """First message of a trading stream: whose it is, and cash, holdings and prices that the ledger starts from."""

    venue: str
    account_number: str
    run: str
    cash: Decimal
    ts_event: int
    positions: dict[str, Decimal] = {}  # noqa: RUF012 - msgspec copies an empty default
    prices: dict[str, Decimal] = {}  # noqa: RUF012 - msgspec copies an empty default


class Fill(Body, frozen=True):
    """One execution. Key: (venue_order_id, cum_qty after it)."""

    venue_order_id: str
    cum_qty: Decimal
    client_order_id: str
    bot: str
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    ts_event: int
    commission: Decimal = Decimal(0)


class Fee(Body, frozen=True):
    """A ledger event that moves cash or a holding without a trade, from the venue's activities (CFEE, FEE).

    Attributes:
        id: The venue's activity id.
        bot: Of a fee on coins, whose execution it is for; else whose order in the symbol was filled last. What comes of
            holding it (a dividend) risk shares out over all that hold it, and its positions say how; this bot gets it
            where nobody does.
        cash: Change of cash, negative for a cost.
        quantity: Change of the holding in `symbol`, negative for a fee taken in the asset; 0 if none.
    """

    id: str
    kind: str
    bot: str
    symbol: str
    cash: Decimal
    quantity: Decimal
    ts_event: int


class Split(Body, frozen=True):
    """A split or a change of name: each share of `symbol` is `ratio` shares of `new_symbol` from here on.

    Attributes:
        id: The venue's id of the corporate action or activity.
        ratio: New shares for an old one: 4 for a 4-for-1, 0.1 for a 1-for-10, 1 for a new name.
        fraction_qty: Of the account's net holding after it, what the venue does not keep, signed like the holding.
        cash_in_lieu: USD paid for that, where the venue pays it with the split and not by an activity of its own.
    """

    id: str
    symbol: str
    new_symbol: str
    ratio: Decimal
    ts_event: int
    cash_in_lieu: Decimal = Decimal(0)
    fraction_qty: Decimal = Decimal(0)


class Correction(Body, frozen=True):
    """The ledger was brought to what the venue has, where no event explains the difference.

    Attributes:
        id: Hash of what was compared, and of how often the ledger had moved until then.
        symbol: Of a holding; empty for cash.
        quantity: Change of the holding in `bot`, usually `unattributed`.
        cash: Change of cash, USD.
        ours: What the ledger had.
        theirs: What the venue has.
        source: Which answer of the venue said so.
        price: What the venue said a share is worth, USD; None where it did not.
    """

    id: str
    bot: str
    symbol: str
    quantity: Decimal
    cash: Decimal
    ours: Decimal
    theirs: Decimal
    source: str
    reason: str
    ts_event: int
    price: Decimal | None = None


class Position(Body, frozen=True):
    """Net holding of a bot in a symbol after a fill or fee. `cause` is the fill key or activity id."""

    bot: str
    symbol: str
    signed_qty: Decimal
    avg_px_open: Decimal
    realized_pnl: Decimal
    cause: str
    ts_event: int


class VenueFunds(Body, frozen=True):
    """What the venue says the account may spend, USD; stored where it is news (engine.execution.funds).

    Attributes:
        buying_power: What new stock orders may cost, open orders taken off.
        equity: What the account is worth.
        is_shorting_enabled: Whether the account may sell short at all.
    """

    buying_power: Decimal
    equity: Decimal
    is_shorting_enabled: bool
    ts_event: int


class Account(Body, frozen=True):
    """The ledger's cash after a fill or fee, and what is reserved for working orders."""

    cash: Decimal
    reserved: Decimal
    realized_pnl: Decimal
    cause: str
    ts_event: int
