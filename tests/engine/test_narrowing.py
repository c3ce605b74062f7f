"""Limits of bots and symbols beside the account's: the strictest counts, and none loosens another."""

from __future__ import annotations

import msgspec
import pytest

from config.bots import check_limits
from config.settings import parse
from engine.bots import RiskLimits
from engine.errors import ConfigError
from engine.limits import BotLimits, SymbolLimits
from engine.messages import Mark, OrderFilled, OrderIntent, RiskDenied, TradingState
from engine.risk import RiskCore
from engine.risk.narrowing import Narrowed, strictest
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal

FIELDS = BotLimits.__struct_fields__


@pytest.mark.parametrize("name", FIELDS)
def test_the_strictest_counts_whoever_says_it(name: str) -> None:
    values = (1, 2, 3) if name.endswith(("_s", "_max")) and "fraction" not in name else (0.1, 0.2, 0.3)
    strict, middle, loose = reversed(values) if name == "cooldown_s" else values
    limits = RiskLimits(**{name: middle})
    for value, counts in ((strict, strict), (middle, middle), (loose, middle), (None, middle)):
        assert getattr(strictest(limits, BotLimits(**{name: value})), name) == counts
    if name in SymbolLimits.__struct_fields__:
        both = strictest(limits, BotLimits(**{name: loose}), SymbolLimits(**{name: strict}))
        assert getattr(both, name) == strict


def test_a_limit_that_is_off_for_the_account_is_on_for_one() -> None:
    limits = RiskLimits(bots={"alpha": BotLimits(order_quantity_max=D(5))})
    narrowed = Narrowed(limits, {})
    assert narrowed.of("alpha", "AAPL").order_quantity_max == 5
    assert narrowed.of("beta", "AAPL").order_quantity_max is None
    assert Narrowed(RiskLimits(), {}).of("alpha", "AAPL") == RiskLimits()


def test_a_bots_own_limits_count_beside_the_others_and_change_with_it() -> None:
    limits = RiskLimits(bots={"alpha": BotLimits(order_quantity_max=D(5))})
    bots = {"alpha": bot(limits=BotLimits(order_quantity_max=D(3), bot_positions_max=2))}
    narrowed = Narrowed(limits, bots)
    assert narrowed.of("alpha", "AAPL").order_quantity_max == 3
    assert narrowed.of("alpha", "AAPL").bot_positions_max == 2
    bots["alpha"] = bot(limits=BotLimits(order_quantity_max=D(9)))
    assert narrowed.of("alpha", "AAPL").order_quantity_max == 5
    bots["alpha"] = bot()
    assert narrowed.of("alpha", "AAPL").bot_positions_max is None


def _core(**more: object) -> RiskCore:
    bots = [bot(symbols=("AAPL", "MSFT")), bot(name="beta", symbols=("AAPL", "MSFT"))]
    core = RiskCore(bots, RiskLimits(**more))  # type: ignore[arg-type]
    for body in (opened(), always_open(), *lent("AAPL", "MSFT")):
        core.apply(body)
    return core


@pytest.mark.parametrize(
    "limits",
    [
        {"bots": {"alpha": BotLimits(order_notional_usd_max=D("9999.99"))}},
        {"symbols": {"AAPL": SymbolLimits(order_notional_usd_max=D("9999.99"))}},
    ],
)
def test_orders_are_judged_by_the_narrower_limit(limits: dict[str, object]) -> None:
    core = _core(**limits)
    core.apply(signal())
    core.apply(signal(bot="beta", symbol="MSFT"))
    denied, passed = core.decide_waiting(minute(1))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.limit, denied.observed) == ("order_notional_usd_max", "9999.99", "10000")
    assert isinstance(passed, OrderIntent)


def test_losses_are_judged_by_the_narrower_limit() -> None:
    core = _core(bots={"alpha": BotLimits(bot_daily_loss_fraction_max=0.01)})
    for name in ("alpha", "beta"):
        core.apply(signal(bot=name))
    for made in core.decide_waiting(minute(1)):
        assert isinstance(made, OrderIntent)
        core.apply(fill(made, 100, 100))
        core.apply(OrderFilled(made.id, made.bot, made.symbol, "v", D(100), D(100), T0))
    caused = core.apply(Mark("AAPL", minute(1), minute(2), D(89)))
    assert [body.bot for body in caused if isinstance(body, TradingState)] == ["alpha"]


def test_a_name_that_nobody_has_is_refused() -> None:
    settings = parse({"limits": {"bots": {"alfa": {"repeats_max": 3}}, "symbols": {"AAPL": {"cooldown_s": 5}}}})
    with pytest.raises(ConfigError, match=r"limits\.bots\.alfa: no bot has this name; known are alpha"):
        check_limits(settings.limits, [bot()])
    with pytest.raises(ConfigError, match=r"limits\.symbols\.AAPL: no bot trades this symbol"):
        check_limits(settings.limits, [bot(name="alfa", symbols=("MSFT",))])
    check_limits(settings.limits, [bot(name="alfa")])


@pytest.mark.parametrize(
    ("section", "limits", "what"),
    [
        ("bots", {"order_notional_usd_max": "NaN"}, "finite"),
        ("bots", {"order_notional_usd_max": 0}, "finite"),
        ("symbols", {"bot_exposure_fraction_max": 1}, "unknown setting"),
        ("bots", {"gross_exposure_usd_max": 1}, "unknown setting"),
    ],
)
def test_what_cannot_be_a_limit_is_refused(section: str, limits: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse({"limits": {section: {"AAPL": limits}}})


def test_a_collar_of_one_bot_or_symbol_has_its_quotes_followed() -> None:
    bots = [{"name": name, "strategy": "rsi", "symbols": symbols, "capital": 1} for name, symbols in
            (("a", ["AAPL", "MSFT"]), ("b", ["TSLA", "KO"]))]  # fmt: skip
    limits = {"bots": {"a": {"collar_fraction_max": 0.1}}, "symbols": {"KO": {"collar_fraction_max": 0.1}}}
    assert parse({"bots": bots, "limits": limits}).marked_symbols == ("AAPL", "KO", "MSFT")


def test_they_survive_the_settings_file() -> None:
    settings = parse({"limits": {"bots": {"a": {"order_notional_usd_max": "12.5"}}}})
    again = parse(msgspec.json.decode(msgspec.json.encode(settings)))
    assert again.limits.bots["a"].order_notional_usd_max == D("12.5")
