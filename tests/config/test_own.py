"""Strategies of users: code from a file or a package, what is refused, and that the code goes with the bot."""

from __future__ import annotations

import importlib.metadata
import pickle
import sys
from pathlib import Path

import msgspec
import pytest

from config import bots, own
from engine.bots import Bot
from engine.errors import ConfigError
from engine.indicators import registry as indicators
from engine.signals import SignalEngine
from engine.strategies import make, names, registry
from tapeline.daemon import read_settings
from tests.engine.build import D, always_open, bar

GOOD = """
from __future__ import annotations
import dataclasses
import msgspec
from tapeline.api import Bar, Direction, Target

class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    above: float = 10.0

@dataclasses.dataclass
class Memory:
    bars: int = 0

class Above:
    Params = Params

    def __init__(self, params: Params) -> None:
        self.params, self.memory = params, Memory()

    def on_bar(self, bar: Bar) -> Target | None:
        self.memory.bars += 1
        if bar.close > self.params.above:
            return Target(Direction.LONG, 1.0, f"bar {self.memory.bars}")
        return Target(Direction.FLAT, 0.0, f"bar {self.memory.bars}")

    def snapshot(self) -> dict[str, float]:
        return {"bars": float(self.memory.bars)}
"""


def _bot_file(folder: Path, code: str, kind: str = "Above", params: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(code)
    path = folder / "bot.toml"
    path.write_text(f'name = "b"\nstrategy = "mine.py:{kind}"\nsymbols = ["AAPL"]\ncapital = 100\n{params}')
    return path


def _engine(bot: Bot) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", [bot])
    engine.on_sessions(always_open())
    return engine


def test_the_code_goes_with_the_bot_and_not_with_the_file(tmp_path: Path) -> None:
    path = _bot_file(tmp_path, GOOD, params="params = {above = 11.0}")
    bot = bots.load(path)
    assert (bot.strategy, bot.code) == ("mine.py:Above", GOOD)
    (tmp_path / "mine.py").write_text("gone")
    engine = _engine(bot)
    assert engine.on_bar(bar(11.0, 1)) == []
    [said] = engine.on_bar(bar(12.0, 2))
    assert (said.strategy, said.reason, said.indicators) == ("mine.py:Above", "bar 2", {"bars": 2.0})


def test_other_code_under_the_same_name_is_another_strategy(tmp_path: Path) -> None:
    first = bots.load(_bot_file(tmp_path / "a", GOOD))
    second = bots.load(_bot_file(tmp_path / "b", GOOD.replace("bar {self", "BAR {self")))
    assert first.strategy == second.strategy
    said = [_engine(bot).on_bar(bar(12.0, 1))[0].reason for bot in (first, second)]
    assert said == ["bar 1", "BAR 1"]


def test_a_bot_with_code_is_written_as_one_file_and_reads_back(tmp_path: Path) -> None:
    bot = bots.load(_bot_file(tmp_path, GOOD))
    exported = tmp_path / "exported.toml"
    exported.write_text(bots.text_of(bot))
    (tmp_path / "mine.py").unlink()
    assert bots.load(exported) == bot


def test_its_state_lives_through_a_restart_with_everything_in_it(tmp_path: Path) -> None:
    bot = bots.load(_bot_file(tmp_path, GOOD))
    engine, again = _engine(bot), _engine(bot)
    engine.on_bar(bar(9.0, 1))
    again.restore(pickle.loads(pickle.dumps(engine.state())))
    assert again.snapshots() == engine.snapshots()
    assert again.on_bar(bar(12.0, 2))[0].reason == "bar 2"


@pytest.mark.parametrize(
    ("code", "kind", "params", "why"),
    [
        ("x = (", "Above", "", "strategy mine.py:Above: line 1: SyntaxError"),
        ("import nosuchmodule", "Above", "", "line 1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("\n\n1 / 0", "Above", "", "line 3: ZeroDivisionError"),
        ("raise SystemExit(3)", "Above", "", "line 1: SystemExit: 3"),
        (GOOD, "Below", "", "the file has no class Below"),
        ("Above = 3", "Above", "", "the file has no class Above"),
        ("class Above:\n    snapshot = dict", "Above", "", "the class has no method on_bar"),
        ("class Above:\n    on_bar = print", "Above", "", "the class has no method snapshot"),
        (
            f"{GOOD}\n    def on_fil(self, fill): ...\n",
            "Above",
            "",
            "a method on_fil, which Tapeline does not call: name it on_fill",
        ),
        (
            f"{GOOD}\n    def on_fill(self): ...\n",
            "Above",
            "",
            "on_fill cannot be called as it is: write it as on_fill",
        ),
        (f"{GOOD}\n    on_tick = 3\n", "Above", "", "on_tick cannot be called as it is: write it as on_tick"),
        (
            "class Above:\n    on_bar = snapshot = print\n    Params = dict",
            "Above",
            "",
            "Params must be a msgspec.Struct",
        ),
        (
            GOOD,
            "Above",
            "params = {below = 1.0}",
            "strategy mine.py:Above: unknown parameter 'below': known here are above",
        ),
        (GOOD, "Above", 'params = {above = "x"}', "above: expected `float`, got `str`, was 'x' (parameters: above)"),
        ("class Above:\n    on_bar = snapshot = print", "Above", "params = {x = 1}", "(parameters: none)"),
        (f"#{'x' * 200_000}\n{GOOD}", "Above", "", "code must have at most 200000 characters"),
    ],
)
def test_refused(tmp_path: Path, code: str, kind: str, params: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bots.load(_bot_file(tmp_path, code, kind, params))
    assert why in str(caught.value)
    assert str(tmp_path / "bot.toml") in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = _bot_file(tmp_path, GOOD)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(ConfigError, match=r"strategy mine\.py:Above: there is no file .*mine\.py"):
        bots.load(path)


def test_code_belongs_to_a_strategy_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"code goes with a strategy path\.py:Class, was 'rsi'"):
        bots.validate(Bot("b", "rsi", ("AAPL",), D(1), code="x = 1"))
    with pytest.raises(ConfigError, match=r"code of mine\.py:Above is missing"):
        bots.validate(Bot("b", "mine.py:Above", ("AAPL",), D(1)))


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, kind: str) -> None:
    (folder / "acme_strategies.py").write_text(code)
    info = folder / "acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[tapeline.strategies]\nacme_above = acme_strategies:{kind}\n")
    monkeypatch.setattr(registry, "_STRATEGIES", dict(registry._STRATEGIES))
    monkeypatch.setattr(own, "_installed", {})
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "acme_strategies", raising=False)
    importlib.metadata.MetadataPathFinder.invalidate_caches()


@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        ("1 / 0\n", "Above", "acme_above of acme_strategies:Above cannot be loaded: ZeroDivisionError"),
        ("raise SystemExit(3)\n", "Above", "cannot be loaded: SystemExit: 3"),
        (GOOD, "Other", "cannot be loaded: AttributeError"),
        ("class Above:\n    pass\n", "Above", "strategy acme_above: the class has no method on_bar"),
    ],
)
def test_a_broken_package_harms_the_bots_that_use_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, kind: str, why: str
) -> None:
    _install(tmp_path, monkeypatch, code, kind)
    assert why in own.learn_installed()["acme_above"]
    own.learn(Bot("b", "rsi", ("AAPL",), D(1)))
    for _ in range(2):  # also when it is looked at again
        with pytest.raises(ConfigError) as caught:
            bots.with_code(Bot("b", "acme_above", ("AAPL",), D(1)), tmp_path)
        assert why in str(caught.value)


INDICATORS = """
from tapeline.api import Kind, Param

class Highest:
    def __init__(self, period):
        self.period, self.seen = period, []
    def add(self, close):
        self.seen.append(close)
    def __getitem__(self, index):
        return max(self.seen[-self.period:]) if len(self.seen) >= self.period else None
    def __len__(self):
        return len(self.seen)
    def purge_oldest(self, count):
        del self.seen[:count]

acme_highest = Kind("acme_highest", Highest, lambda bar: bar.close, (Param("period", 3, 1, 100),),
    lambda p: p["period"], unit="price", about="Highest close")
acme_other = 3
"""


def test_indicators_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, INDICATORS, "")
    lines = (
        "[tapeline.indicators]\nacme_highest = acme_strategies:acme_highest\nacme_other = acme_strategies:acme_other\n"
    )
    (tmp_path / "acme-1.2.dist-info" / "entry_points.txt").write_text(lines)
    monkeypatch.setattr(indicators, "_KINDS", dict(indicators._KINDS))
    importlib.metadata.MetadataPathFinder.invalidate_caches()
    broken = own.learn_installed()
    assert set(broken) == {"indicator acme_other"}
    assert "must name a tapeline.api.Kind of this name, was 3" in broken["indicator acme_other"]
    rule = make("rule", {"enter_long": {"all": ["close >= acme_highest(2)"]}})
    said = [rule.on_bar(bar(close, number)) for number, close in enumerate((5.0, 4.0, 6.0, 5.0, 7.0), 1)]
    assert [target and target.direction.value for target in said] == [None, "flat", "long", "flat", "long"]
    for number in range(6, 300):
        rule.on_bar(bar(1.0, number))
    assert len(pickle.dumps([one._inner.seen for one in rule.indicators])) < 400  # type: ignore[attr-defined]


def test_a_strategy_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, GOOD, "Above")
    assert own.learn_installed() == {}
    assert "acme_above" in names()
    target = make("acme_above", {"above": 3}).on_bar(bar(4.0))
    assert target is not None
    assert target.reason == "bar 1"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["capital=5000"], {"capital": D(5000)}),
        (["params.period=7", "params.oversold=20.5"], {"params": {"period": 7, "oversold": 20.5}}),
        (["stops.stop_loss=0.5"], {"stops.stop_loss": 0.5}),
        (["stops=none"], {"stops": None}),
        (['symbols=["MSFT", "BTC/USD"]'], {"symbols": ("MSFT", "BTC/USD")}),
        (["order.type=limit", "order.limit_offset_bps=-3"], {"order.type": "limit", "order.limit_offset_bps": -3.0}),
    ],
)
def test_single_fields_are_set_as_in_a_file(changes: list[str], found: dict[str, object]) -> None:
    bot = bots.changed(bots.shipped("rsi"), changes)
    for name, value in found.items():
        node: object = bot
        for step in name.split("."):
            node = node[step] if isinstance(node, dict) else getattr(node, step)
        if isinstance(value, dict):
            assert isinstance(node, dict)
            node = {key: node[key] for key in value}
        assert node == value


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("capital", "--set takes field=value"),
        ("=3", "--set takes field=value"),
        ("capital=much", "capital: must be a number, such as 2500"),
        (
            "order.type=mraket",
            "order.type: must be market, limit, stop, stop_limit or trailing_stop, was 'mraket'",
        ),
        ('window.days=["monday"]', "window.days[0]: must be mon, tue, wed, thu, fri, sat or sun, was 'monday'"),
        ("window.start=9:30", "window: start must be a time HH:MM from 00:00 to 24:00, was '9:30'"),
        ("window.begin=09:30", "unknown field 'window.begin': known here are start, end, zone"),
        ("trading_frequency=0", "trading_frequency: must be every_bar, every_tick or a number from 1 to 86400, was 0"),
        ("trading_frequency=often", "must be every_bar, every_tick or a number from 1 to 86400, was 'often'"),
        ("colour=red", "unknown field 'colour': known here are name, strategy"),
        ("symbols.first=AAPL", "symbols is no table"),
        ("stops.stop_loss=7", "stops.stop_loss: expected `float` <= 1.0, was 7"),
    ],
)
def test_a_field_that_cannot_be_set(change: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bots.changed(bots.shipped("rsi"), [change])
    assert why in str(caught.value)


@pytest.mark.parametrize("name", [*bots.templates(), "demo"])
def test_every_shipped_bot_is_written_and_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(bots.text_of(bots.shipped(name)))
    assert bots.load(path) == bots.shipped(name)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ('"top10"', bots.UNIVERSES["top10"]),
        ('["top10", "BTC/USD"]', (*bots.UNIVERSES["top10"], "BTC/USD")),
    ],
)
def test_a_universe_stands_for_its_symbols(tmp_path: Path, written: str, found: tuple[str, ...]) -> None:
    path = tmp_path / "u.toml"
    path.write_text(f'name = "u"\nstrategy = "rsi"\nsymbols = {written}\ncapital = 100\n')
    assert bots.load(path).symbols == found


def test_a_universe_of_the_settings_does_too(tmp_path: Path) -> None:
    own = {"semis": ("NVDA", "AMD")}
    path = tmp_path / "u.toml"
    for written, found in (('"semis"', ("NVDA", "AMD")), ('["SPY", "semis"]', ("SPY", "NVDA", "AMD"))):
        path.write_text(f'name = "u"\nstrategy = "rsi"\nsymbols = {written}\ncapital = 100\n')
        bot = bots.load(path, own)
        assert bot.symbols == found
        with pytest.raises(ConfigError) as caught:
            bots.load(path)
        assert "symbols: there is no universe 'semis': known are top10, *, crypto" in str(caught.value)
    assert bots.changed(bot, ['symbols=["semis"]'], own).symbols == own["semis"]
    (tmp_path / "tapeline.toml").write_text(f'bot_files = ["{path}"]\n[universes]\nsemis = ["NVDA", "AMD"]\n')
    assert read_settings(tmp_path / "tapeline.toml", None).symbols == ("AMD", "NVDA", "SPY")


@pytest.mark.parametrize(
    ("universes", "why"),
    [
        ({"top10": ("AAPL",)}, "universes.top10: there is a universe of this name already"),
        ({"Semis": ("AAPL",)}, "universes.Semis: a name must be 1..32 of a-z 0-9 _ -"),
        ({"semis": ()}, "universes.semis must list symbols of the form AAPL, BRK.B or BTC/USD, was no symbol at all"),
        ({"semis": ("NVDA", "amd")}, "was 'amd'"),
    ],
)
def test_a_universe_of_the_settings_that_is_none(universes: dict[str, tuple[str, ...]], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bots.check_universes(universes)
    assert why in str(caught.value)


@pytest.mark.parametrize("written", ['"*"', '["*"]', '"crypto"', '["crypto"]'])
def test_what_the_venue_has_is_a_universe_without_symbols_until_it_is_defined(tmp_path: Path, written: str) -> None:
    path = tmp_path / "u.toml"
    path.write_text(f'name = "u"\nstrategy = "rsi"\nsymbols = {written}\ncapital = 100\n')
    bot = bots.load(path)
    assert (bot.symbols, bot.universe) == ((), written.strip('[]"'))
    defined = msgspec.structs.replace(bot, symbols=("AAPL", "MSFT"))
    path.write_text(bots.text_of(defined))
    assert bots.load(path) == bot
    assert bots.changed(defined, ["capital=5"]) == msgspec.structs.replace(defined, capital=D(5))
    assert bots.changed(defined, [f"symbols={written}"]) == bot
    assert bots.changed(defined, ['symbols=["AAPL"]']) == msgspec.structs.replace(bot, universe="", symbols=("AAPL",))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('symbols = ["*", "AAPL"]', "symbols: '*' is all that the venue has and stands alone, was ['*', 'AAPL']"),
        ('symbols = ["BTC/USD", "crypto"]', "symbols: 'crypto' is all that the venue has and stands alone"),
        ('symbols = ["AAPL"]\nuniverse = "*"', 'universe is set by symbols: symbols = ["*"]'),
        ("symbols = []", "symbols must name at least one symbol"),
    ],
)
def test_a_universe_that_is_none(tmp_path: Path, written: str, why: str) -> None:
    path = tmp_path / "u.toml"
    path.write_text(f'name = "u"\nstrategy = "rsi"\ncapital = 100\n{written}\n')
    with pytest.raises(ConfigError) as caught:
        bots.load(path)
    assert why in str(caught.value)


def test_a_universe_and_one_of_its_symbols_are_twice_the_same(tmp_path: Path) -> None:
    path = tmp_path / "u.toml"
    path.write_text('name = "u"\nstrategy = "rsi"\nsymbols = ["top10", "AAPL"]\ncapital = 100\n')
    with pytest.raises(ConfigError, match="symbols must not repeat"):
        bots.load(path)


def test_two_classes_of_one_file_live_beside_each_other(tmp_path: Path) -> None:
    code = GOOD + "\n\nclass Other(Above):\n    pass\n"
    first = bots.load(_bot_file(tmp_path, code))
    engine = _engine(first)
    engine.on_bar(bar(12.0, 1))
    bots.load(_bot_file(tmp_path, code, "Other"))
    with pytest.raises(ConfigError, match="no class Nope"):
        bots.load(_bot_file(tmp_path, code, "Nope"))
    assert pickle.loads(pickle.dumps(engine.state()))
