"""Rules that say a person must look: the bot, or the account, goes to REDUCING until then. Part of risk's core.

They latch by a denial, and, for losses, the moment a price or a fill shows one, whether anybody wants to trade or not.
What is not known latches nothing: it denies, until it is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from engine.bots import Bot, RiskLimits
from engine.messages import Correction, Fee, Fill, Mark, RiskDenied, Split, TradingState
from engine.risk.exposure import Exposure
from engine.risk.narrowing import Narrowed
from engine.risk.proposal import UNKNOWN, Refusal, above, exact, share
from engine.risk.rules import LATCHES_ACCOUNT, LATCHES_BOT
from engine.risk.state import RiskState
from engine.risk.track import ACCOUNT
from engine.sessions import SessionTable
from engine.values import TradingMode

_Bounds = tuple[Decimal | None, Decimal | None]


def latch(state: RiskState, denied: RiskDenied) -> list[TradingState]:
    """Go to REDUCING where the rule latches; give the trading state that this brings."""
    refusal = Refusal(denied.rule, denied.reason, denied.limit, denied.observed)
    return _latch(state, refusal, denied.bot, denied.id, denied.decided_ns)


def relatch(state: RiskState, said: TradingState) -> None:
    """Let a stored latch hold after a restart too, whatever the prices between a decision and its place came to."""
    if said.mode is not TradingMode.REDUCING or said.cause in state.commands:
        return
    if said.bot:
        state.bot_modes.setdefault(said.bot, said.reason)
    elif state.mode is TradingMode.ACTIVE:
        state.mode, state.mode_reason = said.mode, said.reason


def _latch(state: RiskState, refusal: Refusal, bot: str, cause: str, ts_event: int) -> list[TradingState]:
    if refusal.observed == UNKNOWN:
        return []
    reason = f"{refusal.rule}: {refusal.reason} ({refusal.observed}, limit {refusal.limit})"
    if refusal.rule in LATCHES_BOT and bot not in state.bot_modes:
        state.bot_modes[bot] = reason
        return [TradingState(TradingMode.REDUCING, reason, cause, ts_event, bot)]
    if refusal.rule in LATCHES_ACCOUNT and state.mode is TradingMode.ACTIVE:
        state.mode, state.mode_reason = TradingMode.REDUCING, reason
        return [TradingState(TradingMode.REDUCING, reason, cause, ts_event)]
    return []


class Losses:
    """Looks at losses whenever a price or a fill moves them.

    Args:
        state: Risk's.
        bots: By name; limits of bots are shares of their capital.
        limits: Of the rules.
        exposure: Sums over the portfolio.
        sessions: Tell when a trading day begins.
    """

    def __init__(
        self,
        state: RiskState,
        bots: Mapping[str, Bot],
        limits: RiskLimits,
        *,
        exposure: Exposure,
        sessions: SessionTable,
    ) -> None:
        self._state = state
        self._bots = bots
        self._narrowed = Narrowed(limits, bots)
        day, peak = limits.daily_loss_usd_max, limits.drawdown_usd_max
        self._account_bounds = None if day is None else exact(day), None if peak is None else exact(peak)
        self._bounds: dict[str, tuple[Bot, _Bounds]] = {}
        self._exposure = exposure
        self._sessions = sessions

    def marks(self, marks: Sequence[Mark], cause: str) -> list[TradingState]:
        """Take in prices of one moment; give the trading states that the losses they show bring.

        They are judged together: half of them beside the other half's older prices would be a P&L that never was.
        """
        track, exposure = self._state.track, self._exposure
        bots: dict[str, None] = {}
        ts_event = 0
        for mark in marks:
            if mark.last_px is not None:
                if mark.ts_event > ts_event:
                    ts_event = mark.ts_event
                    track.turn(self._sessions.day_start(ts_event), exposure)
                exposure.mark(mark.symbol, mark.last_px, mark.ts_event, also_equal=False)
                bots |= dict.fromkeys(exposure.holders(mark.symbol))
        for bot in bots:
            track.observe(bot, exposure)
        return self._judged(bots, cause, ts_event) if bots else []

    def booked(self, body: Fill | Fee | Split | Correction) -> list[TradingState]:
        """Give the trading states that follow from what was booked."""
        cause = f"{body.venue_order_id}|{body.cum_qty}" if isinstance(body, Fill) else body.id
        bots = self._exposure.holders(body.symbol)
        if not isinstance(body, Split) and body.bot not in bots:
            bots.append(body.bot)
        return self._judged(bots, cause, body.ts_event)

    def _judged(self, bots: Iterable[str], cause: str, ts_event: int) -> list[TradingState]:
        states: list[TradingState] = []
        for scope, refusal in self._refusals(bots):  # none but where a limit is broken
            states += _latch(self._state, refusal, scope, f"{refusal.rule}|{scope}|{cause}", ts_event)
        return states

    def _refusals(self, bots: Iterable[str]) -> Iterator[tuple[str, Refusal]]:
        yield from self._of(ACCOUNT, self._account_bounds)
        for name in bots:
            bot = self._bots.get(name)
            if bot is not None:
                yield from self._of(name, self._bounds_of(bot))

    def _bounds_of(self, bot: Bot) -> _Bounds:
        """Give the largest loss of a day and the deepest fall of a bot, USD; made again where it is another bot."""
        known = self._bounds.get(bot.name)
        if known is None or known[0] is not bot:
            limits = self._narrowed.of(bot.name)
            day = share(limits.bot_daily_loss_fraction_max, bot.capital)
            known = self._bounds[bot.name] = bot, (day, share(limits.bot_drawdown_fraction_max, bot.capital))
        return known[1]

    def _of(self, scope: str, bounds: _Bounds) -> Iterator[tuple[str, Refusal]]:
        track, sums = self._state.track, self._exposure.of(scope) if scope else self._exposure.account
        if sums.unknown:
            return
        loss, fall, (day, peak) = track.loss(scope, sums.pnl), track.drawdown(scope, sums.pnl), bounds
        if (day is None or loss <= day) and (peak is None or fall <= peak):
            return
        who, unit = ("bot_", "_fraction_max") if scope else ("", "_usd_max")
        looked = (
            above(f"{who}daily_loss{unit}", "too large a loss today", day, loss),
            above(f"{who}drawdown{unit}", "too deep a fall from the peak", peak, fall),
        )
        yield from ((scope, refusal) for refusal in looked if refusal is not None)
