"""Alpaca as a Fence: list and cancel whatever is open, and let the account refuse new orders. By REST, few requests.

It reads of an order only what ending it needs, so that no order of a form we do not know stands in the way. Blocking
and safe to call from several threads; called by tapeline.fence, in a process that needs neither NATS nor the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.fields import canonical_symbol
from adapters.alpaca.rest import Done, Limited, NoAnswer, Refused, Rest
from engine.errors import TapelineError, UnreachableError
from engine.ports import OpenOrder

_LISTED_MAX = 500
"""Most orders one answer of GET /v2/orders holds."""
_CONFIGURATIONS = "/account/configurations"


class AlpacaFence:
    """Fence over Alpaca's trading REST.

    Args:
        sleep: Waits between tries of a request that only reads.
    """

    def __init__(self, config: AlpacaConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        def client() -> RESTClient:
            return TradingClient(config.key, config.secret, raw_data=True, url_override=config.rest_url)

        self._url = config.rest_url
        self._rest = Rest(config, config.rest_url, client, sleep)

    def account_number(self) -> str:
        """Ask for the account's number, and for nothing else that could be unreadable."""
        answer = self._rest.read("/account")
        found = answer.get("account_number") if isinstance(answer, dict) else None  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(found, str) or not found:
            msg = f"account of {self._url} has no account_number: the URL is not Alpaca's trading API"
            raise UnreachableError(msg)
        return found

    def open_orders(self) -> tuple[Sequence[OpenOrder], bool]:
        """Give every open order, legs included; of more than 500 the oldest, which is said by False."""
        answer = self._rest.read("/orders", {"status": "open", "limit": _LISTED_MAX, "direction": "asc"})
        if not isinstance(answer, list):
            msg = f"orders of {self._url} are no list: the URL is not Alpaca's trading API"
            raise UnreachableError(msg)
        orders = [_open_order(raw) for raw in answer]  # pyright: ignore[reportUnknownVariableType]
        return orders, len(orders) < _LISTED_MAX

    def cancel_all(self) -> None:
        """Ask for the end of every open order; which of them did end, `open_orders` says.

        Raises:
            UnreachableError: Whether the venue got the request is not known; ask again.
            ConfigError: The venue refuses the key.
        """
        self._ask("DELETE", "/orders")

    def cancel(self, venue_order_id: str) -> None:
        """Ask for the end of one order. 404 and 422 say that there is nothing to end, or nothing more to ask for."""
        self._ask("DELETE", f"/orders/{venue_order_id}", fine=(404, 422))

    def is_suspended(self) -> bool:
        """Ask whether the account refuses new orders by its owner's wish."""
        return self._suspended(self._rest.read(_CONFIGURATIONS))

    def suspend(self, wanted: bool) -> None:
        """Set or lift the suspension, and read it back.

        Raises:
            UnreachableError: No answer says whether it holds; ask again.
            TapelineError: The venue refused, or says the opposite afterwards.
        """
        self._ask("PATCH", _CONFIGURATIONS, {"suspend_trade": wanted})
        if self.is_suspended() != wanted:
            msg = f"{self._url} took suspend_trade = {str(wanted).lower()} and says the opposite: look at the account"
            raise TapelineError(msg)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._rest.close()

    def _suspended(self, answer: Any) -> bool:
        wish = answer.get("suspend_trade") if isinstance(answer, dict) else None  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(wish, bool):
            msg = f"configurations of {self._url} do not say suspend_trade: the URL is not Alpaca's trading API"
            raise UnreachableError(msg)
        return wish

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, fine: tuple[int, ...] = ()) -> None:
        match self._rest.once(method, path, body):
            case Done():
                return
            case Refused(status, _, _) if status in fine:
                return
            case Refused(status, _, message):
                msg = f"{self._url} refused {method} {path} ({status}): {message}"
                raise TapelineError(msg)
            case Limited(retry_after_s):
                msg = f"{method} {path}: rate limit of {self._url}, free again in {retry_after_s:g} s"
                raise UnreachableError(msg)
            case NoAnswer(reason):
                raise UnreachableError(reason)


def _open_order(raw: Any) -> OpenOrder:
    fields: dict[str, Any] = raw if isinstance(raw, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    texts = [str(fields.get(key) or "") for key in ("id", "client_order_id", "symbol", "asset_class", "status")]
    return OpenOrder(texts[0], texts[1], canonical_symbol(texts[2], texts[3]), texts[4])
