from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.alpaca.wire import Wire, running_wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with running_wire() as server:
        yield server
