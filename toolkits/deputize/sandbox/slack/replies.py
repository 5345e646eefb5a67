"""Slack's replies: status 200 with ``ok``, also for errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deputize.sandbox.http_types import Refused, Reply, in_json


def good(content: dict[str, Any], headers: Iterable[tuple[str, str]] = (), **how: Any) -> Reply:
    """Return ``ok: true`` with this content."""
    return in_json({"ok": True} | content, headers=headers, **how)


def failed(error: str, headers: Iterable[tuple[str, str]] = (), **more: Any) -> Refused:
    """Return ``ok: false`` with Slack's error code."""
    return Refused(in_json({"ok": False, "error": error} | more, headers=headers, changes=False))
