"""`tapeline strategies`: which there are and what each does, as its module says."""

from __future__ import annotations

import sys
from inspect import cleandoc

import msgspec

from engine.strategies import names, params_of


def run_list() -> int:
    """Print a line per strategy."""
    for name in names():
        sys.stdout.write(f"{name:20} {_about(name).splitlines()[0]}\n")
    return 0


def run_show(name: str) -> int:
    """Print rule, warm-up, source and parameters of one. Raises ConfigError when there is none of this name."""
    kind = params_of(name)
    sys.stdout.write(f"{_about(name)}\n\nParameters: {cleandoc(kind.__doc__ or '')}\n\n")
    for field in msgspec.structs.fields(kind):
        needed = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        value = "needed" if needed else f"default {_text(field.default)}"
        sys.stdout.write(f"  {field.encode_name:16} {value}\n")
    return 0


def _about(name: str) -> str:
    return (sys.modules[params_of(name).__module__].__doc__ or "").strip()


def _text(default: object) -> str:
    if default is None or default is msgspec.NODEFAULT:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)
