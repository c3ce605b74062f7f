"""Whose account a data directory trades, in a file: for commands that must know it while NATS and the daemon are down.

The truth is the first message of the trading stream; this is a copy of it, written by whoever reads that message.
"""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "account"


def note_account(folder: Path, account_number: str) -> None:
    """Write the account number down, if it is not there yet."""
    if known_account(folder) == account_number:
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_NAME}.{os.getpid()}.tmp"
    temporary.write_text(account_number, encoding="utf-8")
    temporary.replace(folder / _NAME)


def known_account(folder: Path) -> str:
    """Give the account number; empty where none was written down."""
    try:
        return (folder / _NAME).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
