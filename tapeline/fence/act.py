"""What `tapeline halt --flatten --suspend` and `tapeline resume --unsuspend` do to the account, in order.

Closing comes before suspending, since a suspended account refuses the closing orders too.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError, TapelineError, UnreachableError
from streams.role import Points
from tapeline.fence.access import Access, check_account, fence_keys, fence_settings, open_access
from tapeline.fence.flatten import Flattener, say

if TYPE_CHECKING:
    from tapeline.halt import HaltOptions

_PAUSE_S = 0.5


def act(folder: Path, latch_id: str, options: HaltOptions, points: Points) -> int:
    """Flatten and suspend as asked for; 0 when all of it is known to be so, 1 when something is left."""
    if not (folder / "run" / "executor.lock").exists():
        say(f"no executor ever ran in {folder}: one that runs elsewhere is not stopped by the latch here")
    access = open_access(fence_settings(folder))
    points.hit("flatten.latched")
    try:
        return _steps(access, latch_id, options, points)
    except UnreachableError:
        say("how the account stands now is not known: run the same command again, nothing is done twice")
        raise


def _steps(access: Access, latch_id: str, options: HaltOptions, points: Points) -> int:
    if options.suspend is False:
        check_account(access)
        access.fence.suspend(wanted=False)
        say("trading is not suspended on the account any more")
    if not options.flatten:
        check_account(access)
    elif options.suspend is not False and _is_suspended(access):
        return _leave_suspended(access)
    elif not Flattener(access, latch_id, points).run():
        if options.suspend:
            say("trading is not suspended, for the venue would refuse the closing orders then")
        say("the account is not flat: run the same command again, nothing is done twice")
        return 1
    if options.suspend:
        access.fence.suspend(wanted=True)
        say(
            "trading is suspended on the account: the venue refuses every new order until `tapeline resume --unsuspend`"
        )
        return 0 if options.flatten or cancel_everything(access) else 1
    return 0


def cancel_everything(access: Access, tell: Callable[[str], object] = say, wait_s: float | None = None) -> bool:
    """Cancel every order of the account and verify.

    Args:
        access: The way to the venue; the account is known to be the right one.
        tell: Takes what there is to say.
        wait_s: How long to try; None is `flatten.wait_s_max`.

    Returns:
        Whether no order is open any more.
    """
    deadline = time.monotonic() + (access.settings.flatten.wait_s_max if wait_s is None else wait_s)
    last = ""
    while time.monotonic() < deadline:
        try:
            orders, _ = access.fence.open_orders()
            if not orders:
                tell("no order is open")
                return True
            access.fence.cancel_all()
            last = f"{len(orders)} orders are still open at the venue"
        except UnreachableError as err:
            last = str(err)
        time.sleep(_PAUSE_S)
    tell(f"{last}: not everything is canceled")
    return False


def lift_or_tell(folder: Path, *, lift: bool) -> None:
    """Lift the suspension of the account, or say that it still holds. Without keys, or a venue that answers: silent.

    Raises:
        TapelineError: It was to be lifted, and that is not known to be so.
    """
    settings = fence_settings(folder)
    if lift:
        access = open_access(settings)
        check_account(access)
        access.fence.suspend(wanted=False)
        say("trading is not suspended on the account any more")
        return
    with contextlib.suppress(ConfigError):
        fence_keys(settings, os.environ)
        with contextlib.suppress(TapelineError):
            if open_access(settings).fence.is_suspended():
                sys.stderr.write(
                    "tapeline: trading is suspended on the account, so the venue refuses every order: lift that with "
                    "`tapeline resume --unsuspend`\n"
                )


def _is_suspended(access: Access) -> bool:
    """Whether the account is known to be suspended; where the venue does not answer, closing orders will tell."""
    with contextlib.suppress(UnreachableError):
        return access.fence.is_suspended()
    return False


def _leave_suspended(access: Access) -> int:
    """Cancel what is open; positions of a suspended account cannot be closed."""
    check_account(access)
    has_canceled = cancel_everything(access)
    held = access.venue.account().positions
    if held:
        say(f"{len(held)} positions stay: trading is suspended on the account, add --no-suspend to close them")
    return 0 if has_canceled and not held else 1
