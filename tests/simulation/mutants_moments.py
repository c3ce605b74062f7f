"""Ways to break what signals knows of bars, of moments without any, and of versions of bots; as in mutants.py."""

from __future__ import annotations

from tests.simulation.patching import Patch

_SIGNALS = "streams.services.signals:Signals"
MOMENTS = (
    Patch(
        "moments_forgotten",
        f"{_SIGNALS}._take_told",
        "isinstance(body, Timer | FillTold)",
        "isinstance(body, FillTold)",
        "restarted signals do not look at the moments without a bar that they stored",
    ),
    Patch(
        "moments_before_their_place",
        "engine.signals:SignalEngine.timers",
        "market_seq=market_seq",
        "market_seq=0",
        "restarted signals speak at moments before bars that came before them",
    ),
    Patch(
        "said_again",
        "engine.former:FormerLife.news_of",
        "slot is None or last is None or slot.said == last.id:",
        "True:",
        "restarted signals say what they said before the last that is stored",
    ),
    Patch(
        "bots_changed_before_known_bars",
        f"{_SIGNALS}._read_files",
        " and self._moved >= self._end_at_start",
        "",
        "a restarted signals changes bots at bars that its former life decided",
    ),
    Patch(
        "fills_told_again",
        "engine.filling:Filling.know",
        "self._stored.add(told.fill)",
        "pass",
        "restarted signals tell strategies of fills that they were told of",
    ),
    Patch(
        "fills_told_before_their_place",
        "engine.filling:Filling.take_news",
        "market_seq=market_seq",
        "market_seq=0",
        "restarted signals tell strategies of fills before bars that came before them",
    ),
    Patch(
        "fills_forgotten",
        f"{_SIGNALS}._take_told",
        "isinstance(body, Timer | FillTold)",
        "isinstance(body, Timer)",
        "restarted signals do not tell strategies of fills that their former life told",
    ),
    Patch(
        "bots_changed_before_their_place",
        f"{_SIGNALS}._move",
        "come_to(item.seq - 1)",
        "come_to(_LAST)",
        "restarted signals change bots at bars before those at which their former life did",
    ),
    Patch(
        "corrections_not_read",
        f"{_SIGNALS}._move",
        "await bars_until(self._context, needed, item.seq) if needed else None",
        "None",
        "strategies do not learn that a bar was corrected",
    ),
    Patch(
        "corrections_without_the_newest",
        f"{_SIGNALS}._move",
        "needed, item.seq)",
        "needed, self._moved)",
        "strategies are made anew without the bars of the batch that is being moved by",
    ),
    Patch(
        "longer_bars_told_again",
        f"{_SIGNALS}.start",
        "engine.on_own_frame(made)",
        "pass",
        "restarted signals tell longer bars that they told before",
    ),
    Patch(
        "past_not_heard_of",
        f"{_SIGNALS}._move",
        "engine.on_past(body)",
        "pass",
        "strategies do not learn of bars from before the first",
    ),
    Patch(
        "past_reaches_into_the_stream",
        "streams.feeding.warming:Warming._since",
        "bar.ts_event - timeframe_ns(bar.timeframe)",
        "now_ns",
        "bars of the stream are fetched as bars of the past, too",
    ),
    Patch(
        "minutes_after_what_is_said_at_them",
        f"{_SIGNALS}._followed",
        "(*engine.timers(seq), *engine.frames())",
        "engine.timers(seq)",
        "what a shadow's order is filled at stands behind the signal, with the next bar's",
    ),
    Patch(
        "shadows_are_bots",
        "engine.risk.core:RiskCore._apply",
        "not self._definitions.is_shadow(body.bot)",
        "True",
        "risk gives verdicts on what shadows say",
    ),
)
MOMENT_SEEDS = {
    "moments_forgotten": 841,
    "moments_before_their_place": 17,
    "said_again": 5,
    "bots_changed_before_known_bars": 29,
    "corrections_not_read": 1,
    "corrections_without_the_newest": 12,
    "past_not_heard_of": 3,
    "past_reaches_into_the_stream": 1,
    "longer_bars_told_again": 24,
    "minutes_after_what_is_said_at_them": 12,
    "shadows_are_bots": 2,
    "fills_told_again": 4,
    "fills_forgotten": 4,
    "fills_told_before_their_place": 4,
    "bots_changed_before_their_place": 212,
}
