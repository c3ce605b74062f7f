"""A denial that says a person must look: the bot, or the account, goes to REDUCING until then. Part of risk's core."""

from __future__ import annotations

from engine.messages import RiskDenied, TradingState
from engine.risk.rules import LATCHES_ACCOUNT, LATCHES_BOT
from engine.risk.state import RiskState
from engine.values import TradingMode


def latch(state: RiskState, denied: RiskDenied) -> list[TradingState]:
    """Go to REDUCING where the rule latches; give the trading state that this brings."""
    reason = f"{denied.rule}: {denied.reason} ({denied.observed}, limit {denied.limit})"
    if denied.rule in LATCHES_BOT and denied.bot not in state.bot_modes:
        state.bot_modes[denied.bot] = reason
        return [TradingState(TradingMode.REDUCING, reason, denied.id, denied.decided_ns, denied.bot)]
    if denied.rule in LATCHES_ACCOUNT and state.mode is TradingMode.ACTIVE:
        state.mode, state.mode_reason = TradingMode.REDUCING, reason
        return [TradingState(TradingMode.REDUCING, reason, denied.id, denied.decided_ns)]
    return []
