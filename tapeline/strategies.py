"""`tapeline strategies`: which there are and what each does, as its module says; a new one to begin with."""

from __future__ import annotations

import re
import sys
from inspect import cleandoc
from pathlib import Path

import msgspec

from config import own
from engine.errors import ConfigError
from engine.strategies import names, params_of
from tapeline.strategy_check import named

_TEMPLATE = Path(__file__).with_name("template.py")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def run_list() -> int:
    """Print a line per strategy."""
    broken = own.learn_installed()
    for name in names():
        sys.stdout.write(f"{name:20} {(_about(name).splitlines() or [''])[0]}\n")
    for name, fault in broken.items():
        sys.stdout.write(f"{name:20} cannot be used: {fault}\n")
    return 0


def run_show(name: str) -> int:
    """Print rule, warm-up, source and parameters of one. Raises ConfigError when there is none of this name."""
    source = named(name).source
    kind = params_of(source)
    sys.stdout.write(f"{_about(source)}\n\nParameters: {cleandoc(kind.__doc__ or '')}\n\n")
    for field in msgspec.structs.fields(kind):
        needed = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        value = "needed" if needed else f"default {_text(field.default)}"
        sys.stdout.write(f"  {field.encode_name:16} {value}\n")
    return 0


def run_new(name: str, folder: Path) -> int:
    """Write a strategy to begin with and a bot file for it; files that are there stay.

    Raises:
        ConfigError: The name is none for a file, or a file is there or cannot be written.
    """
    if not _NAME.fullmatch(name):
        msg = f"NAME must be 1 to 32 of a-z 0-9 _ and begin with a letter, was {name!r}"
        raise ConfigError(msg)
    kind = "".join(part.capitalize() for part in name.split("_"))
    code = _TEMPLATE.read_text(encoding="utf-8").replace("Template", kind)
    bot = (
        f'# A bot with the strategy beside it.\nname = "{name}"\nstrategy = "{name}.py:{kind}"\n'
        'symbols = ["AAPL", "MSFT"]\ncapital = "25000"          # USD this bot may use\n'
        "position_fraction = 0.2    # of the capital, per symbol\n\n[params]\nperiod = 20\n"
    )
    files = {folder / f"{name}.py": code, folder / f"{name}.toml": bot}
    there = next((path for path in files if path.exists()), None)
    if there is not None:
        msg = f"{there} exists: give another name, or another folder with --out"
        raise ConfigError(msg)
    try:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as err:
        msg = f"{folder}: cannot be written to: {err}"
        raise ConfigError(msg) from None
    paths = [str(path) for path in files]
    sys.stdout.write(
        f"{paths[0]}: check it with `tapeline strategies check {paths[0]}:{kind}`\n"
        f"{paths[1]}: try it with `tapeline demo --bot {paths[1]}`\n"
    )
    return 0


def _about(name: str) -> str:
    return (sys.modules[params_of(name).__module__].__doc__ or "").strip()


def _text(default: object) -> str:
    if default is None or default is msgspec.NODEFAULT:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)
