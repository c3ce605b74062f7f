"""`tapeline bots`: templates, new files from them, and whether files are bots that can trade as written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from config import bots as bot_files
from config.settings import load
from engine.errors import ConfigError


def run_templates() -> int:
    """Print a line per template."""
    for name in bot_files.templates():
        first = bot_files.template(name).splitlines()[0]
        sys.stdout.write(f"{name:20} {first.lstrip('# ').removesuffix(' More in docs/strategies.md.')}\n")
    return 0


def run_new(name: str, template: str, out: Path | None) -> int:
    """Write a new bot file; one that is there stays.

    Raises:
        ConfigError: There is no such template, the name is none for a bot, or the file is there or cannot be made.
    """
    text = bot_files.renamed(bot_files.template(template), name)
    path = out or Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        msg = f"{path} exists: give another name, or another file with --out"
        raise ConfigError(msg) from None
    sys.stdout.write(f"{path}: try it with `tapeline demo --bot {path}`, then name it in the setting bot_files\n")
    return 0


def run_validate(files: Iterable[Path]) -> int:
    """Print a line per file, and what is wrong with it; 0 when nothing is."""
    universes = load(None, os.environ).universes
    bot_files.check_universes(universes)
    found, wrong = [], 0
    for path in files:
        try:
            bot = bot_files.load(path, universes)
            bot_files.validate_all([*found, bot])
        except ConfigError as err:
            wrong += 1
            sys.stderr.write(f"tapeline: {err}\n")
        else:
            found.append(bot)
            sys.stdout.write(f"{path}: bot {bot.name}, {bot.strategy} on {', '.join(bot.symbols) or bot.universe}\n")
    return ConfigError.exit_code if wrong else 0
