"""The interlock between paper and live, at its border: what is let through, and every half measure that is not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.alpaca.connect import connect_trading
from config.settings import AlpacaSettings, Settings, parse
from engine.errors import ConfigError
from tapeline.demo import ExchangeProcess
from tapeline.venue import alpaca_config, check_account, interlock

KEYS = {"ALPACA_API_KEY": "a-key", "ALPACA_SECRET_KEY": "a-secret"}
PAPER, LIVE = "PA3ZX0QK7D2M", "923456789"


def settings(**alpaca: object) -> Settings:
    return parse({"alpaca": alpaca})


def live(**alpaca: object) -> Settings:
    return settings(live=True, account_number=LIVE, **alpaca)


def test_paper_is_the_default() -> None:
    config = alpaca_config(Settings(), KEYS)
    assert config.rest_url == "https://paper-api.alpaca.markets"
    assert config.trading_ws_url == "wss://paper-api.alpaca.markets/stream"


def test_live_needs_both_and_then_leads_to_live() -> None:
    config = alpaca_config(live(), KEYS)
    assert config.rest_url == "https://api.alpaca.markets"
    assert config.trading_ws_url == "wss://api.alpaca.markets/stream"
    check_account(live(), LIVE)
    check_account(settings(), PAPER)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.alpaca.markets", "https://API.alpaca.markets/", "https://api.alpaca.markets.:443",
        "https://api.alpaca.markets/v2",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["rest_url", "trading_ws_url"])
def test_a_live_url_without_live_is_refused(url: str, name: str) -> None:
    url = url if name == "rest_url" else url.replace("https", "wss")
    with pytest.raises(ConfigError, match=rf"alpaca\.{name} .* live trading, but alpaca\.live is off"):
        alpaca_config(settings(**{name: url}), KEYS)


def test_the_live_url_of_a_setting_counts_too() -> None:
    wrong = settings(live_rest_url="https://gateway.example/live", rest_url="https://gateway.example/live")
    with pytest.raises(ConfigError, match=r"alpaca\.live is off"):
        interlock(wrong)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account_number": ""}, "account_number is empty"),
        ({"account_number": PAPER}, "is a paper account's"),
        ({"account_number": PAPER.lower()}, "is a paper account's"),
        ({"live_rest_url": "https://paper-api.alpaca.markets"}, "leads to paper trading"),
        ({"trading_ws_url": "wss://paper-api.alpaca.markets/stream"}, "leads to paper trading"),
        ({"live_rest_url": "http://gateway.example"}, "in the clear"),
        ({"trading_ws_url": "ws://gateway.example/stream"}, "in the clear"),
        ({"stock_ws_url": "ws://gateway.example/v2/sip"}, "in the clear"),
    ],
)
def test_half_measures_on_the_live_side_are_refused(changes: dict[str, str], said: str) -> None:
    tree = {"live": True, "account_number": LIVE} | changes
    with pytest.raises(ConfigError, match=said) as caught:
        alpaca_config(settings(**tree), KEYS)
    assert "\n" not in str(caught.value)


def test_a_local_exchanges_clock_does_not_go_with_real_money() -> None:
    with pytest.raises(ConfigError, match="venue_clock_url"):
        interlock(msgspec.structs.replace(live(), venue_clock_url="http://127.0.0.1:8000/control"))


@pytest.mark.parametrize("name", ["rest_url", "data_url", "stock_ws_url", "crypto_ws_url", "trading_ws_url"])
def test_keys_do_not_go_to_alpaca_in_the_clear(name: str) -> None:
    scheme = "http" if name.endswith(("rest_url", "data_url")) else "ws"
    with pytest.raises(ConfigError, match=rf"alpaca\.{name} would send the keys in the clear"):
        interlock(settings(**{name: f"{scheme}://paper-api.alpaca.markets"}))


def test_local_exchanges_are_let_through() -> None:
    for host in ("127.0.0.1:1", "[::1]:1", "localhost:1", "exchange:8765"):
        interlock(settings(rest_url=f"http://{host}", trading_ws_url=f"ws://{host}/stream", data_url=f"http://{host}"))
    interlock(settings(rest_url="http://127.0.0.1:1", live_rest_url="http://127.0.0.1:1"))


def test_the_account_says_which_kind_it_is() -> None:
    with pytest.raises(ConfigError, match=rf"paper account {PAPER}.*account {LIVE}"):
        check_account(live(), PAPER)
    with pytest.raises(ConfigError, match=rf"account {LIVE}, which is no paper account"):
        check_account(settings(), LIVE)


def test_the_default_urls_are_the_ones_the_interlock_knows() -> None:
    default = AlpacaSettings()
    interlock(settings(rest_url=default.rest_url))
    with pytest.raises(ConfigError):
        interlock(settings(rest_url=default.live_rest_url))


def test_keys_may_come_from_private_files(tmp_path: Path) -> None:
    for name in KEYS:
        (tmp_path / name).write_text(f"{name}-of-a-file\n")
        (tmp_path / name).chmod(0o600)
    files = {f"{name}_FILE": str(tmp_path / name) for name in KEYS}
    config = alpaca_config(Settings(), files)
    assert (config.key, config.secret) == ("ALPACA_API_KEY-of-a-file", "ALPACA_SECRET_KEY-of-a-file")
    (tmp_path / "ALPACA_SECRET_KEY").chmod(0o640)
    with pytest.raises(ConfigError, match=r"ALPACA_SECRET_KEY_FILE .* chmod 600"):
        alpaca_config(Settings(), files)
    with pytest.raises(ConfigError, match=r"ALPACA_SECRET_KEY not set.*ALPACA_SECRET_KEY_FILE"):
        alpaca_config(Settings(), {"ALPACA_API_KEY_FILE": files["ALPACA_API_KEY_FILE"]})


def test_the_venue_itself_is_asked_before_anything_is_sent(tmp_path: Path) -> None:
    """A local exchange's account is a paper one: with alpaca.live the executor's first question ends it."""
    exchange = ExchangeProcess(["--port", "0", "--generate", "1", "--hold"], tmp_path / "exchange.log")
    try:
        exchange.wait_ready(30)
        ours = live(live_rest_url=exchange.urls["rest"], trading_ws_url=exchange.urls["trading_ws"])
        with pytest.raises(ConfigError, match="keys are of paper account PA"):
            _number(ours)
        assert _number(settings(rest_url=exchange.urls["rest"])).startswith("PA")
    finally:
        exchange.stop()


def _number(wanted: Settings) -> str:
    venue, _ = connect_trading(
        alpaca_config(wanted, KEYS), lambda _level, _what: None, lambda number: check_account(wanted, number)
    )
    return venue.account().account_number
