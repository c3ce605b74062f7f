from __future__ import annotations

from decimal import Decimal

import pytest

from engine.costs import ALPACA, NO_FEES, NO_SLIPPAGE, FeeModel, Slippage, fee_model, slippage_model
from engine.errors import ConfigError
from engine.values import Side

D = Decimal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", NO_FEES),
        ("alpaca", ALPACA),
        ("exchange, regulatory", ALPACA),
        ("per_share=0.005,per_order=1", FeeModel(per_share=D("0.005"), per_order=D(1))),
        ("alpaca,crypto=0.1", FeeModel(crypto=D("0.1"), sec=ALPACA.sec, taf=ALPACA.taf, taf_max=ALPACA.taf_max)),
        ("percent=0", NO_FEES),
        ("alpaca,none", NO_FEES),
        ("alpaca,none,per_order=1", FeeModel(per_order=D(1))),
    ],
)
def test_a_model_is_read(text: str, expected: FeeModel) -> None:
    assert fee_model(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alpca",
        "percent",
        "percent=-1",
        "percent=nan",
        "percent=101",
        "crypto=150",
        "per_order=1e400",
        "percent=x",
        "alpaca=1",
        "bps=1",
    ],
)
def test_what_is_no_charge_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^fees: .* is none: use some of none, exchange, .*per_share=0..1000000, .*percent=0..100,"
    ) as caught:
        fee_model(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "symbol", "side", "quantity", "price", "is_first", "expected"),
    [
        ("none", "AAPL", "sell", "100", "500", True, "0"),
        ("per_share=0.005", "AAPL", "buy", "100", "500", True, "0.5"),
        ("per_share=0.005", "BTC/USD", "buy", "100", "500", True, "0"),
        ("per_order=1", "AAPL", "buy", "100", "500", True, "1"),
        ("per_order=1", "AAPL", "buy", "100", "500", False, "0"),
        ("percent=0.1", "AAPL", "sell", "100", "500", True, "50"),
        ("percent=0.1", "BTC/USD", "sell", "0.5", "7000", False, "3.5"),
        ("per_order=1,per_share=0.01,percent=0.1", "AAPL", "sell", "100", "500", True, "52"),
        ("regulatory", "AAPL", "buy", "100", "500", True, "0"),
        ("regulatory", "AAPL", "sell", "100", "500", True, "1.41"),  # 1.39 of 50,000 USD, 0.0166 of 100 shares
        ("regulatory", "AAPL", "sell", "1", "1", True, "0.02"),  # a cent each
        ("regulatory", "AAPL", "sell", "1000000", "1", True, "36.10"),  # TAF is 8.30 at most
        ("taf=0.001", "AAPL", "sell", "100000", "1", True, "100"),
        ("regulatory", "BTC/USD", "sell", "1", "7000", True, "0"),
        ("alpaca", "BTC/USD", "sell", "1", "7000", True, "0"),  # the venue takes it of what it credits
    ],
)
def test_what_a_fill_costs(
    model: str, symbol: str, side: str, quantity: str, price: str, is_first: bool, expected: str
) -> None:
    cost = fee_model(model).commission(symbol, Side(side), D(quantity), D(price), is_first=is_first)
    assert cost == D(expected)


def test_slippage_is_read() -> None:
    assert slippage_model("none") == NO_SLIPPAGE
    assert slippage_model("bps=5, ticks=1,range=0.1") == Slippage(bps=D(5), ticks=D(1), range=D("0.1"))
    with pytest.raises(ConfigError, match=r"slippage: '5' is none: use some of none, bps=0..10000, "):
        slippage_model("5")
    for text in ("bps=1e30", "range=2", "ticks=-1"):
        with pytest.raises(ConfigError):
            slippage_model(text)
    assert slippage_model("bps=5,none") == NO_SLIPPAGE
