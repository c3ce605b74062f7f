"""Makes an order of a quantity and has the rules judge it, as risk's state is at this moment. Part of risk's core."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from engine.bots import Bot, BotStatus, RiskLimits
from engine.messages import OrderIntent, Signal
from engine.ordering import Terms, lot_of, on_steps, terms_of
from engine.risk.exposure import Exposure
from engine.risk.funds import cash_free, equity
from engine.risk.guards import STRATEGY
from engine.risk.narrowing import Narrowed
from engine.risk.proposal import Activity, Proposal, Refusal
from engine.risk.rules import judge, reservation
from engine.risk.state import RiskState
from engine.risk.track import ACCOUNT
from engine.risk.working import OpenOrder, Working
from engine.rounding import RoundingRefused
from engine.sessions import SessionTable
from engine.values import (
    CRYPTO_LOT,
    NS_PER_S,
    ZERO,
    Direction,
    OrderClass,
    OrderType,
    Purpose,
    Side,
    TradingMode,
    asset_class_of,
)

_SOURCES = ("assets", "statuses", "lulds")


class Judge:
    """Shapes and judges orders.

    Args:
        state: Risk's.
        limits: Of the rules.
        exposure: Sums over the portfolio.
        working: The open orders.
        sessions: The calendar.
        bots: By name, as they are now.
    """

    def __init__(
        self,
        state: RiskState,
        limits: RiskLimits,
        exposure: Exposure,
        working: Working,
        sessions: SessionTable,
        *,
        bots: Mapping[str, Bot],
    ) -> None:
        self._state = state
        self._limits = limits
        self.narrowed = Narrowed(limits, bots)
        self._exposure = exposure
        self._working = working
        self._sessions = sessions

    def net(self, bot: str, symbol: str) -> Decimal:
        """Give what the account holds in a symbol: this bot and all others, `manual` and `unattributed` included."""
        return self._state.portfolio.signed_qty(bot, symbol) + sum(self._exposure.others(bot, symbol)[0], ZERO)

    def within_net(self, bot: str, symbol: str, quantity: Decimal) -> Decimal:
        """Cut an order that closes more than the account holds: at the venue it would cross zero, and be refused."""
        held, net = self._state.portfolio.signed_qty(bot, symbol), self.net(bot, symbol)
        return -net if held * quantity < 0 < held * net and abs(quantity) > abs(net) else quantity

    def judge(
        self,
        bot: Bot,
        signal: Signal,
        quantity: Decimal,
        *,
        price: Decimal,
        last_price: Decimal | None,
        repeated: str,
        now_ns: int,
    ) -> tuple[Terms, Decimal] | Refusal:
        """Give the terms of the order and the cash to reserve for it, or the first refusal.

        Args:
            bot: Whose order.
            signal: Behind it.
            quantity: Signed.
            price: Reference price.
            last_price: The one known before.
            repeated: Id of an answered signal of the same content.
            now_ns: Venue time of the decision.
        """
        book, symbol = self._state.portfolio, signal.symbol
        expected = book.signed_qty(bot.name, symbol) + book.working_qty(bot.name, symbol)
        reduces = abs(expected + quantity) < abs(expected)
        is_regular = self._sessions.is_open(asset_class_of(symbol), now_ns)
        terms = terms_of(bot, symbol, quantity, price, reduces=reduces, is_first=expected == 0, is_regular=is_regular)
        lot = CRYPTO_LOT if reduces else lot_of(symbol, bot.order, 1 if quantity > 0 else -1)
        fraction_max = self._limits.rounding_fraction_max
        said = self._state.statuses.get(f"{symbol}|assets")
        shaped = on_steps(terms, symbol, quantity, price, lot=lot, fraction_max=fraction_max, said=said)
        if isinstance(shaped, RoundingRefused):
            return Refusal("rounding_fraction_max", shaped.reason, shaped.limit, shaped.observed)
        proposal = self._proposal(
            bot, signal, shaped, quantity, price=price, last_price=last_price, repeated=repeated, now_ns=now_ns
        )
        return judge(proposal) or (shaped, reservation(proposal))

    def rejudge(
        self, bot: Bot, old: OrderIntent, terms: Terms, left: Decimal, *, price: Decimal, now_ns: int
    ) -> Decimal | Refusal:
        """Judge an order that would take another's place, as if the other did not work; give the cash to reserve.

        Args:
            bot: Whose order.
            old: The order that works.
            terms: Of the one in its place.
            left: What of it may still fill.
            price: Last known price.
            now_ns: Venue time of the decision.
        """
        quantity = old.side.sign * left
        asked = Signal(
            id=old.signal_id,
            bot=old.bot,
            symbol=old.symbol,
            strategy=STRATEGY if old.purpose is Purpose.GUARD else "",
            direction=Direction.LONG if quantity > 0 else Direction.SHORT,
            strength=1.0,
            price=float(price),
            reason="",
            bar="",
            ts_event=now_ns,  # it rests on a person's wish, not on a bar
        )
        with self._state.portfolio.without(old.id):
            self._exposure.touch(old.bot, old.symbol)
            proposal = self._proposal(
                bot, asked, terms, quantity, price=price, last_price=None, repeated="", now_ns=now_ns
            )
            judged = judge(proposal) or reservation(proposal)
        self._exposure.touch(old.bot, old.symbol)
        return judged

    def _proposal(
        self,
        bot: Bot,
        signal: Signal,
        terms: Terms,
        quantity: Decimal,
        *,
        price: Decimal,
        last_price: Decimal | None,
        repeated: str,
        now_ns: int,
    ) -> Proposal:
        state, exposure, symbol = self._state, self._exposure, signal.symbol
        book = state.portfolio
        exposure.age(now_ns, self._sessions, self._limits.mark_age_ms_max)
        mode, reason = state.mode, state.mode_reason
        defined = state.bots.get(bot.name)
        if mode is TradingMode.ACTIVE and bot.name in state.bot_modes:
            mode, reason = TradingMode.REDUCING, state.bot_modes[bot.name]
        elif mode is TradingMode.ACTIVE and defined is not None and defined.status is not BotStatus.RUNNING:
            mode, reason = TradingMode.REDUCING, f"bot {bot.name} is {defined.status}"
        held, working = exposure.others(bot.name, symbol)
        sign = 1 if quantity > 0 else -1
        return Proposal(
            bot=bot,
            signal=signal,
            quantity=quantity,
            price=price,
            held=book.signed_qty(bot.name, symbol),
            working=book.working_qty(bot.name, symbol),
            cash_free=cash_free(state, exposure, self._limits),
            venue_gap=state.venue_gap,
            funds=state.funds,
            equity=equity(state, exposure) if quantity < 0 else None,
            repeated=repeated,
            now_ns=now_ns,
            sessions=self._sessions,
            limits=self.narrowed.of(bot.name, symbol),
            mode=mode,
            mode_reason=reason,
            last_price=last_price,
            others=tuple(h + w for h, w in zip(held, working, strict=True)),
            others_held=sum(held, ZERO),
            symbol_gross=exposure.symbol_gross(symbol),
            account=exposure.account,
            of_bot=exposure.of(bot.name),
            activity=self._activity(bot, symbol, Side.BUY if quantity > 0 else Side.SELL, now_ns),
            terms=terms,
            quote=state.quotes.get(symbol),
            statuses=tuple(s for key in _SOURCES if (s := state.statuses.get(f"{symbol}|{key}")) is not None),
            crossing="" if signal.strategy == STRATEGY else self._crossing(bot.name, symbol, sign, terms),
            stopped_ns=state.stopped.get(f"{bot.name}|{symbol}", 0),
            blocked="" if (block := state.blocked.get(symbol)) is None else block.reason,
        )

    def _crossing(self, bot: str, symbol: str, sign: int, terms: Terms) -> str:
        """Name an order of another owner that waits on the other side, if there is one; other bots' exits count too."""
        for order in self._working.against(bot, symbol, sign):
            if order.is_resting or order.body.purpose is Purpose.FOREIGN:
                return order.body.id
        for order in self._working.exits_against(bot, symbol, sign):
            if _is_wash(terms, order, sign):
                return order.body.id
        return ""

    def _activity(self, bot: Bot, symbol: str, side: Side, now_ns: int) -> Activity:
        track, exposure = self._state.track, self._exposure
        return Activity(
            account_minute=track.in_minute(ACCOUNT, now_ns),
            bot_minute=track.in_minute(bot.name, now_ns),
            bot_day=track.today.get(bot.name, 0),
            same_side=track.same_side(bot.name, symbol, side, now_ns - self._limits.repeats_window_s * NS_PER_S),
            open_orders=len(self._state.portfolio.reservations),
            account_loss=track.loss(ACCOUNT, exposure.account.pnl),
            bot_loss=track.loss(bot.name, exposure.of(bot.name).pnl),
            account_drawdown=track.drawdown(ACCOUNT, exposure.account.pnl),
            bot_drawdown=track.drawdown(bot.name, exposure.of(bot.name).pnl),
        )


def _is_wash(terms: Terms, exit_: OpenOrder, sign: int) -> bool:
    """Whether Alpaca calls an order against an exit a wash trade: all but groups, trailing stops, and limits apart."""
    if terms.order_class is not OrderClass.SIMPLE or terms.order_type is OrderType.TRAILING_STOP:
        return False
    has_stop = isinstance(exit_.body, OrderIntent) and exit_.body.stop_loss_px is not None
    if terms.limit_px is None or exit_.body.limit_px is None or has_stop:
        return True
    return (terms.limit_px - exit_.body.limit_px) * sign >= 0
