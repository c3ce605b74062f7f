"""Errors a person can act on.

    TapelineError            one line: the thing, the value, the mend
    ├── ConfigError          a setting, a file or an argument is wrong: fix it and start again (exit 2)
    ├── BusyError            somebody else holds what we need: a lock, a port, a role (exit 3)
    ├── UnreachableError     a server does not answer: NATS, the venue (exit 4)
    └── BrokenPromiseError   a promise inside the system does not hold: stop, nothing is guessed (exit 5)

Expected outcomes (a denial, a rejection, a gap) are values, not exceptions.
"""

from __future__ import annotations

from typing import ClassVar


class TapelineError(Exception):
    """An error with a text that can be shown to a person as it is.

    Args:
        message: One line that names the thing, the value and what to do about it.
    """

    exit_code: ClassVar[int] = 1


class ConfigError(TapelineError):
    """A setting, file or argument is wrong; nothing was started or changed."""

    exit_code: ClassVar[int] = 2


class BusyError(TapelineError):
    """A lock, port or exclusive role is held by somebody else."""

    exit_code: ClassVar[int] = 3


class UnreachableError(TapelineError):
    """A server that is needed does not answer."""

    exit_code: ClassVar[int] = 4


class BrokenPromiseError(TapelineError):
    """A promise inside the system does not hold; going on would mean guessing with money."""

    exit_code: ClassVar[int] = 5
