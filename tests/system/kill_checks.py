"""What must hold after any kill of anything: three accounts of one run (venue, streams, database) tell one story."""

import json
from collections import Counter, defaultdict
from decimal import Decimal

from storage.sql import open_read_only
from tests.system.harness import difference
from tests.system.kill_plan import NATS
from tests.system.killing import Played

_ENDS = {"OrderFilled": "filled", "OrderCanceled": "canceled", "OrderRejected": "rejected", "OrderExpired": "expired"}
_OPEN = {"new", "accepted", "pending_new", "partially_filled"}


def rows(played: Played, query: str) -> list[tuple]:
    """Ask the database of a run."""
    with open_read_only(played.folder / "tapeline.duckdb") as sql:
        return sql.query(query, row_limit=100_000).frame().rows()


def check(played: Played, *, is_once: bool = True) -> None:
    """Everything that holds in lock-step and in real time.

    Args:
        played: The run.
        is_once: Whether nats-server was back while it knew the ids of what it had stored. Else what it stored without
            saying so is stored again, and readers pass over it.
    """
    assert played.summary["conflicts"] == 0, rows(played, "FROM conflicts")
    assert rows(played, "FROM gaps WHERE filled_by <> 'history'") == [], "bars that history has were given up"
    _orders(played)
    _fills(played)
    _ledger(played)
    _bars(played)
    _verdicts(played)
    if is_once:
        _once(played)
    _alerts(played)


def _orders(played: Played) -> None:
    """Each order of the venue is one intent's, each intent is there at most once and ended once, as the venue says."""
    at_venue = {order["client_order_id"]: order["status"] for order in played.venue["orders"]}
    assert len(at_venue) == len(played.venue["orders"]) == int(played.venue["account"]["orders_accepted"])
    intents = {key for (key,) in rows(played, "SELECT id FROM intents")}
    assert set(at_venue) <= intents, "the venue has orders that risk did not approve"
    events: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, event, reason in rows(played, "SELECT client_order_id, event, coalesce(reason, '') FROM order_events"):
        events[key].append((event, reason))
    assert set(events) == intents, "events of unknown orders, or an intent without any"
    for key, story in events.items():
        ends = [(event, reason) for event, reason in story if event in _ENDS]
        said = [event for event, _ in story]
        status = at_venue.get(key)
        if status is None:
            assert len(ends) == 1, (key, story)
            assert ends[0][0] == "OrderRejected" or ends[0] == ("OrderExpired", "not_sent"), (key, story)
        else:
            assert said.count("OrderSubmitted") == said.count("OrderAccepted") == 1, (key, story)
            expected = [] if status in _OPEN else [status]
            assert [_ENDS[event] for event, _ in ends] == expected, (key, story, status)


def _fills(played: Played) -> None:
    """Each execution of the venue is a row once and a message."""
    done = sorted(
        (e["order_id"], Decimal(e["cum_qty"]), Decimal(e["qty"]), Decimal(e["price"]), e["side"].lower())
        for e in played.venue["executions"]
    )
    assert len(done) == int(played.venue["account"]["executions"]) > 0
    query = "SELECT venue_order_id, cum_qty, last_qty, last_px, lower(side) FROM fills ORDER BY ALL"
    assert rows(played, query) == done, "a fill is lost, doubled or not the venue's"
    told = [json.loads(body) for bodies in _of(played, "fills") for body in dict.fromkeys(bodies)]
    assert sorted((fill["venue_order_id"], Decimal(fill["cum_qty"])) for fill in told) == [key[:2] for key in done]


def _ledger(played: Played) -> None:
    """Cash to the cent and every position are the venue's."""
    assert round(Decimal(played.summary["cash"]), 2) == round(Decimal(played.venue["account"]["cash"]), 2)
    ours = {symbol: Decimal(quantity) for symbol, quantity in played.summary["positions"].items()}
    assert ours == {symbol: Decimal(quantity) for symbol, quantity in played.venue["positions"].items()}


def _bars(played: Played) -> None:
    """Each bar of the venue is a row once."""
    ((count, distinct),) = rows(played, "SELECT count(*), count(DISTINCT (symbol, ts_event_ns)) FROM bars")
    assert count == distinct == int(played.venue["account"]["bars_emitted"])


def _verdicts(played: Played) -> None:
    """Each signal is answered; twice only where an order stopped at zero and the rest followed.

    The last one of a symbol still waits where the bars ended under an order the other way.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for table in ("intents", "denials", "no_trades"):
        for (signal,) in rows(played, f"SELECT signal_id FROM {table}"):
            answers[signal].append(table)
    signals = dict(rows(played, "SELECT id, symbol FROM signals"))
    assert set(answers) <= set(signals), "a verdict without a signal"
    waiting = Counter(signals[key] for key in set(signals) - set(answers))
    working = {order["symbol"] for order in played.venue["orders"] if order["status"] in _OPEN}
    assert set(waiting) <= working, "a signal without a verdict"
    assert all(count == 1 for count in waiting.values()), waiting
    wrong = {key: given for key, given in answers.items() if len(given) > 1 and given.count("intents") < len(given) - 1}
    assert not wrong, wrong
    assert max(len(given) for given in answers.values()) <= 2


def _once(played: Played) -> None:
    """No message stands in the trading stream twice."""
    for kind in ("marks", "signals", "intents", "denials", "reached", "orders", "fills", "positions", "account"):
        twice = [body for bodies in _of(played, kind) for body, count in Counter(bodies).items() if count > 1]
        assert not twice, f"stored twice: {twice[:3]}"


def _alerts(played: Played) -> None:
    """Nothing raises an alarm but a nats-server that lost its newest bars, and feed says how many it mended."""
    said = [what for (what,) in rows(played, "SELECT what FROM alerts")]
    assert all("were published again" in what for what in said), said
    assert not said or played.killed[NATS]


def _of(played: Played, kind: str) -> list[list[bytes]]:
    return [found for subject, found in played.bodies.items() if subject.split(".")[1] == kind]


def same(played: Played, calm: Played) -> None:
    """Whole tables and every body of both streams, in order, are those of the undisturbed run.

    Alerts are left out where nats-server was killed: that it lost bars, and that they are there again, is news. Marks
    are left out where feed was killed: trades and quotes that nobody heard are not told again, and a mark is made of
    those since the one before. A body that stands there twice counts once; `check` says where that may be.
    """
    skip = ({"alerts"} if played.killed[NATS] else set()) | ({"marks"} if played.killed["feed"] else set())
    got = {name: found for name, found in played.tables.items() if name not in skip}
    wanted = {name: found for name, found in calm.tables.items() if name not in skip}
    assert got == wanted, difference(wanted, got)
    streams, expected = (
        {name: list(dict.fromkeys(found)) for name, found in run.bodies.items() if name.split(".")[1] not in skip}
        for run in (played, calm)
    )
    assert streams == expected, difference(expected, streams)
    assert played.venue["account"] == calm.venue["account"], "the exchange accepted something else, or twice"
