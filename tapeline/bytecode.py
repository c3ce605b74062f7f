"""Start-up time where Python may not write bytecode beside the sources (PYTHONDONTWRITEBYTECODE).

Five roles and the command would compile every library again at each start, seconds each. The wish behind that variable,
no files beside the sources, is kept: bytecode goes to the user's cache folder instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def use_cache() -> None:
    """Let this process keep its bytecode in the user's cache folder, if it may not beside the sources."""
    if sys.dont_write_bytecode and sys.pycache_prefix is None:
        sys.pycache_prefix = _folder(os.environ)
        sys.dont_write_bytecode = False


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give a child's environment with the same arrangement."""
    child = dict(environment)
    if child.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in child:
        child["PYTHONPYCACHEPREFIX"] = _folder(environment)
    return child


def _folder(environment: Mapping[str, str]) -> str:
    cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(cache) / "tapeline" / "pycache")
