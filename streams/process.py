"""Child processes that cannot outlive their parent, not even when it is killed with -9.

Linux: PR_SET_PDEATHSIG asks the kernel to signal the child when the thread that made it ends, so children are made on
the main thread. Elsewhere the child polls (roles) or stays (nats-server): README says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_AUTOGROUP = Path("/proc/self/autogroup")
_AUTOGROUP_TRIES = 5
_AUTOGROUP_WAIT_S = 0.11


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    death_signal: signal.Signals | None = signal.SIGKILL,
    nice: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (a terminal's Ctrl-C goes to the parent, which stops it in order).

    Args:
        argv: Program and arguments.
        environment: Its whole environment; None inherits.
        stdin: As for subprocess.
        stdout: As for subprocess.
        stderr: As for subprocess.
        death_signal: What the kernel sends when the parent dies; None lets the child outlive it.
        nice: Steps of priority to give up.
    """
    return subprocess.Popen(  # noqa: S603  (argv is ours, no shell)
        list(argv),
        env=None if environment is None else dict(environment),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_in_child(death_signal, nice),  # noqa: PLW1509  (spawned before any thread starts; no locks)
    )


def _prctl() -> Callable[..., int] | None:
    return ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _in_child(death_signal: signal.Signals | None, nice: int) -> Callable[[], None]:
    prctl = _prctl()
    parent = os.getpid()

    def prepare() -> None:
        if nice:
            _give_way(nice)
        if prctl is not None and death_signal is not None:
            prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # the parent died before prctl took hold
                os._exit(1)

    return prepare


def _give_way(nice: int) -> None:
    """Give up priority, also against processes of other sessions.

    Linux: the policy SCHED_IDLE besides, so that whoever wakes up takes the core at once and counts one where only we
    run as free; nice alone lets them wait for the end of our turn of some ms, at every hop. With autogroup Linux shares
    the cores among sessions first: there a plain nice value counts within one session only (sched(7), "The autogroup
    feature"), and every child here has a session of its own.
    """
    os.nice(nice)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a seccomp filter may forbid it: nice stays
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    for _ in range(_AUTOGROUP_TRIES):
        try:
            _AUTOGROUP.write_text(str(nice))
        except BlockingIOError:  # one change per 100 ms on the whole machine without privilege
            time.sleep(_AUTOGROUP_WAIT_S)
        except OSError:  # none here: the plain value counts
            return
        else:
            return


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Ask a child to end, wait, and end it by force after `timeout_s`; return its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
