"""What can be set about the connection to Alpaca. Carries settings and secrets, never shows the secrets, opens nothing.

Made by the composition root from config; every default is Alpaca's paper account with the free IEX feed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from config.secrets import keep
from engine.errors import ConfigError

KEY_VARIABLE = "ALPACA_API_KEY"
SECRET_VARIABLE = "ALPACA_SECRET_KEY"  # noqa: S105 - the name of the variable, not its value
_HIDDEN = "<hidden>"
_SCHEMES = {
    "rest_url": ("http://", "https://"),
    "data_url": ("http://", "https://"),
    "stock_ws_url": ("ws://", "wss://"),
    "crypto_ws_url": ("ws://", "wss://"),
    "trading_ws_url": ("ws://", "wss://"),
}


class AlpacaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the adapter. Times in seconds.

    Attributes:
        rest_url: Trading REST without path (`/v2` is added by alpaca-py).
        data_url: Market-data REST without path.
        stock_ws_url: Complete websocket URL; empty means Alpaca's for `feed`.
        feed: Stock feed of stream and history: `iex` (free), `sip`, ...
        mute_s_max: Silence of a whole market-data stream in an open market after which the socket counts as mute. A
            quiet minute on IEX is normal, three are not.
        ack_s_max: Time the venue has to acknowledge a subscription that covers every wanted symbol.
        ack_attempts_max: Connections tried for a full acknowledgement before the symbols it does cover must do.
        slot_s_max: How long Alpaca may hold the slot of a dead connection (about 90 s) before 406 and 429 are reported.
        reconnect_s_min: First wait before a reconnect; doubles up to `reconnect_s_max`.
        read_attempts_max: Tries of a request that only reads; a request that changes something is sent once.
        assets_asked_singly_max: Assets asked for one by one; more are picked from the list of all (several MB).
        rate_s_max: Longest wait for the rate limit to reset that is believed.
    """

    key: str
    secret: str
    rest_url: str = "https://paper-api.alpaca.markets"
    data_url: str = "https://data.alpaca.markets"
    stock_ws_url: str = ""
    crypto_ws_url: str = "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    trading_ws_url: str = "wss://paper-api.alpaca.markets/stream"
    feed: str = "iex"

    connect_s_max: float = 3.05
    read_s_max: float = 10.0
    read_attempts_max: int = 4
    retry_s_min: float = 0.5
    rate_s_max: float = 60.0
    rate_s_default: float = 2.0

    history_bars_per_page: int = 10_000
    history_symbols_per_request: int = 200
    activities_per_page: int = 100
    orders_per_page: int = 500
    assets_asked_singly_max: int = 20
    pages_max: int = 10_000

    handshake_s_max: float = 10.0
    ack_s_max: float = 10.0
    ack_attempts_max: int = 3
    mute_s_max: float = 180.0
    slot_s_max: float = 90.0
    reconnect_s_min: float = 1.0
    reconnect_s_max: float = 30.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 30.0
    close_s_max: float = 1.0
    frames_queued_max: int = 4096
    problem_repeat_s_min: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what could only fail later, with the name of the setting and the mend."""
        keep(self.key)
        keep(self.secret)
        if not self.key or not self.secret:
            msg = f"no Alpaca key: set {KEY_VARIABLE} and {SECRET_VARIABLE} to a key pair of the account"
            raise ConfigError(msg)
        if not self.stock_ws_url:
            url = f"wss://stream.data.alpaca.markets/v2/{self.feed}"
            msgspec.structs.force_setattr(self, "stock_ws_url", url)
        for name, schemes in _SCHEMES.items():
            url = getattr(self, name)
            if not url.startswith(schemes):
                msg = f"{name} must start with {' or '.join(schemes)}, was {url!r}"
                raise ConfigError(msg)
            msgspec.structs.force_setattr(self, name, url.rstrip("/"))
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isinstance(value, str) and value <= 0:
                msg = f"{name} must be > 0, was {value}"
                raise ConfigError(msg)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Give the fields to whoever prints them, without the secrets."""
        hidden = ("key", "secret")
        return [(name, _HIDDEN if name in hidden else getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        return f"AlpacaConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    __str__ = __repr__

    def websocket_params(self) -> dict[str, Any]:
        """Parameters for the `websockets` client; alpaca-py replaces its own defaults by them, it does not merge.

        No `max_size`: alpaca-py's 1 MiB loops for ever on a bigger frame. No compression: it costs CPU on both sides.
        """
        return {
            "ping_interval": self.ping_interval_s,
            "ping_timeout": self.ping_timeout_s,
            "max_queue": self.frames_queued_max,
            "max_size": None,
            "compression": None,
            "open_timeout": self.handshake_s_max,
            "close_timeout": self.close_s_max,
        }
