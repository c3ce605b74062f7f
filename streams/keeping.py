"""The state of signals as a checkpoint keeps it: pickled, behind the code that strategies in it need.

Called by signals. A file that only we write, with a checksum, in the data directory.
"""

from __future__ import annotations

import io
import pickle

import structlog

from engine.bots import Bot
from engine.signals import SignalEngine
from streams.rostering import Rostering

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def encoded(engine: SignalEngine) -> bytes | None:
    """Give the state; None where a strategy cannot be kept: its bot is given up, and there is no checkpoint."""
    payload = io.BytesIO()
    pickle.dump([bot for bot in engine.bots() if bot.code], payload, protocol=5)
    try:
        pickle.dump(engine.state(), payload, protocol=5)
    except (Exception, SystemExit):
        engine.give_up_unkept(pickle.dumps)
        log.exception("the state of a strategy cannot be kept over a restart; no checkpoint is written")
        return None
    return payload.getvalue()


def restored(engine: SignalEngine, rostering: Rostering, payload: bytes | memoryview) -> bool:
    """Take the state back; where a user's strategy cannot be read all are made anew, from the bars there are."""
    file = io.BytesIO(payload)
    codes: list[Bot] = pickle.load(file)  # noqa: S301  (our own file, checksummed)
    try:
        for bot in codes:
            rostering.learn(bot)
        engine.restore(pickle.load(file))  # noqa: S301  (the same)
    except (Exception, SystemExit):
        log.exception("a checkpoint cannot be read back; strategies are made anew from the bars in the stream")
        return False
    return True
