"""How the venue lists symbols: those of the bots stored where it is news, any others told to whoever asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec
import structlog
from nats.aio.msg import Msg

from engine.errors import UnreachableError
from engine.execution import ExecState
from engine.listing import status_of
from engine.messages import SymbolStatus
from engine.ports import Venue
from engine.values import CRYPTO_UNIVERSE, NS_PER_DAY, AssetClass
from streams.asking import assets_subject
from streams.rest import RestLane
from streams.role import Context

_UNIVERSE_S = 60.0
"""How long a list of all symbols counts."""
log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Lister:
    """Asks the venue about symbols.

    Args:
        context: The role's.
        venue: Who is asked.
        lane: Its REST.
        state: Gives what is stored.
    """

    def __init__(self, context: Context, venue: Venue, lane: RestLane, state: Callable[[], ExecState]) -> None:
        self._context = context
        self._venue = venue
        self._lane = lane
        self._state = state
        self._universes: dict[AssetClass, tuple[float, list[str]]] = {}

    def symbols(self) -> tuple[str, ...]:
        """Every symbol that any bot trades, sorted: of the bots that were defined, and of those in the settings."""
        defined = (symbol for symbols in self._state().bots.values() for symbol in symbols)
        return tuple(sorted({*self._context.settings.symbols, *defined}))

    async def listen(self) -> None:
        """Answer questions from now on: about symbols, or which there are in a universe."""
        await self._context.nc.subscribe(assets_subject(self._context.topology.prefix), cb=self._on_question)

    async def changed(self) -> list[SymbolStatus]:
        """Give what the venue says of the bots' symbols, where it is not what is stored; asked once a day."""
        state, symbols = self._state(), self.symbols()
        now = await self._context.clock.now_ns()
        if all(symbol in state.assets for symbol in symbols) and now < state.assets_ns + NS_PER_DAY:
            return []
        statuses = await self._ask(symbols, now)
        state.assets_ns = now
        return [each for each in statuses if not _is_known(state.assets.get(each.symbol), each)]

    async def _ask(self, symbols: Iterable[str], now: int) -> list[SymbolStatus]:
        wanted = tuple(symbols)
        said = {asset.symbol: asset for asset in await self._lane.call("assets", lambda: self._venue.assets(wanted))}
        return [status_of(symbol, said.get(symbol), now) for symbol in wanted]

    async def _universe(self, asset_class: AssetClass) -> list[str]:
        """Name what the venue trades; what came too late for one question is the answer to the next."""
        until, symbols = self._universes.get(asset_class, (0.0, []))
        if time.monotonic() > until:
            symbols = list(await self._lane.call("assets", lambda: self._venue.universe(asset_class)))
            self._universes[asset_class] = time.monotonic() + _UNIVERSE_S, symbols
        return symbols

    async def _on_question(self, msg: Msg) -> None:
        try:
            wanted = msgspec.json.decode(msg.data, type=list[str] | str)
            if isinstance(wanted, str):
                asset_class = AssetClass.CRYPTO if wanted == CRYPTO_UNIVERSE else AssetClass.US_EQUITY
                answer = await self._universe(asset_class)
            else:
                answer = await self._ask(dict.fromkeys(wanted), await self._context.clock.now_ns())
        except (msgspec.DecodeError, UnreachableError) as err:
            log.warning("a question about symbols was not answered", reason=str(err))
            return
        await msg.respond(msgspec.json.encode(answer))


def _is_known(known: SymbolStatus | None, said: SymbolStatus) -> bool:
    return known is not None and msgspec.structs.replace(known, ts_event=said.ts_event) == said
