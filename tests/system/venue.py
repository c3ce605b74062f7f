"""What the exchange of a running system says itself."""

import json
import time
import urllib.request
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from tapeline import folders


def ask(url: str) -> object:
    keys = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=keys), timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


class Venue:
    """The exchange's own view: its clock against ours, and when it accepted the newest order."""

    def __init__(self, folder: Path) -> None:
        settings = folders.running_settings(folder)
        self.rest, self.control = settings.alpaca.rest_url, settings.venue_clock_url
        self.first = self.now()

    def now(self) -> tuple[int, int]:
        before = time.time_ns()
        venue_ns = ask(f"{self.control}/clock")["venue_ns"]
        return (before + time.time_ns()) // 2, venue_ns

    def orders(self, status: str) -> list[dict]:
        return ask(f"{self.rest}/v2/orders?status={status}&limit=500&direction=desc")

    def accepted(self) -> int:
        """How many orders it ever accepted."""
        status = ask(f"{self.control}/status")
        return status["orders_open"] + status["orders_terminal"]

    def positions(self) -> dict[str, Decimal]:
        return {p["symbol"]: Decimal(p["qty"]) for p in ask(f"{self.rest}/v2/positions")}

    def slow_down(self, seconds: float) -> None:
        """Let each POST of an order take so long; 0 ends that."""
        rules = [{"fault": "slow", "method": "POST", "path": "/v2/orders", "delay_s": seconds}] if seconds else []
        body = json.dumps({"rules": rules}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.control}/faults", body), timeout=10):  # noqa: S310
            pass

    def accepted_after_s(self, wall_ns: int) -> float:
        """Seconds of our time between `wall_ns` and the moment the newest order but closing ones was accepted."""
        (wall_a, venue_a), (wall_b, venue_b) = self.first, self.now()
        orders = [order for order in self.orders("all") if not order["client_order_id"].startswith("flatten-")]
        newest = orders[0]["created_at"]
        accepted = datetime.fromisoformat(newest).timestamp() * 1e9
        at = wall_a + (accepted - venue_a) * (wall_b - wall_a) / (venue_b - venue_a)
        return (at - wall_ns) / 1e9
