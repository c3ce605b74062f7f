"""Which process dies where: the named points as the code has them, and plans made from a seed.

A plan is what kill_role.py reads: per role a list of [point, passing, victims], done in this order in that role's
process. The default run's seed is the commit, so that every commit is tried by other kills; KILL_SEED replays one.
"""

import hashlib
import os
import random
import re
import subprocess
from pathlib import Path

from tapeline.role_main import ROLES

ROOT = Path(__file__).resolve().parents[2]
NATS = "nats-server"
VICTIMS = (*ROLES, NATS)
PACKAGES = ("engine", "adapters", "streams", "storage", "config", "tapeline")
# The passing at which a point kills is drawn from 1 to this: what every run reaches, also after other kills.
PASSINGS_MAX = {"publish": 3, "tell": 3, "post": 2, "commit": 2}

Item = list  # [point, passing, victims]
Plan = dict[str, list[Item]]


def points() -> list[str]:
    """Every named point of the code, sorted; `{role}` stands for each role whose code passes it."""
    pipelined = [role for role in ROLES if "Pipeline(" in _service(role)]
    found: set[str] = set()
    for package in ("streams", "tapeline"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in re.findall(r'hit\(\s*f?"([^"]+)"', path.read_text()):
                if "{" not in name:
                    found.add(name)
                else:
                    roles = pipelined if path.name == "pipeline.py" else ROLES
                    found.update(re.sub(r"\{[^}]*\}", role, name) for role in roles)
    return sorted(found)


def _service(role: str) -> str:
    return (ROOT / "streams" / "services" / f"{role}.py").read_text()


def role_points() -> dict[str, list[str]]:
    """The points of the running roles, by role; those of `rebuild` have a test of their own."""
    return {role: [name for name in points() if name.partition(".")[0] == role] for role in ROLES}


def seed_of_commit() -> int:
    """KILL_SEED, else the commit, else (no git here) the sources."""
    if given := os.environ.get("KILL_SEED"):
        return int(given)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = done.stdout.strip()
    if done.returncode or not re.fullmatch(r"[0-9a-f]{40,64}", found):
        digest = hashlib.sha256()
        for package in PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                digest.update(path.read_bytes())
        found = digest.hexdigest()
    return int(found[:8], 16)


def rotating(seed: int) -> Plan:
    """The default run's: two own kills per role, three of nats-server, one of them together with the role."""
    rng = random.Random(seed)
    chosen = {role: rng.sample(names, 2) for role, names in role_points().items()}
    servers = rng.sample(ROLES, 3)
    return {role: _items(rng, role, chosen[role], [role in servers[1:], role == servers[0]]) for role in ROLES}


def halves(seed: int) -> list[Plan]:
    """Two plans in which every point kills its role once, nats-server dies by every role's hand, alone and with it.

    In each all six die at once, as when the power goes.
    """
    rng = random.Random(seed)
    plans: list[Plan] = [{}, {}]
    for role, names in role_points().items():
        mixed = rng.sample(names, len(names))
        middle = len(mixed) // 2
        plans[0][role] = _items(rng, role, mixed[:middle], [True, False])
        plans[1][role] = _items(rng, role, mixed[middle:], [False, True])
    for plan in plans:
        role = rng.choice(ROLES)
        running = [name for name in role_points()[role] if not _is_at_start(name)]
        plan[role].append(_item(rng, rng.choice(running), list(VICTIMS)))
    return plans


def outage(seed: int) -> Plan:
    """What dies while it says something, and then stays away: each deciding role and nats-server."""
    rng = random.Random(seed)
    plan: Plan = {}
    for role in ("feed", "signals", "risk", "executor"):
        own = [name for name in role_points()[role] if name.endswith(("_publish", "_post"))]
        plan[role] = [_item(rng, rng.choice(own), [role])]
    plan["executor"].append(_item(rng, rng.choice(own), [NATS]))
    return plan


def _items(rng: random.Random, role: str, own: list[str], server: list[bool]) -> list[Item]:
    """Order a role's kills: one at its start can only follow another kill of it.

    Args:
        rng: Source of the order and the passings.
        role: Whose process does it.
        own: Points at which the role itself dies.
        server: Whether nats-server dies alone, and whether it dies together with the role.
    """
    items = [_item(rng, point, [role]) for point in own]
    running = [name for name in role_points()[role] if not _is_at_start(name)]
    if server[0]:
        items.append(_item(rng, rng.choice(running), [NATS]))
    if server[1]:
        items.append(_item(rng, rng.choice(running), [NATS, role]))
    late = [item for item in items if _is_at_start(item[0])]
    early = [item for item in items if not _is_at_start(item[0])]
    rng.shuffle(early)
    if late and not any(role in victims for _, _, victims in early):
        early.append(_item(rng, rng.choice(running), [role]))
    for item in late:
        killers = [number for number, (_, _, victims) in enumerate(early) if role in victims]
        early.insert(rng.choice(killers) + 1, item)
    return early


def _item(rng: random.Random, point: str, victims: list[str]) -> Item:
    return [point, rng.randint(1, PASSINGS_MAX.get(point.rpartition("_")[2], 1)), victims]


def _is_at_start(point: str) -> bool:
    return point.endswith((".after_bind", ".after_start"))


def by_the_clock(seed: int, rounds: int) -> list[tuple[str, float]]:
    """Victims in drawn order, every one `rounds` times, each with the seconds after the kill before."""
    rng = random.Random(seed)
    victims = [victim for _ in range(rounds) for victim in rng.sample(VICTIMS, len(VICTIMS))]
    return [(victim, round(rng.uniform(0.2, 2.2), 2)) for victim in victims]


def kills_of(plan: Plan) -> list[tuple[str, list[str]]]:
    """What a plan kills: (point, victims) each."""
    return [(point, victims) for items in plan.values() for point, _, victims in items]
