"""Which symbols the bots of the trading stream want: bars of all, trades and quotes of some. Part of services/feed."""

from __future__ import annotations

from collections.abc import Callable

from config.settings import marked_of, symbols_of
from engine.bots import Bot, BotStatus, quotes, ticks
from engine.messages import BotDefined, decode
from streams.reader import Reader, read
from streams.role import Context, last_per_subject

_BATCH_MAX = 100


class Following:
    """The bots there are: those of the settings until the stream says something of them.

    Args:
        context: The role's.
        on_news: Called when a bot was defined.
    """

    def __init__(self, context: Context, on_news: Callable[[], None]) -> None:
        self._context = context
        self._on_news = on_news
        self._bots = {bot.name: bot for bot in context.settings.bots}
        self._past: dict[str, int] = {}
        self._revisions: dict[str, int] = {}
        self._reader: Reader | None = None

    @property
    def bots(self) -> list[Bot]:
        """Those that were not removed."""
        return list(self._bots.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols whose bars are wanted, sorted."""
        return symbols_of(self.bots)

    @property
    def ticked(self) -> tuple[str, ...]:
        """Symbols whose trades somebody looks at one by one, sorted."""
        return symbols_of(bot for bot in self.bots if ticks(bot))

    @property
    def quoted(self) -> tuple[str, ...]:
        """Symbols whose quotes somebody looks at one by one, sorted."""
        return symbols_of(bot for bot in self.bots if quotes(bot))

    @property
    def past(self) -> set[tuple[str, str, int]]:
        """Which bars from before the first that there is are wanted: symbol, timeframe, how many."""
        return {
            (symbol, self._bots[name].timeframe, count)
            for name, count in self._past.items()
            for symbol in self._bots[name].symbols
        }

    @property
    def revisions(self) -> int:
        """How many revisions of bots were heard of: all that there are, when it is as many as signals knows."""
        return sum(self._revisions.values())

    @property
    def marked(self) -> tuple[str, ...]:
        """Those of them whose trades and quotes are wanted, sorted."""
        return marked_of(self.bots, self._context.settings.limits)

    async def start(self) -> None:
        """Learn what is defined now."""
        context, subject = self._context, f"{self._context.topology.prefix}.bots.>"
        seq = (await context.js.stream_info(context.topology.trading)).state.last_seq
        self._reader = context.reader(context.topology.trading, seq, [subject])
        for data in await last_per_subject(context, context.topology.trading, subject):
            self._take(decode(data).body)
        await self._reader.start()

    async def listen(self) -> None:
        """Follow the bots for ever."""
        assert self._reader is not None  # noqa: S101  (start came first)
        while True:
            for item in await self._reader.batch(_BATCH_MAX):
                self._take(read(item, self._context.topology.trading, decode).body)
            self._on_news()

    def _take(self, body: object) -> None:
        if not isinstance(body, BotDefined):
            return
        self._revisions[body.bot] = body.revision
        self._past.pop(body.bot, None)
        if body.past_bars and body.status in (BotStatus.RUNNING, BotStatus.PAUSED):
            self._past[body.bot] = body.past_bars
        if body.status is BotStatus.REMOVED:
            self._bots.pop(body.bot, None)
        else:
            self._bots[body.bot] = body.definition
