"""When in the day and the week a bot trades. Values only; engine.hours says what that is in ns."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Literal

import msgspec

from engine.zones import NEW_YORK, names

_TIME = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]|24:00")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hours in which a bot says what it wants: from `start` until before `end`, on `days`.

    Attributes:
        start: HH:MM by the clocks of `zone`, 00:00 to 23:59.
        end: The same, up to 24:00; after `start`.
        zone: IANA time zone, such as `Europe/London`. Summer time is followed.
        days: Of the week, in `zone`.
        market_hours: Within the regular session of US equities only, as the calendar has it, half days included; for
            crypto too. Shares of a bot with session `regular` never trade outside it.
        flatten_before_s: Positions are closed so many seconds before the end, and within market hours at the latest a
            minute before the close; from then on nothing is said until the next window. None: they stay.
    """

    start: str = "00:00"
    end: str = "24:00"
    zone: str = NEW_YORK
    days: tuple[Day, ...] = DAYS
    market_hours: bool = False
    flatten_before_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] | None = None

    def __post_init__(self) -> None:
        """Refuse a window that never opens, or is in no zone."""
        for name, time in (("start", self.start), ("end", self.end)):
            if not _TIME.fullmatch(time):
                msg = f"{name} must be a time HH:MM from 00:00 to 24:00, was {time!r}"
                raise ValueError(msg)
        if minutes(self.end) <= minutes(self.start):
            msg = f"end must be after start, {self.start}, was {self.end}: a window ends on the day on which it begins"
            raise ValueError(msg)
        if not self.days or len(set(self.days)) < len(self.days):
            msg = f"days must name each day once, and at least one, was {list(self.days)}"
            raise ValueError(msg)
        if self.zone not in names():
            near = get_close_matches(self.zone, sorted(names()), 3) or [NEW_YORK, "Europe/London"]
            msg = f"zone must be a time zone of the IANA list, such as {', '.join(near)}, was {self.zone!r}"
            raise ValueError(msg)
        if self.flatten_before_s and self.flatten_before_s >= 60 * (minutes(self.end) - minutes(self.start)):
            msg = f"flatten_before_s must be less than the window is long, was {self.flatten_before_s}"
            raise ValueError(msg)


def minutes(time: str) -> int:
    """Give a time HH:MM in minutes after midnight."""
    return int(time[:2]) * 60 + int(time[3:])
