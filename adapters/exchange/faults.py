"""Faults on purpose: which there are, the rules that ask for them, and the decision whether one happens now.

A rule names a fault, what it is about (method and path, symbol, event ...) and when it happens: at the occasions `nth`,
at `every` so many, with a `probability`, at most `times`; without any of these at every occasion. Occasions are counted
per rule. A probability is drawn from (seed, rule, content of the occasion, how often this same content came before), so
that it does not depend on the order in which requests on different things arrive. Without rules nothing ever happens.

Pure but for `load_faults`. Asked by the REST middleware, the book and both websockets.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from adapters.exchange.ids import digest, draw
from engine.errors import ConfigError
from engine.values import to_decimal

REST_FAULTS = frozenset({
    "http_429", "http_500", "http_504", "html", "reset", "slow", "no_answer", "truncated", "duplicate_422",
})  # fmt: skip
"""What may happen to a REST request; `when` says whether before or after it was processed."""
DATA_FAULTS = frozenset({"bars_null", "stale_positions", "clock_skew"})
"""Answers that are well-formed and wrong."""
ORDER_FAULTS = frozenset({
    "reject_after_200", "cancel_rejected", "stuck_pending_cancel", "fill_after_cancel", "replace_rejected",
    "fill_before_replace",
})  # fmt: skip
UPDATE_FAULTS = frozenset({
    "update_lost", "update_duplicate", "update_delayed", "update_reordered", "update_null", "update_unknown",
    "update_broken",
})  # fmt: skip
SOCKET_FAULTS = frozenset({"upgrade_429", "socket_drop", "socket_mute", "no_pong", "zombie", "ws_error"})
"""On both websockets; `path` says which."""
MARKET_FAULTS = frozenset({"bar_duplicate", "bar_lost", "bad_message", "huge_frame", "late_update"})
FAULTS = REST_FAULTS | DATA_FAULTS | ORDER_FAULTS | UPDATE_FAULTS | SOCKET_FAULTS | MARKET_FAULTS
_ERRORS = frozenset({402, 404, 405, 406, 407, 409, 500})


class FaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. Patterns (`*`, `?`) may stand in path, event, symbol and client_order_id; None fits everything.

    Args:
        fault: One of FAULTS.
        nth: Occasions at which it happens, counted from 1.
        every: It happens at every so-many-th occasion.
        probability: Chance at each occasion, 0 to 1.
        times: It happens at most so often.
        method: GET, POST, PATCH or DELETE; of REST faults.
        path: Path of the request or of the websocket.
        event: Event of a trade update.
        symbol: Symbol of an order, a trade update or a bar.
        client_order_id: Of an order or a trade update.
        when: REST: before or after the request is processed. socket_drop: before or after the message goes out.
        delay_s: REST: how long it is slow, and Retry-After; zombie: how long the slot is held; real seconds.
        minutes: Venue minutes: stuck_pending_cancel (0 = for ever), the lag of stale_positions and late_update.
        count: Further copies (update_duplicate, bar_duplicate) or later updates to wait for (update_delayed).
        skew_s: clock_skew: seconds added to the clock, may be negative.
        mode: socket_drop: a closing handshake, or a reset.
        code: ws_error: the error told instead of authentication; socket_drop: 407 is told before a market-data end.
    """

    fault: str
    nth: tuple[int, ...] = ()
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    method: str | None = None
    path: str | None = None
    event: str | None = None
    symbol: str | None = None
    client_order_id: str | None = None
    when: Literal["before", "after"] = "before"
    delay_s: float = 1.0
    minutes: int = 1
    count: int = 1
    skew_s: float = 60.0
    mode: Literal["clean", "reset"] = "reset"
    code: int = 406


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /control/faults, and content of a faults file; without a seed the exchange's own counts."""

    rules: tuple[FaultRule, ...] = ()
    seed: int | None = None


class Faults:
    """The rules that hold now, and how often each has come about.

    Args:
        seed: Seed of the probabilities where the plan has none.
        plan: Rules from the start.
    """

    def __init__(self, seed: int, plan: FaultPlan | None = None) -> None:
        self._own_seed = seed
        self.load(plan or FaultPlan())

    def load(self, plan: FaultPlan) -> None:
        """Let these rules hold instead of the old ones, and count from the beginning."""
        self.plan = plan
        self.seed = self._own_seed if plan.seed is None else plan.seed
        self.occasions = [0] * len(plan.rules)
        self.hits = [0] * len(plan.rules)
        self._by_fault: dict[str, list[int]] = {}
        for place, rule in enumerate(plan.rules):
            self._by_fault.setdefault(rule.fault, []).append(place)
        self._seen: Counter[bytes] = Counter()

    def has(self, kinds: frozenset[str]) -> bool:
        """True when a rule asks for one of these faults."""
        return not kinds.isdisjoint(self._by_fault)

    def for_request(self, kinds: frozenset[str], method: str, path: str, content: bytes = b"") -> FaultRule | None:
        """The first rule of these faults that happens to a request."""
        return self._first(kinds, ("request", method, path, content.hex()), method=method, path=path)

    def for_order(self, kind: str, symbol: str, client_order_id: str) -> FaultRule | None:
        """The rule that happens to an order."""
        content = ("order", symbol, client_order_id)
        return self._first(frozenset({kind}), content, symbol=symbol, client_order_id=client_order_id)

    def for_update(
        self, kinds: frozenset[str], event: str, symbol: str, client_order_id: str, execution_id: str
    ) -> FaultRule | None:
        """The first rule that happens to a trade update."""
        content = ("update", event, execution_id)
        return self._first(kinds, content, event=event, symbol=symbol, client_order_id=client_order_id)

    def for_socket(self, kind: str, path: str, key: str | int = "", **values: str) -> FaultRule | None:
        """The rule that happens to a websocket, or to what it is about to send."""
        return self._first(frozenset({kind}), ("socket", path, str(key), *values.values()), path=path, **values)

    def _first(self, kinds: frozenset[str], content: tuple[str, ...], **values: str) -> FaultRule | None:
        if not self._by_fault:
            return None
        places = sorted(place for kind in kinds for place in self._by_fault.get(kind, ()))
        fitting = [place for place in places if _fits(self.plan.rules[place], values)]
        found: FaultRule | None = None
        for place in fitting:
            rule = self.plan.rules[place]
            self.occasions[place] += 1
            if found is None and self._happens(place, rule, content):
                self.hits[place] += 1
                found = rule
        return found

    def _happens(self, place: int, rule: FaultRule, content: tuple[str, ...]) -> bool:
        if rule.times is not None and self.hits[place] >= rule.times:
            return False
        occasion = self.occasions[place]
        if rule.nth and occasion not in rule.nth:
            return False
        if rule.every is not None and occasion % rule.every:
            return False
        if rule.probability is None:
            return True
        key = digest(place, *content)
        self._seen[key] += 1
        return draw(self.seed, "fault", key.hex(), self._seen[key]) < to_decimal(rule.probability)


def _fits(rule: FaultRule, values: dict[str, str]) -> bool:
    for name in ("method", "path", "event", "symbol", "client_order_id"):
        pattern = getattr(rule, name)
        if pattern is not None and not fnmatchcase(values.get(name, ""), pattern):
            return False
    return True


def read_plan(raw: bytes) -> FaultPlan:
    """Decode and check a plan in JSON.

    Raises:
        ConfigError: It is no plan; the words name the rule and what is wrong.
    """
    try:
        plan = msgspec.json.decode(raw, type=FaultPlan)
    except msgspec.MsgspecError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(FaultRule))
        msg = f"faults cannot be read: {error}; a plan has seed and rules, a rule has {known}"
        raise ConfigError(msg) from error
    for number, rule in enumerate(plan.rules, 1):
        if (wrong := _wrong(rule)) is not None:
            msg = f"fault rule {number} ({rule.fault}): {wrong}"
            raise ConfigError(msg)
    return plan


def load_faults(path: Path) -> FaultPlan:
    """Read a plan from a file, TOML by its suffix, else JSON.

    Raises:
        ConfigError: The file is missing or holds no plan.
    """
    try:
        raw = path.read_bytes()
        if path.suffix.lower() == ".toml":
            raw = msgspec.json.encode(tomllib.loads(raw.decode()))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        msg = f"faults file {path} cannot be read: {why}"
        raise ConfigError(msg) from error
    try:
        return read_plan(raw)
    except ConfigError as error:
        msg = f"faults file {path}: {error}"
        raise ConfigError(msg) from error


def _wrong(rule: FaultRule) -> str | None:
    if rule.fault not in FAULTS:
        return f"unknown fault; known are {', '.join(sorted(FAULTS))}"
    if any(number < 1 for number in rule.nth):
        return f"nth counts from 1, was {list(rule.nth)}"
    if rule.probability is not None and not 0 <= rule.probability <= 1:
        return f"probability must be 0 to 1, was {rule.probability}"
    for name in ("every", "times", "count"):
        value = getattr(rule, name)
        if value is not None and value < 1:
            return f"{name} must be 1 or more, was {value}"
    if rule.delay_s < 0 or rule.minutes < 0:
        return "delay_s and minutes must be 0 or more"
    if rule.fault == "ws_error" and rule.code not in _ERRORS:
        return f"code must be one of {', '.join(map(str, sorted(_ERRORS)))}, was {rule.code}"
    return None
