"""explain: orders that come from no signal of a strategy: exits, legs, replacements, what others placed."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from engine.messages import CancelOrder, Head, Mark, Message, Protection, ReplaceOrder, RiskDenied
from engine.risk.guards import STRATEGY
from engine.values import Direction, OrderClass, OrderType, Purpose, Side
from storage.sql import open_read_only
from storage.writer import Writer
from tapeline.explain.chain import Plain, build
from tapeline.explain.rows import find, gather
from tapeline.explain.text import as_text
from tests.storage.samples import T0, accepted, adopted, bar, fill, intent, position, signal, submitted

MARK = f"mark|AAPL|{T0 - 1_000}|{T0 + 60}"
OUT = Direction.FLAT


def _story() -> list[object]:
    """An entry with a stop leg; an order that protects it; a guard's exit; a wish refused; an order placed by hand."""
    exits = {"order_class": OrderClass.OTO, "stop_loss_px": Decimal(98)}
    guarded = {"signal_id": "guard-001", "side": Side.SELL, "purpose": Purpose.GUARD}
    protecting = {
        "signal_id": "venue-entry|30",
        "side": Side.SELL,
        "purpose": Purpose.PROTECT,
        "limit_px": Decimal(110),
    }
    replaced = {"signal_id": "wish-0002", "replaces": "entry-001", "quantity": Decimal(20)}
    wish = {"quantity": Decimal(900)}
    by_hand = {"bot": "manual", "order_type": OrderType.LIMIT, "limit_px": Decimal(90), "side": Side.BUY}
    denied = ("limits.order_notional_usd_max", "too much", "50000", "90450")
    return [
        signal("signal-001"),
        intent("entry-001", signal_id="signal-001", **exits),
        submitted("entry-001"),
        accepted("entry-001", "venue-entry"),
        fill("venue-entry", "30", "30", client_order_id="entry-001"),
        position("venue-entry|30", "30"),
        adopted("leg-00001", "venue-leg", parent="entry-001", purpose=Purpose.PROTECT, stop_px=Decimal(98)),
        intent("protect-1", order_type=OrderType.LIMIT, order_class=OrderClass.OCO, **protecting),
        ReplaceOrder("wish-0002", "entry-001", "smaller", "ann", T0 + 20, quantity=Decimal(20)),
        intent("entry-002", **replaced),
        ReplaceOrder("wish-0003", "entry-002", "more", "ann", T0 + 30, **wish),
        RiskDenied("denied-03", "wish-0003", "alpha", "AAPL", *denied, T0 + 31),
        Mark("AAPL", T0 - 1_000, T0 + 60, Decimal("97.9"), Decimal("97.5"), Decimal(99), Decimal("97.8"), Decimal(98)),
        Protection("alpha", "AAPL", "risk", Decimal(0), Decimal(30), "v|30", T0 + 40, Decimal("98.5")),
        signal(
            "guard-001", strategy=STRATEGY, direction=OUT, bar=MARK, price=97.9, reason="stop touched", indicators={}
        ),
        intent("exit-0001", **guarded),
        adopted("hand-0001", "venue-hand", purpose=Purpose.FOREIGN, **by_hand),
        CancelOrder("wish-0004", "hand-0001", "not mine", "bob", T0 + 90),
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "tapeline.duckdb"
    bodies = _story()
    said = [Message(Head(T0 + n * 1_000_000, 0, "t"), body) for n, body in enumerate(bodies)]  # type: ignore[arg-type]
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        writer.write("market", 1, [Message(Head(T0, T0, "t"), bar())])
        writer.write("trading", len(said), said)
    return path


def _explain(path: Path, text: str) -> Plain:
    with open_read_only(path) as service:

        async def ask(query: str) -> list[dict[str, object]]:
            return service.query(query).frame().rows(named=True)

        async def chain() -> Plain:
            target, columns = await find(text, ask)
            return build(text, target, await gather(target, columns, ask))

        return asyncio.run(chain())


@pytest.mark.parametrize("asked", ["leg-00001", "venue-leg", "protect-1", "entry-002"])
def test_what_an_order_is_for_leads_to_the_bar_behind_the_entry(file: Path, asked: str) -> None:
    chain = _explain(file, asked)
    assert chain["signal"]["id"] == "signal-001"
    assert chain["bar"]["close"] == 100.5
    assert "entry-001" in [order["client_order_id"] for order in chain["orders"]]
    [shown] = [order for order in chain["orders"] if order["asked"]]
    assert shown["client_order_id"] in {"leg-00001", "protect-1", "entry-002"}
    assert not [text for text in chain["missing"] if "signal" in text or "bar" in text]


def test_a_leg_says_whose_it_is(file: Path) -> None:
    text = as_text(_explain(file, "leg-00001"))
    assert "leg of entry-001:  sell  30  stop  stop 98" in text
    assert "venue-leg  Accepted" in text


def test_a_guards_exit_shows_the_mark_and_where_its_stop_was(file: Path) -> None:
    chain = _explain(file, "exit-0001")
    assert (chain["bar"], chain["mark"]["low_px"], chain["protection"]["stop_px"]) == (None, "97.5", "98.5")
    text = as_text(chain)
    assert "last 97.9  low 97.5  high 99  bid 97.8  ask 98" in text
    assert "stop 98.5  30 watched by risk, 0 held by the venue" in text
    assert not [said for said in chain["missing"] if "mark" in said or "bar" in said]


def test_a_refused_wish_shows_the_order_it_was_about(file: Path) -> None:
    chain = _explain(file, "denied-03")
    assert chain["signal"]["id"] == "signal-001"
    [denial] = [verdict for verdict in chain["verdicts"] if verdict["verdict"] == "denial"]
    assert (denial["asked"], denial["observed"]) == (True, "90450")
    text = as_text(chain)
    assert "replace wished by ann" in text
    assert "smaller" in text


def test_an_order_of_others_is_shown_as_theirs(file: Path) -> None:
    chain = _explain(file, "hand-0001")
    assert (chain["signal"], chain["missing"]) == (None, [])
    text = as_text(chain)
    assert "placed by others, counted as manual:  buy  30  limit  limit 90" in text
    assert "cancel wished by bob" in text
    assert [step["what"] for step in chain["steps"]] == ["adopted", "cancel wished"]
