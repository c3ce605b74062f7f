"""How a role gets its side of the adapter: market data or trading.

Decides only which modules are imported: alpaca-py brings pandas along and costs seconds, so each side loads its own
half and nothing loads both by accident. Nothing is opened here: the streams open on `run`, REST on the first request.
Called by the composition root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.alpaca.config import AlpacaConfig
from engine.values import AssetClass

if TYPE_CHECKING:
    from adapters.alpaca.bars import AlpacaBars
    from adapters.alpaca.clock import AlpacaTime
    from adapters.alpaca.history import AlpacaHistory
    from adapters.alpaca.trading import AlpacaVenue
    from adapters.alpaca.updates import AlpacaUpdates

OnProblem = Callable[[str, str], None]


def connect_feed(
    config: AlpacaConfig,
    wall_ns: Callable[[], int],
    now_ns: Callable[[], int] | None = None,
    is_open: Callable[[AssetClass], bool] | None = None,
    on_problem: OnProblem | None = None,
) -> tuple[AlpacaBars, AlpacaHistory]:
    """Make the market-data side.

    Args:
        config: URLs, key, limits.
        wall_ns: Wall clock for `ts_recv`.
        now_ns: The clock the markets run by, by which history knows a complete interval; None: the caller does.
        is_open: Whether a market is open now, for the watchdog; None: always.
        on_problem: Where history reports a bar it could not read; the stream reports to its listener.
    """
    from adapters.alpaca.bars import AlpacaBars  # noqa: PLC0415
    from adapters.alpaca.history import AlpacaHistory  # noqa: PLC0415

    return AlpacaBars(config, wall_ns, is_open), AlpacaHistory(config, now_ns, on_problem)


def connect_clock(config: AlpacaConfig, wall_ns: Callable[[], int]) -> AlpacaTime:
    """Make the venue's clock, with which `wall_ns` is compared."""
    from adapters.alpaca.clock import AlpacaTime  # noqa: PLC0415

    return AlpacaTime(config, wall_ns)


def connect_trading(
    config: AlpacaConfig, on_problem: OnProblem, check_account: Callable[[str], None] | None = None
) -> tuple[AlpacaVenue, AlpacaUpdates]:
    """Make the trading side.

    Args:
        config: URLs, key, limits.
        on_problem: Where the stream of order events reports.
        check_account: Called with the account's number whenever the venue says it; raises to refuse it.
    """
    from adapters.alpaca.trading import AlpacaVenue  # noqa: PLC0415
    from adapters.alpaca.updates import AlpacaUpdates  # noqa: PLC0415

    return AlpacaVenue(config, check_account=check_account), AlpacaUpdates(config, on_problem)
