"""Which symbols anybody holds, as the trading stream says, and marks of their bars. Called by streams/services/feed.

What is held must have a price that is not old, or nobody knows what was lost (engine.risk.latching). Symbols whose
trades and quotes are followed have it from those; the others from their bars. A symbol that nobody holds costs a look
into a set, so ten thousand of them cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.adoption import UNATTRIBUTED
from engine.barmarks import bar_marks
from engine.messages import AccountOpened, Bar, BarMarks, Mark, Position, decode
from streams.reader import Reader, read
from streams.role import Context, last_per_subject

_BATCH_MAX = 1_000


class Holdings:
    """What is held.

    Args:
        context: The role's.
        on_news: Called when positions were taken in.

    Attributes:
        seq: Sequence up to which positions are known.
    """

    def __init__(self, context: Context, on_news: Callable[[], None]) -> None:
        self._context = context
        self._on_news = on_news
        self._reader: Reader | None = None
        self._owners: dict[str, set[str]] = {}
        self._told: dict[str, int] = {}
        self.seq = 0

    async def start(self, opened: AccountOpened, told: Mapping[str, Mark]) -> None:
        """Learn what is held now.

        Args:
            opened: The ledger's opening: what belonged to nobody then.
            told: The last mark stored per symbol.
        """
        context, subject = self._context, f"{self._context.topology.prefix}.positions.>"
        self._told = {symbol: mark.ts_event for symbol, mark in told.items()}
        for symbol, quantity in opened.positions.items():
            self._note(UNATTRIBUTED, symbol, is_held=bool(quantity))
        self.seq = (await context.js.stream_info(context.topology.trading)).state.last_seq
        self._reader = context.reader(context.topology.trading, self.seq, [subject])
        for data in await last_per_subject(context, context.topology.trading, subject):
            self._take(decode(data).body)
        await self._reader.start()

    async def listen(self) -> None:
        """Follow the positions for ever."""
        assert self._reader is not None  # noqa: S101  (start came first)
        while True:
            for item in await self._reader.batch(_BATCH_MAX):
                self._take(read(item, self._context.topology.trading, decode).body)
                self.seq = item.seq
            self._on_news()

    def marks(self, bars: Iterable[object], followed: set[str], told_ns: Callable[[str], int]) -> list[BarMarks]:
        """Give the marks of bars of what is held.

        Args:
            bars: Bars among other things.
            followed: Symbols whose trades and quotes come.
            told_ns: Gives the end of the last mark of a symbol that was made of trades and quotes.
        """
        owners = self._owners
        if not owners:
            return []
        held = [bar for bar in bars if isinstance(bar, Bar) and bar.symbol in owners and bar.symbol not in followed]
        for symbol in {bar.symbol for bar in held}:
            self._told[symbol] = max(self._told.get(symbol, 0), told_ns(symbol))
        return bar_marks(held, self._told, f"{self._context.account}|{self._context.run}") if held else []

    @property
    def is_any(self) -> bool:
        """Whether anything is held, so that bars may have to wait for marks."""
        return bool(self._owners)

    def _take(self, body: object) -> None:
        if isinstance(body, Position):
            self._note(body.bot, body.symbol, is_held=body.signed_qty != 0)

    def _note(self, bot: str, symbol: str, *, is_held: bool) -> None:
        if is_held:
            self._owners.setdefault(symbol, set()).add(bot)
        elif bot in self._owners.get(symbol, ()):
            self._owners[symbol].discard(bot)
            if not self._owners[symbol]:
                del self._owners[symbol]
