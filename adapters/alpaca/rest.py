"""One REST request, one outcome. Carries the rules every request to Alpaca follows; knows no endpoint.

Decides what an answer was (done, refused, limited, no answer) from the HTTP status, the body and the exception, and
repeats only requests that read. It never repeats one that changes something: alpaca-py's own retries are switched off,
because a POST repeated after a 504 is refused as a duplicate of itself. One alpaca-py client per thread, as
requests.Session is not safe between threads; every request has a time limit, which alpaca-py forgets.
Called by adapters.alpaca.history, reading and trading.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient

from adapters.alpaca.config import KEY_VARIABLE, SECRET_VARIABLE, AlpacaConfig
from adapters.alpaca.parse import parse_error
from config.secrets import hide
from engine.errors import ConfigError, UnreachableError

_BODY_SHOWN_MAX = 120
_BAD_KEY_TEXTS = ("forbidden", "unauthorized", "not authorized", "access key verification failed")
"""403 with one of these and no code is a bad key, not a refused request."""


class Done(msgspec.Struct, frozen=True):
    """2xx with a readable body; None for an empty one (204)."""

    body: Any


class Refused(msgspec.Struct, frozen=True):
    """4xx with an error body of Alpaca's: understood, not done, and repeating it will not help."""

    status: int
    code: str
    message: str


class Limited(msgspec.Struct, frozen=True):
    """429: not done, for the rate."""

    retry_after_s: float


class NoAnswer(msgspec.Struct, frozen=True):
    """Nothing that says whether it was done: time-out, reset, 5xx, a body that is not Alpaca's."""

    reason: str


Outcome = Done | Refused | Limited | NoAnswer


class Rest:
    """Requests to one base URL.

    Args:
        make_client: Makes an alpaca-py client; called once per thread.
        base_url: For texts and to tell a local server.
        sleep: Waits between tries of a reading request.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        base_url: str,
        make_client: Callable[[], RESTClient],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._base_url = base_url
        self._make_client = make_client
        self._sleep = sleep
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def once(self, method: str, path: str, data: dict[str, Any] | None = None) -> Outcome:
        """Send one request.

        Raises:
            ConfigError: The venue refuses the key.
        """
        client = self._client()
        try:
            send = {"GET": client.get, "POST": client.post, "PATCH": client.patch, "DELETE": client.delete}[method]
            body = send(path, data)
        except APIError as error:
            return self._judge(error)
        except requests.exceptions.JSONDecodeError as error:
            return NoAnswer(f"{method} {path}: answer is not JSON: {_shown(error.doc)}")
        except (requests.RequestException, OSError) as error:
            return NoAnswer(f"{method} {path}: {type(error).__name__} from {self._base_url}")
        except (ValueError, RecursionError) as error:
            return NoAnswer(f"{method} {path}: answer is unreadable: {type(error).__name__}")
        return Done(body)

    def read(self, path: str, data: dict[str, Any] | None = None) -> Any:
        """GET with retries; give the body.

        Raises:
            UnreachableError: No usable answer within `read_attempts_max` tries.
            ConfigError: The venue refuses the key, or the request itself.
        """
        return self._body(path, self._answer(path, data))

    def read_if_there(self, path: str) -> Any:
        """GET with retries; give the body, None where the venue knows no such thing (404).

        Raises:
            UnreachableError: No usable answer within `read_attempts_max` tries.
            ConfigError: The venue refuses the key, or the request itself.
        """
        answer = self._answer(path, None)
        if isinstance(answer, Refused) and answer.status == 404:
            return None
        return self._body(path, answer)

    def _body(self, path: str, answer: Done | Refused) -> Any:
        if isinstance(answer, Refused):
            msg = f"{self._base_url} refused GET {path} ({answer.status}): {answer.message}"
            raise ConfigError(msg)
        return answer.body

    def _answer(self, path: str, data: dict[str, Any] | None) -> Done | Refused:
        wait_s = self._config.retry_s_min
        last = ""
        for attempt in range(1, self._config.read_attempts_max + 1):
            outcome = self.once("GET", path, data)
            match outcome:
                case Done() | Refused():
                    return outcome
                case Limited(retry_after_s):
                    last, pause_s = f"GET {path}: rate limit", retry_after_s
                case NoAnswer(reason):
                    last, pause_s = reason, wait_s
                    wait_s *= 2
            if attempt < self._config.read_attempts_max:
                self._sleep(pause_s)
        msg = f"no answer after {self._config.read_attempts_max} tries: {last}"
        raise UnreachableError(msg)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()
        self._local = threading.local()

    def _client(self) -> RESTClient:
        client: RESTClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._make_client()
            client._retry = 0  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            limits = (self._config.connect_s_max, self._config.read_s_max)
            session.request = functools.partial(session.request, timeout=limits)  # pyright: ignore[reportAttributeAccessIssue]
            # A proxy set for the world outside cannot reach a server on this machine.
            session.trust_env = not _is_loopback(self._base_url)
            with self._lock:
                self._sessions.append(session)
            self._local.client = client
        return client

    def _judge(self, error: APIError) -> Outcome:
        """Switch on the HTTP status and the message; Alpaca's codes do not follow the status (422 has 40010001)."""
        response: requests.Response | None = error.response
        if response is None:
            return NoAnswer("an error without a response")
        status = response.status_code
        text = hide(str(error))  # a server between us and the venue may say back what was sent to it
        if status == 429:
            return Limited(self._retry_after_s(response))
        read = parse_error(text)
        code, message = read or ("", "")
        key_refused = status == 401 or (
            status == 403 and not code and any(part in message.lower() for part in _BAD_KEY_TEXTS)
        )
        if key_refused:
            msg = (
                f"{self._base_url} refused the key (HTTP {status}): set {KEY_VARIABLE} and {SECRET_VARIABLE} to a key "
                "pair of this account (paper and live have different ones)"
            )
            raise ConfigError(msg)
        if read is None or status >= 500 or status == 408:
            return NoAnswer(f"HTTP {status}: {_shown(text)}")
        return Refused(status, code or str(status), message)

    def _retry_after_s(self, response: requests.Response) -> float:
        """Seconds until the limit resets, by the server's own clock (`Date`), within what is believable."""
        headers = response.headers
        try:
            after_s = float(headers["X-RateLimit-Reset"]) - parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            return self._config.rate_s_default
        if not after_s <= self._config.rate_s_max:  # also NaN
            return self._config.rate_s_max
        return max(after_s, self._config.retry_s_min)


def _shown(text: str) -> str:
    """Begin of a foreign body on one line."""
    line = " ".join(hide(text)[: 4 * _BODY_SHOWN_MAX].split())
    return repr(line if len(line) <= _BODY_SHOWN_MAX else f"{line[:_BODY_SHOWN_MAX]}...")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
