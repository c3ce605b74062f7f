"""From when an order may trade and when it ends, by its time in force; and the cut-offs of the auctions.

Alpaca ("Orders at Alpaca"): `opg` is refused between 09:28 and 19:00 New York, `cls` from ten minutes before the close
(15:50 on a whole day) to 19:00, on trading days; gtc ends after 90 days. Pure; called by the book.
"""

from __future__ import annotations

from datetime import time, timedelta

from adapters.exchange.calendar import Session, VenueCalendar, new_york, ns_of
from adapters.exchange.orders import OrderTerms, Refusal
from engine.values import NS_PER_MINUTE, AssetClass, TimeInForce

_GTC_DAYS = 90
_OPG_CUT_OFF_NS = 2 * NS_PER_MINUTE
_CLS_CUT_OFF_NS = 10 * NS_PER_MINUTE
_AUCTIONS_AGAIN = time(19, 0)


def life_of(calendar: VenueCalendar, terms: OrderTerms, now_ns: int) -> tuple[int, int]:
    """Give from when an order received now may trade and when it expires (0 = never), ns UTC."""
    if terms.asset_class is AssetClass.CRYPTO:
        return now_ns, 0
    if terms.time_in_force is TimeInForce.OPG:
        opens = calendar.next_open(now_ns).open_ns
        return opens, opens + NS_PER_MINUTE
    session = calendar.session_for(now_ns, extended=terms.extended_hours)
    opens = session.extended_open_ns if terms.extended_hours else session.open_ns
    closes = session.extended_close_ns if terms.extended_hours else session.close_ns
    if terms.time_in_force is TimeInForce.GTC:
        closes = ns_of(new_york(now_ns).date() + timedelta(days=_GTC_DAYS), time(16, 15))
    return max(now_ns, opens), closes


def auction_refusal(calendar: VenueCalendar, terms: OrderTerms, now_ns: int) -> Refusal | None:
    """Why an order for an auction comes too late, None when it does not."""
    if terms.time_in_force not in (TimeInForce.OPG, TimeInForce.CLS):
        return None
    if terms.is_fractional:
        return Refusal(422, 42210000, "fractional orders must be DAY orders")
    today = new_york(now_ns).date()
    for session in calendar.between(today, today):
        cut_off = _cut_off(session, terms.time_in_force)
        if cut_off <= now_ns < ns_of(today, _AUCTIONS_AGAIN):
            shown = f"{new_york(cut_off):%I:%M%p}".lstrip("0").lower()
            name = terms.time_in_force.value
            return Refusal(403, 40310000, f"{name} orders must be submitted after 7:00pm and before {shown}")
    return None


def _cut_off(session: Session, lifetime: TimeInForce) -> int:
    if lifetime is TimeInForce.OPG:
        return session.open_ns - _OPG_CUT_OFF_NS
    return session.close_ns - _CLS_CUT_OFF_NS
