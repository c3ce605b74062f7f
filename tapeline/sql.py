"""`tapeline sql`: asks the running daemon over NATS, or opens the file when none runs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from config.settings import NatsSettings
from engine.errors import ConfigError, TapelineError
from tapeline import folders

Ask = Callable[[str], Awaitable[tuple[Any, bool]]]
"""Answers a query with a polars frame, and whether rows were left out."""
_ROWS_MAX = 100_000
_SECONDS_MAX = 60.0


async def rows_of(ask: Ask, query: str) -> list[dict[str, Any]]:
    """Ask, and give the rows by column."""
    frame, _ = await ask(query)
    return frame.rows(named=True)


def quoted(text: str) -> str:
    """Write a text as SQL does."""
    return "'" + text.replace("'", "''") + "'"


def run_sql(query: str, data_dir: Path | None, form: str, out: Path | None, rows: int) -> int:
    """Ask, print; exit code 0 when answered."""
    if form == "parquet" and out is None and sys.stdout.isatty():
        msg = "parquet is not for a terminal: give --out FILE, or redirect the output"
        raise ConfigError(msg)

    async def ask_once() -> tuple[Any, bool]:
        async with asking(data_dir, rows) as ask:
            return await ask(query)

    frame, truncated = asyncio.run(ask_once())
    _write(frame, form, out)
    if truncated:
        sys.stderr.write(
            f"only the first {frame.height} rows came: aggregate, page with LIMIT and OFFSET, or raise --rows "
            "(in a daemon recorder.sql_rows_max)\n"
        )
    return 0


def daemon_of(data_dir: Path | None) -> tuple[NatsSettings | None, Path]:
    """Find whom to ask: the NATS of the daemon that runs, or None and the folder with the file."""
    if data_dir is None and (nats := folders.nats_of_environment()) is not None:
        return nats, Path()
    folder = folders.resolve(data_dir)
    if not folders.is_running(folder):
        return None, folder
    return folders.running_settings(folder).nats, folder


def lean_nats() -> None:
    """Spare the import of aiohttp, which nats-py wants for its websockets: a sixth of a short command's time."""
    sys.modules.setdefault("aiohttp", None)  # type: ignore[arg-type]


@asynccontextmanager
async def asking(data_dir: Path | None, rows: int) -> AsyncGenerator[Ask]:
    """Give a way to ask one query after another: the running daemon over NATS, or the file when none runs.

    Args:
        data_dir: Data directory; None is the one used last.
        rows: Most rows of an answer; 0 is the limit of the recorder, or 100,000 of a file.
    """
    daemon, folder = daemon_of(data_dir)
    if daemon is None:
        from storage.sql import open_read_only

        with open_read_only(folder / "tapeline.duckdb") as service:

            async def ask_file(query: str) -> tuple[Any, bool]:
                result = service.query(query, row_limit=rows or _ROWS_MAX, time_limit_s=_SECONDS_MAX)
                return result.frame(), result.truncated

            yield ask_file
        return
    lean_nats()
    from streams.keys import OPERATOR, identity
    from streams.sql_ask import ask as ask_recorder
    from streams.sql_ask import connected

    async with connected(daemon.url, identity(daemon.nkey_file, OPERATOR)) as nc:

        async def ask_daemon(query: str) -> tuple[Any, bool]:
            try:
                return await ask_recorder(nc, daemon.prefix, query, rows, _SECONDS_MAX)
            except TimeoutError:
                msg = f"no answer from the recorder within {_SECONDS_MAX:g} s: see `tapeline status`"
                raise TapelineError(msg) from None

        yield ask_daemon


def _write(frame: Any, form: str, out: Path | None) -> None:
    import polars as pl

    target: Any = out if out is not None else sys.stdout.buffer
    match form:
        case "json":
            whole = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Decimal) and kind.scale == 0]
            exact = frame.with_columns(pl.col(whole).cast(pl.Int128))  # a sum of integers, for one
            text = exact.with_columns(pl.selectors.decimal().cast(pl.String)).write_json() + "\n"
        case "csv":
            if nested := [name for name, kind in frame.schema.items() if kind.is_nested()]:
                msg = f"column {nested[0]!r} is a list or a struct, which CSV has no form for: use --format json"
                raise ConfigError(msg)
            text = frame.write_csv()
        case "parquet":
            frame.write_parquet(target)
            return
        case _:
            wide = shutil.get_terminal_size((200, 50)).columns
            with pl.Config(
                tbl_rows=-1,
                tbl_cols=-1,
                fmt_str_lengths=60,
                tbl_width_chars=wide,
                tbl_hide_dataframe_shape=True,
                tbl_hide_column_data_types=True,
            ):
                text = f"{frame}\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
