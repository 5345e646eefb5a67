"""What our pages sign, under the vault's own key for the web."""

from __future__ import annotations

import hmac
import json


def proof(key: bytes, purpose: str, *parts: str) -> str:
    """An HMAC over these very parts, good for this purpose only: 64 hexadecimal characters."""
    return hmac.digest(key, json.dumps([purpose, *parts]).encode(), "sha256").hex()


def health(key: bytes, challenge: str, *, port: int = 0) -> dict[str, str]:
    """What ``/health`` answers: which vault's pages these are, to whoever can tell. No secret, and no replay.

    ``port``: on which they are served, in local mode: another program that passes the question on to us has another.
    """
    return {"deputize": proof(key, "health", "local" if port else "web", challenge, str(port))}
