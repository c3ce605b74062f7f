"""Style and borders as tests. Lists of exceptions carry a reason and are ratchets: they may shrink, never grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from config.settings import Settings
from engine.bots import Bot, RiskLimits

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "config", "storage", "adapters", "streams", "tapeline")
LINES_MAX = 400

# Longer than LINES_MAX, at most this long, and why.
LONG_FILES = {
    "streams/services/executor.py": (464, "what every report of the venue sets off; sending and asking are elsewhere"),
    "tests/alpaca/test_bars.py": (425, "recorded payloads"),
    "tests/alpaca/test_trading.py": (495, "recorded payloads"),
    "tests/engine/test_execution.py": (540, "a venue and an executor to play it against"),
    "tests/engine/test_risk_core.py": (515, "the fold by hand and by made days"),
    "tests/exchange/test_orders.py": (495, "every order type and its refusals"),
    "tests/simulation/mutants.py": (445, "one list"),
    "tests/storage/test_sql.py": (465, "every way to write or read files by SQL"),
}

# What the core may import besides itself: no I/O, no clock, no randomness, no logging.
ENGINE_IMPORTS = {
    "__future__", "base64", "bisect", "collections", "contextlib", "dataclasses", "decimal", "enum", "functools", "hashlib", "heapq",
    "itertools", "math", "msgspec", "operator", "re", "types", "typing", "engine",
}  # fmt: skip

# Who may read the wall clock. Everybody else is handed a time.
WALL_CLOCK = {
    "adapters/clock.py": "it is the clock",
    "adapters/exchange/market_ws.py": "the exchange is the venue: its wall time is the venue's",
    "adapters/exchange/rest.py": "the exchange is the venue: its wall time is the venue's",
}


@cache
def _tracked() -> tuple[str, ...]:
    """Files that are or would be in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def _python(*folders: str) -> list[str]:
    return sorted(
        name for folder in folders for name in _tracked() if name.startswith(f"{folder}/") and name.endswith(".py")
    )


@cache
def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_text(name), name)


def test_there_is_something_to_look_at() -> None:
    for package in PACKAGES:
        assert len(_python(package)) >= 3, package
    assert "engine/values.py" in _tracked()


def test_files_are_small() -> None:
    long: dict[str, int] = {}
    for name in _python(*PACKAGES, "tests", "benchmarks"):
        lines = len(_text(name).splitlines())
        if lines > LONG_FILES.get(name, (LINES_MAX, ""))[0]:
            long[name] = lines
    assert long == {}, "split these, or list them with a reason"


def test_the_list_of_long_files_holds_only_long_files() -> None:
    short = [name for name in LONG_FILES if name not in _tracked() or len(_text(name).splitlines()) <= LINES_MAX]
    assert short == [], "no longer long: take them off the list"


def test_every_module_says_what_it_is() -> None:
    for name in _python(*PACKAGES, "benchmarks"):
        said = ast.get_docstring(_tree(name))
        assert said, f"{name} has no docstring"
        assert len(said) >= 20, f"{name} says nothing: {said!r}"


def test_folders_are_at_most_two_deep() -> None:
    deep = [name for name in _python(*PACKAGES) if name.count("/") > 2]
    assert deep == []


# --- the core ------------------------------------------------------------------------------------------------------------


def _imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module or "")
    return found


def test_the_core_imports_nothing_that_could_surprise_it() -> None:
    for name in _python("engine"):
        # importlib: the version of talipp is part of what a checkpoint belongs to. difflib: names that are near.
        vendor = {"talipp", "importlib", "difflib"} if name.startswith("engine/indicators/") else set()
        if name == "engine/strategies/conditions.py":
            vendor = {"ast"}  # reads a condition's text, runs nothing of it
        if name == "engine/copies.py":
            vendor = {"pickle"}  # of bytes made a line above
        if name == "engine/zones.py":
            vendor = {"datetime", "zoneinfo", "importlib"}  # rules of time zones, installed with the code
        if name == "engine/window.py":
            vendor = {"difflib"}  # names that are near
        allowed = ENGINE_IMPORTS | vendor
        wrong = {module for module in _imports(_tree(name)) if module.partition(".")[0] not in allowed}
        assert wrong == set(), f"{name} imports {sorted(wrong)}"


def test_the_core_calls_nothing_impure() -> None:
    for name in _python("engine"):
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "print", "input", "eval", "exec", "hash", "id", "__import__"}, (
                    f"{name}:{node.lineno} calls {node.func.id}"
                )


def test_importing_the_core_loads_no_network_and_no_log() -> None:
    """What talipp brings along is its own; nothing of ours may reach further."""
    code = (
        "import sys, engine.risk, engine.execution, engine.ingest, engine.matching, engine.ports; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert not ours & {"asyncio", "nats", "alpaca", "duckdb", "polars", "aiohttp", "structlog", "streams", "adapters"}


def test_nobody_asks_whether_it_is_live() -> None:
    """The mode is decided once, in the composition root (tapeline/)."""
    asked = re.compile(r"\b(if|elif|while|and|or|not)\b[^#\n]*\b(is_)?(live|paper|backtest|demo)\b(?!\.)")
    for name in _python("engine", "config", "storage", "adapters", "streams"):
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                test = ast.unparse(node.test)
                assert not asked.search(f"if {test}"), f"{name}:{node.lineno} asks: {test}"


# --- clocks --------------------------------------------------------------------------------------------------------------

_WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def _calls(tree: ast.Module) -> set[str]:
    """Dotted names, called or handed on."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(".".join(ast.unparse(node).split(".")[-2:]))
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            names |= {f"time.{alias.name}" for alias in node.names}
    return names


def test_the_wall_clock_is_read_in_listed_places_only() -> None:
    readers = {name for name in _python(*PACKAGES) if _calls(_tree(name)) & _WALL}
    assert readers - set(WALL_CLOCK) == set(), "take now_ns as an argument, or the Clock of the composition root"
    assert set(WALL_CLOCK) - readers == set(), "no longer read: take it off the list"


def test_durations_are_not_taken_from_the_wall_clock() -> None:
    """It may jump while something lasts: durations are differences of monotonic times."""
    wall = {"time.time", "time.time_ns", "datetime.now", "wall_ns"}
    for name in _python(*PACKAGES):
        for node in ast.walk(_tree(name)):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
                continue
            calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
            read = {".".join(ast.unparse(call.func).split(".")[-2:]).removeprefix("self.").strip("_") for call in calls}
            assert not read & wall, f"{name}:{node.lineno} reckons with the wall clock: {ast.unparse(node)}"


# --- settings ------------------------------------------------------------------------------------------------------------


def _settings() -> list[tuple[str, type[msgspec.Struct], str]]:
    found: list[tuple[str, type[msgspec.Struct], str]] = []
    for field in msgspec.structs.fields(Settings):
        value = getattr(Settings(), field.name)
        if isinstance(value, msgspec.Struct):
            found += [(field.name, type(value), inner.name) for inner in msgspec.structs.fields(type(value))]
    return found


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(_text(name) for name in _python(*PACKAGES) if name != "config/settings.py")
    unread = [f"{section}.{name}" for section, _, name in _settings() if not re.search(rf"\.{name}\b", code)]
    assert unread == UNREAD_SETTINGS, "a setting nobody reads promises what does not happen"


UNREAD_SETTINGS: list[str] = []


def test_every_quantity_among_the_settings_has_its_unit_in_its_name() -> None:
    unitless = {"live", "is_own", "opposite_sides", "shortable_known", "cancel_on_exit", "own_code"}
    units = re.compile(
        r"_(s|ms|usd|bytes|mb|rows|fraction|attempts|messages|per_min|per_day|workers|orders|quantity)(_max|_min)?$"
        r"|^(threads|rest_workers|positions_max|repeats_max)$"
    )
    for section, of, name in _settings():
        kind = next(field for field in msgspec.structs.fields(of) if field.name == name)
        if isinstance(kind.default, int | float) and name not in unitless:
            assert units.search(name), f"{section}.{name}"


@pytest.mark.parametrize("of", [Bot, RiskLimits], ids=lambda of: of.__name__)
def test_what_a_user_writes_into_bots_and_limits_is_explained(of: type[msgspec.Struct]) -> None:
    said = of.__doc__ or ""
    # Of a bot, symbols and timeframe are what their names say.
    plain = {"symbols", "timeframe"}
    missing = [field.name for field in msgspec.structs.fields(of) if f"{field.name}:" not in said]
    assert set(missing) <= plain, missing


# --- what must not stand in the repository -------------------------------------------------------------------------------

_FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(work|root|Users|home/[a-z]\w*)/[\w.]"),
    "a registry's host": re.compile(
        r"(pypi\.org|pythonhosted\.org|[\w-]+\.jfrog\.io|artifactory|index-url|extra-index)"
    ),
    "a key": re.compile(r"(?<![A-Z0-9])(PK|AK)[A-Z0-9]{18}(?![A-Z0-9])"),
}


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = _FORBIDDEN[what]
    for name in _tracked():
        if name == "tests/test_architecture.py":
            continue
        try:
            text = _text(name)
        except UnicodeDecodeError:
            continue
        found = pattern.search(text)
        assert found is None, f"{name} holds {what}: {found.group(0) if found else ''}"


def test_every_server_of_the_product_is_guarded() -> None:
    """A NatsServer made by itself lets everybody in; only tests and measurements make one."""
    makers = {
        name
        for name in _python(*PACKAGES)
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("NatsServer")
    }
    assert makers == {"streams/server.py"}


def test_no_lock_file_is_tracked() -> None:
    assert "uv.lock" not in _tracked()


# --- borders -------------------------------------------------------------------------------------------------------------


def test_the_import_contracts_name_every_package() -> None:
    """lint-imports checks the rest, on the whole graph; a package it does not know would be outside of every rule."""
    contracts = (ROOT / ".importlinter").read_text(encoding="utf-8")
    roots = contracts.partition("root_packages =")[2].partition("include_external")[0].split()
    assert sorted(roots) == sorted(PACKAGES)
    services = {f"streams.services.{Path(name).stem}" for name in _python("streams/services")} - {
        "streams.services.__init__"
    }
    assert {service for service in services if service in contracts} == services
    flat = {f"engine.{Path(name).stem}" for name in _python("engine") if name.count("/") == 1} - {"engine.__init__"}
    assert {module for module in flat if module in contracts} == flat
