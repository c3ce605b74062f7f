"""What every REST handler shares: bodies, refusals, query parameters, and the middlewares around the calls.

The gate counts requests, checks keys and limits the rate; faults on purpose happen inside it (`rest_faults`). Error
bodies follow Alpaca: `{"code": 40310000, "message": "..."}`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from aiohttp import web

from adapters.exchange.auth import Credentials, header_credentials
from adapters.exchange.orders import Refusal
from engine.values import NS_PER_S

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_WINDOW_S = 60.0
_ACCEPTED_MAX = 50_000
_WEBSOCKETS = frozenset({"/stream", "/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test", "/v1beta1/news"})


class BadParameterError(Exception):
    """A query parameter or body that cannot be read; becomes a 400 or 422 answer in the middleware."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AcceptLog:
    """When orders were taken in, by the wall clock: the newest ones, for measurements (`/control/accepted`)."""

    def __init__(self) -> None:
        self._times: deque[tuple[str, int]] = deque(maxlen=_ACCEPTED_MAX)

    def note(self, client_order_id: str) -> None:
        """Note an order at the moment it was taken in."""
        self._times.append((client_order_id, time.time_ns()))

    def times(self) -> dict[str, int]:
        """Ns UTC by client_order_id, oldest first."""
        return dict(self._times)


class Gate:
    """Counts requests in flight and, where set, limits the requests of each minute.

    Args:
        credentials: Which keys are let in.
        per_min_max: Requests per minute and account; None is no limit.
    """

    def __init__(self, credentials: Credentials, per_min_max: int | None) -> None:
        self.in_flight = 0
        self._credentials = credentials
        self._per_min_max = per_min_max
        self._window_start = 0.0
        self._used = 0

    def middleware(self) -> Any:
        """The middleware to install."""

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            if is_outside(request):
                return await handler(request)
            self.in_flight += 1
            try:
                return await self._answer(request, handler)
            finally:
                self.in_flight -= 1

        return gate

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/v1beta3/crypto"):
            offered = header_credentials(request.headers)
            if offered is None or not self._credentials.accept(*offered):
                return json_response({"message": "unauthorized."}, 401)
        headers = self._count()
        if self._per_min_max is not None and self._used > self._per_min_max:
            response = json_response({"code": 42910000, "message": "rate limit exceeded"}, 429)
        else:
            try:
                response = await handler(request)
            except BadParameterError as error:
                response = refused(error.refusal)
            except web.HTTPNotFound:
                response = json_response({"code": 40410000, "message": f"endpoint not found: {request.path}"}, 404)
            except web.HTTPMethodNotAllowed:
                response = json_response({"code": 40510000, "message": f"method not allowed: {request.method}"}, 405)
        response.headers.update(headers)
        return response

    def _count(self) -> dict[str, str]:
        """Count this request in the running window of a minute and give the rate headers."""
        if self._per_min_max is None:
            return {}
        now = asyncio.get_running_loop().time()
        if now - self._window_start >= _WINDOW_S:
            self._window_start, self._used = now, 0
        self._used += 1
        left_s = int(self._window_start + _WINDOW_S - now) + 1
        return rate_headers(self._per_min_max, max(0, self._per_min_max - self._used), left_s)


def rate_headers(limit: int, remaining: int, reset_s: int) -> dict[str, str]:
    """Alpaca's three headers; the window ends in `reset_s` real seconds."""
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(time.time_ns() // NS_PER_S + reset_s),
    }


def is_outside(request: web.Request) -> bool:
    """True for what is no REST call of Alpaca's: the control URL and the websockets."""
    if request.path.startswith("/control"):
        return True
    return request.path in _WEBSOCKETS or request.headers.get("Upgrade", "").lower() == "websocket"


def json_response(body: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def refused(refusal: Refusal) -> web.Response:
    """Alpaca's error body."""
    return json_response({"code": refusal.code, "message": refusal.message, **refusal.extra}, refusal.status)


async def read_body[T](request: web.Request, kind: type[T]) -> T:
    """Decode a JSON body into a struct.

    Raises:
        BadParameterError: The body is no JSON (400) or holds a value of the wrong kind (422).
    """
    raw = await request.read()
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise BadParameterError(Refusal(422, 40010001, f"invalid request: {error}")) from error
    except msgspec.DecodeError as error:
        raise BadParameterError(Refusal(400, 40010000, "request body format is invalid")) from error


def is_true(query: Mapping[str, str], name: str) -> bool:
    """`True`, `true` and `1` are true."""
    return query.get(name, "").lower() in ("true", "1")


def integer(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number inside its range."""
    text = query.get(name)
    if text is None or text == "":
        return default
    if not text.lstrip("-").isdigit() or not low <= int(text) <= high:
        raise BadParameterError(Refusal(422, 40010001, f"invalid {name} {text}: must be {low} to {high}"))
    return int(text)


def choice(query: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    """One of the known words."""
    text = query.get(name) or default
    if text not in known:
        raise BadParameterError(Refusal(422, 40010001, f"invalid {name} {text}: must be one of {', '.join(known)}"))
    return text


def listed(query: Mapping[str, str], name: str) -> list[str]:
    """A comma list; empty when missing."""
    return [part.strip() for part in query.get(name, "").split(",") if part.strip()]


def time_ns(query: Mapping[str, str], name: str) -> int | None:
    """An RFC 3339 time or a date, as ns UTC; without a zone it is UTC."""
    text = query.get(name)
    if not text:
        return None
    try:
        return parse_ns(text)
    except ValueError as error:
        raise BadParameterError(Refusal(422, 40010001, f"invalid {name} {text}: must be RFC 3339 or a date")) from error


def parse_ns(text: str) -> int:
    """Ns UTC of an RFC 3339 time with up to nine decimals, or of a date's midnight UTC.

    Raises:
        ValueError: It is neither.
    """
    spaced = text.strip().replace(" ", "+") if "T" in text else text.strip()
    head, dot, rest = spaced.partition(".")
    part = 0
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        part = int(digits[:9].ljust(9, "0")) if digits else 0
        head += rest[len(digits) :]
    moment = datetime.fromisoformat(head)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int(moment.timestamp()) * NS_PER_S + part


def day(query: Mapping[str, str], name: str) -> date | None:
    """A date; of a time its date part."""
    text = query.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise BadParameterError(Refusal(422, 40010001, f"invalid {name} {text}: must be YYYY-MM-DD")) from error
