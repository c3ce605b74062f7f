"""What strategies with `on_fill` are told: each fill once, at one place among bars, whatever happens to the process."""

from __future__ import annotations

import pickle
from decimal import Decimal

import msgspec
import pytest

from config import own
from engine.bots import Bot, BotStatus
from engine.ids import fill_key
from engine.messages import (
    AnyBody,
    Bar,
    BotDefined,
    Fill,
    FillTold,
    Position,
    Shadowed,
    Signal,
    Split,
    Ticks,
    body_json,
)
from engine.signals import SignalEngine
from engine.values import NS_PER_S, Direction, Side, plain
from tests.engine import build
from tests.engine.build import OWNER, D, always_open, bar, bot, minute

OWN = bot(name="own", strategy="owner.py:Owner", code=OWNER)
CLOSES = [10.0, 10.5, 10.4, 10.6, 10.5, 10.45, 10.7, 10.8, 10.2, 10.1, 10.3, 10.6]


@pytest.fixture(autouse=True)
def _learned() -> None:
    own.learn(OWN)


def _engine(*bots: Bot) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", bots or (OWN,))
    engine.on_sessions(always_open())
    return engine


def _filled(number: int, side: Side, px: str, position: str, *, at: int) -> tuple[Fill, Position]:
    """A fill of 10 and what is held after it."""
    order = build.intent(f"o{number}", side, bot="own")
    fill = build.fill(order, "10", "10", px, ts_event=minute(at), commission=D("0.5"))
    held = D(position)
    key = fill_key(fill.venue_order_id, plain(fill.cum_qty))
    return fill, Position("own", "AAPL", held, D(px) if held else D(0), D(0), key, minute(at))


def _story() -> list[AnyBody]:
    """Bars, with fills a moment after the bar at which they were decided."""
    story: list[AnyBody] = []
    sides = {3: (Side.BUY, "10.5", "10"), 6: (Side.SELL, "10.44", "0"), 8: (Side.BUY, "10.81", "10")}
    for number, close in enumerate(CLOSES, 1):
        story.append(bar(close, number))
        if number in sides:
            side, px, held = sides[number]
            story += _filled(number, side, px, held, at=number)
    return story


def _live(engine: SignalEngine, body: AnyBody, bars: int = 0) -> list[AnyBody]:
    """Give what is stored of a message, after so many bars, in order."""
    if isinstance(body, Bar):
        return list(engine.on_bar(body))
    engine.filling.take(body)
    return list(engine.filling.take_news(bars))


def _played(engine: SignalEngine, story: list[AnyBody], first: int, last: int) -> list[AnyBody]:
    """Give what is stored of a part of a story, in order."""
    bars = [sum(isinstance(body, Bar) for body in story[:number]) for number in range(len(story))]
    return [one for number in range(first, last) for one in _live(engine, story[number], bars[number])]


def _values(engine: SignalEngine) -> dict[str, float]:
    return engine.snapshots()[-1][4]


def test_a_fill_is_told_with_what_is_held_after_it() -> None:
    engine = _engine()
    stored = [said for body in _story() for said in _live(engine, body)]
    tolds = [body for body in stored if isinstance(body, FillTold)]
    assert [(told.number, told.side.value, told.position, told.bar_ts) for told in tolds] == [
        (1, "buy", D(10), minute(3)), (2, "sell", D(0), minute(6)), (3, "buy", D(10), minute(8)),
    ]  # fmt: skip
    assert (tolds[0].quantity, tolds[0].price, tolds[0].commission, tolds[0].order_id) == (
        D(10), D("10.5"), D("0.5"), "o3",
    )  # fmt: skip
    said = [(body.ts_event, body.direction.value) for body in stored if isinstance(body, Signal)]
    assert said[:3] == [(minute(2), "long"), (minute(3), "flat"), (minute(5), "long")]  # at its entry
    assert _values(engine)["heard"] == 3.0


def test_a_fill_alone_tells_nothing_until_what_is_held_is_known_and_twice_tells_once() -> None:
    engine = _engine()
    engine.on_bar(bar(10.0, 1))
    fill, position = _filled(1, Side.BUY, "10", "10", at=1)
    assert _live(engine, fill) == []
    assert len(_live(engine, position)) == 1
    for body in (fill, position, fill, position):
        assert _live(engine, body) == []
    assert _values(engine)["heard"] == 1.0


def test_a_strategy_that_does_not_ask_is_told_nothing() -> None:
    plain_bot = bot(name="own")
    engine = _engine(plain_bot)
    assert engine.filling.wanted() == (set(), False)
    assert [said for body in _story() for said in _live(engine, body) if isinstance(said, FillTold)] == []


@pytest.mark.parametrize("kept", range(0, 18, 3))
def test_over_a_restart_at_every_point_strategies_know_the_same(kept: int) -> None:
    """The checkpoint is of `kept` messages; what was stored later is there, and comes while bars are decided again."""
    story, whole = _story(), _engine()
    stored = _played(whole, story, 0, len(story))
    for killed_after in range(kept, len(story) + 1):
        first = _engine()
        said = _played(first, story, 0, kept)
        state = pickle.dumps(first.state())
        said += _played(first, story, kept, killed_after)
        again = _engine()
        again.restore(pickle.loads(state))
        for one in said:
            if isinstance(one, FillTold):
                again.expect(one)
            elif isinstance(one, Signal):
                again.on_own_signal(one)
        bars = [body for body in story[:killed_after] if isinstance(body, Bar)]
        for number in range(sum(isinstance(body, Bar) for body in story[:kept]), len(bars)):
            assert again.expected(number) == (None, [])
            assert again.on_bar(bars[number]) == []
        assert again.expected(len(bars)) == (None, [])
        assert not again.is_expecting
        for body in story[:killed_after]:  # fills are read from the beginning
            assert isinstance(body, Bar) or _live(again, body) == []
        said += _played(again, story, killed_after, len(story))
        assert [*map(body_json, said)] == [*map(body_json, stored)]
        assert _values(again) == _values(whole)


def test_what_the_stream_lost_is_stored_again_at_its_place_and_told_once() -> None:
    engine = _engine()
    bars = [bar(close, number) for number, close in enumerate(CLOSES[:4], 1)]
    for each in bars[:3]:
        engine.on_bar(each)
    fill, position = _filled(3, Side.BUY, "10.4", "10", at=3)
    [told] = [one for body in (fill, position) for one in _live(engine, body)]
    engine.on_bar(bars[3])
    again = _engine()
    again.restore(pickle.loads(pickle.dumps(engine.state())))
    again.on_split(Split("ca1", "AAPL", "AAPL", D(4), minute(4)), bars)
    assert [body_json(one) for body in (fill, position) for one in _live(again, body)] == [body_json(told)]
    assert [_values(again)[name] for name in ("heard", "position", "average")] == [1.0, 40.0, 2.6]


def test_what_the_stream_has_twice_is_told_once() -> None:
    engine = _engine()
    engine.on_bar(bar(10.0, 1))
    [first] = [one for body in _filled(1, Side.BUY, "10", "10", at=1) for one in _live(engine, body)]
    assert isinstance(first, FillTold)
    again = _engine()
    for number in (1, 2, 2, 1, 3):
        again.expect(msgspec.structs.replace(first, number=number, fill=f"f{number}", id=f"i{number}", market_seq=1))
    assert again.expected(0) == (None, [])
    again.on_bar(bar(10.0, 1))
    assert _values(again)["heard"] == 0.0
    assert again.expected(1) == (None, [])
    assert _values(again)["heard"] == 3.0


def test_one_that_was_not_stored_is_told_after_the_bars_of_the_former_life() -> None:
    engine = _engine()
    for number, close in enumerate(CLOSES[:5], 1):
        engine.on_bar(bar(close, number))
    told = [one for body in _filled(3, Side.BUY, "10.5", "10", at=3) for one in _live(engine, body)]
    assert [one.bar_ts for one in told if isinstance(one, FillTold)] == [minute(5)]


def test_a_bot_of_every_tick_knows_its_fill_at_the_next_trade() -> None:
    quick = bot(name="own", strategy="owner.py:Owner", code=OWNER, trading_frequency="every_tick")
    engine = _engine(quick)
    for number, close in ((1, 10.0), (2, 10.0), (3, 10.0)):
        engine.on_bar(bar(close, number))

    def trade(second: int, px: float) -> list[Signal]:
        ts = minute(3) + second * NS_PER_S
        return engine.on_ticks(Ticks(f"t{second}", "AAPL", ((ts, px, 1.0),), ts))

    [up] = trade(5, 10.1)
    assert (up.direction, up.indicators["heard"]) == (Direction.LONG, 0.0)
    assert trade(10, 10.11) == []
    for body in _filled(1, Side.BUY, "10.1", "10", at=3):
        _live(engine, body)
    [out] = trade(15, 10.3)  # far from its entry
    assert (out.direction, out.indicators["position"]) == (Direction.FLAT, 10.0)


def test_a_new_version_and_one_made_anew_know_the_fills_where_they_came() -> None:
    bars = [bar(close, number) for number, close in enumerate(CLOSES, 1)]
    engine, expected = _engine(), _engine()
    for body in _story():
        _live(engine, body)
        _live(expected, body)
    other = bot(name="own", strategy="owner.py:Owner", code=OWNER + "\n# another version\n")
    own.learn(other)
    engine.define(BotDefined("own", 2, other, BotStatus.RUNNING, minute(12), "me", "c2", minute(12)), bars)
    engine.on_bar(bar(10.5, 13))
    expected.on_bar(bar(10.5, 13))
    assert _values(engine) == _values(expected)
    correction = bar(10.4, 3, revision=1)
    engine.on_bar(correction)
    engine.on_bar(bar(10.5, 14), [*bars, bar(10.5, 13)])
    expected.on_bar(bar(10.5, 14))
    assert _values(engine) == _values(expected)


def test_after_a_split_a_strategy_knows_its_entry_in_new_shares() -> None:
    engine = _engine()
    bars = [bar(close, number) for number, close in enumerate(CLOSES[:4], 1)]
    for each in bars:
        engine.on_bar(each)
    for body in _filled(3, Side.BUY, "10.4", "10", at=4):
        _live(engine, body)
    split = Split("ca1", "AAPL", "AAPL", D(4), minute(4))
    engine.on_split(split, bars)
    values = _values(engine)
    assert (values["position"], values["average"]) == (40.0, 2.6)


def test_a_fault_in_it_is_an_alert_once_and_stops_no_other_bot() -> None:
    code = OWNER.replace("self.heard += 1", "raise ValueError('no')")
    bad = bot(name="own", strategy="owner.py:Owner", code=code)
    own.learn(bad)
    engine = _engine(bad, bot(name="alpha", params={"fast": 1, "slow": 2}))
    for body in _story():
        _live(engine, body)
    alerts = [alert.what for alert in engine.alerts()]
    assert len(alerts) == 3
    assert all("ValueError: no; fill venue-o" in what for what in alerts)
    assert engine.failed() == {}


def test_new_code_that_raises_at_fills_is_refused() -> None:
    engine = _engine()
    for number in range(1, 13):
        engine.on_bar(bar(10.0, number))
        for body in _filled(number, Side.BUY, "10", "10", at=number):
            _live(engine, body)
    code = OWNER.replace("self.heard += 1", "raise ValueError('no')")
    bad = bot(name="own", strategy="owner.py:Owner", code=code)
    own.learn(bad)
    bars = [bar(10.0, number) for number in range(1, 13)]
    assert "raised at 10 past bars and fills, AAPL: ValueError: no" in engine.rehearse(bad, bars)
    assert engine.rehearse(OWN, bars) == ""


def test_a_shadow_hears_its_own_fills_and_none_of_a_shadow_before_it() -> None:
    shadow = bot(name="own", strategy="owner.py:Owner", code=OWNER, shadow_of="alpha")
    engine = _engine(bot(name="alpha"))
    for body in _filled(9, Side.BUY, "10", "10", at=1):  # of the account: not this bot's
        _live(engine, body)
    engine.define(BotDefined("own", 1, shadow, BotStatus.RUNNING, 0, "me", "life1", 0))
    engine.on_bar(bar(10.0, 1))

    def tell(number: int, life: str) -> list[AnyBody]:
        fill, position = _filled(number, Side.BUY, "10", "10", at=number)
        bodies = (Shadowed("own", "AAPL", life, n, of, minute(number)) for n, of in enumerate((fill, position)))
        return [said for body in bodies for said in _live(engine, body)]

    assert len(tell(1, "life1")) == 1
    assert _values(engine)["heard"] == 1.0
    gone = BotDefined("own", 2, shadow, BotStatus.REMOVED, minute(1), "me", "end", minute(1))
    engine.define(gone)
    engine.on_bar(bar(10.0, 2))
    engine.define(BotDefined("own", 3, shadow, BotStatus.RUNNING, minute(2), "me", "life2", minute(2)))
    engine.on_bar(bar(10.0, 3))
    assert tell(4, "life1") == []
    assert len(tell(5, "life2")) == 1
    assert _values(engine)["heard"] == 1.0


def test_quantities_are_decimal_in_the_message_and_numbers_for_the_strategy() -> None:
    engine = _engine()
    engine.on_bar(bar(10.0, 1))
    [told] = [one for body in _filled(1, Side.BUY, "10.1", "10", at=1) for one in _live(engine, body)]
    assert isinstance(told, FillTold)
    assert isinstance(told.price, Decimal)
    assert _values(engine)["average"] == 10.1
