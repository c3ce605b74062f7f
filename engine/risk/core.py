"""Risk as a fold over the trading stream: what happened changes the ledger, a signal gets exactly one verdict.

Invariants:
1. State changes by `apply` of stored messages (and of our own verdicts the moment they are made) and by nothing else.
2. A signal that has a verdict never gets a second one; after a restart the stored one is applied.
3. `decide` takes now_ns as an argument and stores it in the verdict.
4. A message applied twice (our own echo, a replay) changes nothing.
5. An order never goes against a working one of the same bot and symbol (the venue refuses that as a wash trade), nor
   through zero, alone or together with one that works (the venue holds the position for that one): the signal waits
   for the working order to end; a newer signal supersedes it.
Called by streams/services/risk, later by the backtester and the replay. Never publishes, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

import msgspec

from engine.bots import Bot, RiskLimits
from engine.ids import fill_key, make_id
from engine.messages import (
    Account,
    AccountOpened,
    AnyBody,
    Command,
    Fee,
    Fill,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Position,
    RiskDenied,
    Sessions,
    Signal,
    TargetReached,
    TradingState,
    Verdict,
)
from engine.portfolio import Holding, Portfolio
from engine.risk.exposure import Exposure
from engine.risk.rules import LATCHES_ACCOUNT, LATCHES_BOT, Activity, Proposal, Refusal, judge, reservation
from engine.risk.track import ACCOUNT, Track
from engine.sessions import SessionTable
from engine.sizing import order_quantity, reference_price, target_quantity
from engine.values import NS_PER_MS, NS_PER_S, ZERO, AssetClass, OrderType, Side, TimeInForce, TradingMode, plain

_REMEMBERED_MAX = 100_000
_T = TypeVar("_T")


class RiskState(msgspec.Struct):
    """Everything risk must remember; written to checkpoints as it is.

    Attributes:
        filled: Cumulative filled quantity booked per venue order: a fill at or below it is a repetition.
        fees: Ids of fees booked.
        waiting: What has no verdict yet, in stream order: signal and ordinal (1 and up: the rest of a target that
            needs more than one order).
        answered: Per bot and symbol, the last signal answered; it or an older one coming again is a repetition.
        mode: Latched: rules make it stricter, only a person's command makes it ACTIVE again.
        bot_modes: Bots that a rule latched to REDUCING, with the reason.
        marks: Last known prices, USD, with their times.
        commands: Ids of commands obeyed.
    """

    account: str = ""
    run: str = ""
    portfolio: Portfolio = msgspec.field(default_factory=Portfolio)
    sessions: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    filled: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    fees: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    waiting: dict[str, tuple[Signal, int]] = msgspec.field(default_factory=dict[str, tuple[Signal, int]])
    answered: dict[str, Signal] = msgspec.field(default_factory=dict[str, Signal])
    mode: TradingMode = TradingMode.ACTIVE
    mode_reason: str = ""
    bot_modes: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    marks: dict[str, tuple[int, Decimal]] = msgspec.field(default_factory=dict[str, tuple[int, Decimal]])
    track: Track = msgspec.field(default_factory=Track)
    commands: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class RiskCore:
    """The serial heart of one account.

    Args:
        bots: Bots whose signals are answered; a signal of an unknown bot is denied.
        limits: The limits of the rules.
        state: State from a checkpoint, or None to start from the stream's beginning.
    """

    def __init__(self, bots: Iterable[Bot], limits: RiskLimits, state: RiskState | None = None) -> None:
        self._bots = {bot.name: bot for bot in bots}
        self._symbols = {name: frozenset(bot.symbols) for name, bot in self._bots.items()}
        self._limits = limits
        self.state = state or RiskState()
        self._sessions = SessionTable()
        self._priced = ("", 0)
        self._exposure = Exposure(self.state.portfolio, self.state.marks)
        if self.state.sessions:
            self._add_sessions(tuple(self.state.sessions.items()))

    # --- what happened ---------------------------------------------------------------------------------------------

    def apply(self, body: AnyBody) -> list[AnyBody]:
        """Let a stored message change the state; return what it causes (position, account, trading state)."""
        match body:
            case AccountOpened():
                self._open(body)
            case Sessions():
                if body.asset_class is AssetClass.US_EQUITY:
                    self.state.sessions.update(body.spans)
                    self._add_sessions(body.spans)
            case Signal():
                self._await_verdict(body)
            case OrderIntent() | RiskDenied() | TargetReached():
                return list(self._apply_verdict(body))
            case Fill():
                return self._book_fill(body)
            case Fee():
                return self._book_fee(body)
            case Command():
                return self._obey(body)
            case OrderRejected() | OrderFilled() | OrderCanceled() | OrderExpired():
                self.state.portfolio.release(body.client_order_id)
                self._exposure.touch(body.bot, body.symbol)
                if isinstance(body, OrderRejected):
                    self._drop_rest(body.bot, body.symbol)
            case _:
                pass
        return []

    def _await_verdict(self, signal: Signal) -> None:
        last = self.state.answered.get(f"{signal.bot}|{signal.symbol}")
        if last is None or (signal.ts_event >= last.ts_event and signal.id != last.id):
            self.state.waiting.setdefault(self.verdict_id(signal, 0), (signal, 0))

    def _open(self, opened: AccountOpened) -> None:
        if self.state.account:
            return
        self.state.account, self.state.run = opened.account_number, opened.run
        self.state.portfolio.cash = opened.cash
        for symbol, quantity in opened.positions.items():
            # Held before Tapeline came: counted, owned by no bot, at the price of that moment.
            held, price = self.state.portfolio.holding("unattributed", symbol), opened.prices.get(symbol)
            held.signed_qty = quantity
            if price is not None:
                held.cost = quantity * price
                self._exposure.mark(symbol, price, opened.ts_event)
            self._exposure.touch("unattributed", symbol)

    def _add_sessions(self, spans: tuple[tuple[int, int], ...]) -> None:
        self._sessions.add(Sessions(asset_class=AssetClass.US_EQUITY, spans=spans, ts_event=0))

    def _book_fill(self, fill: Fill) -> list[AnyBody]:
        booked = self.state.filled.get(fill.venue_order_id, ZERO)
        if fill.cum_qty <= booked:
            return []
        _remember(self.state.filled, fill.venue_order_id, fill.cum_qty)
        self.state.track.turn(self._sessions.day_start(fill.ts_event), self._exposure)
        held = self.state.portfolio.apply_fill(fill)
        self._exposure.touch(fill.bot, fill.symbol)
        self._exposure.mark(fill.symbol, fill.last_px, fill.ts_event, also_equal=False)
        self.state.track.observe(fill.bot, self._exposure)
        cause = fill_key(fill.venue_order_id, plain(fill.cum_qty))
        return self._ledger(fill.bot, fill.symbol, held, cause, fill.ts_event)

    def _book_fee(self, fee: Fee) -> list[AnyBody]:
        if fee.id in self.state.fees:
            return []
        _remember(self.state.fees, fee.id, fee.ts_event)
        held = self.state.portfolio.apply_fee(fee)
        self._exposure.touch(fee.bot, fee.symbol)
        return self._ledger(fee.bot, fee.symbol, held, fee.id, fee.ts_event)

    def _obey(self, command: Command) -> list[AnyBody]:
        if command.id in self.state.commands:
            return []
        _remember(self.state.commands, command.id, command.ts_event)
        self.state.mode, self.state.mode_reason = command.mode, command.reason
        if command.mode is TradingMode.ACTIVE:
            self.state.bot_modes.clear()
            self.state.track.forgive(self._exposure)
        return [TradingState(command.mode, command.reason, command.id, command.ts_event)]

    def _ledger(self, bot: str, symbol: str, held: Holding, cause: str, ts_event: int) -> list[AnyBody]:
        book = self.state.portfolio
        return [
            Position(bot, symbol, held.signed_qty, held.avg_px_open, held.realized_pnl, cause, ts_event),
            Account(book.cash, book.reserved, book.realized_pnl, cause, ts_event),
        ]

    # --- what follows from it --------------------------------------------------------------------------------------

    def decide_waiting(self, now_ns: int) -> list[Verdict | TradingState]:
        """Answer what can be answered now, oldest first; the verdicts are applied already when they are returned."""
        newest = {f"{signal.bot}|{signal.symbol}": signal.id for signal, _ in self.state.waiting.values()}
        answers: list[Verdict | TradingState] = []
        queue = list(self.state.waiting.values())
        while queue:
            signal, ordinal = queue.pop(0)
            if newest[f"{signal.bot}|{signal.symbol}"] != signal.id:
                verdict: Verdict | None = self._denied(
                    signal, ordinal, now_ns, Refusal("superseded", "a newer signal came first", "newest", signal.id)
                )
            else:
                verdict = self._decide(signal, ordinal, now_ns)
            if verdict is None:
                continue
            answers += [verdict, *self._apply_verdict(verdict)]
        return answers

    def _denied(
        self, signal: Signal, ordinal: int, now_ns: int, refusal: Refusal, quantity: Decimal | None = None
    ) -> RiskDenied:
        return RiskDenied(
            id=self.verdict_id(signal, ordinal),
            signal_id=signal.id,
            bot=signal.bot,
            symbol=signal.symbol,
            rule=refusal.rule,
            reason=refusal.reason,
            limit=refusal.limit,
            observed=refusal.observed,
            decided_ns=now_ns,
            side=None if quantity is None else (Side.BUY if quantity > 0 else Side.SELL),
            quantity=None if quantity is None else abs(quantity),
        )

    def _decide(self, signal: Signal, ordinal: int, now_ns: int) -> Verdict | None:
        """Size and judge; None while a working order must end first."""
        bot = self._bots.get(signal.bot)
        if bot is None or signal.symbol not in self._symbols[bot.name]:
            refusal = Refusal("bot", "no bot of this name trades this symbol", "configured bots", signal.bot)
            return self._denied(signal, ordinal, now_ns, refusal)
        book = self.state.portfolio
        price = reference_price(signal)
        held, working = book.signed_qty(bot.name, signal.symbol), book.working_qty(bot.name, signal.symbol)
        quantity, _ = order_quantity(target_quantity(bot, signal, price), held, working)
        if quantity == 0:
            reason = f"held {plain(held)} and working {plain(working)} are the target"
            return TargetReached(self.verdict_id(signal, ordinal), signal.id, bot.name, signal.symbol, reason, now_ns)
        if self._must_wait(bot.name, signal.symbol, quantity, ordinal):
            return None
        proposal = self._proposal(bot, signal, quantity, price, now_ns, is_first=ordinal == 0)
        refusal = judge(proposal)
        if refusal is not None:
            return self._denied(signal, ordinal, now_ns, refusal, quantity)
        return OrderIntent(
            id=self.verdict_id(signal, ordinal),
            signal_id=signal.id,
            bot=bot.name,
            symbol=signal.symbol,
            side=Side.BUY if quantity > 0 else Side.SELL,
            quantity=abs(quantity),
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC if "/" in signal.symbol else TimeInForce.DAY,
            ref_px=price,
            reserved=reservation(proposal),
            decided_ns=now_ns,
            valid_until=now_ns + self._limits.intent_valid_ms * NS_PER_MS,
        )

    def _must_wait(self, bot: str, symbol: str, quantity: Decimal, ordinal: int) -> bool:
        """Whether a working order must end first: one on the other side, of any bot, or one that leads to zero."""
        book = self.state.portfolio
        held, working = book.signed_qty(bot, symbol), book.working_qty(bot, symbol)
        if working != 0 and (ordinal > 0 or (working > 0) != (quantity > 0) or held * (held + working + quantity) < 0):
            return True
        return any(other * quantity < 0 for other in self._exposure.others(bot, symbol)[1])

    def _proposal(
        self, bot: Bot, signal: Signal, quantity: Decimal, price: Decimal, now_ns: int, *, is_first: bool
    ) -> Proposal:
        """Put together what the rules look at; the signal's price counts as known from here on."""
        book, exposure, track, symbol = self.state.portfolio, self._exposure, self.state.track, signal.symbol
        last_price = exposure.last(symbol)
        self._take_price(signal, now_ns)
        mode, reason = self.state.mode, self.state.mode_reason
        if mode is TradingMode.ACTIVE and bot.name in self.state.bot_modes:
            mode, reason = TradingMode.REDUCING, self.state.bot_modes[bot.name]
        of_bot, side = exposure.of(bot.name), Side.BUY if quantity > 0 else Side.SELL
        held, working = exposure.others(bot.name, symbol)
        return Proposal(
            bot=bot,
            signal=signal,
            quantity=quantity,
            price=price,
            held=book.signed_qty(bot.name, symbol),
            working=book.working_qty(bot.name, symbol),
            cash_free=book.cash - book.reserved,
            repeated=self._repeated(signal) if is_first else "",
            now_ns=now_ns,
            sessions=self._sessions,
            limits=self._limits,
            mode=mode,
            mode_reason=reason,
            last_price=last_price,
            others=tuple(h + w for h, w in zip(held, working, strict=True)),
            symbol_gross=exposure.symbol_gross(symbol),
            account=exposure.account,
            of_bot=of_bot,
            activity=Activity(
                account_minute=track.in_minute(ACCOUNT, now_ns),
                bot_minute=track.in_minute(bot.name, now_ns),
                bot_day=track.today.get(bot.name, 0),
                same_side=track.same_side(bot.name, symbol, side, now_ns - self._limits.repeats_window_s * NS_PER_S),
                open_orders=len(book.reservations),
                account_loss=track.loss(ACCOUNT, exposure.account.pnl),
                bot_loss=track.loss(bot.name, of_bot.pnl),
                account_drawdown=track.drawdown(ACCOUNT, exposure.account.pnl),
                bot_drawdown=track.drawdown(bot.name, of_bot.pnl),
            ),
        )

    def _take_price(self, signal: Signal, now_ns: int) -> None:
        if self._priced == (signal.id, now_ns):
            return
        self._priced = (signal.id, now_ns)
        self.state.track.turn(self._sessions.day_start(now_ns), self._exposure)
        self._exposure.mark(signal.symbol, reference_price(signal), signal.ts_event)
        self.state.track.observe(signal.bot, self._exposure)

    def _repeated(self, signal: Signal) -> str:
        last = self.state.answered.get(f"{signal.bot}|{signal.symbol}")
        if last is None or last.id == signal.id or _content(last) != _content(signal):
            return ""
        return last.id

    def _apply_verdict(self, verdict: Verdict) -> list[TradingState]:
        """Let a verdict change the state; give the trading state that a latching denial brings."""
        found = self.state.waiting.pop(verdict.id, None)
        if found is not None:
            signal, ordinal = found
            self._take_price(signal, verdict.decided_ns)
            self.state.answered[f"{signal.bot}|{signal.symbol}"] = signal
            if isinstance(verdict, OrderIntent):
                self._await_rest(verdict, signal, ordinal)
        if isinstance(verdict, OrderIntent) and verdict.id not in self.state.portfolio.reservations:
            self.state.portfolio.reserve(verdict)
            self._exposure.touch(verdict.bot, verdict.symbol)
            self.state.track.approved(verdict, self._limits.repeats_window_s * NS_PER_S)
        return self._latch(verdict) if isinstance(verdict, RiskDenied) else []

    def _latch(self, denied: RiskDenied) -> list[TradingState]:
        """Go to REDUCING where a rule says that a person must look."""
        reason = f"{denied.rule}: {denied.reason} ({denied.observed}, limit {denied.limit})"
        if denied.rule in LATCHES_BOT and denied.bot not in self.state.bot_modes:
            self.state.bot_modes[denied.bot] = reason
            return [TradingState(TradingMode.REDUCING, reason, denied.id, denied.decided_ns, denied.bot)]
        if denied.rule in LATCHES_ACCOUNT and self.state.mode is TradingMode.ACTIVE:
            self.state.mode, self.state.mode_reason = TradingMode.REDUCING, reason
            return [TradingState(TradingMode.REDUCING, reason, denied.id, denied.decided_ns)]
        return []

    def _await_rest(self, intent: OrderIntent, signal: Signal, ordinal: int) -> None:
        """Keep the signal waiting for a second order where the first stops at zero."""
        bot = self._bots.get(signal.bot)
        if bot is None:
            return
        # From the verdict alone, so that a replay, whose ledger may have moved on, concludes the same.
        if not intent.reserved and target_quantity(bot, signal, intent.ref_px) * intent.side.sign > 0:
            self.state.waiting[self.verdict_id(signal, ordinal + 1)] = (signal, ordinal + 1)

    def _drop_rest(self, bot: str, symbol: str) -> None:
        """Give up the rest of a target whose first order the venue refused: it would be refused again and again."""
        waiting = self.state.waiting
        for key in [k for k, (s, ordinal) in waiting.items() if ordinal and (s.bot, s.symbol) == (bot, symbol)]:
            del waiting[key]

    def verdict_id(self, signal: Signal, ordinal: int) -> str:
        """Id of the answer to a signal: of the intent (and so the client_order_id), the denial, or the no-trade."""
        return make_id(self.state.account, self.state.run, signal.bot, "verdict", signal.id, ordinal)


def _content(signal: Signal) -> str:
    return f"{signal.bar}|{signal.direction.value}|{signal.strength!r}"


def _remember(table: dict[str, _T], key: str, value: _T) -> None:
    """Keep the newest _REMEMBERED_MAX entries; what is older can no longer be repeated by any source."""
    table.pop(key, None)
    table[key] = value
    if len(table) > _REMEMBERED_MAX:
        del table[next(iter(table))]
