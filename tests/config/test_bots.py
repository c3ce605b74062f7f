from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from config.bots import SHIPPED, load, shipped, validate, validate_all
from engine.bots import Bot
from engine.errors import ConfigError
from engine.signals import SignalEngine

GOOD = """
name = "alpha"
strategy = "sma_crossover"
symbols = ["AAPL", "BRK.B", "BTC/USD"]
capital = "2500.50"
position_fraction = 0.3

[params]
fast = 2
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "alpha.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_bot_is_read_whole(tmp_path: Path) -> None:
    assert load(_file(tmp_path, GOOD)) == Bot(
        name="alpha",
        strategy="sma_crossover",
        symbols=("AAPL", "BRK.B", "BTC/USD"),
        capital=Decimal("2500.50"),
        params={"fast": 2},
        position_fraction=0.3,
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"alpha"', '"Alpha Bot"', "Alpha Bot"),
        ('"BRK.B"', '"F250117C00012000"', "is an option contract"),
        ("[params]", '[order]\ntime_in_force = "day"\n[params]', "crypto is gtc or ioc, was day"),
        ("[params]", '[order]\ntype = "trailing_stop"\n[params]', "crypto is market, limit or stop_limit"),
        ('"BRK.B", "BTC/USD"]', '"BRK.B"]\norder = {fractional = true, time_in_force = "gtc"}', "true is day, was gtc"),
        ('"BRK.B", "BTC/USD"]', '"BRK.B"]\norder = {fractional = true, type = "trailing_stop"}', "was trailing_stop"),
        ('"BRK.B", "BTC/USD"]', '"BRK.B"]\norder = {time_in_force = "opg"}', "it needs session any"),
        ('"BRK.B", "BTC/USD"]', '"BRK.B"]\norder = {type = "limit", extended_hours = true}', "needs session any"),
        ("[params]", '[order]\ntype = "other"\n[params]', "type other is none that can be sent"),
        ("[params]", '[order]\ntime_in_force = "other"\n[params]', "time_in_force other is none that can be sent"),
        ("[params]", "[order]\nextended_hours = true\n[params]", "extended_hours needs type limit"),
        ("[params]", "[order]\nnotional = true\n[params]", "notional needs fractional = true"),
        ("[params]", '[order]\ntype = "stop"\ntime_in_force = "ioc"\n[params]', "ioc needs type market or limit"),
        ("[params]", "[stops]\nstoploss = 0.02\n[params]", "'stops.stoploss': known here are stop_loss, take_profit, "),
        ("[params]", "[stops]\nstop_loss = 2\n[params]", "stops.stop_loss: expected `float` <= 1.0, was 2"),
        ("[params]", "[order]\nkind = 2\n[params]", "'order.kind': known here are type, time_in_force, "),
        ('"alpha"', '""', "name must be"),
        ('"alpha"', '"a.b"', "a.b"),
        ('"alpha"', '"alpha\\n"', "name must be"),
        ('"alpha"', f'"{"a" * 33}"', "1..32"),
        ('"sma_crossover"', '"martingale"', "unknown strategy 'martingale': choose one of bollinger_reversion, "),
        ('["AAPL", "BRK.B", "BTC/USD"]', "[]", "at least one symbol"),
        ('["AAPL", "BRK.B", "BTC/USD"]', '"AAPL"', "symbols"),
        ('"BRK.B"', '"brk.b"', "'brk.b'"),
        ('"BRK.B"', '"BRK B"', "'BRK B'"),
        ('"BRK.B"', '"BTC/"', "'BTC/'"),
        ('"BRK.B"', '"AAPL"', "must not repeat"),
        ('"alpha"', '"flatten"', "choose another"),
        ('"alpha"', '"manual"', "choose another"),
        ('"2500.50"', '"1e999999999"', "at most 1000000000000000"),
        ("[params]", f"a = {'[' * 5000}\n[params]", "bot file"),
        ('"2500.50"', '"0"', "was 0"),
        ('"2500.50"', "-1", "was -1"),
        ('"2500.50"', '"nan"', "was NaN"),
        ('"2500.50"', "inf", "was Infinity"),
        ('"2500.50"', '"much"', "capital"),
        ("0.3", "0", "was 0"),
        ("0.3", "1.01", "was 1.01"),
        ("0.3", "nan", "was nan"),
        ("fast = 2", "fast = 9", "were 9 and 5"),
        ("fast = 2", "speed = 2", "speed"),
        ("fast = 2", "fast = [2]", "fast: expected `int`, got `array`"),
        ("position_fraction", "fraction", "fraction"),
        ('capital = "2500.50"', "", "field 'capital' is missing: write it"),
        ('capital = "2500.50"', 'capital = "2500.50', "'capital = \"2500.50': illegal character '\\n': mend that line"),
        ('capital = "2500.50"', "capital = 1\ncapital = 2", "'capital = 2': this key stands twice: mend that line"),
        ('"2500.50"', '"lots"', "capital: must be a number, such as 2500 or \"2500.50\", was 'lots'"),
        ('["AAPL", "BRK.B", "BTC/USD"]', "7", 'symbols: must be a list, such as ["AAPL", "MSFT"], was 7'),
        ("[params]", 'timeframe = "60m"\n[params]', "'60m'"),
        ("[params]", 'timeframe = "40s"\n[params]', "'40s'"),
        ("[params]", 'session = "night"\n[params]', "session"),
        ("[params]", "[params", "alpha.toml"),
    ],
)
def test_a_wrong_bot_is_one_line_that_names_what_is_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, GOOD.replace(old, new)))
    text = str(caught.value)
    assert "\n" not in text
    assert says in text
    assert "alpha" in text.lower()


def test_what_is_no_file_of_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"a\.toml: byte 8 is no UTF-8: save it as UTF-8"):
        load(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\): name a file of one bot"):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml does not exist"):
        load(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="nobody"):
        shipped("nobody")


def test_two_bots_of_one_name_are_refused(tmp_path: Path) -> None:
    one = load(_file(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="'alpha' is defined twice"):
        validate_all([one, msgspec.structs.replace(one, capital=Decimal(1))])
    validate_all([one, msgspec.structs.replace(one, name="beta")])


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_what_is_shipped_is_valid_and_runs(path: Path) -> None:
    bot = shipped(path.stem)
    assert bot.name == path.stem
    validate(bot)
    SignalEngine("ACC1", "run1", [bot])


def test_there_is_a_demo_bot() -> None:
    assert len(shipped("demo").symbols) == 10
