"""A chain for people: plain, aligned, one screen. Pure; called by explain.command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from tapeline.explain.chain import Plain

_LABEL = 10
_ROWS_MAX = 12
"""Fills, steps and fees shown of each order; all of them are in --json."""
_UNSAID = ("", "simple", "target")
"""Values that go without saying."""
_SAID = frozenset(
    {"verdict", "asked", "id", "signal_id", "bot", "symbol", "side", "quantity", "order_type", "time_in_force"}
    | {"rule", "reason", "limit", "observed", "ts_init", "ts_recv", "trace"}
)


def as_text(chain: Plain) -> str:
    """Write a chain for people."""
    lines = [f"{chain['kind'].replace('_', '-')} {chain['target']}", ""]
    lines += _block("bar", _bar(chain["bar"], chain["signal"]))
    lines += _block("mark", _mark(chain["mark"]))
    lines += _block("guarded", _protection(chain["protection"]))
    lines += _block("signal", _signal(chain["signal"]))
    for verdict in chain["verdicts"]:
        shown = None if verdict["asked"] else 2 if verdict["verdict"] == "denial" else 1
        lines += _block("verdict", _verdict(verdict)[:shown])
    lines += _block("steps", _steps(chain))
    for order in chain["orders"]:
        lines += _block("order", [_order(order), *_origin(order), *map(_request, order["requests"])])
        if order["asked"]:
            lines += _block("fills", _fills(order))
            lines += _block("fees", [_fee(fee) for fee in order["fees"][:_ROWS_MAX]])
    lines += _block("missing", chain["missing"])
    return "\n".join(lines).rstrip()


def _block(label: str, lines: Sequence[str]) -> list[str]:
    return [f"{label if number == 0 else '':{_LABEL}}{line}".rstrip() for number, line in enumerate(lines)]


def _bar(bar: Plain | None, signal: Plain | None) -> list[str]:
    if bar is None:
        return []
    prices = "  ".join(f"{name} {_short(bar[name])}" for name in ("open", "high", "low", "close", "volume"))
    extra = "".join(f"  {name}" for name in ("is_backfill",) if bar[name])
    revision = f"  revision {bar['revision']}" if bar["revision"] else ""
    is_forming = signal is not None and signal["ts_event"] < bar["ts_event"]
    note = "  was forming when a trade or quote caused the signal; as it closed:" if is_forming else ""
    return [
        f"{bar['symbol']} {bar['timeframe']} closed {_time(bar['ts_event'])}{revision}{extra}{note}",
        f"{prices}",
        f"received {_time(bar['ts_recv'])}" if bar["ts_recv"] else "made of what was received",
    ]


def _mark(mark: Plain | None) -> list[str]:
    if mark is None:
        return []
    names = (("last", "last_px"), ("low", "low_px"), ("high", "high_px"), ("bid", "bid_px"), ("ask", "ask_px"))
    seen = "  ".join(f"{name} {_short(mark[column])}" for name, column in names if mark[column] is not None)
    return [f"{mark['symbol']} until {_time(mark['ts_event'])}", seen, f"received {_time(mark['ts_recv'])}"]


def _protection(said: Plain | None) -> list[str]:
    if said is None:
        return []
    names = (("stop", "stop_px"), ("target", "target_px"), ("peak", "peak_px"))
    where = "  ".join(f"{name} {_short(said[column])}" for name, column in names if said[column] is not None)
    shares = f"{_short(said['risk_qty'])} watched by risk, {_short(said['venue_qty'])} held by the venue"
    return [f"{where}  {shares}  since {_time(said['ts_event'])}"]


def _signal(signal: Plain | None) -> list[str]:
    if signal is None:
        return []
    seen = _pairs(signal["indicators"].items()) if isinstance(signal["indicators"], dict) else ""
    return [
        f"{signal['id']}  {signal['bot']} ({signal['strategy']})",
        f"{signal['direction']}  strength {_short(signal['strength'])}  price {_short(signal['price'])}",
        f"because {signal['reason']}" + (f":  {seen}" if seen else ""),
    ]


def _verdict(verdict: Plain) -> list[str]:
    what = _what(verdict)
    rest = _pairs((name, _moment_or_value(name, verdict[name])) for name in verdict if name not in _SAID)
    match verdict["verdict"]:
        case "intent":
            lines = [f"approved: intent {verdict['id']}  {what}"]
        case "denial":
            lines = [
                f"denied: {verdict['id']}  {what}".rstrip(),
                f"rule {verdict['rule']}: {verdict['reason']}",
                f"limit {verdict['limit']}  observed {verdict['observed']}",
            ]
        case _:
            lines = [f"nothing to trade: {verdict['id']}", str(verdict["reason"])]
    return [*lines, rest] if rest else lines


def _what(verdict: Plain) -> str:
    parts = (verdict.get(name) for name in ("side", "quantity", "symbol", "order_type", "time_in_force"))
    return " ".join(str(part) for part in parts if part) if verdict.get("quantity") else ""


def _steps(chain: Plain) -> list[str]:
    steps: list[Plain] = chain["steps"]
    if not steps:
        return []
    rows: list[Sequence[str]] = [("what", "since previous", "since start", "wall clock (UTC)", "at the venue (UTC)")]
    for step in steps if len(steps) <= 2 * _ROWS_MAX else (*steps[:_ROWS_MAX], *steps[-_ROWS_MAX:]):
        since = (
            ("", "")
            if step is steps[0]
            else (f"{step['ms_since_previous']:,.1f} ms", f"{step['ms_since_start']:,.1f} ms")
        )
        rows.append((step["what"], *since, _time(step["ts"]), _time(step["ts_event"])))
    left_out = len(steps) - len(rows) + 1
    return [*_aligned(rows, right={1, 2}), *([f"and {left_out} more between them: see --json"] if left_out else [])]


def _order(order: Plain) -> str:
    of = f" of {order['quantity']}" if order["quantity"] else ""
    done = f"filled {order['filled_qty']}{of}" + (f" at {_short(order['avg_px'])}" if order["avg_px"] else "")
    reasons = [event["reason"] for event in order["events"] if event["reason"]]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    venue_id = order["venue_order_id"] or "unknown"
    return f"{order['client_order_id']}  at the venue {venue_id}  {order['status']}{why}  {done}"


def _origin(order: Plain) -> list[str]:
    """Say what an order is that was not decided here."""
    row = order["adopted"]
    if row is None:
        return []
    what = {"flatten": "closes a position for a halt", "foreign": f"placed by others, counted as {row['bot']}"}
    of = (
        f"leg of {row['parent']}"
        if row["parent"]
        else what.get(row["purpose"], f"found at the venue, {row['purpose']}")
    )
    prices = (f"{name} {_short(row[f'{name}_px'])}" for name in ("limit", "stop") if row[f"{name}_px"] is not None)
    return ["  ".join((f"{of}:", str(row["side"]), _short(row["quantity"]), str(row["order_type"]), *prices))]


def _request(row: Plain) -> str:
    return f"{row['request']} wished by {row['by']} at {_time(row['ts_event'])}: {row['reason']}"


def _fills(order: Plain) -> list[str]:
    fills: list[Plain] = order["fills"]
    if not fills:
        return []
    against = f"against {_short(order['ref_px'])}" if order["ref_px"] else "slippage"
    rows: list[Sequence[str]] = [("", "quantity", "price", against, "commission", "position after")]
    shown = fills if len(fills) <= _ROWS_MAX else [f for n, f in enumerate(fills) if n < _ROWS_MAX - 1 or f["asked"]]
    for fill in shown:
        mark = ">" if fill["asked"] else ""
        rows.append(
            (
                mark,
                fill["last_qty"],
                _short(fill["last_px"]),
                _bps(fill["slippage_bps"]),
                fill["commission"],
                _position(fill),
            )
        )
    if len(fills) > 1:
        rows.append(
            (
                "",
                order["filled_qty"],
                _short(order["avg_px"]),
                _bps(order["slippage_bps"]),
                order["commission"],
                "in all",
            )
        )
    lines = _aligned(rows, right={1, 2, 3, 4})
    if len(fills) > len(shown):
        lines.append(f"and {len(fills) - len(shown)} more: see --json")
    return [*lines, "basis points of the reference price; above 0 is worse for us"]


def _position(fill: Plain) -> str:
    position, account = fill["position"], fill["account"]
    if position is None:
        return "not stored"
    quantity = Decimal(position["signed_qty"])
    if quantity == 0:
        held = "flat"
    else:
        held = f"{'long' if quantity > 0 else 'short'} {abs(quantity):f} at {_short(position['avg_px_open'])}"
    cash = f", cash {Decimal(account['cash']):,.2f}" if account is not None else ""
    return f"{held}, realized {Decimal(position['realized_pnl']):,.2f}{cash}"


def _fee(fee: Plain) -> str:
    return f"{fee['id']}  {fee['kind']}  cash {fee['cash']}  quantity {fee['quantity']}  {_time(fee['ts_event'])}"


def _bps(found: float | None) -> str:
    return "unknown" if found is None else f"{found:+.1f} bps"


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:{'>' if at in right else '<'}{widths[at]}}" for at, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def _pairs(items: Iterable[tuple[str, Any]]) -> str:
    return "  ".join(f"{name} {_short(found)}" for name, found in items if not _goes_without_saying(found))


def _goes_without_saying(found: Any) -> bool:
    return found is None or found is False or (isinstance(found, str) and found in _UNSAID)


def _moment_or_value(name: str, found: Any) -> Any:
    return _time(found) if isinstance(found, str) and name.endswith(("_at", "_until")) else found


def _short(found: Any) -> str:
    """Write a number with at most six places, anything else as it is."""
    if isinstance(found, float) or (isinstance(found, str) and "." in found and _is_number(found)):
        text = f"{Decimal(str(found)):.6f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    return str(found)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdecimal()


def _time(text: str | None) -> str:
    """Write a moment with as many places as it needs, at most six."""
    if text is None:
        return "unknown"
    whole, _, rest = text.rstrip("Z").replace("T", " ").partition(".")
    return f"{whole}.{rest[:6]}" if rest.strip("0") else whole
