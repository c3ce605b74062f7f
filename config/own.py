"""Strategies of users: a class in a file, whose code goes with the bot's definition, or one of an installed package.

The code of a file is read once, when the bot's file is: from then on it is a field of the definition, stored, versioned
and rolled back with it. So what decided a bar is known for ever, an edited file changes nothing by itself, and a
restart on another machine needs no file. A package is named by its entry point (group `tapeline.strategies`).
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from inspect import iscoroutinefunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from engine.bots import Bot
from engine.errors import ConfigError
from engine.indicators import Kind
from engine.indicators import register as register_indicator
from engine.strategies import fault_text, is_known, register

GROUP = "tapeline.strategies"
INDICATORS = "tapeline.indicators"
_installed: dict[str, str] = {}
"""Entry points that were looked at, each with why its strategy cannot be used; empty: it can."""


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A strategy without parameters."""


def read_code(strategy: str, folder: Path) -> str:
    """Give the text of the file that `path.py:Class` names, from a folder on.

    Raises:
        ConfigError: The file cannot be read.
    """
    path = folder / strategy.rpartition(":")[0]
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = f"strategy {strategy}: there is no file {path.absolute()}: name it from the folder of the bot's file"
        raise ConfigError(msg) from None
    except (OSError, UnicodeDecodeError) as err:
        msg = f"strategy {strategy}: {path} cannot be read: {err}"
        raise ConfigError(msg) from None


def learn(bot: Bot) -> None:
    """Register the strategy whose code a bot carries; nothing for one without code, or known already.

    Raises:
        ConfigError: The code cannot be run, or has no such class, or the class is no strategy, or it is one of an
            installed package that cannot be used.
    """
    if fault := _installed.get(bot.strategy):
        raise ConfigError(fault)
    if not bot.code or ".py:" not in bot.strategy or is_known(bot.source):
        return
    file, _, name = bot.strategy.rpartition(":")
    made = _run(bot.strategy, file, bot.source, bot.code)
    kind = getattr(made, name, None)
    if not isinstance(kind, type):
        classes = [
            one for one, what in vars(made).items() if isinstance(what, type) and what.__module__ == made.__name__
        ]
        there = f"it has {', '.join(classes)}" if classes else "it has none"
        msg = f"strategy {bot.strategy}: the file has no class {name}: {there}"
        raise ConfigError(msg)
    _register(bot.source, bot.strategy, kind)


def learn_installed() -> dict[str, str]:
    """Register indicators and strategies of installed packages; one that cannot be used harms its own bots only.

    Returns:
        Why a strategy, or `indicator NAME`, cannot be used, by name; of those that cannot.
    """
    for point in entry_points(group=INDICATORS):
        if (name := f"indicator {point.name}") not in _installed:
            _installed[name] = _tried(point, _register_indicator)
    for point in entry_points(group=GROUP):
        if point.name not in _installed:
            _installed[point.name] = _tried(point, _register_installed)
    return {name: fault for name, fault in _installed.items() if fault}


def _tried(point: EntryPoint, use: Callable[[str, Any], None]) -> str:
    """Load an entry point and use it; say why that cannot be."""
    try:
        use(point.name, point.load())
    except ConfigError as err:
        return str(err)
    except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a package raises when it is imported)
        what = point.group.rpartition(".")[2].removesuffix("s")
        return f"{what} {point.name} of {point.value} cannot be loaded: {fault_text(err)}"
    return ""


def _register_installed(name: str, kind: Any) -> None:
    _register(name, name, kind)


def _register_indicator(name: str, kind: Any) -> None:
    if not isinstance(kind, Kind) or kind.name != name:
        msg = f"indicator {name}: the entry point must name a tapeline.api.Kind of this name, was {kind!r:.80}"
        raise ConfigError(msg)
    register_indicator(kind)


def _register(source: str, shown: str, kind: Any) -> None:
    for needed in ("on_bar", "snapshot"):
        if not callable(getattr(kind, needed, None)):
            msg = f"strategy {shown}: the class has no method {needed}: see docs/own-strategies.md"
            raise ConfigError(msg)
    _check_hooks(shown, kind)
    params = getattr(kind, "Params", NoParams)
    if not (isinstance(params, type) and issubclass(params, msgspec.Struct)):
        msg = f"strategy {shown}: Params must be a msgspec.Struct, was {params!r}"
        raise ConfigError(msg)
    has_params = hasattr(kind, "Params")
    factory: Callable[[Any], Any] = kind if has_params else lambda _: kind()
    register(source, params, factory)


_HOOKS = {"on_bar": ("bar",), "on_tick": ("trade",), "on_fill": ("fill",), "on_session": ("opened_ns", "closed_ns")}
"""What a strategy may be asked, each with what it is given."""


def _check_hooks(shown: str, kind: Any) -> None:
    """Refuse a class with a method that would never be asked, or could not be."""
    for name in dir(kind):
        near = get_close_matches(name, _HOOKS, 1, 0.8)
        if near and name not in _HOOKS and callable(getattr(kind, name, None)):
            msg = f"strategy {shown}: the class has a method {name}, which Tapeline does not call: name it {near[0]}"
            raise ConfigError(msg)
    for name, given in _HOOKS.items():
        if not hasattr(kind, name):
            continue
        if iscoroutinefunction(getattr(kind, name)):
            msg = f"strategy {shown}: {name} is async, and nobody awaits it: write it with def"
            raise ConfigError(msg)
        try:
            signature(getattr(kind, name)).bind(*("self", *given) if isinstance(kind, type) else given)
        except (TypeError, ValueError):
            wanted = ", ".join(("self", *given))
            msg = f"strategy {shown}: {name} cannot be called as it is: write it as {name}({wanted})"
            raise ConfigError(msg) from None


def _run(strategy: str, file: str, source: str, code: str) -> ModuleType:
    """Run the code as a module of its own; it stays, for pickles and tracebacks name it."""
    digest = source.rpartition("#")[2]
    if (known := sys.modules.get(f"own_{digest}")) is not None:
        return known  # another class of the same text: pickles name its classes by this module
    module = ModuleType(f"own_{digest}")
    module.__file__ = shown = f"{file} ({digest})"
    linecache.cache[shown] = (len(code), None, code.splitlines(keepends=True), shown)
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, shown, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  (what it is for)
    except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a user's code raises)
        del sys.modules[module.__name__]
        line = err.lineno if isinstance(err, SyntaxError) else _line_of(err, shown)
        said = f"SyntaxError: {err.msg}" if isinstance(err, SyntaxError) else fault_text(err)
        msg = f"strategy {strategy}: line {line}: {said}"
        raise ConfigError(msg) from None
    return module


def _line_of(err: BaseException, file: str) -> int:
    """Give the last line of a file that an exception went through; 0: none."""
    line, trace = 0, err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
