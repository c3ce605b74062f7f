"""The venue's keys and URLs put together, and the interlock between paper and live. Part of the composition root.

Paper is what happens unless two things say otherwise: the setting alpaca.live, and alpaca.account_number, which must be
the number of the keys' account. Refused are also all half measures: Alpaca's live URL without alpaca.live, a paper URL
or a local exchange's clock with it, and (asked of the venue itself, before anything is sent) keys of a paper account
with it or of another one without it. Alpaca's paper accounts have numbers that begin with PA.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config.secrets import VARIABLES, secret_of
from config.settings import AlpacaSettings, Settings
from engine.errors import ConfigError

if TYPE_CHECKING:
    from adapters.alpaca.config import AlpacaConfig

KEYED_ROLES = ("feed", "executor")
"""Roles that talk to the venue; no other process is given its keys."""
_DOMAIN = "alpaca.markets"
_PAPER_HOST = "paper-api.alpaca.markets"
_LIVE_HOST = "api.alpaca.markets"
_PAPER_NUMBER = "PA"
_CLEAR = ("http", "ws")


def alpaca_config(settings: Settings, environment: Mapping[str, str]) -> AlpacaConfig:
    """Put URLs and keys together.

    Raises:
        ConfigError: A key is missing or its file is refused; paper and live are mixed.
    """
    from adapters.alpaca.config import AlpacaConfig

    interlock(settings)
    key, secret = (secret_of(environment, name) for name in VARIABLES)
    missing = [name for name, value in zip(VARIABLES, (key, secret), strict=True) if not value]
    if missing:
        msg = (
            f"{' and '.join(missing)} not set: export the keys of your Alpaca account, or name files that hold them in "
            f"{' and '.join(f'{name}_FILE' for name in missing)}, or try `tapeline demo`"
        )
        raise ConfigError(msg)
    alpaca = settings.alpaca
    rest_url = _rest_url(alpaca)
    return AlpacaConfig(
        key=key,
        secret=secret,
        rest_url=rest_url,
        data_url=alpaca.data_url,
        stock_ws_url=alpaca.stock_ws_url,
        crypto_ws_url=alpaca.crypto_ws_url,
        trading_ws_url=_trading_ws_url(alpaca),
        feed=alpaca.feed,
        connect_s_max=alpaca.connect_timeout_s,
        read_s_max=alpaca.read_timeout_s,
        read_attempts_max=settings.feed.backfill_attempts_max,
        mute_s_max=settings.feed.mute_s_max,
        reconnect_s_min=alpaca.reconnect_s_min,
    )


def interlock(settings: Settings) -> None:
    """Refuse settings in which paper and live are mixed, and keys in the clear to Alpaca or with real money.

    Raises:
        ConfigError: Names the setting and what to do.
    """
    alpaca = settings.alpaca
    if alpaca.live:
        _check_live(settings)
    elif wrong := _named(alpaca, _live_hosts(alpaca)):
        msg = (
            f"{wrong} leads to Alpaca's live trading, but alpaca.live is off: leave it at its default for paper; for "
            "real money set alpaca.live and alpaca.account_number instead"
        )
        raise ConfigError(msg)
    for name in ("rest_url", "live_rest_url", "data_url", "stock_ws_url", "crypto_ws_url", "trading_ws_url"):
        url = urlsplit(getattr(alpaca, name))
        host = _host(url.geturl())
        is_alpaca = host == _DOMAIN or host.endswith(f".{_DOMAIN}")
        if url.scheme in _CLEAR and (is_alpaca or (alpaca.live and not _is_here(host))):
            msg = f"alpaca.{name} would send the keys in the clear ({url.scheme}://{host}): use {url.scheme}s://"
            raise ConfigError(msg)


def _check_live(settings: Settings) -> None:
    alpaca = settings.alpaca
    if not alpaca.account_number:
        msg = "alpaca.live is on but alpaca.account_number is empty: live trading needs the number of the account"
    elif _is_paper(alpaca.account_number):
        msg = (
            f"alpaca.live is on but alpaca.account_number {alpaca.account_number} is a paper account's: set the number "
            "of the live account, or turn alpaca.live off"
        )
    elif wrong := _named(alpaca, {_PAPER_HOST}):
        msg = f"alpaca.live is on but {wrong} leads to paper trading: leave it at its default, or turn alpaca.live off"
    elif settings.venue_clock_url:
        msg = "alpaca.live is on but venue_clock_url names a local exchange: real money needs the real time; unset it"
    else:
        return
    raise ConfigError(msg)


def check_account(settings: Settings, number: str) -> None:
    """Refuse keys of an account of the other kind, as soon as the venue says whose they are.

    Args:
        settings: The whole settings.
        number: The account's number, as the venue gives it.

    Raises:
        ConfigError: Paper keys for live trading, or other keys for paper trading.
    """
    if settings.alpaca.live and _is_paper(number):
        msg = (
            f"alpaca.live is on but the keys are of paper account {number}: use the keys of account "
            f"{settings.alpaca.account_number}, or turn alpaca.live off"
        )
        raise ConfigError(msg)
    if not settings.alpaca.live and not _is_paper(number):
        msg = (
            f"alpaca.live is off but the keys are of account {number}, which is no paper account (PA...): use paper "
            "keys; for real money set alpaca.live and alpaca.account_number"
        )
        raise ConfigError(msg)


def _rest_url(alpaca: AlpacaSettings) -> str:
    return alpaca.live_rest_url if alpaca.live else alpaca.rest_url


def _trading_ws_url(alpaca: AlpacaSettings) -> str:
    return alpaca.trading_ws_url or _rest_url(alpaca).replace("http", "ws", 1) + "/stream"


def _live_hosts(alpaca: AlpacaSettings) -> set[str]:
    other = _host(alpaca.live_rest_url)
    return {_LIVE_HOST} if other == _PAPER_HOST or _is_here(other) else {_LIVE_HOST, other}


def _named(alpaca: AlpacaSettings, hosts: set[str]) -> str:
    """Which of the trading URLs in use leads to one of these hosts; empty when none does."""
    rest = "live_rest_url" if alpaca.live else "rest_url"
    urls = {rest: _rest_url(alpaca), "trading_ws_url": _trading_ws_url(alpaca)}
    return next((f"alpaca.{name} {url}" for name, url in urls.items() if _host(url) in hosts), "")


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower().rstrip(".")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_paper(number: str) -> bool:
    return number.upper().startswith(_PAPER_NUMBER)
