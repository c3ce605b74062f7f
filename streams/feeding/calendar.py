"""The calendar as executor stores it, followed by feed."""

from __future__ import annotations

from collections.abc import Iterable

from engine.messages import Sessions, decode
from engine.sessions import SessionTable
from streams.reader import Reader, Stored, read
from streams.role import Context

_BATCH_MAX = 100


class Calendar:
    """Keeps a table of sessions up.

    Args:
        context: The role's.
        sessions: The table.
    """

    def __init__(self, context: Context, sessions: SessionTable) -> None:
        self._context = context
        self._sessions = sessions
        self._reader: Reader | None = None

    async def start(self) -> None:
        """Wait until it is known, as it is soon after the ledger was opened: what is asked of history needs it."""
        context = self._context
        reader = context.reader(context.topology.trading, 0, [f"{context.topology.prefix}.sessions.>"])
        await reader.start()
        while not self._take(await reader.batch(_BATCH_MAX)):
            pass
        self._reader = reader

    def take(self) -> bool:
        """Take in what is new; whether something is."""
        return self._take(self._reader.take(_BATCH_MAX) if self._reader else [])

    def _take(self, items: Iterable[Stored]) -> bool:
        is_news = False
        for item in items:
            body = read(item, self._context.topology.trading, decode).body
            if isinstance(body, Sessions):
                self._sessions.add(body)
                is_news = True
        return is_news
