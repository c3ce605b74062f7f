"""The `tapeline` command. Each subcommand is thin; heavy imports happen inside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tapeline.bytecode import use_cache

use_cache()

from cyclopts import App, Parameter  # noqa: E402  (after the bytecode cache is chosen)

from config.secrets import guard_tracebacks, hide  # noqa: E402
from engine.errors import ConfigError, TapelineError  # noqa: E402
from tapeline import by_bot, by_hand, by_past, by_strategy  # noqa: E402
from tapeline.arguments import nanoseconds, read_moment, read_speed, read_symbols  # noqa: E402

app = App(
    name="tapeline",
    help="Headless, event-driven trading: Alpaca bars over NATS to signals, risk, orders; fills in DuckDB.",
    version_flags=["--version"],
)


@app.command
def demo(
    *,
    bars: Path | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    speed: str = "120",
    symbols: str | None = None,
    strategy: str | None = None,
    bot: Annotated[list[Path] | None, Parameter(negative="")] = None,
    seed: int = 1,
    data_dir: Path | None = None,
    for_: Annotated[float | None, Parameter(name="--for")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a local exchange and the whole daemon on it, with a shipped bot. Needs no keys.

    Parameters
    ----------
    bars
        Parquet or CSV of minute bars: symbol, timestamp (UTC interval open), open, high, low, close, volume. Without it
        a seeded market is generated.
    from_
        First bar open to play, ISO 8601 UTC (2013-10-04 or 2013-10-04T13:30); bars of the file from before are history.
    to
        Bars that open at or after this are left out.
    speed
        Venue seconds per real second, or `max`: as fast as everybody can follow, in lock-step.
    symbols
        Symbols to trade, comma-separated.
    strategy
        Strategy of the bot, one of docs/strategies.md, at its default parameters.
    bot
        A bot's TOML file instead of the shipped bot; give it several times for several bots.
    seed
        Seed of the market, of fills and of every id at the exchange.
    data_dir
        Where to keep everything; default: a new folder under tapeline-data/.
    for_
        End this many seconds after play began; more than 0.
    json
        Print nothing on stdout but one JSON object, as the last line.
    """
    if for_ is not None and not 0 < for_ < 1e9:
        msg = f"--for must be a number of seconds above 0, was {for_:g}"
        raise ConfigError(msg)
    from tapeline import demo as runner
    from tapeline.role_main import run_loop
    from tapeline.summary import as_text

    options = runner.DemoOptions(
        bars=bars,
        from_=read_moment("--from", from_),
        to=read_moment("--to", to),
        speed=read_speed(speed),
        symbols=read_symbols(symbols),
        strategy=strategy,
        bots=tuple(bot or ()),
        seed=seed,
        data_dir=data_dir,
        seconds=for_,
        show="nothing" if json else ("table" if sys.stdout.isatty() else "lines"),
    )

    async def play() -> int:
        import msgspec

        summary = await runner.run_demo(options)
        print(msgspec.json.encode(summary).decode() if json else as_text(summary), flush=True)
        return 1 if summary.files_refused else 0

    return run_loop(play())


@app.command
def run(
    *roles: str,
    config: Path | None = None,
    data_dir: Path | None = None,
) -> int:
    """Run the daemon against Alpaca: all roles with an own nats-server, or the named ROLES against nats.url.

    Keys come from ALPACA_API_KEY and ALPACA_SECRET_KEY, or from private files (chmod 600) that ALPACA_API_KEY_FILE and
    ALPACA_SECRET_KEY_FILE name. Trades on paper unless the settings alpaca.live and
    alpaca.account_number both say otherwise.

    Parameters
    ----------
    roles
        feed, signals, risk, executor, recorder; none means all.
    config
        Settings file; default: TAPELINE_CONFIG, else tapeline.toml if it exists.
    data_dir
        Where to keep everything; overrides the setting data_dir.
    """
    from tapeline.daemon import run_daemon

    return run_daemon(roles, config, data_dir)


@app.command
def exchange(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    bars: Path | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    symbols: str | None = None,
    speed: str = "1",
    seed: int = 1,
    key: str | None = None,
    secret: str | None = None,
    cash: int = 100_000,
    hold: Annotated[bool, Parameter(negative="")] = False,
    slippage_bps: float = 0.0,
    partial_fills: float = 0.0,
    crypto_fee_bps: float = 25.0,
    rate_limit: int | None = None,
    generate: int = 10,
    faults: Path | None = None,
) -> int:
    """Run the local Alpaca-compatible exchange on its own; prints one JSON line with its URLs when ready.

    Parameters
    ----------
    port
        Port for everything; 0 takes a free one.
    host
        Address to listen on.
    bars
        Parquet or CSV of minute bars; without it a seeded market is generated.
    from_
        First bar open to play, ISO 8601 UTC.
    to
        Bars that open at or after this are left out.
    symbols
        Symbols to trade, comma-separated.
    speed
        Venue seconds per real second, or `max`: the clock moves by POST /control/step only.
    seed
        Seed of ids, market, slippage and partial fills.
    key
        API key to demand; without it any is accepted. Never a real one: others on this machine see command lines.
    secret
        API secret to demand.
    cash
        Cash at the start, USD.
    hold
        Wait for POST /control/start before time runs.
    slippage_bps
        Most that market and stop orders slip, basis points.
    partial_fills
        Chance per order and bar of a partial fill, 0 to 1 (Alpaca paper: 0.1).
    crypto_fee_bps
        Taker fee on crypto, basis points.
    rate_limit
        Requests per minute; without it none.
    generate
        Number of symbols to generate when neither bars nor symbols are given.
    faults
        JSON or TOML file of faults on purpose (adapters/exchange/faults.py); without it nothing goes wrong.
    """
    from adapters.exchange.faults import FaultPlan, load_faults
    from tapeline.exchange import run_exchange

    fields: dict[str, object] = {
        "port": port, "host": host, "bars": bars, "symbols": read_symbols(symbols), "speed": read_speed(speed),
        "seed": seed, "key": key, "secret": secret, "cash": cash, "hold": hold, "slippage_bps": slippage_bps,
        "partial_fill_probability": partial_fills, "crypto_fee_bps": crypto_fee_bps, "orders_per_min_max": rate_limit,
        "generator_symbols": generate,
        "start_ns": nanoseconds(read_moment("--from", from_)), "end_ns": nanoseconds(read_moment("--to", to)),
        "faults": load_faults(faults) if faults is not None else FaultPlan(),
    }  # fmt: skip
    return run_exchange(fields)


@app.command
def sql(
    query: str,
    *,
    data_dir: Path | None = None,
    format: Literal["table", "json", "csv", "parquet"] = "table",  # noqa: A002  (the option's name)
    out: Path | None = None,
    rows: int = 0,
) -> int:
    """Ask the database: the daemon if it runs, else the file.

    Parameters
    ----------
    query
        One SELECT.
    data_dir
        Data directory; default: the one used last here.
    format
        How to print the answer.
    out
        File to write to instead of printing; needed for parquet on a terminal.
    rows
        Most rows to fetch; 0 is the limit: recorder.sql_rows_max where a daemon runs (which it cannot pass), else
        100,000.
    """
    from tapeline.sql import run_sql

    return run_sql(query, data_dir, format, out, rows)


@app.command
def report(
    bot: Annotated[str | None, Parameter(name="BOT")] = None,
    /,
    *,
    data_dir: Path | None = None,
    html: Path | None = None,
) -> int:
    """Say what each bot came to: P&L, drawdown, exposure, trades; from the daemon if it runs, else from the file.

    Parameters
    ----------
    bot
        One bot; default: all.
    data_dir
        Data directory; default: the one used last here.
    html
        Write a page with equity curves, and trades on charts of prices, instead of printing.
    """
    from tapeline.report import run_report

    return run_report(bot, data_dir, html)


@app.command
def explain(
    id_: Annotated[str, Parameter(name="ID")],
    /,
    *,
    data_dir: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show the chain that an id stands in: bar, signal, verdict of risk, order, fills, position; with times and prices.

    Parameters
    ----------
    id_
        Id of a fill (venue_order_id|cumulative quantity, execution_id or activity_id), an order (client_order_id or
        venue_order_id), an intent, a signal, a denial; or 8 or more characters that only one of them begins with.
    data_dir
        Data directory; default: the one used last here.
    json
        Print one JSON object; its shape stands in tapeline/explain/chain.py.
    """
    from tapeline.explain.command import run_explain

    return run_explain(id_, data_dir, json)


@app.command
def rebuild(*, data_dir: Path | None = None) -> int:
    """Make the database anew from the streams of a data directory in which no daemon runs; the old file is kept.

    Parameters
    ----------
    data_dir
        Data directory; default: the one used last here.
    """
    from tapeline.rebuild import run_rebuild

    return run_rebuild(data_dir)


@app.command
def status(
    *,
    role: str | None = None,
    data_dir: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say how the daemon is; exit code 0 only when every role asked for is healthy.

    Parameters
    ----------
    role
        One of feed, signals, risk, executor, recorder; default all.
    data_dir
        Data directory; default: the one used last here. TAPELINE_NATS__URL asks a NATS directly.
    json
        Print one JSON object.
    """
    from tapeline.status import run_status

    return run_status(role, data_dir, json)


@app.command
def keys(folder: Path, *, apart: Annotated[bool, Parameter(negative="")] = False, prefix: str = "tape") -> int:
    """Make NATS keys for an external nats-server, and accounts.conf to include in its configuration; none is replaced.

    `tapeline run` makes its own by itself, in nats/keys of its data directory. Prints public keys and files, no secret.

    Parameters
    ----------
    folder
        Where to put them: one private file per role, one for the operator (the commands), one for subscribers.
    apart
        Put each into a folder of its own, <folder>/<user>/<user>.nk, and <folder>/nats/accounts.conf.
    prefix
        The setting nats.prefix of those who connect.
    """
    from tapeline.keys import run_keys

    return run_keys(folder, prefix, apart=apart)


@app.command
def doctor(*, config: Path | None = None, data_dir: Path | None = None) -> int:
    """Check what a run needs (Python, NATS, disk, clock, keys, configuration) and say what to do.

    Parameters
    ----------
    config
        Settings file; default: TAPELINE_CONFIG, else tapeline.toml if it exists.
    data_dir
        Data directory; overrides the setting data_dir.
    """
    from tapeline.doctor import run_doctor

    return run_doctor(config, data_dir)


app.command(by_hand.halt)
app.command(by_hand.resume)
app.command(by_hand.orders)
app.command(by_strategy.strategies)
app.command(by_past.backtest)
app.command(by_bot.bots)
app.command(by_hand.changes)


def main() -> None:
    """Run the command; a known error is one line on stderr and its exit code."""
    guard_tracebacks()
    try:
        code = app()
    except TapelineError as err:
        sys.stderr.write(f"tapeline: {hide(str(err))}\n")
        sys.exit(err.exit_code)
    except OSError as err:
        where = f" {err.filename}" if err.filename else ""
        sys.stderr.write(f"tapeline: cannot use{where} ({err.strerror or err}): choose another path or mend this one\n")
        sys.exit(ConfigError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
