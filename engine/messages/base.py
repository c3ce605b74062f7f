"""The frame of every message: how it travelled, and what a body is."""

from __future__ import annotations

from typing import Annotated

import msgspec

SCHEMA = 1
"""Version of the wire form; a reader refuses a higher one."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a message travelled.

    Attributes:
        ts_init: When this message was made, wall clock, ns UTC.
        ts_recv: When the market data that led to it was received by feed, wall clock, ns UTC; 0 if none did.
        trace: Key of the bar (or order) at the start of the chain; empty on the bar itself.
        schema: Version of the wire form.
        refs: Names others give the same thing: execution_id, activity_id, via.
    """

    ts_init: int
    ts_recv: int = 0
    trace: str = ""
    schema: Annotated[int, msgspec.Meta(le=SCHEMA)] = SCHEMA
    refs: dict[str, str] = {}


class Body(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of everything that can happen; the tag is the class name, in the field `type`."""
