"""Risk rules on how much, how often, and after which losses. Each is a pure function of one `Proposal`."""

from __future__ import annotations

from decimal import Decimal

from engine.risk.proposal import Proposal, Refusal, above, exact, known, share
from engine.values import money

# --- how much --------------------------------------------------------------------------------------------------------


def order_notional(p: Proposal) -> Refusal | None:
    """Refuse an order above the largest notional."""
    return above("order_notional_usd_max", "the order is too large", p.limits.order_notional_usd_max, p.notional)


def order_quantity(p: Proposal) -> Refusal | None:
    """Refuse an order above the largest quantity."""
    return above("order_quantity_max", "the order is too large", p.limits.order_quantity_max, abs(p.quantity))


def position_fraction(p: Proposal) -> Refusal | None:
    """Refuse a position, working orders counted, above its share of the bot's capital."""
    limit = share(p.limits.position_fraction_max, p.bot.capital)
    after = abs(p.held + p.working + p.quantity) * p.price
    return above("position_fraction_max", "the position would be too large", limit, after)


def symbol_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much in one symbol over all bots."""
    after = p.symbol_gross + p.more_gross
    return above(
        "symbol_exposure_usd_max", "all bots together would hold too much", p.limits.symbol_exposure_usd_max, after
    )


def bot_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of a bot over all symbols."""
    limit = share(p.limits.bot_exposure_fraction_max, p.bot.capital)
    after = known(p.of_bot.gross + p.more_gross, p.of_bot)
    return above("bot_exposure_fraction_max", "the bot's exposure would be too large", limit, after)


def gross_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of the account, long and short added."""
    after = known(p.account.gross + p.more_gross, p.account)
    return above(
        "gross_exposure_usd_max", "the account's exposure would be too large", p.limits.gross_exposure_usd_max, after
    )


def net_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of the account, short taken from long."""
    after = known(abs(p.account.net + p.quantity * p.price), p.account)
    return above(
        "net_exposure_usd_max", "the account's net exposure would be too large", p.limits.net_exposure_usd_max, after
    )


def positions(p: Proposal) -> Refusal | None:
    """Refuse one symbol too many."""
    is_new = p.held == 0 and p.working == 0
    return above(
        "positions_max", "too many open positions", p.limits.positions_max, Decimal(p.account.open_symbols + is_new)
    )


def bot_positions(p: Proposal) -> Refusal | None:
    """Refuse a bot one symbol too many."""
    is_new = p.held == 0 and p.working == 0
    observed = Decimal(p.of_bot.open_symbols + is_new)
    return above("bot_positions_max", "too many open positions of the bot", p.limits.bot_positions_max, observed)


def buying_power(p: Proposal) -> Refusal | None:
    """Refuse what free cash does not cover, price buffer included; shorts need it too.

    Free by the ledger (reservations and what shorts bind taken off) and by the venue's last word, the smaller counts.
    """
    needed = _worst_cost(p) if p.opens_at_venue else reservation(p)
    if p.account.unknown_shorts:
        return above("buying_power", "what a short position binds", p.cash_free, None)
    by_venue = "the venue's buying power does not cover the order"
    return above("buying_power", "free cash does not cover the order", p.cash_free, needed) or above(
        "buying_power", by_venue, p.cash_free + p.venue_gap, needed
    )


# --- how often, and how it went --------------------------------------------------------------------------------------


def open_orders(p: Proposal) -> Refusal | None:
    """Refuse one working order too many."""
    return above(
        "open_orders_max", "too many orders work", p.limits.open_orders_max, Decimal(p.activity.open_orders + 1)
    )


def orders_per_min(p: Proposal) -> Refusal | None:
    """Refuse one order of the account too many in a minute."""
    count = Decimal(p.activity.account_minute + 1)
    return above("orders_per_min_max", "too many orders in a minute", p.limits.orders_per_min_max, count)


def bot_orders_per_min(p: Proposal) -> Refusal | None:
    """Refuse one order of the bot too many in a minute."""
    count = Decimal(p.activity.bot_minute + 1)
    return above("bot_orders_per_min_max", "too many orders in a minute", p.limits.bot_orders_per_min_max, count)


def bot_orders_per_day(p: Proposal) -> Refusal | None:
    """Refuse one order of the bot too many in a trading day."""
    count = Decimal(p.activity.bot_day + 1)
    return above("bot_orders_per_day_max", "too many orders in a day", p.limits.bot_orders_per_day_max, count)


def repeats(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, when it repeats itself (RTS 6 Art. 15(3)): a person must re-enable it."""
    count = Decimal(p.activity.same_side + 1)
    return above("repeats_max", "the bot repeats one side of one symbol", p.limits.repeats_max, count)


def daily_loss(p: Proposal) -> Refusal | None:
    """Refuse, and latch the account, after too large a loss in a day."""
    loss = known(p.activity.account_loss, p.account)
    return above("daily_loss_usd_max", "the account lost too much today", p.limits.daily_loss_usd_max, loss)


def bot_daily_loss(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, after too large a loss in a day."""
    limit = share(p.limits.bot_daily_loss_fraction_max, p.bot.capital)
    loss = known(p.activity.bot_loss, p.of_bot)
    return above("bot_daily_loss_fraction_max", "the bot lost too much today", limit, loss)


def drawdown(p: Proposal) -> Refusal | None:
    """Refuse, and latch the account, after too deep a fall from its best."""
    fall = known(p.activity.account_drawdown, p.account)
    return above("drawdown_usd_max", "the account fell too far from its peak", p.limits.drawdown_usd_max, fall)


def bot_drawdown(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, after too deep a fall from its best."""
    limit = share(p.limits.bot_drawdown_fraction_max, p.bot.capital)
    fall = known(p.activity.bot_drawdown, p.of_bot)
    return above("bot_drawdown_fraction_max", "the bot fell too far from its peak", limit, fall)


def reservation(p: Proposal) -> Decimal:
    """Cash to hold for the order: notional with the price buffer; 0 when it reduces the position."""
    if p.reduces:
        return Decimal(0)
    return _worst_cost(p)


def _worst_cost(p: Proposal) -> Decimal:
    """Notional with the price buffer."""
    return money(p.notional * (1 + exact(p.limits.price_buffer_fraction)))
