"""Key files: made once, private, whole or not there; and refused in one line where they cannot serve."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import nkeys
import pytest

from config.secrets import hide
from engine.errors import ConfigError
from streams import keys

USERS = ("feed", "operator")


def test_files_are_private_and_hold_the_seed_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        made = keys.make(tmp_path / "keys", USERS)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["feed.nk", "operator.nk"]
    for user in USERS:
        path = tmp_path / "keys" / f"{user}.nk"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        seed = path.read_text()
        assert seed.endswith("\n")
        pair = nkeys.from_seed(bytearray(seed.strip().encode()))
        assert pair.public_key.decode() == made[user].public
        assert made[user].public.startswith("U")
    assert made["feed"].public != made["operator"].public
    assert made["feed"].inbox != made["operator"].inbox


def test_keys_are_made_once_and_missing_ones_are_added(tmp_path: Path) -> None:
    first = keys.make(tmp_path, USERS)
    second = keys.make(tmp_path, (*USERS, "risk"))
    assert {user: second[user].seed for user in USERS} == {user: first[user].seed for user in USERS}
    assert keys.identity(str(tmp_path), "risk").public == second["risk"].public
    assert keys.identity(str(tmp_path / "risk.nk"), "whoever").public == second["risk"].public
    assert keys.identity("", "risk") is None


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    keys.make(tmp_path, USERS)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o444])
def test_a_file_that_others_may_read_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    seed = keys.make(tmp_path, USERS)["feed"].seed
    path = tmp_path / "feed.nk"
    path.chmod(mode)
    for read in (lambda: keys.identity(str(tmp_path), "feed"), lambda: keys.make(tmp_path, USERS)):
        with pytest.raises(ConfigError) as caught:
            read()
        assert f"chmod 600 {path}" in str(caught.value)
        assert f"{mode:04o}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert seed not in str(caught.value)


def _broken(seed: str) -> dict[str, bytes]:
    other = seed[:30] + ("A" if seed[30] != "A" else "B") + seed[31:]
    return {
        "empty": b"",
        "cut": seed[:40].encode(),
        "one character changed": other.encode(),
        "another kind": nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT),
        "junk": b"\xff\xfe junk",
        "lower case": seed.lower().encode(),
    }


@pytest.mark.parametrize("what", list(_broken("S" * 58)))
def test_a_file_that_holds_no_key_is_refused_without_saying_what_it_holds(tmp_path: Path, what: str) -> None:
    seed = keys.make(tmp_path, USERS)["feed"].seed
    content = _broken(seed)[what]
    (tmp_path / "feed.nk").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        keys.identity(str(tmp_path), "feed")
    assert str(tmp_path / "feed.nk") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not content.strip() or content.decode("utf-8", "replace").strip() not in str(caught.value)
    assert (tmp_path / "feed.nk").read_bytes() == content, "nothing is written over a file that is there"


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    if what == "folder":
        (tmp_path / "feed.nk").mkdir()
    with pytest.raises(ConfigError, match=r"feed\.nk"):
        keys.identity_at(tmp_path / "feed.nk")


def test_an_identity_shows_its_public_key_only(tmp_path: Path) -> None:
    identity = keys.make(tmp_path, USERS)["feed"]
    for text in (repr(identity), str(identity), f"{identity}", repr({"who": identity})):
        assert identity.seed not in text
        assert identity.public in text
    assert hide(f"seed {identity.seed}") == "seed <hidden>"


_KILLED = """
import os, signal, sys
from pathlib import Path
from streams import keys
real = {"fsync": os.fsync, "fchmod": os.fchmod, "replace": Path.replace}
seen = 0
def dying(name):
    def call(*args):
        global seen
        seen += 1
        if seen == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real[name](*args)
    return call
os.fsync, os.fchmod, Path.replace = dying("fsync"), dying("fchmod"), dying("replace")
keys.make(Path(sys.argv[1]), ("feed",))
"""


@pytest.mark.kill
def test_killed_at_any_step_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    """Steps: the mode, the content's fsync, the rename, the folder's fsync."""
    there = []
    for step in (1, 2, 3, 4):
        folder = tmp_path / str(step)
        done = subprocess.run([sys.executable, "-c", _KILLED, str(folder), str(step)], check=False)
        assert done.returncode == -signal.SIGKILL
        path = folder / "feed.nk"
        there.append(path.exists())
        before = path.read_bytes() if path.exists() else None
        made = keys.make(folder, ("feed",))
        assert [found.name for found in folder.iterdir()] == ["feed.nk"]
        assert before in (None, f"{made['feed'].seed}\n".encode())
    assert there == [False, False, False, True]
