"""What goes wrong, drawn from the seed alone: every doubt of the world is asked here, by name, and counted."""

from __future__ import annotations

import random
from collections import Counter

# Chance per occasion, at strength 1.
CHANCES = {
    "kill": 0.004,  # at a named point of a role
    "publish_lost": 0.004,  # the message never reached the server
    "ack_lost": 0.006,  # it was stored, and nobody says so
    "post_lost": 0.04,  # timed out before the venue got it
    "post_unknown": 0.06,  # timed out after the venue took it
    "post_late": 0.02,  # timed out, and the venue takes it a while later
    "post_html": 0.03,  # 500 or a page instead of an answer; taken or not
    "post_limited": 0.06,  # 429
    "lookup_unknown": 0.05,
    "lookup_limited": 0.03,
    "read_fails": 0.05,  # account, executions, activities
    "account_stale": 0.02,  # cash and positions as they were before the last minute's fills, for some seconds
    "activity_late": 0.15,  # it moved the account, and is listed a while later
    "history_fails": 0.05,
    "history_slow": 0.15,
    "update_lost": 0.02,  # an order event that never comes
    "update_doubled": 0.05,
    "update_late": 0.06,  # overtaken by later ones
    "bars_lost": 0.01,
    "bars_doubled": 0.03,
    "bars_late": 0.02,
    "ticks_lost": 0.02,
    "ticks_doubled": 0.02,
    "ticks_late": 0.02,
    "cancel_lost": 0.05,  # timed out before the venue got it
    "cancel_unknown": 0.05,  # timed out after the venue took it
    "cancel_limited": 0.05,
    # The venue's second thoughts (adapters.exchange.leaving).
    "reject_after_200": 0.01,
    "cancel_rejected": 0.05,
    "stuck_pending_cancel": 0.1,
    "fill_after_cancel": 0.1,
    "replace_rejected": 0.1,
    "fill_before_replace": 0.1,
    "flatten_killed": 0.05,  # the process that halts, between two of its steps
    "slow": 0.05,  # a message takes seconds
}
KILLS_MAX = 12


class Faults:
    """The draws of one seed.

    Args:
        seed: What everything follows from.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(f"tapeline|{seed}")
        self.late = random.Random(f"late trades|{seed}")  # of its own: the rest of a seed's story stays
        draw = self.draw.random
        strength = self.draw.choice((0.0, 0.5, 1.0, 1.0, 2.0, 4.0))
        # Each kind may be left out, so that the others are seen alone.
        self._chances = {name: chance * strength * (draw() < 0.7) for name, chance in CHANCES.items()}
        self.is_on = True
        self.strength = strength
        self.kills_left = KILLS_MAX
        self.batch_max = self.draw.choice((2, 10, 250))
        self.seen: Counter[str] = Counter()

    @property
    def is_disturbed(self) -> bool:
        """Whether anything goes wrong now at all."""
        return self.is_on and self.strength > 0

    def hits(self, name: str) -> bool:
        """Whether this goes wrong now."""
        chance = self._chances[name]
        if not (chance and self.is_on) or self.draw.random() >= chance:
            return False
        self.seen[name] += 1
        return True

    def kills(self, point: str) -> bool:
        """Whether the role that passes this point dies there."""
        if not self.kills_left or not self.hits("kill"):
            return False
        self.kills_left -= 1
        self.seen[f"kill at {point}"] += 1
        return True

    def latency(self) -> float:
        """Seconds a message is under way."""
        if self.hits("slow"):
            return self.draw.uniform(0.2, 4.0)
        return 0.001 + 0.02 * self.draw.random()
