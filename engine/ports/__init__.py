"""What the core asks of the outside world, as values and protocols; adapters implement them, services call them.

Outcomes of a request to the venue are values: an order that was refused, or one whose fate is unknown, is no exception.
"""

from engine.ports.simulated import SimulatedVenue, Worth
from engine.ports.streams import BarHistory, BarListener, BarStream, Clock, UpdateStream, VenueListener, VenueTime
from engine.ports.values import (
    Accepted,
    CancelOutcome,
    CancelRequested,
    ClockOffset,
    LookupOutcome,
    NotFound,
    OpenOrder,
    Quote,
    RateLimited,
    Rejected,
    SubmitOutcome,
    Trade,
    Unknown,
    VenueAccount,
    VenueActivity,
    VenueAsset,
    VenueExecution,
    VenueOrder,
    VenueSplit,
    VenueUpdate,
)
from engine.ports.venue import Fence, Venue

__all__ = [
    "Accepted",
    "BarHistory",
    "BarListener",
    "BarStream",
    "CancelOutcome",
    "CancelRequested",
    "Clock",
    "ClockOffset",
    "Fence",
    "LookupOutcome",
    "NotFound",
    "OpenOrder",
    "Quote",
    "RateLimited",
    "Rejected",
    "SimulatedVenue",
    "SubmitOutcome",
    "Trade",
    "Unknown",
    "UpdateStream",
    "Venue",
    "VenueAccount",
    "VenueActivity",
    "VenueAsset",
    "VenueExecution",
    "VenueListener",
    "VenueOrder",
    "VenueSplit",
    "VenueTime",
    "VenueUpdate",
    "Worth",
]
