"""explain: what an id means, how the chain is put together, what people and machines are shown. No daemon."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.errors import ConfigError, TapelineError
from engine.messages import Fee, Head, Message, OrderRejected, RiskDenied, TargetReached
from engine.values import Side
from storage.sql import open_read_only
from storage.writer import Writer
from tapeline.explain import find as finding
from tapeline.explain.chain import build, fees_of, plain_row, slippage_bps, status_of, value
from tapeline.explain.command import run_explain
from tapeline.explain.find import Target, checked, choose, find_sql
from tapeline.explain.rows import Facts, find, gather
from tapeline.explain.text import as_text
from tests.storage.samples import T0, accepted, bar, fill, filled, intent, position, signal, submitted

MS = 1_000_000
VENUE = "06b612e0-1e05"


def said(body, ms, *, recv=True, refs=None):
    return Message(Head(T0 + ms * MS, T0 if recv else 0, "AAPL|1m|0|0", refs=refs or {}), body)


def recorded(path):
    """A file with a filled order in two fills, a denied signal, a rejected order, and one that was nothing to trade."""
    ids = {"client_order_id": "order-0001"}
    denied = RiskDenied("denial-001", "signal-002", "alpha", "AAPL", "cash", "too dear", "100 USD", "3015 USD", T0)
    story = [
        said(signal("signal-001"), 1),
        said(intent("order-0001", signal_id="signal-001"), 3),
        said(submitted("order-0001"), 4, recv=False),
        said(accepted("order-0001", VENUE), 9, recv=False),
        said(fill(VENUE, "10", "10", "100.6", **ids), 20, recv=False, refs={"execution_id": "execution-1"}),
        said(position(f"{VENUE}|10", "10"), 21, recv=False),
        said(fill(VENUE, "30", "20", "100.2", ts_event=T0 + 5, **ids), 30, refs={"activity_id": "2026::activity"}),
        said(position(f"{VENUE}|30", "30"), 31, recv=False),
        said(Fee("fee-00001", "CFEE", "alpha", "AAPL", Decimal("-0.3"), Decimal(0), T0 + 5), 33, recv=False),
        said(filled("order-0001", VENUE), 32, recv=False),
        said(signal("signal-002"), 40),
        said(denied, 41),
        said(signal("signal-003"), 50),
        said(intent("order-0003", signal_id="signal-003"), 51),
        said(OrderRejected("order-0003", "alpha", "AAPL", "40310000", "{no}", T0), 52),
        said(signal("signal-004"), 60),
        said(TargetReached("reached-004", "signal-004", "alpha", "AAPL", "held 30 is the target", T0), 61),
        said(signal("signal-005"), 70),
        said(fill("foreign-venue-id", "5", "5", "99", client_order_id="by-hand-01", ts_event=T0 + 9), 80),
    ]
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        writer.write("market", 1, [said(bar(), 0)])
        writer.write("trading", len(story), story)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("explain")
    recorded(made / "tapeline.duckdb")
    return made


@pytest.fixture(scope="module")
def explain(folder):
    """Give a function from an id to its chain, over guarded SQL as in a daemon."""
    with open_read_only(folder / "tapeline.duckdb") as service:

        async def ask(query):
            return service.query(query).frame().rows(named=True)

        async def chain(text):
            target, columns = await find(text, ask)
            return build(text, target, await gather(target, columns, ask))

        yield lambda text: asyncio.run(chain(text))


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        (f"{VENUE}|10", "fill", f"{VENUE}|10"),
        (f"{VENUE}|30.000", "fill", f"{VENUE}|30"),
        ("06b612e0|30", "fill", f"{VENUE}|30"),
        ("execution-1", "fill", f"{VENUE}|10"),
        ("2026::act", "fill", f"{VENUE}|30"),
        (VENUE, "order", "order-0001"),
        ("06b612e0", "order", "order-0001"),
        ("order-0001", "order", "order-0001"),
        ("signal-001", "signal", "signal-001"),
        ("denial-0", "denial", "denial-001"),
        ("reached-004", "no_trade", "reached-004"),
        ("by-hand-", "order", "by-hand-01"),
    ],
)
def test_every_kind_of_id_is_found_whole_or_shortened(explain, text, kind, target):
    chain = explain(text)
    assert (chain["id"], chain["kind"], chain["target"]) == (text, kind, target)


@pytest.mark.parametrize(
    "text", ["nothing-here", "order-9", "order-0", f"{VENUE}|31", "x|y", "|", "it's", "a%b_c", "1|"]
)
def test_an_unknown_id_is_one_line_with_what_was_looked_for(explain, text):
    with pytest.raises(TapelineError) as caught:
        explain(text)
    line = str(caught.value)
    assert repr(text) in line
    assert "\n" not in line
    for kind in ("fill", "order", "intent", "signal", "denial"):
        assert kind in line
    assert ("needs 8 characters" in line) == (len(text) < 8)


def test_an_ambiguous_id_is_refused_with_the_candidates(explain):
    with pytest.raises(TapelineError) as caught:
        explain("order-000")
    assert "order order-0001" in str(caught.value)
    assert "order order-0003" in str(caught.value)
    many = [{"kind": "signal", "name": "id", "value": f"s{n:09d}", "target": f"s{n:09d}"} for n in range(20)]
    with pytest.raises(TapelineError, match="signal s000000007 and 12 more"):
        choose("s00000000", many)


def test_a_whole_id_goes_before_one_that_begins_with_it():
    rows = [
        {"kind": "signal", "name": "id", "value": "abcdefgh", "target": "abcdefgh"},
        {"kind": "denial", "name": "id", "value": "abcdefghi", "target": "abcdefghi"},
    ]
    assert choose("abcdefgh", rows) == Target("signal", "abcdefgh")


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x00b", "x" * 201, "\udcff"])
def test_what_cannot_be_an_id_is_refused(text):
    with pytest.raises(ConfigError, match="ID must be"):
        checked(text)


def test_only_tables_that_exist_are_asked():
    assert find_sql("abcdefgh", {}) == ""
    assert find_sql("abc|1", {"signals": {"id"}}) == ""
    assert "intents" not in find_sql("abcdefgh", {"signals": {"id"}, "denials": {"id"}})
    assert finding.quoted("it's") == "'it''s'"


def test_the_chain_of_a_filled_order(explain):
    chain = explain(f"{VENUE}|30")
    assert list(chain) == [
        "id",
        "kind",
        "target",
        "bar",
        "mark",
        "protection",
        "signal",
        "verdicts",
        "orders",
        "steps",
        "missing",
    ]
    assert chain["missing"] == []
    assert chain["bar"]["close"] == 100.5
    assert chain["bar"]["ts_event"] == "2023-11-14T22:13:20.000000000Z"
    assert chain["signal"]["indicators"] == {"sma_3": 100.125, "sma_5": 100.0}
    (verdict,) = chain["verdicts"]
    assert (verdict["verdict"], verdict["asked"], verdict["ref_px"], verdict["reserved"]) == (
        "intent", True, "100.5", "3015",
    )  # fmt: skip
    (order,) = chain["orders"]
    assert [event["event"] for event in order["events"]] == ["OrderSubmitted", "OrderAccepted", "OrderFilled"]
    assert (order["status"], order["quantity"], order["filled_qty"]) == ("Filled", "30", "30")
    assert order["avg_px"] == "100.333333333"
    assert [f["asked"] for f in order["fills"]] == [False, True]
    assert [f["slippage_bps"] for f in order["fills"]] == [9.95, -29.85]
    assert [f["position"]["signed_qty"] for f in order["fills"]] == ["10", "30"]
    assert [fee["cash"] for fee in order["fees"]] == ["-0.3"]
    whats = [step["what"] for step in chain["steps"]]
    assert whats == [
        "bar received", "signal", "intent", "OrderSubmitted", "OrderAccepted", "fill", "position", "fill", "position",
        "OrderFilled",
    ]  # fmt: skip
    assert [step["ms_since_previous"] for step in chain["steps"]] == [0, 1, 2, 1, 5, 11, 1, 9, 1, 1]
    assert chain["steps"][-1]["ms_since_start"] == 32
    json.dumps(chain)


def test_a_denial_shows_rule_limit_and_observed_value(explain):
    chain = explain("denial-001")
    assert chain["orders"] == []
    text = as_text(chain)
    assert "rule cash: too dear" in text
    assert "limit 100 USD  observed 3015 USD" in text
    assert "because fast above slow:  sma_3 100.125  sma_5 100" in text


def test_what_is_not_there_is_said(explain):
    assert "no verdict of risk is stored yet" in explain("signal-005")["missing"][0]
    by_hand = explain("by-hand-01")
    assert by_hand["signal"] is None
    assert by_hand["orders"][0]["slippage_bps"] is None
    assert "was not decided here" in by_hand["missing"][0]
    assert "no position is stored after fill foreign-venue-id|5" in by_hand["missing"][-1]
    assert "unknown" in as_text(by_hand)
    assert "nothing to trade" in as_text(explain("reached-004"))
    rejected = explain("order-0003")["orders"][0]
    assert (rejected["status"], rejected["events"][0]["reason"]) == ("Rejected", "{no}")


def test_the_text_is_one_screen_also_with_many_fills(explain):
    lines = as_text(explain(f"{VENUE}|30")).splitlines()
    assert len(lines) < 30
    assert max(map(len, lines)) < 150
    assert any(line.lstrip().startswith(">") and "30 at 100.25" in line for line in lines)
    assert "\n\n\n" not in "\n".join(lines)
    chain = explain(VENUE)
    order = chain["orders"][0]
    order["fills"] = order["fills"] * 40
    order["fills"][70] = order["fills"][70] | {"asked": True}
    chain["steps"] = chain["steps"] * 40
    assert len(as_text(chain).splitlines()) < 60
    assert "more: see --json" in as_text(chain)


def test_the_command_prints_one_object_or_fails(folder, tmp_path, capsys):
    folder = shutil.copytree(folder, tmp_path / "copy")  # the first is open already
    assert run_explain("signal-001", folder, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "signal"
    assert run_explain("signal-001", folder, as_json=False) == 0
    assert capsys.readouterr().out.startswith("signal signal-001\n")
    with pytest.raises(TapelineError):
        run_explain("nothing-here", folder, as_json=False)


@pytest.mark.parametrize(
    ("side", "ref", "px", "bps"),
    [
        ("buy", "100", "101", 100.0), ("buy", "100", "99", -100.0), ("sell", "100", "99", 100.0),
        ("sell", "100", "100", 0.0), ("buy", None, "1", None), ("buy", "0", "1", None), (None, "1", "1", None),
        ("buy", "1", None, None),
    ],
)  # fmt: skip
def test_slippage_is_positive_when_worse(side, ref, px, bps):
    found = slippage_bps(side, ref and Decimal(ref), px and Decimal(px))
    assert found == bps
    assert str(found) != "-0.0"


def test_status_is_that_of_the_last_event():
    def events(*names):
        return [{"event": name} for name in names]

    assert status_of([], []) == "Initialized"
    assert status_of(events("OrderSubmitted"), []) == "Submitted"
    assert status_of(events("OrderSubmitted", "OrderAccepted"), []) == "Accepted"
    assert status_of(events("OrderAccepted"), [{}]) == "PartiallyFilled"
    assert status_of(events("OrderAccepted", "OrderCanceled"), [{}]) == "Canceled"


def test_fees_belong_to_an_order_until_the_next_one_is_filled():
    def at(*times, **more):
        return [{"ts_event_ns": ts, "client_order_id": "c"} | more for ts in times]

    facts = Facts(fees=at(1, 2, 5, 6), others=at(1, 6))
    assert [row["ts_event_ns"] for row in fees_of(at(2, 4), facts)] == [2, 5]
    assert [row["ts_event_ns"] for row in fees_of(at(2), Facts(fees=at(1, 2, 9)))] == [2, 9]
    assert [row["ts_event_ns"] for row in fees_of(at(1), Facts(fees=at(1, 5), fills=at(5, client_order_id="d")))] == [1]
    assert fees_of([], facts) == []


def test_values_are_plain_and_exact():
    moment = datetime(2026, 1, 5, 14, 30, 0, 5, UTC)
    assert value(moment) == "2026-01-05T14:30:00.000005Z"
    assert value(Decimal("398.000000000")) == "398"
    row = {
        "decided_at": moment,
        "decided_ns": 1_767_623_400_000_000_007,
        "new_number": Decimal("1.50"),
        "side": Side.BUY,
    }
    assert plain_row(row) == {"decided_at": "2026-01-05T14:30:00.000000007Z", "new_number": "1.5", "side": "buy"}
