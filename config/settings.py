"""Settings: defaults < TOML file < environment < command line, one typed tree, unknown names refused.

A setting is `section.name`; in the environment `TAPELINE_SECTION__NAME`. Secrets are not settings (config.secrets has
them): settings are written to `run/settings.json`, so a URL with a password in it is refused. Times and sizes have
their unit in the name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine.bots import Bot, RiskLimits, ticks
from engine.errors import ConfigError
from engine.faults import readable

ENV_PREFIX = "TAPELINE_"
# Variables with our prefix that are not settings.
_OTHER_VARIABLES = frozenset({"TAPELINE_CONFIG", "TAPELINE_TEST_DATA", "TAPELINE_TEST_DATA_REQUIRED"})

_WITH_PASSWORD = re.compile(r"([^/?#]*//)?[^/?#]*@")

Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Bytes = Annotated[int, msgspec.Meta(ge=1024, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]
SecondsOrOff = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Prefix = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}\Z")]
"""One lower-case token of a subject; in capitals it names the streams."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: no unknown names."""


class NatsSettings(_Section, frozen=True):
    """Where NATS is. `url` empty: `tapeline run` starts its own server under the data directory, with its own keys.

    Attributes:
        nkey_file: For a server at `url` that demands nkeys: file with the seed of our user, or folder with one
            `<user>.nk` per role and for `operator` (the commands), as `tapeline keys` makes it. Empty: no key.
        is_own: Set by `tapeline run` where it started the server itself, which it may then stop and mend.
    """

    url: str = ""
    nkey_file: str = ""
    is_own: bool = False
    prefix: Prefix = "tape"
    market_age_s_max: Count = 7 * 24 * 3600
    market_bytes_max: Bytes = 8 * 1024**3
    trading_bytes_max: Bytes = 16 * 1024**3
    trading_fill_fraction_max: Fraction = 0.9
    duplicate_window_s: Seconds = 120.0


class AlpacaSettings(_Section, frozen=True):
    """Endpoints of the venue. `live` trades real money and needs `account_number` to be that of the keys."""

    rest_url: str = "https://paper-api.alpaca.markets"
    live_rest_url: str = "https://api.alpaca.markets"
    data_url: str = "https://data.alpaca.markets"
    stock_ws_url: str = ""
    crypto_ws_url: str = "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    trading_ws_url: str = ""
    feed: str = "iex"
    live: bool = False
    account_number: str = ""
    connect_timeout_s: Seconds = 3.05
    read_timeout_s: Seconds = 10.0
    reconnect_s_min: Seconds = 1.0


class FeedSettings(_Section, frozen=True):
    """Feed: timeframe, backfill, watchdog, marks.

    A symbol has at most one mark per `mark_every_ms` of venue time, and another at once when its price moved by more
    than `mark_move_fraction`; trades and quotes of an absence of up to `mark_backfill_s_max` are fetched.
    `symbol_silent_s_max`: a symbol whose bars lie farther behind the others is listed in the
    status.
    """

    timeframe: Literal["1m"] = "1m"
    mute_s_max: Seconds = 150.0
    backfill_s_max: Count = 5 * 24 * 3600
    backfill_attempts_max: Count = 5
    symbol_silent_s_max: Seconds = 900.0
    mark_every_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 250
    mark_move_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.002
    mark_backfill_s_max: Count = 300


class SignalsSettings(_Section, frozen=True):
    """Signals: how often its state is written, and whether it runs the code of users' strategies.

    `bar_wait_ms`: how long after the end of a bot's window, or a multiple of its frequency, the bar of a symbol is
    waited for before it counts as quiet.
    """

    checkpoint_messages: Count = 100_000
    checkpoint_s: Seconds = 60.0
    bar_wait_ms: Annotated[int, msgspec.Meta(ge=100, le=59_000)] = 5_000
    own_code: bool = True


class RiskSettings(_Section, frozen=True):
    """Risk: how often its state is written."""

    checkpoint_messages: Count = 5_000
    checkpoint_s: Seconds = 30.0


class ExecutorSettings(_Section, frozen=True):
    """Executor: REST budget (Alpaca allows 200 a minute; a cancel is two), reconciliation, checkpoints.

    `foreign_orders`: whose orders of others on this account are: `manual` or `unattributed`. `reconcile_every_s`: how
    often orders, cash and positions are compared with the venue's. `difference_s_min`: how long a difference lasts that
    nothing explains before the ledger is corrected. `correction_usd_max`: a larger one sets trading to REDUCING until a
    person looked. `cancel_pending_s_max`: how long an order may be asked to end before an alert says so.
    """

    requests_per_min_max: Count = 160
    cancels_per_min_max: Count = 40
    rest_workers: Count = 4
    cancel_pending_s_max: Seconds = 60.0
    lookup_wait_s: Seconds = 0.5
    activities_every_s: Seconds = 30.0
    reconcile_every_s: Seconds = 60.0
    difference_s_min: Seconds = 15.0
    correction_usd_max: Decimal = Decimal(1)
    foreign_orders: Literal["manual", "unattributed"] = "manual"
    checkpoint_messages: Count = 5_000
    checkpoint_s: Seconds = 30.0

    def __post_init__(self) -> None:
        """Refuse a limit that compares with nothing."""
        if not (self.correction_usd_max.is_finite() and self.correction_usd_max >= 0):
            msg = f"correction_usd_max must be a finite number >= 0, was {self.correction_usd_max}"
            raise ValueError(msg)


class RecorderSettings(_Section, frozen=True):
    """Recorder: rows per commit and least time between commits, memory, SQL limits, snapshots (0 = none)."""

    batch_rows_max: Count = 10_000
    batch_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 2_000
    memory_mb_max: Count = 512
    threads: Count = 1
    sql_rows_max: Count = 100_000
    sql_s_max: Seconds = 10.0
    snapshot_every_s: SecondsOrOff = 0.0


class DaemonSettings(_Section, frozen=True):
    """Daemon: what it does when a role dies, when it dies itself, and when it is stopped.

    Attributes:
        restart_wait_s_max: A role that dies is started again after a wait that doubles up to this.
        cancel_on_death_s: Without a living executor for so long, a process of its own cancels every open order of the
            account, those that protect positions too; it outlives a daemon that was killed. 0 is off.
        cancel_on_exit: Cancel every open order of the account when the daemon is stopped.
        clock_every_s: How often this machine's clock is compared with the venue's (not with a virtual one).
        clock_offset_ms_max: Surely farther apart than this, trading becomes reducing.
        disk_free_bytes_min: With less free on the disk of the data directory, trading becomes reducing.
        disk_look_s: How often the room there and in the trading stream is looked at.
    """

    restart_wait_s_max: Seconds = 30.0
    cancel_on_death_s: SecondsOrOff = 0.0
    cancel_on_exit: bool = False
    clock_every_s: Seconds = 300.0
    clock_offset_ms_max: Count = 1_000
    disk_free_bytes_min: Bytes = 1024**3
    disk_look_s: Seconds = 5.0


class FlattenSettings(_Section, frozen=True):
    """Flattening: how long positions may lag behind fills, how long it tries, how long it must look flat to be so.

    `confirm_s` is longer than a request to the venue may take (alpaca.connect_timeout_s and read_timeout_s): one that
    executor began before the halt may arrive after everything was closed.
    """

    positions_lag_s: SecondsOrOff = 10.0
    wait_s_max: Seconds = 60.0
    confirm_s: SecondsOrOff = 15.0


class LogSettings(_Section, frozen=True):
    """Log: level debug, info, warning, error."""

    level: Literal["debug", "info", "warning", "error"] = "warning"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole tree. `venue_clock_url` is the control URL of a local exchange, whose virtual time then counts.

    `universes` names lists of symbols for bot files, beside the shipped `top10`.
    """

    data_dir: str = "tapeline-data"
    run_id: str = ""
    venue_clock_url: str = ""
    nats: NatsSettings = NatsSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    feed: FeedSettings = FeedSettings()
    signals: SignalsSettings = SignalsSettings()
    risk: RiskSettings = RiskSettings()
    limits: RiskLimits = RiskLimits()
    executor: ExecutorSettings = ExecutorSettings()
    recorder: RecorderSettings = RecorderSettings()
    daemon: DaemonSettings = DaemonSettings()
    flatten: FlattenSettings = FlattenSettings()
    log: LogSettings = LogSettings()
    bots: tuple[Bot, ...] = ()
    bot_files: tuple[str, ...] = ()
    universes: dict[str, tuple[str, ...]] = {}

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data_dir)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol any bot trades, sorted."""
        return symbols_of(self.bots)

    @property
    def marked_symbols(self) -> tuple[str, ...]:
        """Those of them whose trades and quotes are followed, sorted."""
        return marked_of(self.bots, self.limits)


def symbols_of(bots: Iterable[Bot]) -> tuple[str, ...]:
    """Every symbol any of these bots trades, sorted."""
    return tuple(sorted({symbol for bot in bots for symbol in bot.symbols}))


def marked_of(bots: Iterable[Bot], limits: RiskLimits) -> tuple[str, ...]:
    """Symbols whose trades and quotes are followed, sorted: of bots with stops or every tick, all with a collar."""
    known = [bot for bot in bots if not bot.shadow_of or ticks(bot)]  # a shadow's stops look at bars
    symbols = symbols_of(known)
    if limits.collar_fraction_max is not None:
        return symbols
    with_collar = {name for name, part in limits.bots.items() if part.collar_fraction_max is not None}
    with_collar |= {bot.name for bot in known if bot.limits and bot.limits.collar_fraction_max is not None}
    wanting = [bot for bot in known if bot.stops is not None or bot.name in with_collar or ticks(bot)]
    of_bots = {symbol for bot in wanting for symbol in bot.symbols}
    of_symbols = {name for name, part in limits.symbols.items() if part.collar_fraction_max is not None}
    return tuple(sorted(of_bots | (of_symbols & set(symbols))))


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings.

    Args:
        file: TOML file; None uses TAPELINE_CONFIG, else `tapeline.toml` in the working directory if it exists.
        environment: The process environment.
        overrides: `section.name` to value, from the command line.

    Raises:
        ConfigError: File missing or not TOML, name unknown, value of the wrong type: one line.
    """
    tree = _read(file, environment)
    for name, value in environment.items():
        if name.startswith(ENV_PREFIX) and name not in _OTHER_VARIABLES:
            _put(tree, name[len(ENV_PREFIX) :].lower().split("__"), _typed(value), f"environment variable {name}")
    for name, value in (overrides or {}).items():
        _put(tree, name.split("."), value, f"option {name}")
    return parse(tree)


def _typed(text: str) -> object:
    """Read a list or table written as JSON in a variable; anything else is text for `parse` to convert."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def parse(tree: object) -> Settings:
    """Type a tree of built-in values. Raises ConfigError naming the setting."""
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as err:
        msg = f"settings: {readable(str(err), tree, Settings, 'setting')}"
        raise ConfigError(msg) from None
    for section, struct in (("", settings), ("nats.", settings.nats), ("alpaca.", settings.alpaca)):
        for name in struct.__struct_fields__:
            if name.endswith("url") and _WITH_PASSWORD.match(getattr(struct, name)):
                msg = f"{section}{name} holds a user or password: settings are written down, take it out of the URL"
                raise ConfigError(msg)
    return settings


def configured_data_dir(environment: Mapping[str, str]) -> Path | None:
    """Give the `data_dir` that the settings file of this directory names; None where there is no file or no such name.

    Raises:
        ConfigError: The file cannot be read.
    """
    named = _read(None, environment).get("data_dir")
    return Path(named) if isinstance(named, str) and named else None


def _read(file: Path | None, environment: Mapping[str, str]) -> dict[str, object]:
    path = file or Path(environment.get("TAPELINE_CONFIG", "tapeline.toml"))
    if not path.exists():
        if file is None and "TAPELINE_CONFIG" not in environment:
            return {}
        msg = f"settings file {path} does not exist: create it, or leave --config and TAPELINE_CONFIG away"
        raise ConfigError(msg)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as err:
        msg = f"settings file {path} cannot be read: {err}"
        raise ConfigError(msg) from None


def _put(tree: dict[str, object], path: list[str], value: object, source: str) -> None:
    node = tree
    for name in path[:-1]:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            msg = f"{source}: {name!r} is not a section"
            raise ConfigError(msg)
        node = child  # pyright: ignore[reportUnknownVariableType]
    if isinstance(node.get(path[-1]), dict):
        msg = f"{source}: {path[-1]!r} is a section: name the setting in it"
        raise ConfigError(msg)
    node[path[-1]] = value
