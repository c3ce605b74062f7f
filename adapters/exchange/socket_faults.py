"""Faults of a websocket as such: refused, dropped, mute, without pongs, or its slot held after its end.

Both hubs ask it: at the upgrade, when a client authenticates, before each message, at the end. It encodes nothing. The
slot of a dead connection is held in real time, as Alpaca holds it for about 90 s; everything else is counted.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from adapters.exchange.faults import SOCKET_FAULTS, FaultRule, Faults
from adapters.exchange.outbox import Outbox

_SLOW_CLIENT = 407


class SocketFaults:
    """What happens to the connections of one hub.

    Args:
        faults: The rules.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._held: list[tuple[str, str, float]] = []

    def upgrade(self, path: str) -> web.Response | None:
        """The refusal of an upgrade, None when it may go on."""
        if self._faults.for_socket("upgrade_429", path) is None:
            return None
        return web.json_response({"message": "too many requests."}, status=429)

    def opened(self, path: str, outbox: Outbox) -> None:
        """A connection begins: it may be one whose pings are never answered."""
        if self._faults.for_socket("no_pong", path) is not None:
            outbox.answers_pings = False

    def refusal(self, path: str) -> FaultRule | None:
        """The error that a client is told instead of being authenticated."""
        return self._faults.for_socket("ws_error", path)

    def sends(self, path: str, key: str, outbox: Outbox) -> bool:
        """Decide before a message, named by `key`, whether it goes out; False when the connection is gone or mute."""
        if not self._faults.has(SOCKET_FAULTS):
            return True
        if self._faults.for_socket("socket_mute", path, key) is not None:
            outbox.mute()
        rule = self._faults.for_socket("socket_drop", path, key)
        if rule is not None and rule.when == "after":
            outbox.drop_when_sent(rule.mode)
        elif rule is not None:
            outbox.drop(rule.mode, says_farewell=rule.code == _SLOW_CLIENT)
        return not outbox.is_cut

    def ended(self, path: str, key: str | None) -> None:
        """A connection has ended: its slot may stay taken."""
        if key is not None and (rule := self._faults.for_socket("zombie", path)) is not None:
            self._held.append((path, key, asyncio.get_running_loop().time() + rule.delay_s))

    def is_held(self, path: str, key: str | None) -> bool:
        """True while a dead connection of this key (None: of any) keeps the slot."""
        now = asyncio.get_running_loop().time()
        self._held = [held for held in self._held if held[2] > now]
        return any(where == path and key in (None, whose) for where, whose, _ in self._held)
