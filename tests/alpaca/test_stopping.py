"""A stream that is stopped ends, in whatever moment that comes."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from adapters.alpaca.bars import BarStream
from engine.values import AssetClass
from tests.alpaca.test_bars import RECEIVED, Ear
from tests.alpaca.wire import Wire


class _Closing:
    """As websockets' legacy protocol: a cancellation in the middle of its close is swallowed."""

    async def close(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)


async def test_a_cancellation_while_a_connection_is_being_closed_is_not_lost(wire: Wire) -> None:
    """Lost, the stream connected again, and nobody asked it to end a second time: the role hung."""
    stream = BarStream(wire.config(close_s_max=10), AssetClass.US_EQUITY, ["SPY"], Ear(), lambda: RECEIVED)
    stream._ws = _Closing()
    closing = asyncio.create_task(stream.close())
    await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(closing, 5)
    stream._ws = _Closing()
    stream.config = wire.config(close_s_max=0.01)
    await asyncio.wait_for(stream.close(), 5)  # its own limit is none
