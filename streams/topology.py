"""Every stream as data, created or updated at boot by `ensure`. Nobody else declares streams.

executor does that, who opens the ledger and alone has the right to (streams.access); the others wait for it.

market: bars and gaps. Can be fetched again, so `persist_mode: async` and bounded by age and size.
trading: everything that decides or moves money, in one total order. Fsync before acknowledge (the server runs with
`sync_interval: always`), atomic batches, nothing is ever discarded: at the size limit publishing fails instead.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, PersistMode, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LOOK_S = 0.05
_SAY_AFTER_S = 5.0


class Topology(msgspec.Struct, frozen=True):
    """Names and limits of the streams behind one prefix."""

    prefix: str
    market_age_s_max: int
    market_bytes_max: int
    trading_bytes_max: int
    duplicate_window_s: float

    @property
    def market(self) -> str:
        """Name of the market stream."""
        return f"{self.prefix.upper()}_MARKET"

    @property
    def trading(self) -> str:
        """Name of the trading stream."""
        return f"{self.prefix.upper()}_TRADING"

    @property
    def bucket(self) -> str:
        """Name of the bucket with the roles' leases."""
        return f"{self.prefix}_roles"

    def streams(self) -> list[StreamConfig]:
        """Give the full configuration of each stream."""
        p = self.prefix
        trading = (
            "signals.*.*",
            "guards.*.*",
            "intents.*.*",
            "denials.*.*",
            "reached.*.*",
            "orders.*.*",
            "fills.*.*",
            "fees.*.*",
            "corrections.*.*",
            "protections.*.*",
            "splits.*",
            "marks.*",
            "barmarks",
            "status.*.*",
            "positions.*.*",
            "account",
            "funds",
            "opened",
            "sessions.*",
            "alerts.*",
            "commands",
            "changes.*",
            "bots.*",
            "refusals.*",
            "timers.*",
            "told.*.*",
            "indicators.*.*",
            "derived.*.*",
            "derived_updates.*.*",
            "shadows.*.*",
            "state",
        )
        return [
            StreamConfig(
                name=self.market,
                subjects=[f"{p}.bars.*.*", f"{p}.updates.*.*", f"{p}.past.*.*", f"{p}.ticks.*", f"{p}.gaps.*"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                persist_mode=PersistMode.ASYNC,
                discard=DiscardPolicy.OLD,
                max_age=self.market_age_s_max,
                max_bytes=self.market_bytes_max,
                duplicate_window=self.duplicate_window_s,
                allow_direct=True,
            ),
            StreamConfig(
                name=self.trading,
                subjects=[f"{p}.{tail}" for tail in trading],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                max_bytes=self.trading_bytes_max,
                duplicate_window=self.duplicate_window_s,
                allow_direct=True,
                allow_atomic=True,
            ),
        ]


async def ensure(js: JetStreamContext, topology: Topology) -> None:
    """Create the streams, or bring existing ones to this configuration (their messages stay)."""
    for config in topology.streams():
        try:
            await js.update_stream(config)
        except NotFoundError:
            await js.add_stream(config)


async def wait_for_streams(js: JetStreamContext, topology: Topology) -> None:
    """Wait until the streams are there and take every subject of this version."""
    for config in topology.streams():
        waited_s = 0.0
        while not await _takes(js, config):
            if waited_s <= _SAY_AFTER_S < waited_s + _LOOK_S:
                log.warning("waiting for executor to make the stream", stream=config.name)
            waited_s += _LOOK_S
            await asyncio.sleep(_LOOK_S)


async def _takes(js: JetStreamContext, config: StreamConfig) -> bool:
    try:
        have = (await js.stream_info(config.name or "")).config.subjects or []
    except (NatsError, OSError, TimeoutError):
        return False
    return set(config.subjects or []) <= set(have)
