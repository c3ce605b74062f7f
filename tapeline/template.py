"""Long while the close is above its average, else flat: replace this by what your strategy does.

Rule: long when a bar closes above sma(period), out when it closes below. Warm-up: `period` bars. Source: yours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from tapeline.api import Bar, Direction, Turning, compare, indicator


class TemplateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bot may set under [params], with types, bounds and defaults."""

    period: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20


class Template(Turning):
    """One object per bot and symbol. Its attributes are its state: they are kept over restarts, so keep them small."""

    Params = TemplateParams

    def __init__(self, params: TemplateParams) -> None:
        """Declare the indicators; `decide` is asked when all of them have a value."""
        super().__init__(indicator("sma", {"period": params.period}), allow_short=False)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:
        """Turn the target at the close of a bar, or leave it as it is.

        Args:
            bar: symbol, ts_event (its close, ns UTC), open, high, low, close, volume.
            values: Of the indicators, in their order.
        """
        (average,) = values
        match compare(bar.close, average):
            case 1:
                self.turn(Direction.LONG, f"close {bar.close:g} is above its average {average:g}")
            case -1:
                self.leave(f"close {bar.close:g} is below its average {average:g}")
            case _:
                pass
