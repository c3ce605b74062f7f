"""Account, positions, activities, assets, clock, calendar by alpaca-py and raw; and the account's arithmetic."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import AssetClass, AssetStatus
from alpaca.trading.models import AccountConfiguration
from alpaca.trading.requests import ClosePositionRequest, GetAssetsRequest, GetCalendarRequest

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, row

D = Decimal


@pytest.fixture
def opened(exchange: Exchange) -> Exchange:
    exchange.step_to(OPEN + timedelta(minutes=2))
    return exchange


# --- account --------------------------------------------------------------------------------------------------------


def test_account_by_alpaca_py(opened: Exchange) -> None:
    account = opened.client().get_account()
    assert account.account_number.startswith("PA")
    assert (account.status.value, account.currency, account.multiplier) == ("ACTIVE", "USD", "2")
    assert (account.cash, account.equity, account.buying_power) == ("100000", "100000", "200000")
    opened.order(symbol="AAPL", qty=100)
    opened.step()
    account = opened.client().get_account()
    # 100 shares bought at 104, last price 104.5: equity is up by 50, half of their value is margin.
    assert (account.cash, account.equity, account.long_market_value) == ("89600", "100050", "10450")
    assert (account.initial_margin, account.buying_power) == ("5225", "189650")


def test_account_number_follows_the_seed(start: Start) -> None:
    numbers = [start(seed=seed).get("/v2/account")["account_number"] for seed in (1, 2, 1)]
    assert numbers[0] == numbers[2] != numbers[1]


def test_account_configurations_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    before = client.get_account_configurations()
    assert (before.suspend_trade, before.no_shorting, before.fractional_trading) == (False, False, True)
    changed = AccountConfiguration(**{**before.model_dump(), "suspend_trade": True})
    assert client.set_account_configurations(changed).suspend_trade is True
    answer = opened.post_order(symbol="AAPL", qty=1)
    assert (answer.status_code, answer.json()["message"]) == (403, "new orders are rejected by user request")
    assert opened.get("/v2/account")["trade_suspended_by_user"] is True
    patch = {"suspend_trade": False, "no_shorting": True, "fractional_trading": False}
    assert opened.call("PATCH", "/v2/account/configurations", json=patch).json()["no_shorting"] is True
    answer = opened.post_order(symbol="AAPL", qty=1, side="sell")
    assert answer.json()["message"] == "account is not allowed to short"
    assert opened.post_order(symbol="AAPL", qty="0.5").status_code == 403
    opened.order(symbol="AAPL", qty=1)


# --- positions ------------------------------------------------------------------------------------------------------


def test_positions_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    assert client.get_all_positions() == []
    opened.order(symbol="AAPL", qty=10)
    opened.order(symbol="MSFT", qty=5, side="sell")
    opened.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
    opened.step()
    opened.order(symbol="AAPL", qty=4, side="sell", type="limit", limit_price=900)
    positions = {position.symbol: position for position in client.get_all_positions()}
    assert list(positions) == ["AAPL", "BTCUSD", "MSFT"]
    apple, short, coin = positions["AAPL"], positions["MSFT"], positions["BTCUSD"]
    assert (apple.qty, apple.qty_available, apple.avg_entry_price, apple.side.value) == ("10", "6", "104", "long")
    assert (apple.market_value, apple.cost_basis, apple.unrealized_pl) == ("1045", "1040", "5")
    assert (short.qty, short.side.value, short.market_value, short.unrealized_pl) == ("-5", "short", "-1022.5", "-2.5")
    assert (coin.qty, coin.asset_class, coin.exchange.value) == ("0.9975", AssetClass.CRYPTO, "CRYPTO")
    assert client.get_open_position("BTCUSD").qty == "0.9975"
    assert client.get_open_position(apple.asset_id).symbol == "AAPL"
    assert opened.get("/v2/positions/BTC%2FUSD")["qty"] == "0.9975"
    with pytest.raises(APIError) as caught:
        client.get_open_position("BTC/USD")
    assert caught.value.status_code == 404
    with pytest.raises(APIError) as caught:
        client.get_open_position("IBM")
    assert (caught.value.code, caught.value.message) == (40410000, "position does not exist")


def test_close_a_position_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    opened.order(symbol="AAPL", qty=10)
    opened.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
    opened.step()
    part = client.close_position("AAPL", ClosePositionRequest(qty="4"))
    assert (part.qty, part.side.value, part.type.value) == ("4", "sell", "market")
    coin = client.close_position("BTCUSD", ClosePositionRequest(percentage="50"))
    assert (coin.qty, coin.time_in_force.value) == ("0.49875", "gtc")
    opened.step()
    assert opened.get("/v2/positions/AAPL")["qty"] == "6"
    client.close_position("AAPL")
    client.close_position("BTCUSD")
    opened.step()
    assert opened.get("/v2/positions") == []
    assert opened.call("DELETE", "/v2/positions/AAPL").status_code == 404
    assert opened.call("DELETE", "/v2/positions/AAPL?qty=x").status_code == 404


def test_close_all_positions_by_alpaca_py(opened: Exchange) -> None:
    opened.order(symbol="AAPL", qty=10)
    opened.order(symbol="MSFT", qty=3, side="sell")
    opened.step()
    opened.order(symbol="AAPL", qty=10, side="sell", type="limit", limit_price=900)
    answers = opened.client().close_all_positions(cancel_orders=False)
    assert [(answer.symbol, answer.status) for answer in answers] == [("AAPL", 403), ("MSFT", 200)]
    assert answers[0].body.held_for_orders == 10
    answers = opened.client().close_all_positions(cancel_orders=True)
    assert [(answer.symbol, answer.status) for answer in answers] == [("AAPL", 200), ("MSFT", 200)]
    opened.step()
    assert opened.get("/v2/positions") == []
    assert opened.status()["orders_open"] == 0


# --- arithmetic -----------------------------------------------------------------------------------------------------


def ledger_from_activities(exchange: Exchange) -> tuple[Decimal, dict[str, Decimal]]:
    """Cash and positions from fills and fees alone, as an outside ledger computes them."""
    cash, held = D(100_000), dict[str, Decimal]()
    token = None
    while True:
        page = exchange.get("/v2/account/activities", direction="asc", page_size=3, page_token=token)
        for entry in page:
            symbol, qty = entry["symbol"], D(entry["qty"])
            if entry["activity_type"] == "FILL":
                sign = 1 if entry["side"] == "buy" else -1
                cash -= sign * qty * D(entry["price"])
                held[symbol] = held.get(symbol, D(0)) + sign * qty
            else:
                cash += D(entry["net_amount"])
                held[symbol] = held.get(symbol, D(0)) + qty
        if len(page) < 3:
            return cash, {symbol.replace("/", ""): qty for symbol, qty in held.items() if qty}
        token = page[-1]["id"]


def test_cash_and_positions_equal_fills_and_fees_exactly(opened: Exchange) -> None:
    opened.order(symbol="AAPL", qty="10.123456789")
    opened.order(symbol="MSFT", qty=7, side="sell")
    opened.order(symbol="BTC/USD", notional="1234.57", time_in_force="gtc")
    opened.step()
    opened.order(symbol="AAPL", qty="3.3", side="sell")
    opened.order(symbol="MSFT", qty=7)
    opened.order(symbol="BTC/USD", qty="0.1", side="sell", time_in_force="gtc")
    opened.step()
    cash, held = ledger_from_activities(opened)
    assert D(opened.cash()) == cash
    assert {p["symbol"]: D(p["qty"]) for p in opened.get("/v2/positions")} == held
    assert "." in opened.cash()


def test_crypto_fees_are_taken_from_what_is_credited(opened: Exchange) -> None:
    opened.order(symbol="BTC/USD", qty=2, time_in_force="gtc", client_order_id="in")
    opened.step()
    assert opened.get("/v2/positions/BTCUSD")["qty"] == "1.995"
    assert opened.cash() == "89992"
    opened.order(symbol="BTC/USD", qty=1, side="sell", time_in_force="gtc", client_order_id="out")
    opened.step()
    assert opened.get("/v2/positions/BTCUSD")["qty"] == "0.995"
    assert D(opened.cash()) == D(89992) + 5005 - D("12.5125")
    fees = opened.get("/v2/account/activities/CFEE", direction="asc")
    shown = [(fee["symbol"], fee["qty"], fee["price"], fee["net_amount"], fee["date"]) for fee in fees]
    assert shown == [
        ("BTC/USD", "-0.005", "5004", "0", "2025-03-10"), ("BTC/USD", "0", "5005", "-12.5125", "2025-03-10"),
    ]  # fmt: skip
    assert fees[0]["transaction_time"] == fees[0]["created_at"] == "2025-03-10T13:33:00Z"
    assert opened.status()["activities"] == 2
    assert opened.status()["executions"] == 2


def test_a_fee_quantity_is_rounded_half_even_to_nine_decimals(start: Start) -> None:
    exchange = start(crypto_fee_bps=25)
    exchange.order(symbol="BTC/USD", qty="0.100000001", time_in_force="gtc")
    exchange.step()
    # 0.100000001 * 0.0025 = 0.0002500000025
    assert exchange.get("/v2/account/activities/CFEE")[0]["qty"] == "-0.00025"
    assert exchange.get("/v2/positions/BTCUSD")["qty"] == "0.099750001"


def test_average_price_and_the_way_through_zero(start: Start) -> None:
    exchange = start(
        [row("AAPL", OPEN + timedelta(minutes=i), f"{p} {p} {p} {p}") for i, p in enumerate((1, 2, 4, 8, 9, 9))]
    )

    def trade(qty: int) -> None:
        exchange.order(symbol="AAPL", qty=abs(qty), side="buy" if qty > 0 else "sell")
        exchange.step()

    trade(10)
    trade(10)
    position = exchange.get("/v2/positions/AAPL")
    assert (position["qty"], position["avg_entry_price"], position["cost_basis"]) == ("20", "1.5", "30")
    trade(-5)
    assert exchange.get("/v2/positions/AAPL")["avg_entry_price"] == "1.5"
    trade(-15)
    assert exchange.call("GET", "/v2/positions/AAPL").status_code == 404
    trade(-3)
    position = exchange.get("/v2/positions/AAPL")
    assert (position["qty"], position["avg_entry_price"], position["side"]) == ("-3", "9", "short")
    assert D(exchange.cash()) == 100_000 - 10 - 20 + 20 + 120 + 27


# --- activities -----------------------------------------------------------------------------------------------------


def test_fill_activities_and_their_pages(opened: Exchange) -> None:
    for _ in range(5):
        opened.order(symbol="AAPL", qty=1)
        opened.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
        opened.step()
    fills = opened.client().get("/account/activities/FILL", {"direction": "asc"})
    assert len(fills) == 10
    first = fills[0]
    assert first | {"id": "", "order_id": ""} == {
        "activity_type": "FILL", "id": "", "order_id": "", "order_status": "filled", "side": "buy", "symbol": "AAPL",
        "type": "fill", "price": "104", "qty": "1", "cum_qty": "1", "leaves_qty": "0",
        "transaction_time": "2025-03-10T13:33:00Z",
    }  # fmt: skip
    assert first["id"].startswith("20250310093300000::")

    def pages(**query: Any) -> list[str]:
        found: list[str] = []
        token = None
        while page := opened.get("/v2/account/activities", page_size=4, page_token=token, **query):
            assert len(page) <= 4
            found += [entry["id"] for entry in page]
            token = page[-1]["id"]
        return found

    everything = pages(activity_types="FILL,CFEE", direction="asc")
    assert len(set(everything)) == len(everything) == 15
    assert pages() == everything[::-1]
    assert pages(activity_types="FILL", direction="asc") == [fill["id"] for fill in fills]
    assert len(pages(after="2025-03-10T13:35:00Z", direction="asc")) == 6, "after is exclusive"
    assert len(pages(until="2025-03-10T13:34:00Z")) == 3
    assert len(pages(date="2025-03-10")) == 15
    assert pages(date="2025-03-11") == []
    assert len(pages(order_id=first["order_id"])) == 1
    assert opened.call("GET", "/v2/account/activities?page_size=101").status_code == 422
    assert opened.call("GET", "/v2/account/activities?page_token=none").status_code == 422


def test_assets_by_alpaca_py(exchange: Exchange) -> None:
    client = exchange.client()
    assert [asset.symbol for asset in client.get_all_assets()] == ["AAPL", "BTC/USD", "MSFT"]
    crypto = client.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO, status=AssetStatus.ACTIVE))
    assert [(asset.symbol, asset.shortable, asset.fractionable) for asset in crypto] == [("BTC/USD", False, True)]
    assert client.get_all_assets(GetAssetsRequest(status=AssetStatus.INACTIVE)) == []
    apple = client.get_asset("AAPL")
    assert (apple.asset_class, apple.tradable, apple.shortable) == (AssetClass.US_EQUITY, True, True)
    assert client.get_asset(str(apple.id)).symbol == "AAPL"
    assert client.get_asset("BTCUSD").symbol == "BTC/USD"
    assert client.get("/assets/BTC%2FUSD")["symbol"] == "BTC/USD"
    assert exchange.get("/v2/assets/AAPL")["borrow_status"] == "easy_to_borrow"
    with pytest.raises(APIError) as caught:
        client.get_asset("NONE")
    assert (caught.value.status_code, caught.value.message) == (404, "asset not found for NONE")


def test_clock_by_alpaca_py(exchange: Exchange) -> None:
    clock = exchange.client().get_clock()
    assert (clock.is_open, clock.timestamp, clock.next_open) == (False, OPEN - timedelta(minutes=2), OPEN)
    exchange.step_to(OPEN)
    clock = exchange.client().get_clock()
    assert clock.is_open
    assert clock.next_open == OPEN + timedelta(days=1)
    assert clock.next_close == OPEN + timedelta(hours=6.5)
    assert exchange.get("/v2/clock")["timestamp"] == "2025-03-10T09:30:00-04:00"


def test_calendar_by_alpaca_py(exchange: Exchange) -> None:
    client = exchange.client()
    days = client.get_calendar(GetCalendarRequest(start=date(2024, 11, 27), end=date(2024, 12, 2)))
    assert [(day.date, day.open.strftime("%H:%M"), day.close.strftime("%H:%M")) for day in days] == [
        (date(2024, 11, 27), "09:30", "16:00"), (date(2024, 11, 29), "09:30", "13:00"),
        (date(2024, 12, 2), "09:30", "16:00"),
    ]  # fmt: skip
    raw = exchange.get("/v2/calendar", start="2025-01-03", end="2025-01-03")
    assert raw == [
        {"date": "2025-01-03", "open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000",
         "settlement_date": "2025-01-06"}
    ]  # fmt: skip
    long_ago = exchange.get("/v2/calendar", start="1999-12-31", end="2000-01-03")
    assert [day["date"] for day in long_ago] == ["1999-12-31", "2000-01-03"]
    assert exchange.get("/v2/calendar", start="2031-01-01", end="2032-01-01") == []
    assert exchange.call("GET", "/v2/calendar?start=soon").status_code == 422
