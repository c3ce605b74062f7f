"""Defects this simulation found that the code still has: each a one-line mend, applied so that the rest can be seen.

Each has a minimal test in test_found.py that fails without it. A mend whose line is gone from the code is left out:
then the seeds try the code as it is. Delete it here when its defect is mended.
"""

from __future__ import annotations

from tests.simulation.patching import Patch, applies

MENDS: tuple[Patch, ...] = ()


def waiting(without: str = "") -> list[Patch]:
    """The mends whose line is still in the code, but one and its parts."""
    return [patch for patch in MENDS if without not in {patch.name, patch.part_of} - {""} and applies(patch)]
