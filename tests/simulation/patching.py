"""Changes one line of a function of the real code, in memory and for a while: for mutants, and for mends in waiting.

The function's code object is exchanged, so everybody who imported it sees the change; files are never touched.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import textwrap
from collections.abc import Generator
from types import CodeType, FunctionType
from typing import Any

import msgspec


class Patch(msgspec.Struct, frozen=True):
    """Replace `old`, which stands once in the function, by `new`.

    Attributes:
        where: `package.module:Class.method` or `package.module:function`.
        why: What this breaks or mends, in words.
        part_of: Name of the patch it makes sense with only.
        seed: Of a mend: a seed that fails without it.
    """

    name: str
    where: str
    old: str
    new: str
    why: str
    part_of: str = ""
    seed: int = 0


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    found = inspect.unwrap(found)
    assert isinstance(found, FunctionType), where
    return found


_TEXTS: dict[FunctionType, str] = {}
"""Source of functions as they are now, where they are changed."""


def _text(function: FunctionType) -> str:
    return _TEXTS.get(function) or inspect.getsource(function)


def applies(patch: Patch) -> bool:
    """Whether the text to be replaced stands in the code of today, once."""
    return _text(_function(patch.where)).count(patch.old) == 1


def _compiled(function: FunctionType, text: str, name: str) -> CodeType:
    lines = textwrap.dedent(text).splitlines()
    while not lines[0].lstrip().startswith(("def ", "async def ")):
        del lines[0]
    namespace: dict[str, Any] = {}
    code = compile("from __future__ import annotations\n" + "\n".join(lines), f"<{name}>", "exec")
    exec(code, dict(function.__globals__), namespace)  # noqa: S102
    return namespace[function.__name__].__code__


@contextlib.contextmanager
def patched(*patches: Patch) -> Generator[None]:
    """For the duration of a block; several may change the same function."""
    before: list[tuple[FunctionType, CodeType, str]] = []
    try:
        for patch in patches:
            function = _function(patch.where)
            text = _text(function)
            if text.count(patch.old) != 1:
                msg = (
                    f"{patch.name}: {patch.old!r} is {text.count(patch.old)} times in {patch.where}, not once: adapt it"
                )
                raise LookupError(msg)
            changed = text.replace(patch.old, patch.new)
            code = _compiled(function, changed, patch.name)
            before.append((function, function.__code__, text))
            function.__code__, _TEXTS[function] = code, changed
        yield
    finally:
        for function, code, text in reversed(before):
            function.__code__, _TEXTS[function] = code, text
