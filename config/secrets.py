"""Secrets: read from the environment or from private files, and kept out of whatever this process says.

Whoever takes a secret into its hands says so here (`keep`); from then on `hide` takes it out of any text. Logs, last
lines of errors, tracebacks and the venue's words pass through `hide` (config.logs, tapeline.__main__, adapters.alpaca).
That is the second fence: the first is that nobody writes a secret anywhere.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from engine.errors import ConfigError

HIDDEN = "<hidden>"
VARIABLES = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY")
"""Variables that hold a secret themselves; with `_FILE` after the name they hold the path of a file with it."""

_LENGTH_MIN = 12
"""A shorter one is a word of a test or demo: hiding it would make holes in ordinary words."""
_BYTES_MAX = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_known: list[str] = []
"""Longest first: one may be a part of another."""


def keep(secret: str) -> None:
    """Remember a secret, so that `hide` finds it."""
    if len(secret) >= _LENGTH_MIN and secret not in _known:
        _known.append(secret)
        _known.sort(key=len, reverse=True)


def hide(text: str) -> str:
    """Give the text without the secrets this process knows."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def read_private(path: Path, what: str) -> str:
    """Read a file that only its owner may read, without blanks around its content.

    Args:
        path: The file.
        what: What it is, for messages: "key file".

    Raises:
        ConfigError: It is missing, cannot be read, is no file, is empty, or others may read it.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as err:
        msg = f"{what} {path} cannot be read ({err.strerror}): name one that this user owns"
        raise ConfigError(msg) from None
    try:
        status = os.fstat(number)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            msg = f"{what} {path} is no file: name the file that holds the secret"
            raise ConfigError(msg)
        if mode & _OTHERS:
            msg = f"{what} {path} can be read or changed by others (mode {mode:04o}): chmod 600 {path}"
            raise ConfigError(msg)
        content = os.read(number, _BYTES_MAX)
    finally:
        os.close(number)
    text = content.decode("utf-8", "replace").strip()
    if not text:
        msg = f"{what} {path} is empty: put the secret into it"
        raise ConfigError(msg)
    return text


def secret_of(environment: Mapping[str, str], name: str) -> str:
    """Give the secret that the variable `name`, or the file named by `<name>_FILE`, holds; empty when neither is set.

    Raises:
        ConfigError: Both are set, the file is refused, or what it holds is no single word. Never says the value.
    """
    text, file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if text and file:
        msg = f"{name} and {name}_FILE are both set: unset one of them"
        raise ConfigError(msg)
    if file:
        text = read_private(Path(file), f"{name}_FILE")
    keep(text.strip())
    if text and not (text.isascii() and text.isprintable() and " " not in text):
        msg = f"{file or name} holds more than one word, or characters that no key has: set it to the key alone"
        raise ConfigError(msg)
    return text


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Give an environment for a child that has no business with the venue's keys."""
    names = {*VARIABLES, *(f"{name}_FILE" for name in VARIABLES)}
    return {name: value for name, value in environment.items() if name not in names}


def guard_tracebacks() -> None:
    """Let what nobody caught be shown without secrets, on every thread."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))

    def show_of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            show(args.exc_type, args.exc_value, args.exc_traceback)

    def show_unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            show(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_of_thread
    sys.unraisablehook = show_unraisable
