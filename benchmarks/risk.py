"""What a decision of risk costs, in isolation: signals in, verdicts out, no NATS; every rule has a limit to judge by.

    uv run python -m benchmarks.risk --json

A bot on many symbols turns from long to short and back, a share of its symbols in each round; orders are filled
between the rounds, so holdings, working orders and counts are as in a running account. CPU time is taken of
`decide_waiting` alone. The bare ceiling builds the structs that a decision cannot do without, proposal and intent, from
the same values. Prints decisions per CPU second of both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from decimal import Decimal

import msgspec

from benchmarks.system import every_rule_on
from engine.bots import Bot, RiskLimits
from engine.ids import bar_key, make_id
from engine.messages import (
    AccountOpened,
    AnyBody,
    Fill,
    Mark,
    OrderFilled,
    OrderIntent,
    RiskDenied,
    Sessions,
    Signal,
    SymbolStatus,
    body_json,
)
from engine.risk import RiskCore
from engine.risk.rules import Activity, Proposal
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, AssetClass, Direction

_BOT = "market"
_START_NS = 1_700_000_000_000_000_000 // NS_PER_MINUTE * NS_PER_MINUTE


def symbols_of(count: int) -> tuple[str, ...]:
    """Names."""
    return tuple(f"S{number:05}" for number in range(count))


def make_core(symbols: tuple[str, ...]) -> RiskCore:
    """A ledger with much cash, in an endless session."""
    limits = {name.removeprefix("limits."): limit for name, limit in every_rule_on(()).items()}
    bot = Bot(_BOT, "sma_crossover", symbols, Decimal(10**9), position_fraction=2e-6)
    core = RiskCore([bot], msgspec.convert(limits, RiskLimits, strict=False))
    core.apply(AccountOpened("SIM", "ACCOUNT", "run", Decimal(10**9), _START_NS))
    core.apply(Sessions(AssetClass.US_EQUITY, ((0, 1 << 62),), _START_NS))
    for symbol in symbols:
        core.apply(SymbolStatus(symbol, "assets", "active", _START_NS))
    return core


def signals_of(symbols: tuple[str, ...], number: int, share: int) -> list[Signal]:
    """The signals of a round: one symbol in `share`, each turning its side every time it comes."""
    ts_event = _START_NS + number * NS_PER_MINUTE
    side = (Direction.LONG, Direction.SHORT)[number // share % 2]
    found: list[Signal] = []
    for at in range(number % share, len(symbols), share):
        bar = bar_key(symbols[at], "1m", ts_event, 0)
        price = 100 + (at * 7919 + number * 31) % 10_000 / 100
        found.append(
            Signal(
                make_id("ACCOUNT", "run", _BOT, bar), _BOT, symbols[at], "sma_crossover", side, 1.0, price, "crossed",
                bar, ts_event, {"fast": price, "slow": price + 1},
            )
        )  # fmt: skip
    return found


def mark_of(signal: Signal) -> Mark:
    """A quote around the signal's price: rules about quotes judge by it."""
    price, tick = Decimal(repr(signal.price)), Decimal("0.01")
    at = signal.ts_event
    return Mark(signal.symbol, at - NS_PER_MINUTE, at, price, price, price, price - tick, price + tick)


def fill(core: RiskCore, intent: OrderIntent) -> list[AnyBody]:
    """Let the venue fill an order whole; give the ledger messages."""
    venue_id, at = f"venue-{intent.id}", intent.decided_ns + NS_PER_MINUTE
    ledger = core.apply(
        Fill(
            venue_id, intent.quantity, intent.id, intent.bot, intent.symbol, intent.side, intent.quantity,
            intent.ref_px, at,
        )
    )  # fmt: skip
    core.apply(OrderFilled(intent.id, intent.bot, intent.symbol, venue_id, intent.quantity, intent.ref_px, at))
    return ledger


def measure(count: int, rounds: int, share: int) -> dict[str, float | int | str]:
    """Play the rounds; give the figures and a digest of every body that came out."""
    symbols = symbols_of(count)
    core = make_core(symbols)
    spent, fills_spent, decided, filled = 0.0, 0.0, 0, 0
    digest = hashlib.blake2b(digest_size=16)
    for number in range(share + rounds):
        due: list[OrderIntent] = []
        for signal in signals_of(symbols, number, share):
            core.apply(mark_of(signal))
            core.apply(signal)
        now_ns = _START_NS + number * NS_PER_MINUTE + 1_000_000
        while core.state.waiting:  # through zero goes by two orders
            started = time.process_time()
            answers = core.decide_waiting(now_ns)
            took = time.process_time() - started
            if denied := next((answer for answer in answers if isinstance(answer, RiskDenied)), None):
                sys.exit(f"risk denied what it should have approved: {denied.rule}, {denied.reason}")
            due = [answer for answer in answers if isinstance(answer, OrderIntent)]
            ledger: list[AnyBody] = []
            started = time.process_time()
            for intent in due:
                ledger += fill(core, intent)
            fills_took = time.process_time() - started
            for body in (*answers, *ledger):
                digest.update(body_json(body))
            if number >= share:  # the first time round every symbol is new
                spent, decided = spent + took, decided + len(answers)
                fills_spent, filled = fills_spent + fills_took, filled + len(due)
    return {
        "decisions": decided,
        "us_per_decision": round(spent / decided * 1e6, 1),
        "decisions_per_s": round(decided / spent),
        "us_per_fill": round(fills_spent / filled * 1e6, 1),
        "bodies": digest.hexdigest(),
    }


def measure_ceiling(count: int) -> float:
    """Build proposal and intent of a decision, again and again, and nothing else; give microseconds per pair."""
    core = make_core(symbols_of(1))
    signal = signals_of(symbols_of(1), 0, 1)[0]
    core.apply(mark_of(signal))
    core.apply(signal)
    intent = next(body for body in core.decide_waiting(_START_NS + 1_000_000) if isinstance(body, OrderIntent))
    bot, limits, sessions, zero = Bot(_BOT, "", (), Decimal(1)), RiskLimits(), SessionTable(), Decimal(0)
    values = {name: getattr(intent, name) for name in OrderIntent.__struct_fields__}
    started = time.process_time()
    for _ in range(count):
        Proposal(
            bot, signal, intent.quantity, intent.ref_px, zero, zero, zero, "", intent.decided_ns, sessions, limits,
            activity=Activity(),
        )  # fmt: skip
        OrderIntent(**values)
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    """Print one JSON line (or a sentence)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=11_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--share", type=int, default=10, help="a round has signals of one symbol in so many")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, object] = dict(measure(options.symbols, options.rounds, options.share))
    ceiling_us = measure_ceiling(100_000)
    ratio = float(str(result["us_per_decision"])) / ceiling_us
    result |= {"ceiling_us": round(ceiling_us, 2), "ceiling_per_s": round(1e6 / ceiling_us), "ratio": round(ratio, 1)}
    if options.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
