"""The subcommands about past bars. Thin, as `__main__`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tapeline.arguments import nanoseconds, read_moment, read_number


def backtest(
    *bots: Path,
    bars: Path,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    cash: str = "100000",
    fees: str = "alpaca",
    slippage: str = "none",
    fill: Literal["next_open", "close", "bar_path"] = "next_open",
    volume_share: str | None = None,
    seed: int = 1,
    out: Path | None = None,
    config: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run bots on past bars: the decisions of the daemon, on one account, without a daemon.

    Parameters
    ----------
    bots
        Bot files.
    bars
        Parquet or CSV of minute bars: symbol, timestamp (UTC interval open), open, high, low, close, volume.
    from_
        First bar open to play, ISO 8601 UTC (2013-10-04 or 2013-10-04T13:30); bars of the file from before warm up.
    to
        Bars that open at or after this are left out.
    cash
        Of the account at the beginning, USD; a margin account by Regulation T.
    fees
        `none`, `exchange` (0.25 % of the coins or dollars that a trade of coins credits), `regulatory` (SEC and FINRA,
        of stocks sold, rates of 2024), `alpaca` (both); or by comma per_share=, per_order=, percent=, crypto= (%).
    slippage
        `none`, or by comma bps= (up to so many, drawn with the seed), ticks=, range= (part of the bar's range).
    fill
        Market orders at the next bar's open, or at its close; of high and low the worse one for the order comes first,
        or, with bar_path, the one nearer to the open.
    volume_share
        Largest part of a bar's volume that one order may take, above 0 to 1; no limit without it.
    seed
        Of slippage, and of every id at the venue.
    out
        Folder for the results, a new one; default: one under tapeline-data/.
    config
        Settings file with limits and universes; default: TAPELINE_CONFIG, else tapeline.toml if it exists.
    json
        Print nothing on stdout but one JSON object.
    """
    import os

    from config.settings import load
    from engine.costs import fee_model, slippage_model
    from engine.matching import FillRule
    from tapeline import folders
    from tapeline.backtesting.command import run_backtest
    from tapeline.backtesting.runner import Order

    order = Order(
        bots=bots,
        bars=bars,
        start_ns=nanoseconds(read_moment("--from", from_)),
        end_ns=nanoseconds(read_moment("--to", to)),
        cash=read_number("--cash", cash),
        fees=fee_model(fees),
        slippage=slippage_model(slippage),
        rule=FillRule(fill),
        volume_share_max=None if volume_share is None else read_number("--volume-share", volume_share),
        seed=seed,
    )
    folder = out if out is not None else folders.fresh("backtest")
    return run_backtest(order, load(config, os.environ), folder, is_json=json)
