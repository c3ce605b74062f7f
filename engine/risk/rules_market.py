"""Risk rules on whether a symbol may be traded now, and on the price. Each is a pure function of one `Proposal`."""

from __future__ import annotations

from engine.risk.proposal import Proposal, Refusal, above
from engine.sizing import priced_ns
from engine.values import (
    NS_PER_MINUTE,
    NS_PER_MS,
    NS_PER_S,
    ZERO,
    AssetClass,
    TimeInForce,
    TradingMode,
    asset_class_of,
    plain,
)

_OPG_NS = 2 * NS_PER_MINUTE
_CLS_NS = 10 * NS_PER_MINUTE
_EVENING_NS = 360 * NS_PER_MINUTE
"""Alpaca takes orders of auctions until 9:28 and 15:50 New York, and those of the next day from 19:00, on a half day
six hours after its close; the rest of a full day's evening is given away."""

# --- may it be traded at all -----------------------------------------------------------------------------------------


def trading_mode(p: Proposal) -> Refusal | None:
    """Refuse everything while halted, and what does not reduce the position while reducing."""
    if p.mode is TradingMode.ACTIVE or (p.mode is TradingMode.REDUCING and p.reduces):
        return None
    reason = f"trading is {p.mode.value}: {p.mode_reason}"
    return Refusal("trading_mode", reason, TradingMode.ACTIVE.value, p.mode.value)


def price_sanity(p: Proposal) -> Refusal | None:
    """Refuse a reference price that is not positive."""
    if p.price > 0:
        return None
    return Refusal("price_sanity", "the reference price must be > 0", "0", plain(p.price))


def allowed_symbols(p: Proposal) -> Refusal | None:
    """Refuse a symbol that is not on the list of allowed ones, where there is one."""
    if not p.limits.allowed_symbols or p.signal.symbol in p.limits.allowed_symbols:
        return None
    limit = ",".join(p.limits.allowed_symbols)
    return Refusal("allowed_symbols", "the symbol is not on the list", limit, p.signal.symbol)


def restricted_symbols(p: Proposal) -> Refusal | None:
    """Refuse a symbol on the restricted list."""
    if p.signal.symbol not in p.limits.restricted_symbols:
        return None
    limit = ",".join(p.limits.restricted_symbols)
    return Refusal("restricted_symbols", "the symbol is restricted", limit, p.signal.symbol)


def blocked_symbol(p: Proposal) -> Refusal | None:
    """Refuse a symbol whose price since an earlier session nothing explains, until a split does or a person resumes."""
    if not p.blocked:
        return None
    return Refusal("blocked_symbol", p.blocked, "explained", "blocked")


def session(p: Proposal) -> Refusal | None:
    """Refuse outside the regular session of the venue's calendar, and orders of an auction after its cut-off.

    Only orders for extended hours, of a bot that trades in them, may go while the session is closed: others would wait
    for the opening.
    """
    asset_class = asset_class_of(p.signal.symbol)
    if asset_class is AssetClass.CRYPTO:
        return None
    is_open = p.sessions.is_open(asset_class, p.now_ns)
    if p.terms.time_in_force in (TimeInForce.OPG, TimeInForce.CLS):
        return None if _is_in_time(p, is_open=is_open) else _late(p)
    if is_open or (p.bot.session == "any" and p.terms.extended_hours):
        return None
    return Refusal("session", "the regular session is closed or unknown", "open", str(p.now_ns))


def _is_in_time(p: Proposal, *, is_open: bool) -> bool:
    """Whether an auction still takes the order; after a close the next day's orders wait for the evening (19:00 ET)."""
    coming, _ = p.sessions.coming(p.now_ns)
    is_evening = bool(coming) and not is_open and p.now_ns >= p.sessions.closed_ns(p.now_ns) + _EVENING_NS
    if p.terms.time_in_force is TimeInForce.CLS:
        return is_evening or (is_open and p.now_ns < p.sessions.closed_ns(p.now_ns) - _CLS_NS)
    return is_evening and p.now_ns < coming - _OPG_NS


def _late(p: Proposal) -> Refusal:
    life = p.terms.time_in_force
    limit = "2 minutes before the opening" if life is TimeInForce.OPG else "10 minutes before the close"
    return Refusal("session", f"no auction takes a {life} order now", limit, str(p.now_ns))


def duplicate(p: Proposal) -> Refusal | None:
    """Refuse a second signal with the same content under another id."""
    if not p.repeated:
        return None
    reason = "another signal of this bot, symbol and bar was already answered"
    return Refusal("duplicate", reason, p.repeated, p.signal.id)


def symbol_status(p: Proposal) -> Refusal | None:
    """Refuse a symbol whose trading is halted, or that the venue does not take orders in."""
    for status in p.statuses:
        if status.is_halted or not status.is_tradable:
            observed = "halted" if status.is_halted else "not tradable"
            return Refusal("symbol_status", f"{status.source} say: {status.reason}", "tradable", observed)
    return None


def price_band(p: Proposal) -> Refusal | None:
    """Refuse an order outside the limit-up limit-down bands in force: those said in the session that is open."""
    if not p.sessions.is_open(asset_class_of(p.signal.symbol), p.now_ns):
        return None  # bands end with the session
    for status in p.statuses:
        if p.sessions.day_start(status.ts_event) < p.sessions.day_start(p.now_ns):
            continue
        prices = [px for px in (p.price, p.terms.limit_px) if px is not None]
        for bound, is_out in ((status.low_px, min(prices).__lt__), (status.high_px, max(prices).__gt__)):
            if bound is not None and is_out(bound):
                reason = "the price lies outside the limit-up limit-down band"
                return Refusal("price_band", reason, plain(bound), ",".join(map(plain, prices)))
    return None


def shortable(p: Proposal) -> Refusal | None:
    """Refuse to go short where the venue does not lend, or did not say, and in coins and parts of shares."""
    after = p.held + p.working + p.quantity
    if p.opens_at_venue:
        after = min(after, p.venue_after)
    if after >= 0 or p.quantity > 0:
        return None
    if asset_class_of(p.signal.symbol) is AssetClass.CRYPTO:
        return Refusal("shortable", "coins cannot be sold short", "0", plain(after))
    if after != after.to_integral_value():
        return Refusal("shortable", "parts of a share cannot be sold short", "whole shares", plain(after))
    said = [status for status in p.statuses if status.source == "assets"]
    if said and not said[-1].is_shortable:
        return Refusal("shortable", "the venue does not lend it", "shortable", "no")
    if not said and p.limits.shortable_known:
        return Refusal("shortable", "the venue did not say that it lends it", "shortable", "unknown")
    return _may_short(p)


def _may_short(p: Proposal) -> Refusal | None:
    """Refuse shorts of an account that may not sell short, by the venue's switch or for too little equity."""
    least = p.limits.short_equity_usd_min
    if p.funds is None:
        reason = "the venue did not say that the account may sell short"
        return Refusal("shortable", reason, "enabled", "unknown") if p.limits.shortable_known else None
    if not p.funds.is_shorting_enabled:
        return Refusal("shortable", "the venue does not let the account sell short", "enabled", "no")
    if least is not None:
        for equity in (p.funds.equity, p.equity):
            if equity is not None and equity < least:
                return Refusal(
                    "shortable", "the account's equity is too small to sell short", plain(least), plain(equity)
                )
    return None


def wash_trade(p: Proposal) -> Refusal | None:
    """Refuse an order against a waiting one of another owner on the same account: the venue calls it a wash trade."""
    if not p.crossing:
        return None
    reason = "an order of another owner waits on the other side"
    return Refusal("wash_trade", reason, "none", p.crossing)


def cooldown(p: Proposal) -> Refusal | None:
    """Refuse to open again soon after a stop closed the position, or because of a bar from before it."""
    age_s = (p.now_ns - p.stopped_ns) // NS_PER_S
    if not p.stopped_ns:
        return None
    if (priced := priced_ns(p.signal)) < p.stopped_ns:
        reason = "its bar is older than the stop that closed the position"
        return Refusal("cooldown_s", reason, str(p.stopped_ns), str(priced))
    if age_s >= p.limits.cooldown_s:
        return None
    reason = "a stop closed the position not long ago"
    return Refusal("cooldown_s", reason, str(p.limits.cooldown_s), str(age_s))


# --- what it rests on ------------------------------------------------------------------------------------------------


def stale_bar(p: Proposal) -> Refusal | None:
    """Refuse a decision that rests on an old bar, or on one from the future."""
    age_ms = (p.now_ns - priced_ns(p.signal)) // NS_PER_MS
    if 0 <= age_ms <= p.limits.bar_age_ms_max:
        return None
    return Refusal("bar_age_ms_max", "the bar behind the signal is too old", str(p.limits.bar_age_ms_max), str(age_ms))


def price_move(p: Proposal) -> Refusal | None:
    """Refuse a price that is far from the last one known: a bad print, or a split nobody told us of."""
    if p.last_price is None:
        return None  # the first price of a symbol is its own reference: its bar is fresh
    if p.last_price <= 0:
        return above("price_move_fraction_max", "the price jumped", p.limits.price_move_fraction_max, None)
    move = abs(p.price - p.last_price) / p.last_price
    return above("price_move_fraction_max", "the price jumped", p.limits.price_move_fraction_max, move)


def collar(p: Proposal) -> Refusal | None:
    """Refuse a price far from the last quote or trade; without a fresh one, refuse all."""
    if p.limits.collar_fraction_max is None:
        return None
    side_px = None if p.quote is None else p.quote.ask_px if p.quantity > 0 else p.quote.bid_px
    quoted = side_px if side_px is not None or p.quote is None else p.quote.last_px
    age_ms = None if p.quote is None else (p.now_ns - p.quote.ts_event) // NS_PER_MS
    if quoted is None or quoted <= 0 or age_ms is None or age_ms > p.limits.quote_age_ms_max:
        observed = "no quote" if age_ms is None else f"a quote of {age_ms} ms ago"
        reason = "no fresh quote to compare the price with"
        return Refusal("collar_fraction_max", reason, f"{p.limits.quote_age_ms_max} ms", observed)
    far = max(abs(px - quoted) / quoted for px in (p.price, p.terms.limit_px) if px is not None)
    return above("collar_fraction_max", "the price is far from the last quote", p.limits.collar_fraction_max, far)


def opposite_sides(p: Proposal) -> Refusal | None:
    """Refuse to be long where another bot is short, or the other way round: at the venue they are one position."""
    after = p.held + p.working + p.quantity
    against = [other for other in p.others if other * after < 0]
    if p.limits.opposite_sides or not against:
        return None
    return Refusal("opposite_sides", "another bot is on the other side", "none", plain(sum(against, ZERO)))
