"""How fast the recorder's writer takes bars, and whether its memory stays flat.

Feeds bar messages as JSON bytes, decodes them as the service does, writes them through storage.writer; beside it, in a
process of its own, the bare ceiling: the same columns by polars into DuckDB, in as many commits, without our code.
Prints one JSON line. `uv run python -m benchmarks.recorder [--rows 1000000] [--batch 5000] [--symbols 1000] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import duckdb
import polars as pl

from engine.messages import Bar, Head, decode_market, encode
from storage.writer import Writer

START_NS = 1_700_000_000_000_000_000
MINUTE_NS = 60_000_000_000
PAGE = resource.getpagesize()


def rss_mb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE / 2**20


def values(index: int, symbols: int) -> tuple[str, int, float, float]:
    """Symbol, time, price, volume of the bar with this index."""
    minute, at = divmod(index, symbols)
    return f"S{at:05d}", START_NS + minute * MINUTE_NS, 100 + (index * 7919 % 10_000) / 100, float(index * 31 % 90_000)


def batches(rows: int, batch: int) -> Iterator[range]:
    """Cut the indices 0..rows into batches."""
    for at in range(0, rows, batch):
        yield range(at, min(at + batch, rows))


def slope_mb_per_100k(samples: list[tuple[int, float]]) -> float:
    """Least squares over (rows, MB), per 100,000 rows."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread * 100_000 if spread else 0.0


def measure(args: argparse.Namespace, path: Path) -> dict[str, float | int]:
    """Run our way."""

    def wire(index: int) -> bytes:
        symbol, ts, px, volume = values(index, args.symbols)
        bar = Bar(symbol, "1m", ts, px, px + 1, px - 1, px + 0.5, volume, trade_count=index % 97, vwap=px + 0.25)
        return encode(Head(ts_init=ts + 5_000_000, ts_recv=ts + 1_000_000, trace=f"{symbol}|1m|{ts}|0"), bar)

    busy, commits, conflicts, stored = 0.0, 0, 0, 0
    slowest = 0.0
    samples: list[tuple[int, float]] = []
    with Writer.open(path, memory_limit_mb=args.memory_limit_mb, threads=args.threads) as writer:
        start_mb = rss_mb()
        for indices in batches(args.rows, args.batch):
            payloads = [wire(index) for index in indices]
            started = perf_counter()
            result = writer.write("market", indices.stop, [decode_market(payload) for payload in payloads])
            took = perf_counter() - started
            busy, slowest = busy + took, max(slowest, took)
            commits, conflicts, stored = commits + 1, conflicts + result.conflicts, stored + result.rows
            samples.append((indices.stop, rss_mb()))
    last_half = [sample for sample in samples if sample[0] > args.rows / 2]
    return {
        "rows": stored,
        "rows_per_s": round(stored / busy),
        "rss_mb_start": round(start_mb, 1),
        "rss_mb_mid": round(samples[len(samples) // 2][1], 1),
        "rss_mb_end": round(samples[-1][1], 1),
        "rss_slope_mb_per_100k": round(slope_mb_per_100k(last_half), 3),
        "commits": commits,
        "conflicts": conflicts,
        "batch": args.batch,
        "slowest_batch_ms": round(slowest * 1000, 1),
    }


def measure_ceiling(args: argparse.Namespace, path: Path) -> float:
    """Run the bare way: frames that are already columns, straight into a table; give rows per second."""
    connection = duckdb.connect(
        str(path), config={"memory_limit": f"{args.memory_limit_mb}MiB", "threads": args.threads}
    )
    busy = 0.0
    for number, indices in enumerate(batches(args.rows, args.batch)):
        symbols, times, prices, volumes = zip(*(values(index, args.symbols) for index in indices), strict=True)
        started = perf_counter()
        px, ts = pl.col("open"), pl.col("ts_event_ns")
        frame = pl.DataFrame({"symbol": symbols, "ts_event_ns": times, "open": prices, "volume": volumes}).with_columns(
            pl.lit("1m").alias("timeframe"),
            (ts // 1000).cast(pl.Datetime("us", "UTC")).alias("ts_event"),
            *((px + step).alias(name) for name, step in (("high", 1), ("low", -1), ("close", 0.5), ("vwap", 0.25))),
            pl.lit(7).alias("trade_count"),
            pl.lit(0).alias("revision"),
            pl.lit(value=False).alias("is_backfill"),
            ((ts + 5_000_000) // 1000).cast(pl.Datetime("us", "UTC")).alias("ts_init"),
            ((ts + 1_000_000) // 1000).cast(pl.Datetime("us", "UTC")).alias("ts_recv"),
            (pl.col("symbol") + "|1m|" + ts.cast(pl.String) + "|0").alias("trace"),
        )
        connection.register("incoming", frame)
        verb = "CREATE TABLE bars AS SELECT" if number == 0 else "INSERT INTO bars SELECT"
        connection.execute(f"{verb} * FROM incoming")
        connection.unregister("incoming")
        busy += perf_counter() - started
    connection.close()
    return args.rows / busy


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.recorder", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--memory-limit-mb", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ceiling-only", action="store_true", help="print rows/s of the bare way alone")
    parser.add_argument("--json", action="store_true", help="accepted for likeness with the others: output is JSON")
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory(prefix="tapeline-bench-") as folder:
        if args.ceiling_only:
            print(round(measure_ceiling(args, Path(folder) / "bare.duckdb")))
            return
        result = measure(args, Path(folder) / "bench.duckdb")
    child = [sys.executable, "-m", "benchmarks.recorder", "--ceiling-only", *sys.argv[1:]]
    ceiling = int(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
    result |= {"ceiling_rows_per_s": ceiling, "ratio": round(ceiling / result["rows_per_s"], 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
