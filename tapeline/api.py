"""What authors of strategies import. docs/own-strategies.md shows how.

Names here stay; what they are is documented where they come from.
"""

from engine.indicators import Indicator, Kind, Param
from engine.indicators import make as indicator
from engine.messages import Bar
from engine.ports import Trade
from engine.strategies import OwnFill, Strategy, Target
from engine.strategies.turning import Crossing, Turning, compare
from engine.values import Direction, Side

__all__ = [
    "Bar",
    "Crossing",
    "Direction",
    "Indicator",
    "Kind",
    "OwnFill",
    "Param",
    "Side",
    "Strategy",
    "Target",
    "Trade",
    "Turning",
    "compare",
    "indicator",
]
