"""Signatures of the pages, with the vault's own key for the web."""

from __future__ import annotations

import hmac
import json


def sign(key: bytes, purpose: str, *parts: str) -> str:
    """Return an HMAC over exactly these parts, valid for this purpose only: 64 hexadecimal characters."""
    return hmac.digest(key, json.dumps([purpose, *parts]).encode(), "sha256").hex()


def health(key: bytes, challenge: str, *, port: int) -> dict[str, str]:
    """Return the answer of ``/health``, by which another process with the same vault recognizes these pages. It is no
    secret, and cannot be replayed.

    ``port``: their port in local mode, else 0. A program that only forwards the question has another port.
    """
    return {"deputize": sign(key, "health", "local" if port else "web", challenge, str(port))}
