"""Targets that are not reached: an exit that came to nothing is asked for again. Part of engine.risk.core.

A strategy says its target once. When the order that should close a position was denied (while halted, outside the
session), refused by the venue, expired or canceled, it is asked for again as the next ordinal of the same signal: after
a resume, in the next session, after a refusal later and later.

Invariants:
1. Only what brings a position to zero is asked for again, and only where the last target is flat or on the other side:
   never an entry, and never a size that an old price gave.
2. State is moved by stored messages alone (verdicts, ends, commands, persons' wishes to cancel); what is due is looked
   up at the decision, and its outcome is a stored verdict. Killed before it was stored, the same id is asked again.
3. Between two attempts lies a wait in venue time that doubles up to `exit_wait_s_max`; after `exit_attempts_max` of
   them nothing until a newer signal or a resume, and an alert says so.
4. An order that a person asked to end is not asked for again until a newer signal or a resume.
Called by engine.risk.core. Guards have their own way (`engine.risk.guards`): they fire again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.bots import Bot, RiskLimits
from engine.ids import make_id
from engine.messages import (
    NOTHING_TO_CLOSE,
    Alert,
    AnyBody,
    CancelOrder,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Position,
    RiskDenied,
    Signal,
    Verdict,
)
from engine.ordering import on_venue_step
from engine.risk.guards import STRATEGY
from engine.risk.state import RiskState, Target
from engine.risk.working import OpenOrder, OrderEnd
from engine.sessions import SessionTable
from engine.values import NS_PER_S, AssetClass, TradingMode, asset_class_of, plain

_TOLD_AT = 5
"""A person is told when so many attempts came to nothing, and again when the last one did."""
_ROLES = frozenset({"risk", "executor"})


class Standing:
    """The last target of every bot in every symbol, and those of them whose exit is not done.

    Args:
        state: Risk's; `targets` in it is changed here only.
        bots: By name.
        limits: How often and how soon.
        sessions: Exits leave in the bots' sessions.
        tell: Has a person told.
        net: Gives what the account holds of a bot's symbol.
    """

    def __init__(
        self,
        state: RiskState,
        bots: dict[str, Bot],
        limits: RiskLimits,
        sessions: SessionTable,
        *,
        tell: Callable[[Alert], None],
        net: Callable[[str, str], Decimal],
    ) -> None:
        self._state = state
        self._bots = bots
        self._limits = limits
        self._sessions = sessions
        self._tell = tell
        self._net = net
        self._open = dict.fromkeys(state.targets)
        """Positions to look at: what changed since they were found to be as wanted. Not part of the state."""

    @property
    def is_open(self) -> bool:
        """Whether there may be something to ask for again, now or later."""
        return bool(self._open)

    # --- what happened ---------------------------------------------------------------------------------------------

    def answered(self, verdict: Verdict, found: tuple[Signal, int] | None) -> None:
        """Take in a verdict.

        Args:
            verdict: As it was made or stored.
            found: The signal that waited for it and its ordinal; None for all others, those asked for again included.
        """
        if isinstance(verdict, RiskDenied) and verdict.rule == "superseded":
            return  # the newer one's verdict is the one that counts
        key = f"{verdict.bot}|{verdict.symbol}"
        target = self._state.targets.get(key)
        if found is None:
            if target is None or target.signal_id != verdict.signal_id or verdict.id != self._next_id(verdict, target):
                return
            target.ordinal, target.attempts = target.ordinal + 1, target.attempts + 1
            if isinstance(verdict, RiskDenied):
                self._warn(verdict, target, f"denied by {verdict.rule}: {verdict.reason}", verdict.decided_ns)
        else:
            signal, ordinal = found
            if signal.strategy == STRATEGY:
                return
            if target is None or target.signal_id != signal.id:
                target = self._state.targets[key] = Target(signal.id)
            target.ordinal = ordinal + 1
        target.not_before = verdict.decided_ns + self._wait_ns(target)
        self._open[key] = None

    def ended(self, end: OrderEnd, order: OpenOrder) -> None:
        """Take in the end of an order; tell a person where exits come to nothing again and again."""
        body = order.body
        key = f"{body.bot}|{body.symbol}"
        target = self._state.targets.get(key)
        if target is None:
            return
        self._open[key] = None
        if not isinstance(body, OrderIntent) or body.signal_id != target.signal_id or isinstance(end, OrderFilled):
            return
        target.not_before = max(target.not_before, end.ts_event + self._wait_ns(target))
        if not body.reserved:
            what = f" with {end.code} {end.reason}" if isinstance(end, OrderRejected) else ""
            self._warn(body, target, f"{type(end).__name__}{what}", end.ts_event)

    def _warn(self, of: OrderIntent | RiskDenied, target: Target, what: str, ts_event: int) -> None:
        last = self._limits.exit_attempts_max
        if target.attempts not in (_TOLD_AT, last):
            return
        mend = (
            "it is not asked for any more until a newer signal or `tapeline resume`"
            if target.attempts == last
            else f"it is asked for again, every {self._limits.exit_wait_s_max} s at last"
        )
        size = "" if of.quantity is None else f" of {plain(of.quantity)}"
        reason = (
            f"the exit of {of.bot} from {of.symbol}{size} came to nothing {target.attempts + 1} times, last "
            f"{what}; {mend}: see `tapeline explain {of.id}`"
        )
        alert_id = make_id(self._state.account, self._state.run, "exit", of.id)
        self._tell(Alert(alert_id, "error", "risk", reason, ts_event))

    def is_final(self, end: OrderEnd, body: OrderIntent) -> bool:
        """Whether the rest of a signal's target is given up.

        Its order was refused, found nothing to close, or ended short for the second time: the rest goes out at once, so
        more of them would come as fast as the venue ends them.
        """
        if isinstance(end, OrderRejected | OrderFilled):
            return isinstance(end, OrderRejected)
        if isinstance(end, OrderExpired) and end.reason == NOTHING_TO_CLOSE:
            return True
        target = self._state.targets.get(f"{body.bot}|{body.symbol}")
        return target is not None and target.signal_id == body.signal_id and target.ordinal > 1

    def wished(self, wish: CancelOrder, order: OpenOrder) -> None:
        """Leave a target alone whose order a person wants to end."""
        if wish.by in _ROLES or not isinstance(order.body, OrderIntent):
            return
        target = self._state.targets.get(f"{order.body.bot}|{order.body.symbol}")
        if target is not None and target.signal_id == order.body.signal_id:
            target.is_left_alone = True

    def moved(self, caused: list[AnyBody]) -> None:
        """Look at positions that changed."""
        for body in caused:
            if isinstance(body, Position):  # of others too: what the account holds is what can be closed
                keys = (f"{bot}|{body.symbol}" for bot in self._bots)
                self._open.update((key, None) for key in keys if key in self._state.targets)

    def resume(self) -> None:
        """Begin anew: a person knows."""
        for key, target in self._state.targets.items():
            target.attempts, target.is_left_alone = 0, False
            self._open[key] = None

    # --- what follows from it --------------------------------------------------------------------------------------

    def due(self, now_ns: int) -> list[tuple[Signal, int, Decimal]]:
        """Give the exits to ask for again now: signal, ordinal, and the signed quantity that brings it to zero."""
        found: list[tuple[Signal, int, Decimal]] = []
        waiting: set[str] | None = None
        for key in list(self._open):
            signal, quantity = self._wanted(key)
            if signal is None:
                del self._open[key]
                continue
            if waiting is None:
                waiting = {f"{other.bot}|{other.symbol}" for other, _ in self._state.waiting.values()}
            target = self._state.targets[key]
            if key not in waiting and now_ns >= target.not_before and self._may_leave(signal, now_ns):
                found.append((signal, target.ordinal, quantity))
        return sorted(found, key=_name)  # after a restart all are looked at, in another order

    def _wanted(self, key: str) -> tuple[Signal | None, Decimal]:
        """Give the signal whose exit is missing, and what is missing; None while all is as wanted or under way."""
        state, target = self._state, self._state.targets[key]
        held, nothing = state.portfolio.holdings.get(key), Decimal(0)
        signal, bot = state.answered.get(key), self._bots.get(key.partition("|")[0])
        if held is None or not held.signed_qty or key in state.portfolio.working:
            return None, nothing
        if signal is None or signal.id != target.signal_id or bot is None or not bot.trades(signal.symbol):
            return None, nothing
        if target.is_left_alone or target.attempts >= self._limits.exit_attempts_max:
            return None, nothing
        is_coin = asset_class_of(signal.symbol) is AssetClass.CRYPTO
        if held.signed_qty * signal.direction.sign > 0 or (is_coin and held.signed_qty < 0):
            return None, nothing
        if not self._limits.opposite_sides and held.signed_qty * self._net(signal.bot, signal.symbol) <= 0:
            return None, nothing  # others are on the other side: the account has nothing to close
        said = state.statuses.get(f"{signal.symbol}|assets")
        quantity = on_venue_step(-held.signed_qty, said)
        too_small = said is not None and said.qty_min is not None and abs(quantity) < said.qty_min
        return (None, nothing) if not quantity or too_small else (signal, quantity)

    def _may_leave(self, signal: Signal, now_ns: int) -> bool:
        """Whether mode and session let an exit out; where not, asking would only be denied."""
        bot = self._bots[signal.bot]
        is_open = bot.session == "any" or self._sessions.is_open(asset_class_of(signal.symbol), now_ns)
        return is_open and self._state.mode is not TradingMode.HALTED

    def _wait_ns(self, target: Target) -> int:
        return min(2 ** min(target.attempts + 1, 32), self._limits.exit_wait_s_max) * NS_PER_S

    def _next_id(self, verdict: Verdict, target: Target) -> str:
        return make_id(self._state.account, self._state.run, verdict.bot, "verdict", target.signal_id, target.ordinal)


def _name(found: tuple[Signal, int, Decimal]) -> tuple[str, str]:
    return found[0].bot, found[0].symbol
