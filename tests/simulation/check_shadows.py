"""What shadows did is what the trading stream gives, once, in order; and the account knows nothing of them."""

from __future__ import annotations

from collections import defaultdict

from adapters.simulated import shadow_venue
from engine.ids import bar_close_ns
from engine.messages import AnyBody, BotDefined, DerivedBar, Fill, OrderIntent, Position, Shadowed, Signal, body_json
from engine.shadows import Shadows
from tests.simulation.checking import demand
from tests.simulation.world import World


def shadows(world: World, trading: list[AnyBody]) -> None:
    """Compare what is stored with a fold that nobody disturbed."""
    fold = Shadows(world.settings.limits, shadow_venue)
    expected: dict[str, list[bytes]] = defaultdict(list)
    stored: dict[str, dict[int, bytes]] = defaultdict(dict)  # the very same bytes may be there twice
    minutes: set[tuple[str, int]] = set()
    names = {body.bot for body in trading if isinstance(body, BotDefined) and body.definition.shadow_of}
    for body in trading:
        if isinstance(body, DerivedBar):
            minutes.add((body.symbol, body.ts_event))
        elif isinstance(body, Signal) and body.bot in names and bar_close_ns(body.bar) == body.ts_event:
            is_told = (body.symbol, body.ts_event) in minutes
            demand(is_told, f"a shadow speaks in {body.symbol} before its bar is told: {body}")
        if isinstance(body, Shadowed):
            demand(stored[body.life].setdefault(body.ordinal, body_json(body)) == body_json(body), "two stories")
            continue
        for said in fold.apply(body):
            expected[said.life].append(body_json(said))
    demand(
        {life: list(said.values()) for life, said in stored.items()} == expected,
        "what shadows did is not what the stream gives",
    )
    real = {body.bot for body in trading if isinstance(body, OrderIntent | Fill | Position)}
    demand(not names & real, f"orders of shadows were sent: {sorted(names & real)}")
    world.faults.seen["things that shadows did"] += sum(map(len, stored.values()))
