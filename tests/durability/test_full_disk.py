"""A disk that is full, for real: small_disk.py on a tmpfs of a few megabytes, in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def on_a_small_disk(tmp_path: Path, megabytes: int, *arguments: str, timeout: float = 120) -> str:
    """Run pytest there; give what it said. Skips where the system lets nobody mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {disk}"
    if shutil.which("unshare") is None or subprocess.run([*unshare, "sh", "-c", mount], check=False).returncode:
        pytest.skip("needs user namespaces, to mount a small disk")
    inner = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "inner"),
        *arguments,
    ]
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", *inner],
        cwd=ROOT, env=os.environ | {"SMALL_DISK": str(disk)}, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.soak
def test_everything_that_writes_lives_with_a_full_disk(tmp_path: Path) -> None:
    said = on_a_small_disk(tmp_path, 12, "tests/durability/small_disk.py")
    assert "5 passed" in said


@pytest.mark.soak
@pytest.mark.system
def test_a_daemon_lives_with_a_full_disk(tmp_path: Path) -> None:
    """Reducing before it is full; nothing sent that is not stored; with room again it goes on, nothing lost or twice."""
    said = on_a_small_disk(tmp_path, 64, "tests/durability/small_disk_daemon.py", timeout=400)
    assert "1 passed" in said
