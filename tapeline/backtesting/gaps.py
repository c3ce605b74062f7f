"""Minutes that a bar file does not have: where, and how many. They are no bars of volume 0: nothing is made of them."""

from __future__ import annotations

import polars as pl

from engine.messages import Sessions
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, asset_class_of

_SCHEMA = {"symbol": pl.String, "after": pl.Int64, "before": pl.Int64, "minutes": pl.Int64}


def missing_minutes(bars: pl.DataFrame, sessions: Sessions) -> pl.DataFrame:
    """List the runs of minutes without a bar between two bars of a symbol, in regular sessions; of coins always.

    Args:
        bars: Minutes in the columns of VenueBar, by time.
        sessions: The calendar.

    Returns:
        `symbol`; `after` and `before`: close of the bar before the run and open of the one after it, UTC; `minutes`:
        how many are missing in sessions. By symbol and time.
    """
    table = SessionTable()
    table.add(sessions)
    last = pl.col("open_ns").shift().over("symbol") + NS_PER_MINUTE
    holes = bars.select("symbol", last.alias("after"), pl.col("open_ns").alias("before"))
    rows = [
        (symbol, after, before, count)
        for symbol, after, before in holes.filter(pl.col("before") > pl.col("after")).iter_rows()
        if (count := table.closes(asset_class_of(symbol), after, before, NS_PER_MINUTE))
    ]
    found = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("symbol", "after")
    return found.with_columns(pl.col("after", "before").cast(pl.Datetime("ns", "UTC")))
