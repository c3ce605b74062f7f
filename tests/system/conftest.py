"""Real bars: found, or a visible skip; a failure where they must be there."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_bars():
    """Give a function that finds a file of the shared real bars."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("TAPELINE_TEST_DATA", ROOT.parent / "shared" / "data"))
        path = folder / name
        if not path.exists():
            reason = f"real bars not found: {name} is not in TAPELINE_TEST_DATA or ../shared/data"
            if os.environ.get("TAPELINE_TEST_DATA_REQUIRED"):
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
