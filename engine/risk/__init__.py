"""Risk: pure rules (rules.py) and the ledger they judge against (core.py)."""

from engine.risk.core import RiskCore, RiskState

__all__ = ["RiskCore", "RiskState"]
