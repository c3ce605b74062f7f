"""Wishes about bots answered, and definitions taken in: with the code they need, and the past that warms them up.

Called by signals between two bars. What is decided is engine.roster's and engine.signals'.
"""

from __future__ import annotations

from config import own
from engine.bots import Bot, BotStatus
from engine.definitions import validate
from engine.errors import ConfigError
from engine.ids import make_id
from engine.messages import Alert, AnyBody, BotDefined, ChangeBot, Signal
from engine.pasts import past_bars_wanted
from engine.roster import FILE, Facts, Roster, spread
from engine.signals import SignalEngine
from engine.strategies import fault_text
from streams.history import History, bars_until
from streams.role import Context

_NOTHING = History([], [])


class Rostering:
    """The bots of signals as they change.

    Args:
        context: The role's.
        engine: Whose strategies change.
        roster: Who answers.
    """

    def __init__(self, context: Context, engine: SignalEngine, roster: Roster) -> None:
        self._context = context
        self._engine = engine
        self._roster = roster

    async def answer(self, wish: ChangeBot, facts: Facts, seq: int) -> list[AnyBody]:
        """Answer a wish about a bot; give the answer and what follows from it.

        Args:
            wish: What is wished.
            facts: What the venue and the ledger say of it.
            seq: Position of the market stream up to which bars were decided.
        """
        context, engine, roster = self._context, self._engine, self._roster
        wish = spread(wish, facts)
        now = await context.clock.now_ns()
        known = roster.bots.get(wish.bot)
        definition = wish.definition or (None if known is None else known.definition)
        before = BotStatus.RUNNING if known is None or known.status is BotStatus.REMOVED else known.status
        status = wish.status or before
        fault = "" if wish.definition is None else self._fault(wish.definition) or _senseless(wish.definition)
        past = _NOTHING if definition is None or fault else await self._past(definition, status, seq)
        fault = fault or ("" if wish.definition is None else engine.rehearse(wish.definition, past.bars))
        past_bars = 0 if definition is None or fault else past_bars_wanted(definition)
        places = engine.newest_ns, now
        answer = roster.answer(wish, facts, *places, fault, past_bars=past_bars, market_seq=seq)
        followed: list[AnyBody] = [answer]
        if isinstance(answer, BotDefined):
            followed += self._define(answer, past)
        elif wish.by == FILE and wish.definition is not None:
            what = f"the bot file of {wish.bot} does not count: {answer.reason}"
            alert_id = make_id(context.account, context.run, "file", wish.id)
            followed.append(Alert(alert_id, "error", "signals", what, now))
        roster.apply(answer)
        return followed

    async def come_to(self, seq: int) -> list[Signal]:
        """Do again what a former life did when all up to a position of the market stream was decided.

        Returns:
            What is said at it that is not stored.
        """
        said: list[Signal] = []
        while True:
            defined, signals = self._engine.expected(seq)
            said += signals
            if defined is None:
                return said
            self._fault(defined.definition)
            past = await self._past(defined.definition, defined.status, min(defined.market_seq, seq))
            said += self._define(defined, past)

    def learn(self, bot: Bot) -> None:
        """Be able to run a bot's strategy. Raises ConfigError."""
        if bot.code and not self._context.settings.signals.own_code:
            msg = f"strategy {bot.strategy}: signals.own_code is off, and with it no code of users is run"
            raise ConfigError(msg)
        own.learn(bot)

    def _fault(self, bot: Bot) -> str:
        try:
            self.learn(bot)
        except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a user's code raises)
            return str(err) if isinstance(err, ConfigError) else fault_text(err)
        return ""

    async def _past(self, bot: Bot, status: BotStatus, seq: int) -> History:
        """Read the past bars that a definition's strategies are warmed up with."""
        must = self._engine.must_learn(bot, status) if seq else set[str]()
        return await bars_until(self._context, must, seq) if must else _NOTHING

    def _define(self, defined: BotDefined, past: History) -> list[Signal]:
        """Take in a definition, and give what it says; a bot whose strategy cannot be run any more is given up."""
        engine = self._engine
        if defined.revision <= engine.revision(defined.bot):
            return []
        fault = self._fault(defined.definition)
        signals = engine.define(defined, past.bars, past.pending)
        if fault and defined.status in (BotStatus.RUNNING, BotStatus.PAUSED):
            engine.fail(defined.bot, fault)
        return signals


def _senseless(bot: Bot) -> str:
    """Say why a definition cannot trade as written, before anything is done with it; empty if it can."""
    try:
        validate(bot)
    except ConfigError as err:
        return str(err).removeprefix(f"bot {bot.name!r}: ")
    return ""
