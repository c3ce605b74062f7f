"""Every risk rule in one table: just below, at and just above its limit, with NaN, with missing input, and in the docs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.messages import Mark, SymbolStatus
from engine.ordering import Terms
from engine.risk.exposure import Sums
from engine.risk.rules import RULES, Activity, judge
from engine.sessions import SessionTable
from engine.values import NS_PER_MS, NS_PER_S, OrderType, TimeInForce, TradingMode
from tests.engine.build import D, funds, signal
from tests.engine.judged import NOW, OFF, proposal, sessions

NAN = D("NaN")
UNKNOWN = Sums(unknown={"unattributed|XYZ": None})
TOLD = (SymbolStatus("AAPL", "assets", "active", 1),)


class Row(msgspec.Struct, kw_only=True):
    """One rule.

    Attributes:
        limits: Its settings.
        below: What passes by a hair; fields of the proposal.
        at: What lies on the limit.
        at_passes: Whether that passes.
        above: What is refused by a hair.
        observed: What the refusal of `above` says was observed.
        nan: The number it compares being none; text says why it compares none.
        missing: What it looks at not being known; text says why it always is.
        missing_passes: Whether that passes, and why.
        name: Rule in the denial.
        off: Settings that switch it off; text says why nothing does.
    """

    limits: dict[str, Any] = {}
    below: dict[str, Any] = {}
    at: dict[str, Any] = {}
    at_passes: bool = True
    above: dict[str, Any]
    observed: str
    nan: dict[str, Any] | str
    missing: dict[str, Any] | str
    missing_passes: str = ""
    name: str = ""
    off: dict[str, Any] | str


def _activity(name: str, value: object) -> dict[str, Any]:
    return {"activity": Activity(**{name: value})}  # type: ignore[arg-type]


def _count(limit: str, name: str) -> Row:
    """At most 3, this one counted."""
    return Row(
        limits={limit: 3}, below=_activity(name, 1), at=_activity(name, 2), above=_activity(name, 3), observed="4",
        nan="a count of our own", missing="a count of our own", name=limit, off={limit: None},
    )  # fmt: skip


def _loss(limit: str, value: object, name: str, scope: str) -> Row:
    """At most 500 USD."""
    return Row(
        limits={limit: value}, below=_activity(name, D("499.99")), at=_activity(name, D(500)),
        above=_activity(name, D("500.01")), observed="500.01", nan=_activity(name, NAN), missing={scope: UNKNOWN},
        name=limit, off={limit: None},
    )  # fmt: skip


def _sum(limit: str, value: object, scope: str, field: str) -> Row:
    """At most 5,000 USD, of which the order is 1,000."""

    def sums(text: str) -> dict[str, Any]:
        return {scope: Sums(**{field: D(text)})}  # type: ignore[arg-type]

    return Row(
        limits={limit: value}, below=sums("3999.99"), at=sums("4000"), above=sums("4000.01"), observed="5000.01",
        nan=sums("NaN"), missing={scope: UNKNOWN}, name=limit, off={limit: None},
    )  # fmt: skip


def _band(low: str | None, high: str | None = None) -> dict[str, Any]:
    bound = {"low_px": None if low is None else D(low), "high_px": None if high is None else D(high)}
    return {"statuses": (SymbolStatus("AAPL", "lulds", "band", NOW, **bound),)}  # type: ignore[arg-type]


def _quote(ask: str | None, age_ms: int = 0) -> dict[str, Any]:
    return {"quote": Mark("AAPL", 0, NOW - age_ms * NS_PER_MS, ask_px=None if ask is None else D(ask))}


def _short(**more: Any) -> dict[str, Any]:
    return {"quantity": D(-10), "statuses": TOLD, "funds": funds(), "equity": D(10_000)} | more


TABLE: dict[str, Row] = {
    "number_sanity": Row(
        below={"cash_free": D(10**17)}, at={"cash_free": D(10**18)}, above={"cash_free": D("Infinity")},
        observed="Infinity", nan={"quantity": NAN}, missing={"last_price": None, "quote": None, "equity": None},
        missing_passes="what is missing is for the rule that needs it", off="never",
    ),
    "trading_mode": Row(
        below={"mode": TradingMode.ACTIVE}, at={"mode": TradingMode.REDUCING, "held": D(50), "quantity": D(-50)},
        above={"mode": TradingMode.REDUCING, "held": D(50), "quantity": D(-51)}, observed="reducing",
        nan="a word", missing="part of the state", off="never",
    ),
    "price_sanity": Row(
        below={"price": D(1)}, at={"price": D("0.0001")}, above={"price": D(0)}, observed="0", nan={"price": NAN},
        missing="a signal always has a price", off="never",
    ),
    "allowed_symbols": Row(
        limits={"allowed_symbols": ("MSFT",)}, below={"signal": signal(symbol="MSFT", number=2)},
        at={"signal": signal(symbol="MSFT", number=2)}, above={}, observed="AAPL", nan="a list", missing="a list",
        off={"allowed_symbols": ()},
    ),
    "restricted_symbols": Row(
        limits={"restricted_symbols": ("AAPL",)}, below={"signal": signal(symbol="MSFT", number=2)},
        at={"signal": signal(symbol="MSFT", number=2)}, above={}, observed="AAPL", nan="a list", missing="a list",
        off={"restricted_symbols": ()},
    ),
    "blocked_symbol": Row(
        above={"blocked": "came at 50 after 100"}, observed="blocked", nan="judged where prices come in, by actions",
        missing="part of the state", off="the setting is judged where prices come in, by actions",
    ),
    "symbol_status": Row(
        below={"statuses": TOLD}, at={"statuses": (SymbolStatus("AAPL", "lulds", "wide", 1),)},
        above={"statuses": (SymbolStatus("AAPL", "statuses", "T1", 1, is_halted=True),)}, observed="halted",
        nan="a word", missing={"statuses": ()}, missing_passes="exchanges speak when they halt", off="never",
    ),
    "price_band": Row(
        below=_band("99.99", "100.01"), at=_band("100", "100"), above=_band(None, "99.99"), observed="100",
        nan=_band("NaN"), missing=_band(None), missing_passes="no band is in force", off="never",
    ),
    "shortable": Row(
        limits={"shortable_known": True, "short_equity_usd_min": D(10_000)}, below=_short(equity=D("10000.01")),
        at=_short(), above=_short(equity=D("9999.99")), observed="9999.99", nan=_short(equity=NAN),
        missing=_short(statuses=()), off={"shortable_known": False, "short_equity_usd_min": None},
    ),
    "wash_trade": Row(
        above={"crossing": "order-7"}, observed="order-7", nan="an id", missing="part of the state", off="never",
    ),
    "cooldown": Row(
        limits={"cooldown_s": 60}, below={"stopped_ns": NOW - 61 * NS_PER_S}, at={"stopped_ns": NOW - 60 * NS_PER_S},
        above={"stopped_ns": NOW - 59 * NS_PER_S}, observed="59", nan="whole seconds", missing={"stopped_ns": 0},
        missing_passes="no stop closed it", name="cooldown_s", off={"cooldown_s": 0},
    ),
    "session": Row(
        below={"sessions": sessions(NOW - 1, NOW + 1)}, at={"sessions": sessions(NOW, NOW + 1)},
        above={"sessions": sessions(NOW - 1, NOW)}, observed=str(NOW), nan="whole nanoseconds",
        missing={"sessions": SessionTable()}, off="the bot's session",
    ),
    "duplicate": Row(
        above={"repeated": "signal-1"}, observed="signal-alpha-AAPL-2", nan="an id", missing="part of the state",
        off="never",
    ),
    "stale_bar": Row(
        limits={"bar_age_ms_max": 1000}, below={"now_ns": NOW + 999 * NS_PER_MS}, at={"now_ns": NOW + 1000 * NS_PER_MS},
        above={"now_ns": NOW + 1001 * NS_PER_MS}, observed="1001", nan="whole nanoseconds",
        missing="a signal always has a time", name="bar_age_ms_max", off="a large age",
    ),
    "price_move": Row(
        limits={"price_move_fraction_max": 0.25}, below={"last_price": D("80.01")}, at={"last_price": D(80)},
        above={"last_price": D("79.99")}, observed="0.25015626953369171146", nan={"last_price": NAN},
        missing={"last_price": D(0)}, name="price_move_fraction_max", off={"price_move_fraction_max": None},
    ),
    "collar": Row(
        limits={"collar_fraction_max": 0.25, "quote_age_ms_max": 1000}, below=_quote("80.01", 999),
        at=_quote("80", 1000), above=_quote("79.99"), observed="0.25015626953369171146", nan=_quote("NaN"),
        missing={"quote": None}, name="collar_fraction_max", off={"collar_fraction_max": None},
    ),
    "opposite_sides": Row(
        limits={"opposite_sides": False}, below={"others": (D(5),)}, at={"others": (D(0),)},
        above={"others": (D("-0.01"),)}, observed="-0.01", nan={"others": (NAN,)}, missing="part of the ledger",
        off={"opposite_sides": True},
    ),
    "order_notional": Row(
        limits={"order_notional_usd_max": D(1000)}, below={"price": D("99.99")}, at={}, above={"price": D("100.01")},
        observed="1000.1", nan={"terms": Terms(OrderType.LIMIT, TimeInForce.DAY, NAN)},
        missing="an order always has a price and a quantity", name="order_notional_usd_max", off="a large amount",
    ),
    "order_quantity": Row(
        limits={"order_quantity_max": D(10)}, below={"quantity": D("9.99")}, at={}, above={"quantity": D("10.01")},
        observed="10.01", nan={"quantity": NAN}, missing="an order always has a quantity", name="order_quantity_max",
        off={"order_quantity_max": None},
    ),
    "position_fraction": Row(
        limits={"position_fraction_max": 0.01}, below={"held": D(4), "working": D("-4.01")},
        at={"held": D(4), "working": D(-4)}, above={"held": D(4), "working": D("-3.99")}, observed="1001",
        nan={"held": NAN}, missing="part of the ledger", name="position_fraction_max", off="the whole capital",
    ),
    "symbol_exposure": Row(
        limits={"symbol_exposure_usd_max": D(5000)}, below={"symbol_gross": D("3999.99")},
        at={"symbol_gross": D(4000)}, above={"symbol_gross": D("4000.01")}, observed="5000.01",
        nan={"symbol_gross": NAN}, missing="the signal has a price of the symbol", name="symbol_exposure_usd_max",
        off={"symbol_exposure_usd_max": None},
    ),
    "bot_exposure": _sum("bot_exposure_fraction_max", 0.05, "of_bot", "gross"),
    "gross_exposure": _sum("gross_exposure_usd_max", D(5000), "account", "gross"),
    "net_exposure": _sum("net_exposure_usd_max", D(5000), "account", "net"),
    "positions": Row(
        limits={"positions_max": 3}, below={"account": Sums(open_symbols=1)}, at={"account": Sums(open_symbols=2)},
        above={"account": Sums(open_symbols=3)}, observed="4", nan="a count", missing="a count of our own",
        name="positions_max", off={"positions_max": None},
    ),
    "bot_positions": Row(
        limits={"bot_positions_max": 3}, below={"of_bot": Sums(open_symbols=1)}, at={"of_bot": Sums(open_symbols=2)},
        above={"of_bot": Sums(open_symbols=3)}, observed="4", nan="a count", missing="a count of our own",
        name="bot_positions_max", off={"bot_positions_max": None},
    ),
    "open_orders": _count("open_orders_max", "open_orders"),
    "orders_per_min": _count("orders_per_min_max", "account_minute"),
    "bot_orders_per_min": _count("bot_orders_per_min_max", "bot_minute"),
    "bot_orders_per_day": _count("bot_orders_per_day_max", "bot_day"),
    "repeats": _count("repeats_max", "same_side"),
    "daily_loss": _loss("daily_loss_usd_max", D(500), "account_loss", "account"),
    "bot_daily_loss": _loss("bot_daily_loss_fraction_max", 0.005, "bot_loss", "of_bot"),
    "drawdown": _loss("drawdown_usd_max", D(500), "account_drawdown", "account"),
    "bot_drawdown": _loss("bot_drawdown_fraction_max", 0.005, "bot_drawdown", "of_bot"),
    "buying_power": Row(
        limits={"price_buffer_fraction": 0.02}, below={"cash_free": D("1020.01")}, at={"cash_free": D(1020)},
        above={"cash_free": D("1019.99")}, observed="1020", nan={"cash_free": NAN},
        missing={"account": Sums(unknown_shorts=1)}, off="never",
    ),
}  # fmt: skip
BY_NAME = {rule.__name__: (rule, on_exits) for rule, on_exits in RULES}
DOCS = (Path(__file__).parents[2] / "docs" / "risk-controls.md").read_text(encoding="utf-8")


def test_the_table_holds_every_rule_and_nothing_else() -> None:
    assert list(TABLE) == [rule.__name__ for rule, _ in RULES]


@pytest.mark.parametrize("name", TABLE)
def test_below_at_and_above(name: str) -> None:
    row, (rule, on_exits) = TABLE[name], BY_NAME[name]
    assert rule(proposal(row.limits, **row.below)) is None
    assert judge(proposal(row.limits, **row.below)) is None
    assert (rule(proposal(row.limits, **row.at)) is None) is row.at_passes
    refusal = rule(proposal(row.limits, **row.above))
    assert refusal is not None
    assert refusal.rule == (row.name or name)
    assert refusal.observed.startswith(row.observed)
    assert refusal.limit
    assert refusal.reason
    judged = judge(proposal(row.limits, **row.above))
    assert judged == refusal, "no other rule speaks first"
    exits = {"held": D(50), "quantity": D(-10)}
    if not on_exits:
        assert judge(proposal(row.limits, **(row.above | exits))) is None, "an exit passes"
    elif name not in ("number_sanity", "trading_mode"):
        assert judge(proposal(row.limits, **(row.above | exits))) is not None


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if isinstance(row.nan, dict)])
@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    row = TABLE[name]
    assert isinstance(row.nan, dict)
    refusal = judge(proposal(row.limits, **{key: _with(field, D(value)) for key, field in row.nan.items()}))
    assert refusal is not None
    assert refusal.rule == "number_sanity"
    assert refusal.observed == value


def _with(thing: Any, value: Decimal) -> Any:
    """Put another number in the place of the NaN."""
    if isinstance(thing, Decimal):
        return value if thing.is_nan() else thing
    if isinstance(thing, tuple):
        return tuple(_with(each, value) for each in thing)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(thing, msgspec.Struct):
        return msgspec.structs.replace(thing, **{f: _with(getattr(thing, f), value) for f in thing.__struct_fields__})
    return thing


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if isinstance(row.missing, dict)])
def test_what_is_missing_trips_the_rule(name: str) -> None:
    row, (rule, _) = TABLE[name], BY_NAME[name]
    assert isinstance(row.missing, dict)
    refusal = rule(proposal(row.limits, **row.missing))
    assert (refusal is None) is bool(row.missing_passes), row.missing_passes
    if refusal is not None:
        assert refusal.rule == (row.name or name)
        assert refusal.observed in ("unknown", "no quote", str(NOW))
        assert (
            judge(proposal(row.limits, **(row.missing | {"held": D(50), "quantity": D(-10)}))) is None
            or name == "session"
        )


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if isinstance(row.off, dict)])
def test_switched_off_it_says_nothing(name: str) -> None:
    row, (rule, _) = TABLE[name], BY_NAME[name]
    assert isinstance(row.off, dict)
    assert rule(proposal(row.limits | row.off, **row.above)) is None


@pytest.mark.parametrize("name", TABLE)
def test_its_row_in_the_docs_names_its_settings_and_their_defaults(name: str) -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith(f"| `{name}` |")]
    [line] = rows
    _, _, settings, default, exits, what, source, _ = line.split("|")
    for setting in TABLE[name].limits:
        assert f"`limits.{setting}`" in settings, setting
        value = getattr(RiskLimits(), setting)
        shown = (
            "off" if value is None else f"{value:,}" if isinstance(value, int | Decimal) and value is not True else ""
        )
        assert shown in default or not shown or isinstance(value, bool), (setting, shown, default)
    assert exits.strip() == ("yes" if BY_NAME[name][1] else "no")
    assert what.strip()
    assert source.strip()


def test_every_setting_of_a_limit_is_in_the_docs() -> None:
    for field in msgspec.structs.fields(RiskLimits):
        assert f"`limits.{field.name}`" in DOCS, field.name
    unused = set(OFF.__struct_fields__) - {setting for row in TABLE.values() for setting in row.limits}
    assert unused == {
        "repeats_window_s", "intent_valid_ms", "rounding_fraction_max", "overnight_move_fraction_max", "mark_age_ms_max",
        "short_margin_fraction", "exit_attempts_max", "exit_wait_s_max",
        "bots", "symbols",
    }, "settings that no row of the table tries are tried elsewhere"  # fmt: skip
