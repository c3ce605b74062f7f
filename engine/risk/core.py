"""Risk as a fold over the trading stream: what happened changes the ledger, a signal gets exactly one verdict.

Invariants:
1. State changes by `apply` of stored messages (and of our own verdicts the moment they are made) and by nothing else.
2. A signal that has a verdict never gets a second one; after a restart the stored one is applied.
3. `decide` takes now_ns as an argument and stores it in the verdict.
4. A message applied twice (our own echo, a replay) changes nothing.
5. An order never goes against a working one of the same bot and symbol (the venue refuses that as a wash trade), nor
   through zero, alone or together with one that works (the venue holds the position for that one): the signal waits
   for the working order to end; a newer signal supersedes it. What rests in the book, or holds the shares to protect
   them, is asked to end.
Called by streams/services/risk, later by the backtester and the replay. Never publishes, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.bots import Bot, RiskLimits
from engine.ids import make_id
from engine.messages import (
    AccountOpened,
    Alert,
    AnyBody,
    BarMarks,
    BotDefined,
    CancelOrder,
    Command,
    Correction,
    Fee,
    Fill,
    Mark,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    ReplaceOrder,
    RiskDenied,
    Sessions,
    Signal,
    Split,
    SymbolStatus,
    TargetReached,
    TradingState,
    VenueFunds,
    Verdict,
)
from engine.ordering import on_venue_step
from engine.risk.actions import Books
from engine.risk.defining import Definitions
from engine.risk.exposure import Exposure
from engine.risk.funds import take_funds
from engine.risk.guards import STRATEGY, Guards
from engine.risk.judging import Judge
from engine.risk.latching import Losses, latch, relatch
from engine.risk.numbers import senseless
from engine.risk.proposal import Refusal
from engine.risk.protecting import Protector
from engine.risk.replacing import Replacer
from engine.risk.standing import Standing
from engine.risk.state import RiskState, remember
from engine.risk.verdicts import approval, denial
from engine.risk.waiting import Way, lineage, take_out, turns
from engine.risk.working import OrderEnd, Working
from engine.sessions import SessionTable
from engine.sizing import order_quantity, priced_ns, reference_price, target_quantity
from engine.values import NS_PER_S, AssetClass, Purpose, TradingMode, asset_class_of, plain

_ROLES = frozenset({"feed", "signals", "risk", "executor", "recorder"})
Answer = Verdict | TradingState | CancelOrder | Alert


class RiskCore:
    """The serial heart of one account.

    Args:
        bots: Bots of the settings; a signal of a bot unknown to them and to the stream is denied.
        limits: The limits of the rules.
        state: State from a checkpoint, or None to start from the stream's beginning.
    """

    def __init__(self, bots: Iterable[Bot], limits: RiskLimits, state: RiskState | None = None) -> None:
        self._limits = limits
        self.state = state or RiskState()
        self._definitions = Definitions(bots, self.state)
        self._bots = self._definitions.bots
        self._sessions = SessionTable()
        self._priced = ("", 0)
        self._unstored: dict[str, OrderIntent] = {}
        self._exposure = Exposure(self.state.portfolio, self.state.marks, self.state.earlier)
        self._losses = Losses(self.state, self._bots, limits, exposure=self._exposure, sessions=self._sessions)
        self._working = Working(self.state.orders)
        self._guards = Guards(self._bots, self.state.guards, self.state.portfolio, self._working)
        self._books = Books(self.state, self._exposure, self._working, self._guards, self._sessions, limits=limits)
        self._way = Way(self.state, self._working)
        self._judge = Judge(self.state, limits, self._exposure, self._working, self._sessions, bots=self._bots)
        self._standing = Standing(
            self.state, self._bots, limits, self._sessions, tell=self._books.say, net=self._judge.net
        )
        self._replacer = Replacer(self.state, self._bots, limits, exposure=self._exposure, judge=self._judge)
        self.protector = Protector(
            self.state,
            self._bots,
            limits=limits,
            guards=self._guards,
            working=self._working,
            sessions=self._sessions,
            tell=self._books.say,
        )
        if self.state.sessions:
            self._add_sessions(tuple(self.state.sessions.items()))

    # --- what happened ---------------------------------------------------------------------------------------------

    def apply(self, body: AnyBody) -> list[AnyBody]:
        """Let a stored message change the state; return what it causes (ledger, modes, protection, exits, alerts)."""
        caused = [*self._apply(body), *self._books.alerts()]
        self._definitions.moved(body, self._working)
        return caused

    def _apply(self, body: AnyBody) -> list[AnyBody]:
        match body:
            case Mark() | BarMarks():  # first: most of what comes are prices
                return self._take_marks(body)
            case AccountOpened():
                self._books.open(body)
            case Sessions():
                if body.asset_class is AssetClass.US_EQUITY:
                    self.state.sessions.update(body.spans)
                    self._add_sessions(body.spans)
            case Signal() if not self._definitions.is_shadow(body.bot):
                self._await_verdict(body)
            case OrderIntent() | RiskDenied() | TargetReached():
                if not isinstance(body, OrderIntent):  # stored, not only made: a replay must fire at the same marks
                    self._guards.arm(body.bot, body.symbol, body.signal_id)
                self._unstored.pop(body.id, None)
                return list(self._apply_verdict(body))
            case OrderAdopted():
                return self._books.adopt(body)
            case OrderAccepted():
                if self._working.accept(body.client_order_id) is not None:
                    cause = f"{body.client_order_id}|accepted"
                    return list(self._guards.told(body.bot, body.symbol, cause, body.ts_event))
            case CancelOrder():
                if body.client_order_id in self.state.orders:
                    self.state.canceling[body.client_order_id] = None
                    order = self._working.unwanted(body.client_order_id)
                    self._standing.wished(body, order)
                    return list(
                        self._guards.told(order.body.bot, order.body.symbol, f"{body.id}|cancel", body.ts_event)
                    )
            case ReplaceOrder():
                if body.id not in self.state.commands:
                    remember(self.state.commands, body.id, body.ts_event)
                    self.state.wishes[body.id] = body
            case Fill() | Fee() | Split() | Correction():
                caused = self._books.book(body)
                self._standing.moved(caused)
                self.protector.booked(body)
                return [*caused, *self._losses.booked(body)]
            case VenueFunds():
                take_funds(self.state, self._exposure, self._limits, body)
            case SymbolStatus():
                self.state.statuses[f"{body.symbol}|{body.source}"] = body
            case Command():
                return self._obey(body)
            case BotDefined():
                return list(self._definitions.define(body, self._guards, self._working))
            case TradingState():
                relatch(self.state, body)
            case OrderRejected() | OrderFilled() | OrderCanceled() | OrderExpired() | OrderReplaced():
                return self._end(body)
            case _:
                pass
        return []

    def _await_verdict(self, signal: Signal) -> None:
        last = self.state.answered.get(lineage(signal))
        if last is None or (signal.ts_event >= last.ts_event and signal.id != last.id):
            self.state.waiting.setdefault(self.verdict_id(signal, 0), (signal, 0))

    def _add_sessions(self, spans: tuple[tuple[int, int], ...]) -> None:
        self._sessions.add(Sessions(asset_class=AssetClass.US_EQUITY, spans=spans, ts_event=0))

    def _end(self, end: OrderEnd) -> list[AnyBody]:
        """Let an order go, with what it reserved, and look at what its end means for the position."""
        self.state.portfolio.release(end.client_order_id)
        self._exposure.touch(end.bot, end.symbol)
        self.state.canceling.pop(end.client_order_id, None)
        order = self._working.end(end.client_order_id)
        if order is None:
            return []
        body = order.body
        self._standing.ended(end, order)
        if isinstance(body, OrderIntent) and self._standing.is_final(end, body):
            self._way.drop_rest(body.signal_id)
        if isinstance(end, OrderReplaced):
            self._replacer.succeed(order)
        self.protector.ended(end, order)
        if isinstance(body, OrderIntent):  # filled too: if something is held still, another exit did not do its part
            self._guards.arm(end.bot, end.symbol, body.signal_id)
        return list(self._guards.told(end.bot, end.symbol, f"{end.client_order_id}|{type(end).__name__}", end.ts_event))

    def _take_marks(self, body: Mark | BarMarks) -> list[AnyBody]:
        """Take in prices of one moment; the guards they touch fire."""
        known = self.state.quotes
        fresh = [one for one in body.marks() if one.symbol not in known or known[one.symbol].ts_event < one.ts_event]
        known.update((mark.symbol, mark) for mark in fresh)
        caused: list[AnyBody] = [*self._losses.marks(fresh, body.id)]
        for mark in fresh:
            is_open = self._sessions.is_open(asset_class_of(mark.symbol), mark.ts_event)
            may_fire = is_open and self.state.mode is not TradingMode.HALTED
            for signal in self._guards.take(mark, f"{self.state.account}|{self.state.run}", may_fire=may_fire):
                self.state.stopped[f"{signal.bot}|{signal.symbol}"] = signal.ts_event
                self._await_verdict(signal)
                caused.append(signal)
        return caused

    def _obey(self, command: Command) -> list[AnyBody]:
        if command.id in self.state.commands:
            return []
        remember(self.state.commands, command.id, command.ts_event)
        mode, reason = command.mode, command.reason
        if mode is TradingMode.REDUCING and command.by in _ROLES and self.state.mode is not TradingMode.ACTIVE:
            mode, reason = self.state.mode, self.state.mode_reason  # a role never loosens what was said before
        self.state.mode, self.state.mode_reason = mode, reason
        self.protector.tell_bare(command.id, command.ts_event)
        if command.mode is TradingMode.ACTIVE:
            self._books.resume()
            self._standing.resume()
            self.state.track.forgive(self._exposure, self._unstored.values(), self._limits.repeats_window_s * NS_PER_S)
        return [TradingState(mode, reason, command.id, command.ts_event)]

    # --- what follows from it --------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether `decide_waiting` may have something to say."""
        is_asked = self.state.waiting or self.state.wishes or self._definitions.is_due
        return bool(is_asked or self._guards.touched or self._standing.is_open)

    def decide_waiting(self, now_ns: int, symbol: str = "") -> list[Answer]:
        """Answer what can be answered now, oldest first; the verdicts are applied already when they are returned.

        Of signals only those in `symbol` are looked at, where one is given (`engine.risk.waiting.moved_by`).
        """
        answers: list[Answer] = [*self._definitions.cancels(self._working, now_ns)]
        for wish in list(self.state.wishes.values()):
            verdict = self._replacer.answer(wish, now_ns)
            answers += [verdict, *self._apply_verdict(verdict)]
        closing: set[str] = set()
        for signal, ordinal, newer in turns(self.state.waiting, symbol):
            key = f"{signal.bot}|{signal.symbol}"
            if newer:
                refusal = Refusal("superseded", "a newer signal came first", "newest", signal.id)
                answer: Verdict | list[CancelOrder] = self._denied(signal, ordinal, now_ns, refusal)
            elif key in closing:
                continue
            else:
                answer = self._decide(signal, ordinal, now_ns)
            if isinstance(answer, list):
                if signal.strategy == STRATEGY:
                    closing.add(key)
                answers += answer
                continue
            answers += [answer, *self._apply_verdict(answer)]
        for signal, ordinal, quantity in self._standing.due(now_ns):
            answer = self._ask_again(signal, ordinal, quantity, now_ns)
            answers += answer if isinstance(answer, list) else [answer, *self._apply_verdict(answer)]
        for intent in self.protector.wanted(now_ns):
            answers += [intent, *self._apply_verdict(intent)]
        self._unstored |= {one.id: one for one in answers if isinstance(one, OrderIntent)}
        return [*answers, *self._books.alerts()]

    def _denied(
        self, signal: Signal, ordinal: int, now_ns: int, refusal: Refusal, quantity: Decimal | None = None
    ) -> RiskDenied:
        return denial(self.verdict_id(signal, ordinal), signal, refusal, now_ns, quantity)

    def _decide(self, signal: Signal, ordinal: int, now_ns: int) -> Verdict | list[CancelOrder]:
        """Size and judge; wishes to cancel, or nothing, while a working order must end first."""
        bot = self._bots.get(signal.bot)
        if bot is None or not self._definitions.trades(bot.name, signal.symbol):
            refusal = Refusal("bot", "no bot of this name trades this symbol", "configured bots", signal.bot)
            return self._denied(signal, ordinal, now_ns, refusal)
        if (fault := senseless(signal)) is not None:
            return self._denied(signal, ordinal, now_ns, fault)
        book = self.state.portfolio
        price = reference_price(signal)
        held, working = book.signed_qty(bot.name, signal.symbol), book.working_qty(bot.name, signal.symbol)
        quantity, _ = order_quantity(target_quantity(bot, signal, price), held, working)
        quantity = self._judge.within_net(bot.name, signal.symbol, quantity)
        wanted, quantity = quantity, on_venue_step(quantity, self.state.statuses.get(f"{signal.symbol}|assets"))
        if quantity == 0:
            rest = f" but for {plain(wanted)}, less than the venue's step" if wanted else ""
            reason = f"held {plain(held)} and working {plain(working)} are the target{rest}"
            return TargetReached(self.verdict_id(signal, ordinal), signal.id, bot.name, signal.symbol, reason, now_ns)
        in_the_way = self._way.in_the_way(bot.name, signal.symbol, quantity)
        last_price = self._exposure.last_before(signal.symbol, priced_ns(signal))
        if in_the_way:
            if any(order.body.purpose is Purpose.PROTECT for order in in_the_way):
                verdict = self._judged(signal, ordinal, quantity, (price, last_price), now_ns)
                if isinstance(verdict, RiskDenied):  # nothing that protects ends for an order that may not leave
                    return verdict
            return self._way.cancels(in_the_way, signal, now_ns)
        if self._way.must_wait(bot.name, signal.symbol, quantity, ordinal):
            return []
        self._take_price(signal, now_ns)
        return self._judged(signal, ordinal, quantity, (price, last_price), now_ns)

    def _judged(
        self, signal: Signal, ordinal: int, quantity: Decimal, prices: tuple[Decimal, Decimal | None], now_ns: int
    ) -> Verdict:
        bot, (price, last_price) = self._bots[signal.bot], prices
        repeated = "" if ordinal else self._way.repeated(signal)
        judged = self._judge.judge(
            bot, signal, quantity, price=price, last_price=last_price, repeated=repeated, now_ns=now_ns
        )
        if isinstance(judged, Refusal):
            return self._denied(signal, ordinal, now_ns, judged, quantity)
        terms, reserved = judged
        return approval(
            self.verdict_id(signal, ordinal),
            signal,
            quantity,
            terms,
            price=price,
            reserved=reserved,
            now_ns=now_ns,
            valid_ms=self._limits.intent_valid_ms,
        )

    def _ask_again(self, signal: Signal, ordinal: int, quantity: Decimal, now_ns: int) -> Verdict | list[CancelOrder]:
        """Judge an exit that came to nothing, at the last price known; what is in its way must end first."""
        quantity = self._judge.within_net(signal.bot, signal.symbol, quantity)
        exits = self._way.in_the_way(signal.bot, signal.symbol, quantity)
        if exits:
            return self._way.cancels(exits, signal, now_ns)
        if self._way.must_wait(signal.bot, signal.symbol, quantity, ordinal):
            return []
        last = self._exposure.last(signal.symbol)
        price = reference_price(signal) if last is None else last
        return self._judged(signal, ordinal, quantity, (price, last), now_ns)

    def _take_price(self, signal: Signal, now_ns: int) -> None:
        if self._priced == (signal.id, now_ns):
            return
        self._priced = (signal.id, now_ns)
        self.state.track.turn(self._sessions.day_start(now_ns), self._exposure)
        self._exposure.mark(signal.symbol, reference_price(signal), priced_ns(signal))
        self.state.track.observe(signal.bot, self._exposure)

    def _apply_verdict(self, verdict: Verdict) -> list[TradingState]:
        """Let a verdict change the state; give the trading state that a latching denial brings."""
        self.state.wishes.pop(verdict.signal_id, None)
        found = self.state.waiting.get(verdict.id)
        take_out(self.state.waiting, verdict.id, "" if found is None else self._rest_of(verdict, *found))
        self._standing.answered(verdict, found)
        if found is not None:
            signal, _ = found
            self._take_price(signal, verdict.decided_ns)
            self.state.answered[lineage(signal)] = signal
        if isinstance(verdict, OrderIntent):
            self._take_order(verdict)
        return latch(self.state, verdict) if isinstance(verdict, RiskDenied) else []

    def _take_order(self, intent: OrderIntent) -> None:
        """Count an approved order; one that takes another's place reserves when it has taken it."""
        if self._working.get(intent.id) is not None:
            return
        self._working.add(intent)
        if intent.purpose is Purpose.PROTECT:
            self._guards.asked(intent.bot, intent.symbol)
            return
        self.protector.expect_legs(intent)
        if intent.replaces:
            self._replacer.reserve_more(intent)
        else:
            self.state.portfolio.reserve(intent)
        self._exposure.touch(intent.bot, intent.symbol)
        self.state.track.approved(intent, self._limits.repeats_window_s * NS_PER_S)

    def _rest_of(self, verdict: Verdict, signal: Signal, ordinal: int) -> str:
        """Name the answer to come where an order stops at zero and the signal wants a second one; else nothing."""
        bot = self._bots.get(signal.bot)
        if bot is None or not isinstance(verdict, OrderIntent) or verdict.reserved:
            return ""
        # From the verdict alone, so that a replay, whose ledger may have moved on, concludes the same.
        is_less = target_quantity(bot, signal, verdict.ref_px) * verdict.side.sign > 0
        return self.verdict_id(signal, ordinal + 1) if is_less else ""

    def verdict_id(self, signal: Signal, ordinal: int) -> str:
        """Id of the answer to a signal: of the intent (and so the client_order_id), the denial, or the no-trade."""
        return make_id(self.state.account, self.state.run, signal.bot, "verdict", signal.id, ordinal)
