"""Faults of REST requests: refused, failed before or after they were processed, slow, cut, unanswered, or in HTML.

A middleware inside the gate, so that keys and the rate limit come first. A request that fails "after" has had all its
effects: only the answer is wrong, as with Alpaca's 504 on an order that was accepted. Without rules it does nothing.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
from aiohttp import web

from adapters.exchange import rest
from adapters.exchange.faults import REST_FAULTS, FaultRule, Faults
from adapters.exchange.ids import digest
from adapters.exchange.orders import Refusal
from adapters.exchange.outbox import reset

_RATE = 200
_POLL_S = 0.02
_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<h1>502 Bad Gateway</h1>\r\n</body></html>\r\n"
)
_BARS_NULL = frozenset({"bars_null"})


class RestFaults:
    """The middleware.

    Args:
        faults: The rules.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def middleware(self) -> Any:
        """The middleware to install."""

        @web.middleware
        async def around(request: web.Request, handler: rest.Handler) -> web.StreamResponse:
            if not self._faults.plan.rules or rest.is_outside(request):
                return await handler(request)
            content = digest(request.query_string, (await request.read()).hex())
            rule = self._faults.for_request(REST_FAULTS, request.method, request.path, content)
            if rule is None:
                return await self._answered(request, handler, content)
            if rule.when == "before" and rule.fault not in ("truncated", "duplicate_422"):
                if rule.fault != "slow":
                    return await _broken(request, rule, None)
                await asyncio.sleep(rule.delay_s)
                return await handler(request)
            return await self._after(request, handler, rule)

        return around

    async def _after(self, request: web.Request, handler: rest.Handler, rule: FaultRule) -> web.StreamResponse:
        """Let the request have its effects, then answer wrongly."""
        answer: web.StreamResponse | None = None
        try:
            answer = await handler(request)
        except (rest.BadParameterError, web.HTTPException):
            if rule.fault == "slow":
                await asyncio.sleep(rule.delay_s)
                raise
        if rule.fault == "slow" and answer is not None:
            await asyncio.sleep(rule.delay_s)
            return answer
        return await _broken(request, rule, answer)

    async def _answered(self, request: web.Request, handler: rest.Handler, content: bytes) -> web.StreamResponse:
        """Answer as always, but for bars that are null where there should be an empty map."""
        answer = await handler(request)
        is_bars = request.path.endswith("/bars") and isinstance(answer, web.Response)
        if is_bars and self._faults.for_request(_BARS_NULL, request.method, request.path, content) is not None:
            return rest.json_response({"bars": None, "next_page_token": None})
        return answer


async def _broken(request: web.Request, rule: FaultRule, answer: web.StreamResponse | None) -> web.StreamResponse:
    match rule.fault:
        case "http_429":
            response = rest.json_response({"code": 42910000, "message": "rate limit exceeded"}, 429)
            wait_s = math.ceil(rule.delay_s)
            response.headers.update({**rest.rate_headers(_RATE, 0, wait_s), "Retry-After": str(wait_s)})
            return response
        case "http_500":
            return rest.json_response({"code": 50010000, "message": "internal server error occurred"}, 500)
        case "http_504":
            return rest.json_response({"message": "upstream request timeout"}, 504)
        case "html":
            return web.Response(body=_HTML, status=502, content_type="text/html")
        case "duplicate_422":
            return rest.refused(Refusal(422, 40010001, "client_order_id must be unique"))
        case "truncated":
            return await _truncated(request, answer)
        case "no_answer":
            while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110  no event for it
                await asyncio.sleep(_POLL_S)
            return web.Response()
        case _:
            reset(request)
            return web.Response()


async def _truncated(request: web.Request, answer: web.StreamResponse | None) -> web.StreamResponse:
    """Promise the whole body, send half of it, and end the connection."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
    body = body or msgspec.json.encode({"message": "truncated"})
    response = web.StreamResponse(status=answer.status if answer else 500)
    response.content_type, response.content_length = "application/json", len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
