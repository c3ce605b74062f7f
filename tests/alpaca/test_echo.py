"""A venue, or a server before it, that says back what it was sent: whatever is passed on, the keys are not in it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.alpaca.history import AlpacaHistory
from adapters.alpaca.trading import AlpacaVenue
from engine.errors import TapelineError
from engine.ports import Rejected, Unknown
from engine.values import AssetClass
from tests.alpaca import test_bars, test_updates
from tests.alpaca.test_trading import LOOKUP, ORDERS, _intent
from tests.alpaca.wire import SECRET, Wire

KEY = "PKECHO0123456789"
SAID = f"headers: APCA-API-KEY-ID: {KEY} APCA-API-SECRET-KEY: {SECRET}"
JSON: dict[str, Any] = {"code": 40310000, "message": SAID}


def _clean(*said: object) -> str:
    text = repr(said)
    assert KEY not in text
    assert SECRET not in text
    assert "<hidden>" in text, f"what was said back did not come this way: {text}"
    return text


@pytest.mark.parametrize(
    "reply", [(status, JSON) for status in (400, 403, 404, 409, 422, 500)] + [(502, f"<html>{SAID}"), (200, SAID)]
)
def test_answers_to_requests(wire: Wire, reply: Any) -> None:
    venue = AlpacaVenue(wire.config(key=KEY, read_attempts_max=1))
    wire.routes[ORDERS] = wire.routes[LOOKUP] = reply
    outcome = venue.submit(_intent())
    assert isinstance(outcome, Rejected | Unknown)
    _clean(outcome)
    if reply[0] != 404:
        _clean(venue.lookup("tape-1"))
    wire.routes["GET", "/v2/account"] = reply
    with pytest.raises(TapelineError) as caught:
        venue.account()
    _clean(caught.value, caught.value.args)


@pytest.mark.parametrize("reply", [(401, JSON), (401, SAID), (403, {"message": f"forbidden. {SAID}"})])
def test_a_refused_key_is_not_said(wire: Wire, reply: Any) -> None:
    venue = AlpacaVenue(wire.config(key=KEY))
    wire.routes[ORDERS] = reply
    with pytest.raises(TapelineError, match="ALPACA_API_KEY") as caught:
        venue.submit(_intent())
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_history(wire: Wire) -> None:
    history = AlpacaHistory(wire.config(key=KEY, read_attempts_max=1))
    wire.routes["GET", "/v2/stocks/bars"] = (400, JSON)
    with pytest.raises(TapelineError) as caught:
        history.bars(AssetClass.US_EQUITY, ["SPY"], "1m", 0, 60_000_000_000)
    _clean(str(caught.value))


async def test_errors_on_the_market_data_socket(wire: Wire) -> None:
    wire.subscribe_answer = lambda symbols: [{"T": "error", "code": 400, "msg": SAID}]
    async with test_bars.running(wire, key=KEY) as run:
        _clean(await run.problem("(400)"))


async def test_errors_on_the_socket_of_updates(wire: Wire) -> None:
    async with test_updates.running(wire, key=KEY) as run:
        await run.connected()
        wire.sockets[0].send_json({"action": "error", "data": {"error_message": SAID}})
        _clean(await run.problem("error_message"))


def test_quantities_are_not_taken_for_secrets(wire: Wire) -> None:
    """What is hidden is the keys, nothing of the message around them."""
    venue = AlpacaVenue(wire.config(key=KEY))
    wire.routes[ORDERS] = (403, {"code": 40310000, "message": f"qty {Decimal('12.5')} for {KEY} is too much"})
    assert venue.submit(_intent()) == Rejected("40310000", "qty 12.5 for <hidden> is too much")
