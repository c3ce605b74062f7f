"""What msgspec says of a value that does not fit, as a sentence: the full name, the value, and what may stand there."""

from __future__ import annotations

import re
import types
import typing
from enum import Enum
from typing import Any

import msgspec

_MEANT = (
    (r"Expected `array` of length >= (\d+)", r"must be a list of at least \1"),
    (r"Expected `array`, got `\w+`", 'must be a list, such as ["AAPL", "MSFT"]'),
    (r"Invalid decimal string", 'must be a number, such as 2500 or "2500.50"'),
)


def readable(text: str, tree: object, kind: type[msgspec.Struct], word: str = "field", root: str = "file") -> str:
    """Turn "Object contains unknown field `x` - at `$.feed`" into a sentence with the full name, or the value.

    Args:
        text: What msgspec says.
        tree: What it was given.
        kind: What it should have become.
        word: For a name in it.
        root: Of what something is said that has no name in it; empty: of nothing.
    """
    what, _, where = text.partition(" - at `$")
    section = where.rstrip("`").lstrip(".")
    if "unknown field" in what:
        name = what.split("`")[1]
        known = [field.name for struct in _structs(_type_at(kind, section)) for field in msgspec.structs.fields(struct)]
        full = f"{section}.{name}" if section else name
        return f"unknown {word} {full!r}" + (f": known here are {', '.join(known)}" if known else "")
    if "missing required field" in what:
        name = what.split("`")[1]
        return f"{section}.{name} is missing: write it" if section else f"{word} {name!r} is missing: write it"
    value = _value_at(tree, section)
    was = "" if value is None or (isinstance(value, dict | list) and value) else f", was {value!r}"
    what = _in_words(what)
    choices = _choices(_type_at(kind, section))
    if choices and ("invalid enum value" in what.lower() or "expected" in what.lower()):
        return f"{section}: must be {choices}{was}"
    where, said = section or root, f"{what[:1].lower()}{what[1:]}{was}"
    return f"{where}: {said}" if where else said


def _in_words(what: str) -> str:
    """Say what msgspec expects in the words of a file."""
    for said, meant in _MEANT:
        what = re.sub(said, meant, what)
    return what


def _value_at(tree: object, path: str) -> object:
    """What stands at `bots[0].capital` in a tree of built-in values; None if nothing does."""
    node: object = tree
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            node = node[int(index) if index else name]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return node


def _type_at(kind: object, path: str) -> object:
    """What should stand at `bots[0].capital`; None where that cannot be told."""
    node: object = kind
    for name in re.findall(r"[^.\[\]]+|\[\d+\]|\[\.\.\.\]", path):
        if name.startswith("["):
            node = next((arms[-1] if len(arms) == 1 or arms[-1] is not ... else arms[0] for arms in _arms(node)), None)
            continue
        fields = {
            field.encode_name: field.type for struct in _structs(node) for field in msgspec.structs.fields(struct)
        }
        node = fields.get(name)
    return node


def _plain(kind: object) -> list[object]:
    """Give a type's alternatives, without what annotates them."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [plain for arm in typing.get_args(kind) for plain in _plain(arm)]
    return _plain(typing.get_args(kind)[0]) if typing.get_origin(kind) is typing.Annotated else [kind]


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    return [arm for arm in _plain(kind) if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]


def _arms(kind: object) -> list[tuple[Any, ...]]:
    return [typing.get_args(arm) for arm in _plain(kind) if typing.get_origin(arm) in (tuple, list)]


def _choices(kind: object) -> str:
    """Give the values of which one must stand there, in words; empty where they are no list."""
    words: list[str] = []
    for arm in _plain(kind):
        if typing.get_origin(arm) is typing.Literal:
            words += [str(value) for value in typing.get_args(arm)]
        elif isinstance(arm, type) and issubclass(arm, Enum):
            words += [str(value.value) for value in arm if value.value != "other"]  # what others say and nobody may ask
        elif arm is not type(None) and words:
            words.append(_number(kind))
    return "" if not words else f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _number(kind: object) -> str:
    """Say which number an alternative beside names may be."""
    for arm in typing.get_args(kind):
        if typing.get_origin(arm) is typing.Annotated:
            meta = next((each for each in typing.get_args(arm)[1:] if isinstance(each, msgspec.Meta)), None)
            if meta is not None:
                return f"a number from {meta.ge} to {meta.le}"
    return "a number"
