"""Settings: where they come from, which one wins, and one clear line for each that is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import settings as module
from config.settings import Settings, load, parse
from engine.errors import ConfigError


def _file(folder: Path, text: str) -> Path:
    path = folder / "tapeline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _refused(file: Path | None = None, environment: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {}, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_anything_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()
    assert load(None, {"PATH": "/bin", "ALPACA_API_KEY": "k", "TAPELINE_TEST_DATA": "x"}) == Settings()


def test_command_line_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = _file(tmp_path, '[nats]\nprefix = "file"\nmarket_age_s_max = 11\n[log]\nlevel = "info"\n')
    environment = {"TAPELINE_NATS__PREFIX": "env", "TAPELINE_LOG__LEVEL": "error"}
    found = load(file, environment, {"log.level": "debug"})
    assert (found.nats.prefix, found.nats.market_age_s_max, found.log.level) == ("env", 11, "debug")
    assert found.executor == Settings().executor


def test_the_file_is_found_by_option_then_variable_then_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {}
    for name in ("option", "variable", "here"):
        folder = tmp_path / name
        folder.mkdir()
        names[name] = _file(folder, f'run_id = "{name}"')
    monkeypatch.chdir(tmp_path / "here")
    assert load(None, {}).run_id == "here"
    assert load(None, {"TAPELINE_CONFIG": str(names["variable"])}).run_id == "variable"
    assert load(names["option"], {"TAPELINE_CONFIG": str(names["variable"])}).run_id == "option"


def test_text_from_the_environment_gets_its_type(tmp_path: Path) -> None:
    found = load(
        _file(tmp_path, ""),
        {
            "TAPELINE_ALPACA__LIVE": "true",
            "TAPELINE_EXECUTOR__REST_WORKERS": "7",
            "TAPELINE_FEED__MUTE_S_MAX": "2.5",
            "TAPELINE_LIMITS__ORDER_NOTIONAL_USD_MAX": "1234.56",
            "TAPELINE_DATA_DIR": "/var/lib/tapeline",
        },
    )
    assert (found.alpaca.live, found.executor.rest_workers, found.feed.mute_s_max) == (True, 7, 2.5)
    assert found.limits.order_notional_usd_max == Decimal("1234.56")
    assert found.data_path == Path("/var/lib/tapeline")


def test_bots_in_the_settings(tmp_path: Path) -> None:
    text = """
    [[bots]]
    name = "b"
    strategy = "rsi"
    symbols = ["MSFT", "AAPL"]
    capital = "5000"
    params = {period = 7}
    [[bots]]
    name = "a"
    strategy = "rsi"
    symbols = ["AAPL", "BTC/USD"]
    capital = 100.5
    """
    found = load(_file(tmp_path, text), {})
    assert [bot.name for bot in found.bots] == ["b", "a"]
    assert [bot.capital for bot in found.bots] == [Decimal(5000), Decimal("100.5")]
    assert found.symbols == ("AAPL", "BTC/USD", "MSFT")


def test_only_symbols_that_need_them_have_marks() -> None:
    def bot(name: str, symbol: str, **stops: float) -> dict[str, object]:
        made: dict[str, object] = {"name": name, "strategy": "rsi", "symbols": [symbol], "capital": "10"}
        return made | ({"stops": stops} if stops else {})

    bots = [bot("a", "MSFT"), bot("b", "BTC/USD", stop_loss=0.02), bot("c", "AAPL", trailing_stop=1.0)]
    assert parse({"bots": bots}).marked_symbols == ("AAPL", "BTC/USD")
    assert parse({"bots": bots[:1]}).marked_symbols == ()
    collared = parse({"bots": bots, "limits": {"collar_fraction_max": 0.05}})
    assert collared.marked_symbols == collared.symbols == ("AAPL", "BTC/USD", "MSFT")


@pytest.mark.parametrize("stops", ["{}", "{ stop_loss = 0 }", "{ take_profit = 1.01 }", "{ loss = 0.1 }"])
def test_stops_that_stop_nothing_are_refused(tmp_path: Path, stops: str) -> None:
    text = f'[[bots]]\nname = "a"\nstrategy = "rsi"\nsymbols = ["A"]\ncapital = "1"\nstops = {stops}\n'
    assert "bots[0].stops" in _refused(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("nats.prefix", "Tape", "Tape"),
        ("nats.prefix", "a.b", "a.b"),
        ("nats.prefix", "", "''"),
        ("nats.market_age_s_max", "0", ">= 1"),
        ("nats.market_bytes_max", "-1", "-1"),
        ("nats.duplicate_window_s", "nan", "nan"),
        ("alpaca.live", "perhaps", "perhaps"),
        ("alpaca.read_timeout_s", "0", "> 0"),
        ("feed.timeframe", "5m", "5m"),
        ("feed.mute_s_max", "soon", "soon"),
        ("feed.backfill_attempts_max", "1.5", "1.5"),
        ("executor.requests_per_min_max", "0", ">= 1"),
        ("executor.rest_workers", "-4", "-4"),
        ("executor.activities_every_s", "inf", "inf"),
        ("executor.reconcile_every_s", "0", "> 0"),
        ("executor.correction_usd_max", "-1", "-1"),
        ("executor.correction_usd_max", "inf", "Infinity"),
        ("executor.foreign_orders", "mine", "mine"),
        ("recorder.batch_rows_max", "many", "many"),
        ("recorder.snapshot_every_s", "-1", "-1"),
        ("limits.order_notional_usd_max", "nan", "NaN"),
        ("limits.order_notional_usd_max", "-5", "-5"),
        ("limits.order_notional_usd_max", "lots", "lots"),
        ("limits.position_fraction_max", "0", "> 0"),
        ("limits.position_fraction_max", "nan", "nan"),
        ("limits.bar_age_ms_max", "0", ">= 1"),
        ("limits.gross_exposure_usd_max", "1e400", "at most 1000000000000000"),
        ("limits.price_buffer_fraction", "-0.1", "-0.1"),
        ("log.level", "loud", "loud"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting_from_every_source(
    tmp_path: Path, setting: str, value: str, says: str
) -> None:
    section, name = setting.split(".")
    toml = f'[{section}]\n{name} = "{value}"\n'
    for text in (
        _refused(_file(tmp_path, toml)),
        _refused(_file(tmp_path, ""), {f"TAPELINE_{section}__{name}".upper(): value}),
        _refused(_file(tmp_path, ""), **{setting: value}),
    ):
        assert section in text
        assert name in text
        assert says in text


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("colour = 1", "unknown setting 'colour'"),
        ("[feed]\ncolour = 1", "unknown setting 'feed.colour'"),
        ("[colours]\nred = 1", "unknown setting 'colours'"),
        ("[[bots]]\nname='a'\ncolour=1", "colour"),
        ("[limits]\norder_notional_max = 1", "unknown setting 'limits.order_notional_max'"),
    ],
)
def test_an_unknown_setting_is_named_and_the_known_ones_listed(tmp_path: Path, toml: str, says: str) -> None:
    text = _refused(_file(tmp_path, toml))
    assert says in text
    assert "known here are" in text


def test_unknown_names_of_the_other_sources(tmp_path: Path) -> None:
    file = _file(tmp_path, "")
    assert "unknown setting 'feed.speed'" in _refused(file, {"TAPELINE_FEED__SPEED": "1"})
    assert "unknown setting 'speed'" in _refused(file, {"TAPELINE_SPEED": "1"})
    assert "unknown setting 'feed.speed'" in _refused(file, **{"feed.speed": 1})
    text = _refused(file, {"TAPELINE_DATA_DIR__X": "1", "TAPELINE_DATA_DIR": "d"})
    assert "data_dir" in text


def test_a_missing_file_and_one_that_is_no_toml(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    assert str(missing) in _refused(missing)
    assert str(missing) in _refused(None, {"TAPELINE_CONFIG": str(missing)})
    assert "tapeline.toml" in _refused(_file(tmp_path, "[nats\nurl = 1"))
    assert str(tmp_path) in _refused(tmp_path)
    (tmp_path / "tapeline.toml").write_bytes(b"\xff\xfe")
    assert "tapeline.toml" in _refused(tmp_path / "tapeline.toml")


@pytest.mark.parametrize(("toml", "says"), [("nats = 3", "nats"), ("bots = 3", "bots"), ("[[nats]]\nurl='x'", "nats")])
def test_a_section_that_is_none(tmp_path: Path, toml: str, says: str) -> None:
    assert says in _refused(_file(tmp_path, toml))
    assert "nats" in _refused(_file(tmp_path, "nats = 3"), {"TAPELINE_NATS__URL": "x"})
    assert "TAPELINE_NATS" in _refused(_file(tmp_path, "[nats]\nurl = 'x'"), {"TAPELINE_NATS": "x"})


def test_a_bot_in_the_settings_that_lacks_something_is_named_by_its_place(tmp_path: Path) -> None:
    text = _refused(_file(tmp_path, '[[bots]]\nname = "a"\nstrategy = "rsi"\nsymbols = ["A"]\n'))
    assert "bots[0]" in text
    assert "capital" in text


def test_settings_come_back_whole_from_the_file_that_roles_are_given() -> None:
    found = parse({"bots": [{"name": "a", "strategy": "rsi", "symbols": ["BRK.B"], "capital": "10.50"}]})
    assert parse(msgspec.json.decode(msgspec.json.encode(found))) == found
    assert parse(msgspec.json.decode(msgspec.json.encode(Settings()))) == Settings()


def _children(of: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    names = st.sampled_from(["url", "prefix", "name", "capital", "order_notional_usd_max", "x"])
    return st.lists(of, max_size=3) | st.dictionaries(names, of, max_size=3)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), _children, max_leaves=8))
def test_junk_of_any_shape_is_refused_in_one_line_or_understood(tree: object) -> None:
    for section in ("nats", "limits", "bots"):
        said = ""
        try:
            parse({section: tree})
        except ConfigError as err:
            said = str(err)
        assert "\n" not in said


def test_secrets_are_no_settings() -> None:
    names = {field.name for field in msgspec.structs.fields(Settings().alpaca)}
    assert not {name for name in names if "key" in name or "secret" in name}


def test_every_section_says_what_it_is_for() -> None:
    for of in vars(module).values():
        if isinstance(of, type) and issubclass(of, msgspec.Struct):
            assert of.__doc__, of


@pytest.mark.parametrize("section", ["limits", "feed", "signals", "risk", "executor", "recorder", "nats", "daemon"])
def test_no_number_is_so_large_that_it_has_no_place_in_a_message(section: str) -> None:
    """A limit ends up in times and in columns of 64 bits: one that does not fit would be stored and never recorded."""
    section_of = getattr(Settings(), section)
    kinds = (int, Decimal) if section == "limits" else (int,)
    numbers = [name for name in section_of.__struct_fields__ if type(getattr(section_of, name)) in kinds]
    assert numbers or section == "risk"
    for name in numbers:
        with pytest.raises(ConfigError, match=name):
            parse({section: {name: 10**24}})
