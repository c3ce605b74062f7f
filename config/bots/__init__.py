"""Bots from TOML files: read, validated, one clear line where something is wrong. Shipped ones lie beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import msgspec
import tomli_w

from config import own
from engine.bots import Bot, RiskLimits
from engine.definitions import is_symbol, name_fault, validate
from engine.errors import ConfigError
from engine.faults import readable
from engine.values import CRYPTO_UNIVERSE

_OF_DEMO = "demo"
SHIPPED = Path(__file__).parent
UNIVERSES = {"top10": ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "TSLA", "META", "BRK.B", "UNH", "JNJ")}
"""Names that stand for symbols in a bot file; a definition has the symbols, so its history says what was traded."""
_OF_VENUE = ("*", CRYPTO_UNIVERSE)
"""Names that stand for all that the venue has."""
_UNIVERSE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
Universes = Mapping[str, tuple[str, ...]]
"""Names of the setting `universes`, which stand for symbols as the shipped ones do."""
_NONE: Universes = MappingProxyType({})


def check_universes(universes: Universes) -> None:
    """Refuse universes of the settings that no bot file could use. Raises ConfigError."""
    for name, symbols in universes.items():
        if not _UNIVERSE.fullmatch(name):
            msg = f"universes.{name}: a name must be 1..32 of a-z 0-9 _ - and start with a letter"
            raise ConfigError(msg)
        if name in (*UNIVERSES, *_OF_VENUE):
            msg = f"universes.{name}: there is a universe of this name already: choose another"
            raise ConfigError(msg)
        wrong = next((symbol for symbol in symbols if not is_symbol(symbol)), None)
        if not symbols or wrong is not None:
            what = "no symbol at all" if wrong is None else repr(wrong)
            msg = f"universes.{name} must list symbols of the form AAPL, BRK.B or BTC/USD, was {what}"
            raise ConfigError(msg)


def shipped(name: str) -> Bot:
    """Give a bot that comes with Tapeline."""
    return load(SHIPPED / f"{name}.toml")


def templates() -> list[str]:
    """Names of the bot files that come with Tapeline, one per strategy, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml") if path.stem != _OF_DEMO)


def template(name: str) -> str:
    """Give the text of one. Raises ConfigError when there is none of this name."""
    if name not in templates():
        msg = f"unknown template {name!r}: choose one of {', '.join(templates())}"
        raise ConfigError(msg)
    return (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")


def renamed(text: str, name: str) -> str:
    """Give a bot file's text with another name. Raises ConfigError when it is none for a bot."""
    if fault := name_fault(name):
        msg = f"bot name {name!r} cannot be used: {fault}"
        raise ConfigError(msg)
    return re.sub(r'^name = ".*"$', f'name = "{name}"', text, count=1, flags=re.MULTILINE)


def load(path: Path, universes: Universes = _NONE) -> Bot:
    """Read one bot.

    Args:
        path: Its file.
        universes: Those of the settings, beside the shipped ones.

    Raises:
        ConfigError: Names the file, the field, the value and the mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = f"bot file {path} does not exist"
        raise ConfigError(msg) from None
    except UnicodeDecodeError as err:
        msg = f"bot file {path}: byte {err.start} is no UTF-8: save it as UTF-8"
        raise ConfigError(msg) from None
    except OSError as err:
        msg = f"bot file {path} cannot be read ({err.strerror}): name a file of one bot"
        raise ConfigError(msg) from None
    try:
        bot = with_code(read(tomllib.loads(text), universes), path.parent)
        validate(bot)
    except tomllib.TOMLDecodeError as err:
        msg = f"bot file {path} is no TOML: {_shown(str(err), text)}"
        raise ConfigError(msg) from None
    except (ConfigError, RecursionError) as err:
        msg = f"bot file {path}: {err}"
        raise ConfigError(msg) from None
    return bot


def _shown(said: str, text: str) -> str:
    """Say what is wrong, with the line it is in, where that is told."""
    what, _, place = said.partition(" (at line ")
    lines, number = text.splitlines(), int(place.partition(",")[0] or 0)
    what = "this key stands twice" if "overwrite" in what else f"{what[:1].lower()}{what[1:]}"
    return f"line {number}, {lines[number - 1].strip()!r}: {what}: mend that line" if 0 < number <= len(lines) else said


def with_code(bot: Bot, folder: Path) -> Bot:
    """Give a bot with the code of its strategy, where that is one of the user's, and be able to run it.

    Args:
        bot: As read.
        folder: From which the strategy's path begins.

    Raises:
        ConfigError: The file or the code cannot be used.
    """
    own.learn_installed()
    file, _, name = bot.strategy.rpartition(":")
    if file.endswith(".py") and not bot.code:
        code = own.read_code(bot.strategy, folder)
        bot = msgspec.structs.replace(bot, code=code, strategy=f"{Path(file).name}:{name}")
    own.learn(bot)
    return bot


def read(tree: dict[str, object], universes: Universes = _NONE) -> Bot:
    """Make a bot of the built-in values of a file. Raises ConfigError naming field and value."""
    named = {**UNIVERSES, **universes}
    if tree.get("universe"):
        msg = 'universe is set by symbols: symbols = ["*"] or symbols = ["crypto"]'
        raise ConfigError(msg)
    symbols = tree.get("symbols")
    if isinstance(symbols, str) and (symbols in _OF_VENUE or _UNIVERSE.fullmatch(symbols)):
        symbols = [symbols]
    if isinstance(symbols, list):
        tree = {**tree, **_spread(cast("list[object]", symbols), named)}
    try:
        return msgspec.convert(tree, Bot, strict=False)
    except msgspec.ValidationError as err:
        raise ConfigError(readable(str(err), tree, Bot)) from None


def _spread(names: list[object], known: Universes) -> dict[str, object]:
    """Give the symbols that a file's stand for, or the universe that the venue says."""
    unknown = [name for name in names if isinstance(name, str) and _UNIVERSE.fullmatch(name)]
    unknown = [name for name in unknown if name not in known and name not in _OF_VENUE]
    if unknown:
        there = ", ".join((*known, *_OF_VENUE))
        mend = f"known are {there} (more by the setting universes); symbols are upper case"
        msg = f"symbols: there is no universe {unknown[0]!r}: {mend}"
        raise ConfigError(msg)
    named = next((name for name in _OF_VENUE if name in names), "")
    if named and len(names) > 1:
        msg = f"symbols: {named!r} is all that the venue has and stands alone, was {names!r}"
        raise ConfigError(msg)
    spread = (known.get(name, (name,)) if isinstance(name, str) else (name,) for name in names)
    return {"symbols": [], "universe": named} if named else {"symbols": [each for part in spread for each in part]}


def changed(bot: Bot, changes: Iterable[str], universes: Universes = _NONE) -> Bot:
    """Give a bot with fields set, each as `field = value` of a file: `capital=5000`, `params.period=7`, `stops=none`.

    Raises:
        ConfigError: Names what cannot be read, or the field and its value.
    """
    tree: dict[str, Any] = msgspec.to_builtins(bot, str_keys=True)
    universe = tree.pop("universe")
    for change in changes:
        name, has_value, value = change.partition("=")
        if not has_value or not name.strip():
            msg = f"--set takes field=value, such as capital=5000 or params.period=7, was {change!r}"
            raise ConfigError(msg)
        try:
            new = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            new = value.strip()
        *path, last = name.strip().split(".")
        if new == "none":
            new = None
        node: Any = tree
        for step in path:
            node[step] = inner = node.get(step) or {}
            node = inner
            if not isinstance(node, dict):
                msg = f"--set {change}: {step} is no table"
                raise ConfigError(msg)
        node[last] = new
        if new is None:
            del node[last]
        universe = "" if name.strip() == "symbols" else universe
    made = read(tree, universes)
    return msgspec.structs.replace(made, universe=universe) if universe else made


def text_of(bot: Bot) -> str:
    """Write a bot as a file that reads back as the same; what has its default is left out."""
    tree = _without_defaults(msgspec.to_builtins(bot), bot)
    return tomli_w.dumps(_written(tree), multiline_strings=True)


def _written(tree: dict[str, Any]) -> dict[str, Any]:
    """Give a bot's fields as a file has them: a universe stands for its symbols."""
    universe = tree.pop("universe", "")
    return {**tree, "symbols": [universe]} if universe else tree


def _without_defaults(tree: dict[str, Any], of: msgspec.Struct) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(of):
        value = getattr(of, field.name)
        if value is None or value == field.default or (value == {} and field.default is msgspec.NODEFAULT):
            continue
        inner = isinstance(value, msgspec.Struct)
        kept[field.name] = _without_defaults(tree[field.name], value) if inner else tree[field.name]
    return kept


def validate_all(bots: Iterable[Bot]) -> None:
    """Validate each bot and that names differ."""
    seen: set[str] = set()
    for bot in bots:
        validate(bot)
        if bot.name in seen:
            msg = f"bot {bot.name!r} is defined twice: give each bot its own name"
            raise ConfigError(msg)
        seen.add(bot.name)


def check_limits(limits: RiskLimits, bots: Iterable[Bot]) -> None:
    """Refuse limits of a bot or symbol that is not there: a limit with a wrong name limits nothing."""
    known = list(bots)
    symbols = {symbol for bot in known for symbol in bot.symbols}
    if any(bot.universe for bot in known):
        symbols |= set(limits.symbols)
    for section, what, there, given in (
        ("bots", "no bot has this name", {bot.name for bot in known}, limits.bots),
        ("symbols", "no bot trades this symbol", symbols, limits.symbols),
    ):
        for name in given:
            if name not in there:
                msg = f"limits.{section}.{name}: {what}; known are {', '.join(sorted(there))}"
                raise ConfigError(msg)
