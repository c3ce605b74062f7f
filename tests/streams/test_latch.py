"""The latch file: there or not there, and any doubt counts as there."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.latch import NAME, Latch, LatchNote


def test_it_is_set_read_and_cleared(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    assert not latch.is_set()
    assert latch.read() is None
    note = latch.set("odd fills", "anna", 17)
    assert latch.is_set()
    assert latch.read() == note == Latch(tmp_path).read()
    assert (note.reason, note.by, note.ts_event) == ("odd fills", "anna", 17)
    assert latch.clear()
    assert not latch.clear()
    assert not latch.is_set()
    assert [path.name for path in (tmp_path / "run").iterdir()] == []


def test_the_first_to_halt_is_the_one_that_is_named(tmp_path: Path) -> None:
    first = Latch(tmp_path).set("odd fills", "anna", 17)
    assert Latch(tmp_path).set("me too", "ben", 18) == first


def test_a_file_made_by_hand_or_unreadable_counts(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()
    assert latch.is_set()
    note = latch.read()
    assert note is not None
    assert "by hand" in note.reason
    (tmp_path / "run" / NAME).unlink()
    (tmp_path / "run" / NAME).mkdir()
    assert latch.is_set()
    note = latch.read()
    assert note is not None
    assert "cannot be read" in note.reason


def test_one_made_by_hand_gets_an_id_and_is_never_away(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()
    note = latch.set("odd fills", "anna", 17)
    assert len(note.id) == 32
    assert note.reason.startswith("odd fills (")
    assert latch.set("me too", "ben", 18) == note == latch.read()


def test_who_reads_one_made_by_hand_can_give_it_a_name(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    assert latch.named(17) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()
    note = latch.named(17)
    assert note is not None
    assert (len(note.id), note.ts_event) == (32, 17)
    assert latch.named(18) == latch.read() == note


def test_one_made_by_hand_keeps_its_name_while_there_is_no_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else executor would store another command each time it looks."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    names = set()
    for _ in range(3):
        note = Latch(tmp_path).named(17)
        assert note is not None
        names.add(note.id)
        time.sleep(0.02)
    assert len(names) == 1
    assert Latch(tmp_path).is_set()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nowhere", "link to itself"])
def test_a_latch_that_is_no_file_holds_and_nobody_waits_for_it(tmp_path: Path, kind: str) -> None:
    latch, path = Latch(tmp_path), tmp_path / "run" / NAME
    path.parent.mkdir()
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(path if "itself" in kind else tmp_path / "nowhere")
    for _ in range(2):
        assert latch.is_set()
        assert "cannot be read" in getattr(latch.read(), "reason", "")
        note = latch.set("odd fills", "anna", 17)
        assert latch.set("me too", "ben", 18).id == note.id != ""
    assert [one.name for one in path.parent.iterdir()] == [NAME]


def test_two_who_halt_at_once_mean_the_same_latch(tmp_path: Path) -> None:
    def set_it(number: int) -> LatchNote:
        barrier.wait()
        return Latch(tmp_path / "data").set("odd fills", f"person {number}", number)

    for by_hand in (False, True):
        for turn in range(20):
            barrier = threading.Barrier(4)
            Latch(tmp_path / "data").clear()
            if by_hand:
                (tmp_path / "data" / "run" / NAME).touch()
            with ThreadPoolExecutor(4) as pool:
                ids = {note.id for note in pool.map(set_it, range(4))}
            assert len(ids) == 1, turn
            assert Latch(tmp_path / "data").read().id in ids
