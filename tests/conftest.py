"""Hypothesis profiles: bounded examples, the same ones on every run in CI; a failure prints how to repeat it.

Modules that check for several tests are named here, before any of them is imported, so that their asserts explain.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tapeline.bytecode import child_environment, use_cache

# Where Python may not write beside the sources, hundreds of rewritten test modules and every process that a test starts
# would be compiled again in each run; they share the cache that the daemon's own processes have.
use_cache()
_environment = child_environment(os.environ)
for _gone in set(os.environ) - set(_environment):
    del os.environ[_gone]
os.environ.update(_environment)

pytest.register_assert_rewrite("tests.system.kill_checks", "tests.system.killing")

_SLOW_MACHINES = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "default", max_examples=50, deadline=None, print_blob=True, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "ci", max_examples=50, deadline=None, print_blob=True, derandomize=True, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "thorough", max_examples=1_000, deadline=None, print_blob=True, suppress_health_check=_SLOW_MACHINES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the collector thousands of tests and every library: they stay, and it looked through them again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let everything go as ever at the end."""
    gc.unfreeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what a worker killed: the report is for the whole session."""
    from tests.system.kill_tally import TALLY

    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["kills"] = TALLY.state()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it in; a worker that crashed hands nothing over."""
    from tests.system.kill_tally import TALLY

    if kills := getattr(node, "workeroutput", {}).get("kills"):
        TALLY.take(kills)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was killed, where, and by which seeds."""
    from tests.system.kill_tally import TALLY

    if lines := TALLY.lines():
        terminalreporter.section("processes killed with -9")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def real_bars() -> Callable[[str], Path]:
    """Give a function that finds a file of the shared real bars, or skips visibly, or fails where they must be."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("TAPELINE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
        path = folder / name
        if not path.exists():
            reason = f"real bars not found: {name} is not in TAPELINE_TEST_DATA or ../shared/data"
            if os.environ.get("TAPELINE_TEST_DATA_REQUIRED"):
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
