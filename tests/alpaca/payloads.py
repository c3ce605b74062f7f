"""Payloads as Alpaca's documentation shows them."""

from __future__ import annotations

from typing import Any

FILL_UPDATE: dict[str, Any] = {
    "event": "fill",
    "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "order": {
        "asset_class": "crypto",
        "asset_id": "1cf35270-99ee-44e2-a77f-6fab902c7f80",
        "cancel_requested_at": None,
        "client_order_id": "4642fd68-d59a-47d7-a9ac-e22f536828d1",
        "created_at": "2022-04-19T13:45:04.981350886-04:00",
        "extended_hours": False,
        "filled_at": "2022-04-19T17:45:05.024916716Z",
        "filled_avg_price": "105.8988475",
        "filled_qty": "1790.86",
        "id": "a5be8f5e-fdfa-41f5-a644-7a74fe947a8f",
        "order_type": "market",
        "qty": "1790.86",
        "side": "sell",
        "status": "filled",
        "submitted_at": "2022-04-19T13:45:04.980944666-04:00",
        "symbol": "SOLUSD",
        "time_in_force": "gtc",
        "type": "market",
        "updated_at": "2022-04-19T13:45:05.027690731-04:00",
    },
    "position_qty": "0",
    "price": "105.8988475",
    "qty": "1790.86",
    "timestamp": "2022-04-19T17:45:05.024916716Z",
}
ORDER: dict[str, Any] = {
    "id": "7b08df51-c1ac-453c-99f9-323a5f075f0d",
    "client_order_id": "5680c4bc-9ac1-4a12-a44c-df427ba53032",
    "created_at": "2023-12-12T22:31:24.668464435Z",
    "updated_at": "2023-12-12T22:31:24.668464435Z",
    "submitted_at": "2023-12-12T22:31:24.577215743Z",
    "filled_at": None,
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "notional": None,
    "qty": "2",
    "filled_qty": "0",
    "filled_avg_price": None,
    "order_class": "",
    "type": "limit",
    "side": "buy",
    "time_in_force": "gtc",
    "limit_price": "150",
    "status": "accepted",
    "extended_hours": False,
}
FILL_ACTIVITY: dict[str, Any] = {
    "activity_type": "FILL",
    "id": "20220202135509981::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e",
    "order_id": "b5abe576-6a8a-49f3-a353-46b72c1ccae9",
    "order_status": "filled",
    "side": "buy",
    "symbol": "AAPL",
    "type": "fill",
    "price": "174.78",
    "qty": "2",
    "cum_qty": "2",
    "leaves_qty": "0",
    "transaction_time": "2022-02-02T18:55:09.981482Z",
}
CFEE: dict[str, Any] = {
    "id": "20220812000000000::53be51ba-46f9-43de-b81f-576f241dc680",
    "activity_type": "CFEE",
    "date": "2022-08-12",
    "net_amount": "0",
    "description": "Coin Pair Transaction Fee (Non USD)",
    "symbol": "ETHUSD",
    "qty": "-0.000195",
    "price": "1884.5",
    "status": "executed",
}
ACCOUNT = {
    "id": "1d9eed04-be39-4e01-9b84-a48ac5bbafcf",
    "account_number": "PALPACA_123",
    "status": "ACTIVE",
    "cash": "122086.50",
    "portfolio_value": "123346.11",
    "equity": "123346.11",
    "buying_power": "245432.61",
}
POSITIONS = [
    {"symbol": "AAPL", "asset_class": "us_equity", "qty": "5", "side": "long", "exchange": "NASDAQ"},
    {"symbol": "TSLA", "asset_class": "us_equity", "qty": "-3.50", "side": "short"},
    {"symbol": "MSFT", "asset_class": "us_equity", "qty": "3", "side": "short"},
    {"symbol": "NONE", "asset_class": "us_equity", "qty": "0", "side": "long"},
    {"symbol": "BTCUSD", "asset_class": "crypto", "qty": "0.99750000", "side": "long"},
]
BRACKET: dict[str, Any] = ORDER | {
    "id": "0f4e1ac0-7b65-4a1e-b4c2-0d4a0f2f6d0b",
    "client_order_id": "entry",
    "order_class": "bracket",
    "status": "filled",
    "filled_qty": "2",
    "filled_avg_price": "149.50",
    "legs": [
        ORDER
        | {
            "id": "7a1a6a2a-2f4e-4f0e-9b54-6d3c6e7f0d11",
            "client_order_id": "9d1f0f4e-5d53-4ad8-8a3c-7f0d3f9b3d55",
            "order_class": "bracket",
            "side": "sell",
            "type": "limit",
            "limit_price": "160.00",
            "status": "new",
            "legs": None,
        },
        ORDER
        | {
            "id": "c1a9e3d7-64d3-4f2b-8d0f-3c2b1a0f9e88",
            "client_order_id": "1b7c2a53-91a4-4c6e-8b1d-2a3f4e5d6c7b",
            "order_class": "bracket",
            "side": "sell",
            "type": "stop_limit",
            "limit_price": "139.50",
            "stop_price": "140",
            "status": "held",
            "legs": None,
        },
    ],
}
TRAILING: dict[str, Any] = ORDER | {
    "type": "trailing_stop",
    "side": "sell",
    "limit_price": None,
    "stop_price": "187.13",
    "trail_percent": "1.0",
    "trail_price": None,
    "hwm": "189.0234",
    "status": "new",
}
MULTI_LEG: dict[str, Any] = {
    "id": "3fb2d0cf-4f1c-4c0b-8a5a-11a3b1a6a001",
    "client_order_id": "spread",
    "created_at": "2025-01-23T18:06:41.101Z",
    "updated_at": "2025-01-23T18:06:41.101Z",
    "submitted_at": "2025-01-23T18:06:41.101Z",
    "asset_id": "00000000-0000-0000-0000-000000000000",
    "symbol": "",
    "asset_class": "",
    "qty": "1",
    "filled_qty": "1",
    "order_class": "mleg",
    "type": "limit",
    "side": "",
    "time_in_force": "day",
    "limit_price": "0.6",
    "status": "filled",
    "legs": [
        ORDER
        | {
            "id": f"3fb2d0cf-4f1c-4c0b-8a5a-11a3b1a6a{number}",
            "client_order_id": f"leg-{number}",
            "symbol": symbol,
            "asset_class": "us_option",
            "qty": "1",
            "filled_qty": "1",
            "order_class": "mleg",
            "side": side,
            "status": "filled",
        }
        for number, symbol, side in (("002", "AAPL250117P00200000", "buy"), ("003", "AAPL250117C00250000", "sell"))
    ],
}
