"""Bars as they are stored: the venue's, in order, none lost in silence; and those of the past. Part of invariants."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from engine.messages import AnyBody, Bar, Gap, PastBars, Signal
from engine.messages.market import PastBar
from engine.signals import SignalEngine
from engine.values import MINUTE_BAR
from tests.simulation.checking import demand
from tests.simulation.history import past_of
from tests.simulation.world import World


def bars(world: World, market: list[AnyBody]) -> None:
    """Per symbol bars grow in time, are the venue's, and none is missing that was not lost or declared a gap."""
    last: dict[str, int] = {}
    there: set[tuple[str, int]] = set()
    truth = {(bar.symbol, bar.ts_event): bar for bar in world.exchange.out}
    revisions: dict[tuple[str, int], int] = {}
    gaps = [body for body in market if isinstance(body, Gap) and body.filled_by == "none"]
    for body in market:
        if not isinstance(body, Bar):
            continue
        key = (body.symbol, body.ts_event)
        demand(body.revision == revisions.get(key, -1) + 1, f"bar {key} has revision {body.revision}")
        revisions[key] = body.revision
        if body.revision:
            plain_bar = msgspec.structs.replace(body, revision=0)
            demand(plain_bar in world.exchange.corrected, f"a correction of bar {key} is not the venue's")
            continue
        demand(body.ts_event > last.get(body.symbol, 0), f"bar {key} came out of order")
        last[body.symbol] = body.ts_event
        demand(msgspec.structs.replace(body, is_backfill=False) == truth[key], f"bar {key} is not the venue's")
        there.add(key)
    declared = {key for key in truth for gap in gaps if gap.symbol == key[0] and gap.ts_from < key[1] <= gap.ts_to}
    missing = set(truth) - there - declared - world.exchange.excused
    demand(not missing, f"bars neither stored nor declared a gap: {sorted(missing)}")


def newest(market: list[AnyBody]) -> list[Bar]:
    """The newest revision of each bar, and those from before the first, by time."""
    past = [bar for body in market if isinstance(body, PastBars) for bar in body.every()]
    bars = [*past, *(body for body in market if isinstance(body, Bar))]
    found = {(b.ts_event, b.symbol, b.timeframe, b.of if isinstance(b, PastBar) else ""): b for b in bars}
    return [found[key] for key in sorted(found)]


def define(calm: SignalEngine, market: list[AnyBody], seq: int) -> list[Signal]:
    """Do again what was done beside the bars when the market stream was decided up to a position."""
    said: list[Signal] = []
    while calm.is_expecting:
        defined, signals = calm.expected(seq)
        said += signals
        if defined is None:
            break
        must = calm.must_learn(defined.definition, defined.status)
        said += calm.define(defined, *_known(market[: defined.market_seq], must))
    return said


def _known(market: list[AnyBody], symbols: Collection[str]) -> tuple[list[Bar], list[Bar]]:
    """The bars of symbols as they counted after the last one, by time, and corrections that wait for another one."""
    counted, waiting = dict[tuple[int, str, str, str], Bar](), list[Bar]()
    last = dict.fromkeys(symbols, 0)
    for body in market:
        if isinstance(body, PastBars) and body.symbol in symbols:
            counted |= {(bar.ts_event, bar.symbol, bar.timeframe, bar.of): bar for bar in body.every()}
        if not isinstance(body, Bar) or body.symbol not in symbols:
            continue
        if body.revision:
            waiting.append(body)
            continue
        bars = [body]
        if body.ts_event > last[body.symbol]:
            last[body.symbol] = body.ts_event
            bars = [*(bar for bar in waiting if bar.symbol == body.symbol), body]
            waiting = [bar for bar in waiting if bar.symbol != body.symbol]
        for bar in bars:
            key = bar.ts_event, bar.symbol, bar.timeframe, ""
            if key not in counted or counted[key].revision <= bar.revision:
                counted[key] = bar
    return [counted[key] for key in sorted(counted)], waiting


def pasts(world: World, market: list[AnyBody]) -> None:
    """What strategies are warmed up with is the venue's, as many bars as there are, and ends where the stream begins."""
    venue = [*past_of(world.exchange.market), *world.exchange.out]
    truth = {(bar.symbol, bar.ts_event, bar.close) for bar in (*venue, *world.exchange.corrected)}
    for body in market:
        if not isinstance(body, PastBars):
            continue
        of_symbol = (bar.ts_event for bar in market if isinstance(bar, Bar) and bar.symbol == body.symbol)
        first = min(of_symbol, default=body.ts_to + 1)
        demand(all(old[0] <= body.ts_to < first for old in (*body.bars, *body.minutes)), f"{body} is not of the past")
        if body.timeframe == MINUTE_BAR:
            closes = [bar.ts_event for bar in venue if bar.symbol == body.symbol]
            wanted = [ts for ts in closes if body.ts_from < ts <= body.ts_to][-body.wanted :]
            demand([old[0] for old in body.bars] == wanted, f"{body} is not all of the past")
            wrong = [old for old in body.bars if (body.symbol, old[0], old[4]) not in truth]
            demand(not wrong, f"{wrong} of {body} is not the venue's")
