"""Which bots there are: a fold over the wishes about them and their answers, and what the answer to a wish is.

Invariants:
1. A wish gets exactly one answer, BotDefined or BotRefused, whose cause it is; one of a known id is a repetition.
2. Compare and set: a wish names the revision that was looked at; if there is another by now it is refused.
3. A refused wish changes nothing, and what is not running says nothing: only a wish starts it again.
4. A bot file counts when it says something else than it said when it was read last; what was changed meanwhile by a
   command stays otherwise. A bot that only a file spoke of goes with its file.
Called by streams/services/signals, whose bars say from when a definition counts. Never reads a clock.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from decimal import Decimal

import msgspec

from engine.bots import Bot, BotStatus
from engine.definitions import is_symbol, name_fault, validate
from engine.errors import ConfigError
from engine.ids import make_id
from engine.messages import AnyBody, BotDefined, BotRefused, ChangeBot, SymbolStatus, VenueFunds
from engine.values import plain

FILE = "file"
"""Who wishes what a bot file says."""
_GONE = "no bot file speaks of it any more"
_GIVEN = frozenset({BotStatus.RUNNING, BotStatus.PAUSED, BotStatus.STOPPED, BotStatus.REMOVED})
_LOOK = "look at it again with `tapeline bots show`"


class Facts(msgspec.Struct, frozen=True):
    """What else an answer rests on.

    Attributes:
        assets: What the venue says of symbols; one that is not there is not judged.
        funds: What the account may spend; None where the venue did not say yet.
        held: What the bot holds now, signed, by symbol.
        working: Symbols in which an order of it is under way.
        universe: What the universe of its definition consists of.
    """

    assets: Mapping[str, SymbolStatus] = {}
    funds: VenueFunds | None = None
    held: Mapping[str, Decimal] = {}
    working: frozenset[str] = frozenset()
    universe: tuple[str, ...] = ()


def spread(wish: ChangeBot, facts: Facts) -> ChangeBot:
    """Give a wish whose definition has the symbols of its universe, as the venue names them now, and what is held."""
    bot = wish.definition
    if bot is None or not bot.universe or bot.symbols:
        return wish
    there = filter(is_symbol, facts.universe)
    held = (symbol for symbol, quantity in facts.held.items() if quantity) if facts.universe else ()
    symbols = tuple(sorted({*there, *held, *(facts.working if facts.universe else ())}))
    return msgspec.structs.replace(wish, definition=msgspec.structs.replace(bot, symbols=symbols))


class Roster:
    """The bots of an account, and the wishes about them that have no answer yet."""

    def __init__(self) -> None:
        self.bots: dict[str, BotDefined] = {}
        self.waiting: dict[str, ChangeBot] = {}
        self._answered: set[str] = set()
        self._files: dict[str, Bot] = {}
        self._spoken_by: dict[str, str] = {}

    def apply(self, body: AnyBody) -> None:
        """Take in a stored message."""
        match body:
            case ChangeBot():
                if body.id not in self._answered and body.id not in self.waiting:
                    self.waiting[body.id] = body
            case BotDefined():
                wish = self._answer(body.cause)
                known = self.bots.get(body.bot)
                if known is not None and known.revision >= body.revision:
                    return
                if wish is not None and wish.by == FILE:
                    self._files.pop(body.bot, None)  # a file that comes back says something new
                    if wish.definition is not None:
                        self._files[body.bot] = wish.definition
                if known is None or known.definition != body.definition:
                    self._spoken_by[body.bot] = body.by
                self.bots[body.bot] = body
            case BotRefused():
                self._answer(body.cause)
            case _:
                pass

    def _answer(self, cause: str) -> ChangeBot | None:
        self._answered.add(cause)
        return self.waiting.pop(cause, None)

    def first_wish(self, stuck: Container[str]) -> ChangeBot | None:
        """Give the wish to be answered next: of each bot in their order; what could not be answered yet comes last."""
        firsts = {wish.bot: wish for wish in reversed(self.waiting.values())}.values()
        return min(reversed(firsts), key=lambda wish: wish.id in stuck, default=None)

    def symbols(self) -> set[str]:
        """Every symbol that a bot which was not removed trades."""
        return {
            symbol
            for bot in self.bots.values()
            if bot.status is not BotStatus.REMOVED
            for symbol in bot.definition.symbols
        }

    def of_files(self, bots: Iterable[Bot], account: str, now_ns: int) -> list[ChangeBot]:
        """Give what bot files wish now: what says something new, and the end of bots whose file is gone.

        Args:
            bots: What the files say.
            account: Account and run, for the ids.
            now_ns: Venue time.
        """
        wishes: list[ChangeBot] = []
        there = {bot.name: bot for bot in bots}
        for name, bot in sorted(there.items(), key=lambda one: one[1].shadow_of != ""):  # what it stands beside first
            if self._files.get(name) == bot or any(wish.definition == bot for wish in self._waiting_of(name)):
                continue
            known = self.bots.get(name)
            revision = 0 if known is None else known.revision
            is_back = known is not None and known.status is BotStatus.STOPPED and known.reason == _GONE
            wish_id = make_id(account, name, FILE, revision, now_ns)
            status = BotStatus.RUNNING if is_back else None
            wishes.append(ChangeBot(wish_id, name, revision, FILE, now_ns, "its bot file says so", bot, status))
        for name, known in self.bots.items():
            if name in there or known.status is BotStatus.REMOVED or self._spoken_by.get(name) != FILE:
                continue
            wish_id = make_id(account, name, FILE, known.revision, now_ns)
            wishes.append(ChangeBot(wish_id, name, known.revision, FILE, now_ns, _GONE, status=BotStatus.REMOVED))
        return wishes

    def _waiting_of(self, bot: str) -> list[ChangeBot]:
        return [wish for wish in self.waiting.values() if wish.bot == bot and wish.by == FILE]

    def answer(
        self,
        wish: ChangeBot,
        facts: Facts,
        newest_ns: int,
        now_ns: int,
        code_fault: str = "",
        *,
        past_bars: int = 0,
        market_seq: int = 0,
    ) -> BotDefined | BotRefused:
        """Answer a wish; nothing changes until the answer is applied.

        Args:
            wish: One of `waiting`.
            facts: What the account and the venue say of it.
            newest_ns: Close of the newest bar decided, ns UTC.
            now_ns: Venue time.
            code_fault: Why the code of the strategy cannot be run; empty if it can.
            past_bars: How many bars from before the first that there is its strategy is warmed up with.
            market_seq: Position of the market stream up to which all was decided.
        """
        known = self.bots.get(wish.bot)
        revision = 0 if known is None else known.revision
        is_there = known is not None and known.status is not BotStatus.REMOVED
        definition = wish.definition
        if definition is None and known is not None and (is_there or wish.status is not BotStatus.REMOVED):
            definition = known.definition
        fault = (
            name_fault(wish.bot)
            or self._revision_fault(wish, revision, is_there=is_there)
            or ("" if definition is not None else f"there is no bot {wish.bot}: add it with its definition")
        )
        if fault or definition is None:
            return BotRefused(wish.bot, revision, fault, wish.id, now_ns)
        status = _status(wish, known if is_there else None)
        if wish.by == FILE and status is BotStatus.REMOVED and (any(facts.held.values()) or facts.working):
            status = BotStatus.STOPPED  # what it holds keeps its stops, and a person sees it
        fault = code_fault or _fault(wish, definition, status, known if is_there else None, facts)
        fault = fault or self._shadow_fault(wish, definition, status, is_new=not is_there)
        if fault:
            return BotRefused(wish.bot, revision, fault, wish.id, now_ns)
        return BotDefined(
            bot=wish.bot,
            revision=revision + 1,
            definition=definition,
            status=status,
            from_ts=max(newest_ns, 0 if known is None else known.from_ts),
            by=wish.by,
            cause=wish.id,
            ts_event=now_ns,
            reason=wish.reason,
            flatten=wish.flatten,
            past_bars=past_bars,
            market_seq=market_seq,
        )

    def _shadow_fault(self, wish: ChangeBot, bot: Bot, status: BotStatus, *, is_new: bool) -> str:
        """Say that a shadow would stand beside no bot."""
        if status is BotStatus.REMOVED:
            there = (one for one in self.bots.values() if one.status is not BotStatus.REMOVED)
            shadows = [one.bot for one in there if one.definition.shadow_of == bot.name]
            names = ", ".join(shadows) if wish.by != FILE else ""
            return f"bot {bot.name} has shadows, {names}: remove or promote them first" if names else ""
        of = self.bots.get(bot.shadow_of)
        if not bot.shadow_of or not is_new:
            return ""
        if of is None or of.status is BotStatus.REMOVED:
            return f"shadow_of: there is no bot {bot.shadow_of}: see `tapeline bots list`"
        beside = of.definition.shadow_of
        return f"shadow_of: {of.bot} is itself a shadow, of {beside}: name {beside}" if beside else ""

    @staticmethod
    def _revision_fault(wish: ChangeBot, revision: int, *, is_there: bool) -> str:
        if wish.revision == revision or wish.by == FILE:  # a file says what shall be, whatever was
            return ""
        if wish.revision == 0 and not is_there:
            return ""  # a new one under the name of one that was removed
        if wish.revision == 0:
            return f"there is a bot {wish.bot}, at revision {revision}: update it, or choose another name"
        return f"revision of bot {wish.bot} is {revision}, the change was made for {wish.revision}: {_LOOK}"


def faulty(bot: BotDefined, reason: str, newest_ns: int, market_seq: int) -> BotDefined:
    """Give a bot that its strategy's faults have stopped at a bar, at a position of the market stream."""
    cause = make_id(bot.bot, "fault", bot.revision, newest_ns)
    return msgspec.structs.replace(
        bot,
        revision=bot.revision + 1,
        status=BotStatus.ERROR,
        from_ts=newest_ns,
        by="signals",
        cause=cause,
        ts_event=newest_ns,
        reason=reason,
        flatten=False,
        market_seq=market_seq,
    )


def failed_text(bot: BotDefined) -> str:
    """Say that a bot is in error."""
    return f"bot {bot.bot} is in error: {bot.reason}; mend it, then `tapeline bots start {bot.bot}`"


def _status(wish: ChangeBot, known: BotDefined | None) -> BotStatus:
    if wish.status is not None:
        return wish.status
    return BotStatus.RUNNING if known is None else known.status


def _fault(wish: ChangeBot, bot: Bot, status: BotStatus, known: BotDefined | None, facts: Facts) -> str:
    """Say what is wrong with what a bot would be; empty when nothing is."""
    if bot.name != wish.bot:
        return f"name {bot.name!r} of the definition is not that of the bot, {wish.bot!r}: a bot keeps its name"
    if status not in _GIVEN and wish.status is not None:
        return f"status {status} cannot be given: running, paused, stopped or removed"
    if known is None and status is BotStatus.REMOVED:
        return f"there is no bot {wish.bot} to remove"
    if wish.flatten and status not in (BotStatus.PAUSED, BotStatus.STOPPED):
        return f"flatten goes with status paused or stopped, was {status}"
    is_read = wish.by == FILE and wish.definition is not None  # that it was is worth a revision
    if known is not None and (known.definition, known.status) == (bot, status) and not (wish.flatten or is_read):
        return f"bot {wish.bot} is {status} already, and nothing else would change"
    if known is not None and known.definition.shadow_of != bot.shadow_of:
        is_one = f"a shadow of {known.definition.shadow_of}" if known.definition.shadow_of else "no shadow"
        mend = "`tapeline bots promote` gives a shadow its place, or add another bot"
        return f"shadow_of: bot {bot.name} is {is_one} and stays that, was {bot.shadow_of or 'none'}: {mend}"
    if wish.definition is not None and bot.universe and not bot.symbols:
        return f"symbols: the venue trades nothing of universe {bot.universe!r}: name them"
    try:
        if wish.definition is not None:
            validate(bot)
    except ConfigError as err:
        return str(err).removeprefix(f"bot {bot.name!r}: ")
    is_running = known is not None and known.status is BotStatus.RUNNING
    if status is BotStatus.REMOVED and is_running and wish.by != FILE and not bot.shadow_of:
        return f"bot {bot.name} is running: stop it first, with `tapeline bots stop {bot.name} --flatten`"
    return _held_fault(bot, status, facts) or (_market_fault(bot, known, facts) if wish.definition else "")


def _held_fault(bot: Bot, status: BotStatus, facts: Facts) -> str:
    """Say that what is held would have no owner any more."""
    is_removed = status is BotStatus.REMOVED
    held = {symbol: q for symbol, q in sorted(facts.held.items()) if q and (is_removed or symbol not in bot.symbols)}
    working = sorted(symbol for symbol in facts.working if is_removed or symbol not in bot.symbols)
    what = "it" if is_removed else f"symbols without {', '.join(sorted({*held, *working}))}"
    if held:
        shown = ", ".join(f"{plain(quantity)} {symbol}" for symbol, quantity in held.items())
        mend = f"close what it holds with `tapeline bots stop {bot.name} --flatten` first"
        return f"{what} cannot be {'removed' if is_removed else 'had'}: bot {bot.name} holds {shown}; {mend}"
    if working:
        mend = "wait for its end, or cancel it with `tapeline orders cancel`"
        return f"{what} cannot be {'removed' if is_removed else 'had'}: an order in {', '.join(working)} works; {mend}"
    return ""


def _market_fault(bot: Bot, known: BotDefined | None, facts: Facts) -> str:
    """Say which symbol the venue does not trade, or that the account cannot spend the capital."""
    before = frozenset[str]() if known is None else frozenset(known.definition.symbols)
    for symbol in bot.symbols:
        said = facts.assets.get(symbol)
        if said is not None and not said.is_tradable and symbol not in before:
            return f"symbols: the venue takes no orders in {symbol} ({said.reason}): leave it out"
    if facts.funds is None or (known is not None and bot.capital <= known.definition.capital):
        return ""
    most = max(facts.funds.buying_power, facts.funds.equity)
    if bot.capital > most:
        return f"capital must be at most what the account can spend, {plain(most)} USD, was {plain(bot.capital)}"
    return ""
