"""The venue's list of orders, page by page: every open one and every newer one, each group as a tree.

Three things make it more than a request. A page ends at a number, not at a time: the next one starts a little before
the last order's time and what is known is skipped; where a whole page has one time, the venue's `after_order_id` goes
on. An open leg whose parent has filled is found among the open orders only without its parent: the parent is looked for
around the time the leg was made. And an order that cannot be read stops the reading. Called by adapters.alpaca.reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from adapters.alpaca.fields import Problem, lenient, listed, rfc3339, time_ns
from adapters.alpaca.parse_orders import parse_orders
from engine.errors import BrokenPromiseError, UnreachableError
from engine.ports import VenueOrder
from engine.values import NS_PER_S, OrderClass

_STEP_NS = 1000
"""How much earlier the next page starts: `after` is exclusive and the venue may keep microseconds only."""
_MARGIN_NS = NS_PER_S

Read = Callable[[str, dict[str, Any]], Any]


class OrderList:
    """Reads orders.

    Args:
        read: GET with retries (`Rest.read`).
        per_page: Orders per page; Alpaca gives at most 500.
        pages_max: Pages after which something is wrong.
        name: Who is asked, for texts.
    """

    def __init__(self, read: Read, per_page: int, pages_max: int, name: str) -> None:
        self._read = read
        self._per_page = per_page
        self._pages_max = pages_max
        self._name = name

    def since(self, after_ns: int) -> list[VenueOrder]:
        """Give every open order and every one submitted at or after this time, oldest first, legs in their parent.

        Raises:
            UnreachableError: No usable answer, or pages that do not end.
            BrokenPromiseError: An order cannot be read.
        """
        single = {order.venue_order_id: order for order in self._pages(status="open")}
        trees = {
            order.venue_order_id: order
            for order in self._pages(status="all", nested="true", after_ns=after_ns - _MARGIN_NS)
        }
        self._add_groups(single, trees)
        known = {part.venue_order_id for order in trees.values() for part in members(order)}
        found = [order for order in single.values() if order.venue_order_id not in known]
        found += [order for order in trees.values() if order.submitted_ns >= after_ns or is_any_open(order, single)]
        return sorted(found, key=lambda order: (order.submitted_ns, order.venue_order_id))

    def _add_groups(self, single: dict[str, VenueOrder], trees: dict[str, VenueOrder]) -> None:
        """Find the trees of open orders that belong to a group and stand alone so far."""
        known = {part.venue_order_id for order in trees.values() for part in members(order)}
        grouped = [order for order in single.values() if order.order_class is not OrderClass.SIMPLE]
        for order in sorted(grouped, key=lambda order: order.submitted_ns):
            if order.venue_order_id in known:
                continue
            page = self._page(
                {"status": "all", "nested": "true", **self._asc(), "after": _time(order.submitted_ns - _MARGIN_NS)}
            )
            for tree in self._parsed(page):
                if any(part.venue_order_id in single for part in members(tree)):
                    trees[tree.venue_order_id] = tree
                    known.update(part.venue_order_id for part in members(tree))

    def _asc(self) -> dict[str, Any]:
        return {"direction": "asc", "limit": self._per_page}

    def _pages(self, status: str, nested: str = "false", after_ns: int = 0) -> Iterator[VenueOrder]:
        fixed = {"status": status, "nested": nested, **self._asc()}
        place: dict[str, Any] = {"after": _time(after_ns)}
        seen: set[str] = set()
        for _ in range(self._pages_max):
            page = self._page(fixed | place)
            fresh = [raw for raw in page if raw["id"] not in seen]
            seen.update(raw["id"] for raw in fresh)
            yield from self._parsed(fresh)
            if len(page) < self._per_page:
                return
            last_ns = time_ns(page[-1].get("submitted_at"))
            if fresh and last_ns is not None and "after" in place:
                place = {"after": _time(last_ns - _STEP_NS)}
            elif fresh or "after" in place:  # all of one moment: from here on by the venue's own mark
                place = {"after_order_id": page[-1]["id"]}
            else:
                break
        msg = f"orders of {self._name} do not end: {len(seen)} read, and the pages bring no others"
        raise UnreachableError(msg)

    def _page(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        page = self._read("/orders", params)
        if not isinstance(page, list):
            msg = f"orders of {self._name} are no list: the URL is not Alpaca's trading API"
            raise UnreachableError(msg)
        orders = listed(page)
        if any(not isinstance(lenient(raw).get("id"), str) for raw in orders):
            msg = f"orders of {self._name} cannot be read: one has no id"
            raise BrokenPromiseError(msg)
        return orders

    def _parsed(self, page: list[dict[str, Any]]) -> Iterator[VenueOrder]:
        for raw in page:
            for order in parse_orders(raw):
                if isinstance(order, Problem):
                    msg = f"order {raw['id']!r} of {self._name} cannot be read: {order.what}"
                    raise BrokenPromiseError(msg)
                yield order


def members(order: VenueOrder) -> Iterator[VenueOrder]:
    """Give an order and everything below it."""
    yield order
    for leg in order.legs:
        yield from members(leg)


def is_any_open(order: VenueOrder, still_open: dict[str, VenueOrder]) -> bool:
    """Whether the order or one of its legs is among the open ones."""
    return any(part.venue_order_id in still_open for part in members(order))


def _time(ns: int) -> str:
    return rfc3339(max(ns, 0))
