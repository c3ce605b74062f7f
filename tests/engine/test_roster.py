"""What a wish about a bot is answered, and that a refused one changes nothing."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.messages import AnyBody, BotDefined, BotRefused, ChangeBot, SymbolStatus, VenueFunds
from engine.roster import FILE, Facts, Roster, faulty
from tests.engine.build import T0, D, bot, minute

ALPHA = bot()


def _wish(name: str = "w1", revision: int = 0, **more: object) -> ChangeBot:
    return ChangeBot(name, str(more.pop("bot", "alpha")), revision, str(more.pop("by", "me")), T0, **more)  # type: ignore[arg-type]


def _told(roster: Roster, wish: ChangeBot, facts: Facts | None = None, newest: int = 0) -> BotDefined | BotRefused:
    """Store a wish and its answer."""
    roster.apply(wish)
    answer = roster.answer(wish, facts or Facts(), newest, T0)
    roster.apply(answer)
    return answer


def _granted(roster: Roster, wish: ChangeBot, facts: Facts | None = None, newest: int = 0) -> BotDefined:
    answer = _told(roster, wish, facts, newest)
    assert isinstance(answer, BotDefined), answer
    return answer


def _with_alpha() -> Roster:
    roster = Roster()
    _granted(roster, _wish("w0", definition=ALPHA))
    return roster


def test_a_new_bot_runs_from_the_bar_after_the_newest_one() -> None:
    roster = Roster()
    said = _granted(roster, _wish(definition=ALPHA, reason="try it"), newest=minute(3))
    assert said == BotDefined("alpha", 1, ALPHA, BotStatus.RUNNING, minute(3), "me", "w1", T0, "try it")
    assert roster.bots == {"alpha": said}
    assert roster.waiting == {}


def test_a_version_never_counts_from_before_the_one_before_it() -> None:
    roster = _with_alpha()
    assert _granted(roster, _wish("w1", 1, status=BotStatus.PAUSED), newest=minute(9)).from_ts == minute(9)
    assert _granted(roster, _wish("w2", 2, status=BotStatus.RUNNING), newest=minute(4)).from_ts == minute(9)


def test_a_life() -> None:
    roster = _with_alpha()
    other = msgspec.structs.replace(ALPHA, capital=D("5"))
    steps = [
        _granted(roster, _wish("w1", 1, status=BotStatus.PAUSED)),
        _granted(roster, _wish("w2", 2, definition=other)),
        _granted(roster, _wish("w3", 3, status=BotStatus.RUNNING)),
        _granted(roster, _wish("w4", 4, status=BotStatus.STOPPED, flatten=True)),
        _granted(roster, _wish("w5", 5, status=BotStatus.REMOVED)),
        _granted(roster, _wish("w6", 0, definition=ALPHA)),
    ]
    assert [(one.revision, one.status, one.definition.capital) for one in steps] == [
        (2, "paused", ALPHA.capital), (3, "paused", 5), (4, "running", 5), (5, "stopped", 5), (6, "removed", 5),
        (7, "running", ALPHA.capital),
    ]  # fmt: skip
    assert [one.flatten for one in steps] == [False, False, False, True, False, False]


_TRADES = {"AAPL": SymbolStatus("AAPL", "assets", "as the venue lists it", T0)}
_DELISTED = {"AAPL": SymbolStatus("AAPL", "assets", "the venue does not know it", T0, is_tradable=False)}


@pytest.mark.parametrize(
    ("wish", "facts", "why"),
    [
        (_wish(revision=3, definition=ALPHA), Facts(), "revision of bot alpha is 1, the change was made for 3"),
        (_wish(revision=0, definition=ALPHA), Facts(), "there is a bot alpha, at revision 1: update it"),
        (_wish(bot="beta"), Facts(), "there is no bot beta: add it"),
        (_wish(bot="beta", status=BotStatus.REMOVED), Facts(), "there is no bot beta"),
        (_wish(bot="Beta!", definition=ALPHA), Facts(), "name must be 1..32"),
        (_wish(bot="manual", definition=ALPHA), Facts(), "choose another"),
        (_wish(bot="beta", definition=ALPHA), Facts(), "name 'alpha' of the definition is not that of the bot, 'beta'"),
        (_wish(revision=1), Facts(), "is running already, and nothing else would change"),
        (_wish(revision=1, status=BotStatus.RUNNING), Facts(), "is running already"),
        (_wish(revision=1, status=BotStatus.ERROR), Facts(), "status error cannot be given"),
        (_wish(revision=1, status=BotStatus.RUNNING, flatten=True), Facts(), "flatten goes with status paused or"),
        (_wish(revision=1, definition=bot(strategy="best")), Facts(), "unknown strategy 'best': choose one of"),
        (_wish(revision=1, definition=bot(strategy="rsi", params={"period": 0})), Facts(), "period"),
        (_wish(revision=1, definition=bot(params={"fast": 5, "slow": 5})), Facts(), "fast < slow"),
        (_wish(revision=1, definition=bot(symbols=())), Facts(), "symbols must name at least one"),
        (_wish(revision=1, definition=bot(capital=D("0"))), Facts(), "capital must be a finite number > 0"),
        (
            _wish(revision=1, definition=bot(symbols=("MSFT",))),
            Facts(held={"AAPL": D("10")}),
            "symbols without AAPL cannot be had: bot alpha holds 10 AAPL; close what it holds with `tapeline bots stop alpha",
        ),
        (
            _wish(revision=1, definition=bot(symbols=("MSFT",))),
            Facts(working=frozenset({"AAPL"})),
            "symbols without AAPL cannot be had: an order in AAPL works; wait for its end",
        ),
        (_wish(revision=1, status=BotStatus.REMOVED), Facts(), "bot alpha is running: stop it first, with `tapeline"),
        (
            _wish(bot="beta", definition=bot(name="beta")),
            Facts(assets=_DELISTED),
            "symbols: the venue takes no orders in AAPL (the venue does not know it): leave it out",
        ),
        (
            _wish(bot="beta", definition=bot(name="beta", capital=D("90001"))),
            Facts(assets=_TRADES, funds=VenueFunds(D("90000"), D("80000"), is_shorting_enabled=True, ts_event=T0)),
            "capital must be at most what the account can spend, 90000 USD, was 90001",
        ),
    ],
)
def test_refused(wish: ChangeBot, facts: Facts, why: str) -> None:
    roster = _with_alpha()
    before = dict(roster.bots)
    answer = _told(roster, wish, facts)
    assert isinstance(answer, BotRefused)
    assert why in answer.reason
    assert (answer.cause, answer.revision) == ("w1", 1 if wish.bot == "alpha" else 0)
    assert roster.bots == before
    assert roster.waiting == {}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            Facts(held={"AAPL": D("-2.5"), "MSFT": D("0"), "UNH": D("1")}),
            "it cannot be removed: bot alpha holds -2.5 AAPL, 1 UNH; close",
        ),
        (
            Facts(working=frozenset({"AAPL"})),
            "it cannot be removed: an order in AAPL works; wait for its end, or cancel",
        ),
    ],
)
def test_what_holds_something_or_may_soon_is_not_removed(facts: Facts, why: str) -> None:
    roster = _with_alpha()
    _granted(roster, _wish("w1", 1, status=BotStatus.STOPPED))
    answer = _told(roster, _wish("w2", 2, status=BotStatus.REMOVED), facts)
    assert isinstance(answer, BotRefused)
    assert why in answer.reason


def test_a_bot_that_is_there_may_go_on_with_a_symbol_that_is_gone_and_with_its_capital() -> None:
    roster = _with_alpha()
    poor = Facts(assets=_DELISTED, funds=VenueFunds(D("1"), D("1"), is_shorting_enabled=True, ts_event=T0))
    said = _granted(roster, _wish(revision=1, definition=bot(params={"fast": 2, "slow": 9})), poor)
    assert said.definition.params == {"fast": 2, "slow": 9}


def test_a_wish_is_answered_once_also_when_it_comes_again() -> None:
    roster = Roster()
    wish = _wish(definition=ALPHA)
    _granted(roster, wish)
    roster.apply(wish)
    assert roster.waiting == {}


def test_an_old_revision_that_comes_again_changes_nothing() -> None:
    roster = _with_alpha()
    first = roster.bots["alpha"]
    second = _granted(roster, _wish("w1", 1, status=BotStatus.PAUSED))
    roster.apply(first)
    assert roster.bots["alpha"] == second


def test_faults_stop_a_bot_until_a_person_starts_it() -> None:
    roster = _with_alpha()
    stopped = faulty(roster.bots["alpha"], "division by zero", minute(7), 30)
    roster.apply(stopped)
    places = stopped.from_ts, stopped.market_seq
    assert (stopped.status, stopped.revision, places) == (BotStatus.ERROR, 2, (minute(7), 30))
    mended = _granted(roster, _wish("w1", 2, definition=bot(params={"fast": 2, "slow": 9})))
    assert mended.status is BotStatus.ERROR
    assert _granted(roster, _wish("w2", 3, status=BotStatus.RUNNING)).status is BotStatus.RUNNING


# --- bot files ----------------------------------------------------------------------------------------------------------


def _start(roster: Roster, *bots: Bot, facts: Facts | None = None) -> list[AnyBody]:
    """What a start does."""
    wishes = roster.of_files(bots, "ACC1|run1", T0)
    return [_told(roster, wish, facts) for wish in wishes]


def _shown(said: list[AnyBody]) -> list[tuple[str, int, str]]:
    return [(one.bot, one.revision, one.status) for one in said if isinstance(one, BotDefined)]


def test_files_are_read_once_until_they_say_something_else() -> None:
    roster = Roster()
    beta = bot(name="beta")
    assert _shown(_start(roster, ALPHA, beta)) == [("alpha", 1, "running"), ("beta", 1, "running")]
    assert _start(roster, ALPHA, beta) == []
    other = msgspec.structs.replace(beta, capital=D("7"))
    assert _shown(_start(roster, ALPHA, other)) == [("beta", 2, "running")]
    assert _start(roster, ALPHA, other) == []


def test_what_a_command_changed_stays_until_the_file_says_something_new() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    _granted(roster, _wish("w1", 1, definition=msgspec.structs.replace(ALPHA, capital=D("5"))))
    _granted(roster, _wish("w2", 2, status=BotStatus.PAUSED))
    assert _start(roster, ALPHA) == []
    newer = msgspec.structs.replace(ALPHA, capital=D("6"))
    [said] = _start(roster, newer)
    assert isinstance(said, BotDefined)
    assert (said.definition, said.status, said.by) == (newer, BotStatus.PAUSED, FILE)


def test_a_bot_of_a_file_goes_with_it_and_one_of_a_command_stays() -> None:
    roster = Roster()
    _start(roster, ALPHA, bot(name="beta"))
    _granted(roster, _wish("w1", bot="gamma", definition=bot(name="gamma")))
    _granted(roster, _wish("w2", 1, bot="beta", definition=bot(name="beta", capital=D("5"))))
    assert _shown(_start(roster)) == [("alpha", 2, "removed")]
    assert _start(roster) == []
    assert _shown(_start(roster, bot(params={"fast": 1, "slow": 9}))) == [("alpha", 3, "running")]


def test_a_bot_of_a_file_that_still_holds_something_is_stopped_until_it_does_not() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    holds = Facts(held={"AAPL": D("3")})
    assert _shown(_start(roster, facts=holds)) == [("alpha", 2, "stopped")]
    assert _shown(_start(roster, facts=holds)) == []
    assert _shown(_start(roster)) == [("alpha", 3, "removed")]


def test_a_bot_that_a_command_removed_stays_away() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    _granted(roster, _wish("w1", 1, status=BotStatus.STOPPED))
    _granted(roster, _wish("w2", 2, status=BotStatus.REMOVED))
    assert _start(roster, ALPHA) == []


def test_a_file_that_is_away_and_comes_back_unchanged_brings_its_bot_back() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    assert _shown(_start(roster)) == [("alpha", 2, "removed")]
    assert _shown(_start(roster, ALPHA)) == [("alpha", 3, "running")]
    holds = Facts(held={"AAPL": D("3")})
    assert _shown(_start(roster, facts=holds)) == [("alpha", 4, "stopped")]
    assert _shown(_start(roster, ALPHA, facts=holds)) == [("alpha", 5, "running")]


def test_a_file_that_says_what_a_command_made_true_is_read_and_counts_no_more() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    other = msgspec.structs.replace(ALPHA, capital=D("5"))
    _granted(roster, _wish("w1", 1, definition=other))
    assert _shown(_start(roster, other)) == [("alpha", 3, "running")]
    _granted(roster, _wish("w2", 3, definition=ALPHA))
    assert _start(roster, other) == []


def test_a_file_counts_whatever_a_command_changed_while_it_waited() -> None:
    roster = Roster()
    _start(roster, ALPHA)
    newer = msgspec.structs.replace(ALPHA, capital=D("6"))
    [wish] = roster.of_files([newer], "ACC1|run1", T0)
    _granted(roster, _wish("w1", 1, status=BotStatus.PAUSED))
    roster.apply(wish)
    assert roster.of_files([newer], "ACC1|run1", T0 + 1) == []
    assert _granted(roster, wish).definition == newer


def test_a_refused_file_is_read_again_at_the_next_start() -> None:
    roster = Roster()
    funds = VenueFunds(D("1"), D("1"), is_shorting_enabled=True, ts_event=T0)
    [said] = _start(roster, ALPHA, facts=Facts(funds=funds))
    assert isinstance(said, BotRefused)
    wishes = roster.of_files([ALPHA], "ACC1|run1", T0 + 1)
    assert [_told(roster, wish).bot for wish in wishes] == ["alpha"]
    assert roster.bots["alpha"].status is BotStatus.RUNNING


# --- shadows -----------------------------------------------------------------------------------------------------------


def test_a_shadow_stands_beside_a_bot_and_stays_one() -> None:
    roster = _with_alpha()
    shadow = bot(name="beta", shadow_of="alpha")
    alone = _told(roster, _wish("w1", bot="gamma", definition=bot(name="gamma", shadow_of="beta")))
    assert isinstance(alone, BotRefused)
    assert alone.reason == "shadow_of: there is no bot beta: see `tapeline bots list`"
    assert _granted(roster, _wish("w2", bot="beta", definition=shadow)).definition == shadow
    freed = _told(roster, _wish("w3", 1, bot="beta", definition=bot(name="beta")))
    assert isinstance(freed, BotRefused)
    assert freed.reason.startswith("shadow_of: bot beta is a shadow of alpha and stays that, was none: `tapeline bots")
    bound = _told(roster, _wish("w4", 1, definition=bot(shadow_of="beta")))
    assert isinstance(bound, BotRefused)
    assert bound.reason.startswith(
        "shadow_of: bot alpha is no shadow and stays that, was beta: `tapeline bots promote`"
    )
    nested = _told(roster, _wish("w4b", bot="gamma", definition=bot(name="gamma", shadow_of="beta")))
    assert isinstance(nested, BotRefused)
    assert nested.reason == "shadow_of: beta is itself a shadow, of alpha: name alpha"
    _granted(roster, _wish("w4c", 1, status=BotStatus.STOPPED))
    orphaning = _told(roster, _wish("w4d", 2, status=BotStatus.REMOVED))
    assert isinstance(orphaning, BotRefused)
    assert orphaning.reason == "bot alpha has shadows, beta: remove or promote them first"
    own = _told(roster, _wish("w5", bot="delta", definition=bot(name="delta", shadow_of="delta")))
    assert isinstance(own, BotRefused)
    assert own.reason == "shadow_of must be another bot, was delta: give the shadow its own name"
    _granted(roster, _wish("w6", 1, bot="beta", status=BotStatus.REMOVED))
    assert _granted(roster, _wish("w8", 2, bot="beta", definition=bot(name="beta"))).revision == 3


def test_of_files_the_bot_comes_before_its_shadow() -> None:
    roster = Roster()
    said = _start(roster, bot(name="a-shadow", shadow_of="alpha"), ALPHA)
    assert [one.bot for one in said] == ["alpha", "a-shadow"]
    assert all(isinstance(one, BotDefined) for one in said)
