from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import BusyError
from streams.locks import FolderLock

_HOLDER = """
import sys
from pathlib import Path
from streams.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def _hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_with_one_line_that_names_folder_process_and_mend(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    holder = _hold(folder)
    try:
        with pytest.raises(BusyError) as caught:
            FolderLock(folder)
        text = str(caught.value)
        assert "\n" not in text
        assert str(folder) in text
        assert f"process {holder.pid}" in text
        assert "--data-dir" in text
    finally:
        _end(holder)


def test_a_killed_holder_leaves_no_stale_lock(tmp_path: Path) -> None:
    _end(_hold(tmp_path))
    FolderLock(tmp_path).release()


def test_a_lock_is_given_up_and_taken_again_and_names_its_holder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.release()
    again = FolderLock(tmp_path)
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    again.release()


def test_locks_of_other_names_and_folders_do_not_meet(tmp_path: Path) -> None:
    locks = [FolderLock(tmp_path), FolderLock(tmp_path, "other", "writer"), FolderLock(tmp_path / "two")]
    with pytest.raises(BusyError, match="another writer"):
        FolderLock(tmp_path, "other", "writer")
    for lock in locks:
        lock.release()


def test_a_child_of_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """nats-server outlives a killed daemon by a moment; its file handles must not keep the directory locked."""
    lock = FolderLock(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    lock.release()
    FolderLock(tmp_path).release()
    child.communicate(b"")
