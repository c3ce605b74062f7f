"""Strategies with `on_fill` were told of every fill of their bot, once, in order."""

from __future__ import annotations

from collections import defaultdict

from engine.bots import BotStatus
from engine.ids import fill_key
from engine.messages import AnyBody, BotDefined, Fill, FillTold, Shadowed
from engine.slots import looks
from engine.values import plain
from tests.simulation.checking import demand
from tests.simulation.world import World

_Name = tuple[str, str, str]
"""Bot, symbol and life of a shadow."""


def fills(world: World, trading: list[AnyBody]) -> None:
    """Compare what was told with the fills there are."""
    told: dict[_Name, dict[int, str]] = defaultdict(dict)
    made: dict[_Name, list[str]] = defaultdict(list)
    hears = {body.bot for body in trading if isinstance(body, BotDefined) and body.definition.code}
    newest = dict[str, BotStatus]()
    for body in trading:
        if isinstance(body, BotDefined):
            newest[body.bot] = body.status
        if isinstance(body, FillTold):
            known = told[body.bot, body.symbol, body.life].setdefault(body.number, body.fill)
            demand(known == body.fill, f"two fills are the same number: {body}")
        life, of = (body.life, body.of) if isinstance(body, Shadowed) else ("", body)
        if isinstance(of, Fill) and of.bot in hears:
            key, so_far = fill_key(of.venue_order_id, plain(of.cum_qty)), made[of.bot, of.symbol, life]
            so_far += [key] if key not in so_far else []
    for name in {*told, *made}:
        keys = made[name]
        heard = [told[name][number] for number in sorted(told[name])]
        due = keys if looks(newest[name[0]]) else keys[: len(heard)]  # else it is told when it is started again
        demand(heard == due, f"{name} was told of {heard}, there were {keys}")
    world.faults.seen["fills told"] += sum(map(len, made.values()))
