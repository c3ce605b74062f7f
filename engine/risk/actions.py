"""Corporate actions and corrections in risk's books, and symbols that are blocked because a price is not explained.

After a split every holding, reservation, open order, guard and known price of the symbol is in new shares; after a
correction the sum over all bots is what the venue has. The first price of a session that lies far from the last one of
an earlier session, or at a simple split ratio from it, blocks the symbol: what adds risk is denied until a split
explains the price or a person resumes. Part of engine.risk.core.
"""

from __future__ import annotations

from decimal import Decimal

from engine.bots import RiskLimits
from engine.ids import make_id
from engine.messages import Alert, AnyBody, Correction, Fee, Fill, Split
from engine.risk.exposure import Exposure
from engine.risk.guards import Guards
from engine.risk.ledger import Ledger
from engine.risk.state import Block, RiskState, remember
from engine.risk.working import Working
from engine.sessions import SessionTable
from engine.splits import divided
from engine.values import AssetClass, asset_class_of, plain, to_decimal

NEAR = Decimal("0.03")
"""How close to a simple ratio a price counts as split."""
_MANY = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)
_RATIOS = (*((many, 1) for many in _MANY), *((1, many) for many in _MANY), (3, 2), (2, 3))
"""Splits that happen: new shares for old ones."""


class Books(Ledger):
    """The books of an account, corporate actions and corrections included; watches prices across sessions.

    Args:
        state: Risk's.
        exposure: Sums over the portfolio; tells every new price.
        working: The open orders.
        guards: Follow the positions.
        sessions: Tell which session a price is of.
        limits: How far a price may move overnight.
    """

    def __init__(
        self,
        state: RiskState,
        exposure: Exposure,
        working: Working,
        guards: Guards,
        sessions: SessionTable,
        *,
        limits: RiskLimits,
    ) -> None:
        super().__init__(state, exposure, working, guards, sessions)
        self._limits = limits
        self._alerts: list[Alert] = []
        exposure.on_move = self._look

    def book(self, body: Fill | Fee | Split | Correction) -> list[AnyBody]:
        """Book what moves cash or holdings, once."""
        match body:
            case Fill():
                return self.book_fill(body)
            case Fee():
                return self.book_fee(body)
            case Split():
                return self.book_split(body)
            case Correction():
                return self.book_correction(body)

    def alerts(self) -> list[Alert]:
        """Give what a person should be told since the last call."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def say(self, alert: Alert) -> None:
        """Have a person told of something else."""
        self._alerts.append(alert)

    def resume(self) -> None:
        """Let bots and symbols go that a rule stopped: a person knows."""
        self._state.bot_modes.clear()
        self._state.blocked.clear()

    # --- books -------------------------------------------------------------------------------------------------------

    def book_split(self, split: Split) -> list[AnyBody]:
        """Book a split or a change of name; nothing for one that is booked."""
        state = self._state
        if split.id in state.splits:
            return []
        remember(state.splits, split.id, split.ts_event)
        changed, ordered = state.portfolio.apply_split(split), list[str]()
        for order in self._working.split(split):
            body = order.body
            state.portfolio.restate(body.id, f"{body.bot}|{body.symbol}", order.leaves_qty)
            changed += [
                key for key in (f"{body.bot}|{split.symbol}", f"{body.bot}|{body.symbol}") if key not in changed
            ]
        self._exposure.split(split)
        quote = state.quotes.get(split.symbol)
        if quote is not None and quote.ts_event <= split.ts_event:
            del state.quotes[split.symbol]
        self._guards.split(split)
        bodies: list[AnyBody] = []
        for key in dict.fromkeys((*changed, *ordered)):
            bot, symbol = key.split("|", 1)
            self._exposure.touch(bot, symbol)
            if key in changed:
                bodies.append(self.position(bot, symbol, split.id, split.ts_event))
        for key in changed:
            bot, symbol = key.split("|", 1)
            bodies += self._guards.told(bot, symbol, split.id, split.ts_event)
        self._explain(split)
        return [*bodies, self.account(split.id, split.ts_event)]

    def book_correction(self, correction: Correction) -> list[AnyBody]:
        """Book a correction; nothing for one that is booked."""
        state, bot, symbol = self._state, correction.bot, correction.symbol
        if correction.id in state.corrections:
            return []
        remember(state.corrections, correction.id, correction.ts_event)
        held = state.portfolio.apply_correction(correction)
        bodies: list[AnyBody] = []
        if symbol:
            self._exposure.touch(bot, symbol)
            bodies.append(self.position(bot, symbol, correction.id, correction.ts_event))
            bodies += self._guards.moved(bot, symbol, held.avg_px_open, correction.id, correction.ts_event)
        return [*bodies, self.account(correction.id, correction.ts_event)]

    # --- prices across sessions --------------------------------------------------------------------------------------

    def _look(self, symbol: str, before: tuple[int, Decimal], now: tuple[int, Decimal]) -> None:
        """Block a symbol whose first price of a session is not explained by the last one of an earlier session."""
        limit = self._limits.overnight_move_fraction_max
        if limit is None or asset_class_of(symbol) is not AssetClass.US_EQUITY:
            return
        if self._sessions.day_start(now[0]) <= self._sessions.day_start(before[0]):
            return
        likeness = _likeness(before[1], now[1])
        if not likeness and _move(before[1], now[1]) <= to_decimal(limit):
            return
        reason = (
            f"{symbol} came at {plain(now[1])} after {plain(before[1])} in an earlier session{likeness}, and no split "
            "explains it"
        )
        self._state.blocked[symbol] = Block(reason, before[1], now[1], now[0])
        mend = f"{reason}: orders that add to it are denied; check the price, then run `tapeline resume`"
        self._tell("error", "blocked", symbol, mend, now[0])

    def _explain(self, split: Split) -> None:
        """Let a symbol go whose price the split explains."""
        block = self._state.blocked.get(split.symbol)
        limit = self._limits.overnight_move_fraction_max
        if block is None or limit is None:
            return
        before = divided(block.before_px, split.ratio)
        is_near = not _likeness(before, block.px) and _move(before, block.px) <= to_decimal(limit)
        if block.ts_event >= split.ts_event and is_near:
            del self._state.blocked[split.symbol]
            what = f"{split.symbol} is traded again: a split of {plain(split.ratio)} for 1 explains its price"
            self._tell("info", "free", split.symbol, what, split.ts_event)

    def _tell(self, level: str, kind: str, symbol: str, what: str, ts_event: int) -> None:
        alert_id = make_id(self._state.account, self._state.run, kind, symbol, ts_event)
        self._alerts.append(Alert(alert_id, level, "risk", what, ts_event))


def _move(before: Decimal, now: Decimal) -> Decimal:
    return abs(now - before) / before


def _likeness(before: Decimal, now: Decimal) -> str:
    """Say which simple split a change of price looks like; empty for none."""
    for new, old in _RATIOS:
        if abs(now * new / (before * old) - 1) <= NEAR:
            return f", as by a {new}-for-{old} split"
    return ""
