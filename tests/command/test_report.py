"""`tapeline report`: numbers as the views say, a page that needs nothing else, and what is said where nothing happened."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from engine.bots import BotStatus
from engine.errors import ConfigError
from engine.messages import BotDefined, RiskDenied
from storage.writer import Writer
from tapeline.report import gather, run_report
from tapeline.sql import asking
from tests.engine import build
from tests.storage import samples
from tests.storage.test_performance import T0, Day

D = Decimal


@pytest.fixture
def folder(tmp_path):
    day = Day(3)
    alpha = BotDefined("alpha", 1, build.bot(capital=D(1000)), BotStatus.RUNNING, 0, "file", "x", T0)
    idle = BotDefined("idle", 1, build.bot(name="idle"), BotStatus.PAUSED, 0, "file", "y", T0)
    why = samples.signal("s1", reason='<script>alert("x")</script> & more')
    asked = [samples.intent(f"c-{name}", bot=bot) for name, bot in _opening(day)]
    bodies = [alpha, idle, why, *asked, *day.bodies]
    with Writer.open(tmp_path / "tapeline.duckdb", memory_limit_mb=64, threads=1) as writer:
        writer.write("trading", len(bodies), samples.messages(*bodies))
        writer.write("market", len(day.bars), samples.messages(*day.bars))
    return tmp_path, day


def _opening(day):
    return [(body.venue_order_id, body.bot) for body in day.bodies if hasattr(body, "venue_order_id")]


def _reports(folder, bot=None, *, with_charts=True):
    async def ask():
        async with asking(folder, 0) as each:
            return await gather(each, bot, with_charts=with_charts)

    return {report.bot: report for report in asyncio.run(ask())}


def test_numbers_are_those_of_the_day(folder):
    path, day = folder
    reports = _reports(path)
    assert set(reports) == {"alpha", "beta", "idle"}
    for name in ("alpha", "beta"):
        n, ended = reports[name].numbers, [pnl for bot, _, _, pnl in day.trades if bot == name]
        moments = [value for (bot, _), value in sorted(day.equity.items(), key=lambda item: item[0][1]) if bot == name]
        assert n["pnl"] == moments[-1][0]
        assert (n["closed"], n["won"]) == (len(ended), sum(pnl > 0 for pnl in ended))
        assert (n["gained"], n["lost"]) == (sum(p for p in ended if p > 0), sum(p for p in ended if p < 0))
        assert (n["best"], n["worst"]) == (max(ended), min(ended))
        assert n["exposure_max"] == max(held for _, held in moments)
        capital = float(reports[name].capital)
        shown = [capital, *(capital + float(pnl) for pnl, _ in moments)]
        assert [equity for _, equity, _ in reports[name].equity] == pytest.approx(shown)
        assert sum(map(len, reports[name].charts.values())) > 20
    assert reports["idle"].numbers["pnl"] is None
    assert reports["idle"].status == "paused"


def test_what_was_denied_is_counted_by_rule(folder, capsys):
    path, _ = folder
    rules = ("session", "wash_trade", "wash_trade")
    idle = [RiskDenied(f"d{n}", f"s{n}", "idle", "AAPL", rule, "no", "1", "2", T0) for n, rule in enumerate(rules)]
    with Writer.open(path / "tapeline.duckdb", memory_limit_mb=64, threads=1) as writer:
        writer.write("trading", 1_000, samples.messages(*idle))
    assert _reports(path)["alpha"].numbers["denied"] == {}
    run_report("idle", path, None)
    said = capsys.readouterr().out
    assert "  P&L            nothing traded yet\n  denied         3: wash_trade 2, session 1\n" in said


def test_the_text_of_one_bot(folder, capsys):
    path, day = folder
    assert run_report("alpha", path, None) == 0
    said = capsys.readouterr().out
    pnl = [value for (bot, _), value in sorted(day.equity.items(), key=lambda item: item[0][1]) if bot == "alpha"][-1][
        0
    ]
    assert said.startswith("alpha: sma_crossover, running; AAPL\n")
    assert f"P&L            {pnl:+,.2f} USD ({pnl / 10:+.2f} % of 1,000)" in said
    assert "beta" not in said
    run_report("idle", path, None)
    assert "nothing traded yet" in capsys.readouterr().out


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_says_the_same_and_needs_no_network(folder, capsys):
    path, day = folder
    page = path / "report.html"
    assert run_report(None, path, page) == 0
    assert "3 bots" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(text)
    assert parsed.open == []
    assert not re.search(r"https?://|src=|@import|url\(", text)
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "link", "img", "iframe")]
    assert '<script>alert("x")</script> & more' in "".join(parsed.texts)  # escaped, so it is text
    rows = [tag for tag, _ in parsed.tags if tag == "tr"]
    still = sum(1 for book in day.books.values() if book.quantity)
    assert len(rows) == 2 + len(day.trades) + still
    assert len([tag for tag, _ in parsed.tags if tag == "svg"]) >= 4


def test_refused(folder):
    path, _ = folder
    with pytest.raises(ConfigError, match="there is no bot 'gamma': choose one of alpha, beta, idle"):
        run_report("gamma", path, None)
    with pytest.raises(ConfigError, match="cannot be written"):
        run_report(None, path, path / "nowhere" / "r.html")


def test_a_database_without_anything(tmp_path, capsys):
    Writer.open(tmp_path / "tapeline.duckdb", memory_limit_mb=64, threads=1).close()
    assert run_report(None, tmp_path, None) == 0
    assert "no bot is recorded yet" in capsys.readouterr().out
    assert run_report(None, tmp_path, tmp_path / "r.html") == 0
    assert "There is no bot yet" in (tmp_path / "r.html").read_text()
