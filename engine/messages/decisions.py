"""Bodies of what bots want and risk answers."""

from __future__ import annotations

from decimal import Decimal

from engine.messages.base import Body
from engine.values import Direction, OrderClass, OrderType, Purpose, Side, TimeInForce


class Signal(Body, frozen=True):
    """A target: what a bot wants to hold in a symbol, as a direction and a share of its capital. No quantity.

    Attributes:
        id: Hash of (account, run, bot, bar key, ordinal).
        strength: 0..1, share of the bot's allocation for this symbol.
        price: Close of the bar that caused it.
        bar: Key of that bar (engine.ids.bar_key).
        indicators: Every indicator value the decision saw.
    """

    id: str
    bot: str
    symbol: str
    strategy: str
    direction: Direction
    strength: float
    price: float
    reason: str
    bar: str
    ts_event: int
    indicators: dict[str, float] = {}  # noqa: RUF012 - msgspec copies an empty default


class IndicatorValues(Body, frozen=True):
    """What a bot's strategy sees at a bar; only of bots with publish_indicators.

    Attributes:
        bar: Key of the bar (engine.ids.bar_key).
        values: By label, those that are numbers.
        ts_event: Close of the bar, ns UTC.
    """

    bot: str
    symbol: str
    bar: str
    values: dict[str, float]
    ts_event: int


class OrderIntent(Body, frozen=True):
    """An approved wish to trade, with a quantity and no status.

    Attributes:
        id: Hash of (account, run, bot, signal id, ordinal); also the client_order_id.
        signal_id: The signal behind it; of an order that protects or guards, the id of what caused it.
        quantity: Shares or coins; of a notional order what the notional is about worth at `ref_px`.
        ref_px: Price the sizing used; the reservation is quantity x ref_px x (1 + price_buffer).
        reserved: Cash reserved for it, 0 when it reduces the position.
        decided_ns: The `now_ns` the verdict was made with.
        valid_until: After this venue time it must not be sent any more.
        trail_px: Distance of a trailing stop, USD; or
        trail_percent: the same in percent (1.5 is 1.5 %).
        notional: USD to trade instead of a quantity.
        take_profit_px: Limit of the exit in profit, of a bracket, OCO or OTO.
        stop_loss_px: Stop of the exit at a loss, of a bracket, OCO or OTO.
        stop_loss_limit_px: Limit of that exit once triggered; None makes it a market order.
        replaces: client_order_id of the working order this one takes the place of.
    """

    id: str
    signal_id: str
    bot: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    ref_px: Decimal
    reserved: Decimal
    decided_ns: int
    valid_until: int
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    extended_hours: bool = False
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
    notional: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit_px: Decimal | None = None
    stop_loss_px: Decimal | None = None
    stop_loss_limit_px: Decimal | None = None
    purpose: Purpose = Purpose.TARGET
    replaces: str = ""


class RiskDenied(Body, frozen=True):
    """Risk's refusal. `limit` and `observed` are what the rule compared, as text with its unit in the rule's name."""

    id: str
    signal_id: str
    bot: str
    symbol: str
    rule: str
    reason: str
    limit: str
    observed: str
    decided_ns: int
    side: Side | None = None
    quantity: Decimal | None = None


class TargetReached(Body, frozen=True):
    """Risk's answer when target minus position minus working quantity is nothing to trade."""

    id: str
    signal_id: str
    bot: str
    symbol: str
    reason: str
    decided_ns: int


class Protection(Body, frozen=True):
    """Who holds the stop and the target of a position from here on, and where they are.

    Attributes:
        holder: `venue`, `risk`, `both` (each a part), or `none` (nothing held, or no stops configured).
        venue_qty: Quantity that orders at the venue protect.
        risk_qty: Quantity that risk's guard watches.
        stop_px: Where it closes at a loss, None without one: of `venue` where the exits lie, which went with their
            entry before its price was known; else where the guard closes.
        target_px: The same in profit.
        peak_px: Best price since the position was opened, of a trailing stop.
        cause: What changed it: a fill's key, an order's id, a mark's time.
    """

    bot: str
    symbol: str
    holder: str
    venue_qty: Decimal
    risk_qty: Decimal
    cause: str
    ts_event: int
    stop_px: Decimal | None = None
    target_px: Decimal | None = None
    peak_px: Decimal | None = None
