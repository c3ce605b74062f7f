"""Risk. Read `core` (the fold and its answers), then `rules`, `ledger`, `guards` and `protecting`; `state` is kept."""

from engine.risk.core import RiskCore
from engine.risk.state import RiskState

__all__ = ["RiskCore", "RiskState"]
