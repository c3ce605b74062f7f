"""Which keys are let in, and where a request carries them. One account serves every key.

Alpaca takes the key pair in two headers, as Basic, or a token as Bearer. Called by REST and both websockets.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """The pair that is required; None accepts anything that is not empty."""

    key: str | None
    secret: str | None

    def accept(self, key: str, secret: str) -> bool:
        """True for the right pair."""
        if not key or not secret:
            return False
        right_key = self.key is None or hmac.compare_digest(self.key.encode(), key.encode())
        right_secret = self.secret is None or hmac.compare_digest(self.secret.encode(), secret.encode())
        return right_key and right_secret


def header_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Key and secret as the headers carry them; a Bearer token is both. None when there are none."""
    key, secret = headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")
    if key and secret:
        return key, secret
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value, value
    if scheme.lower() == "basic" and value:
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return user, password
    return None
