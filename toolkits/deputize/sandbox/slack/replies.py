"""How Slack answers: 200 with ``ok``, whatever happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deputize.sandbox.http_types import Refused, Reply, in_json


def good(content: dict[str, Any], headers: Iterable[tuple[str, str]] = (), **how: Any) -> Reply:
    """``ok: true`` and what there is to say."""
    return in_json({"ok": True} | content, headers=headers, **how)


def refused(error: str, headers: Iterable[tuple[str, str]] = (), **more: Any) -> Refused:
    """``ok: false`` with Slack's name for it."""
    return Refused(in_json({"ok": False, "error": error} | more, headers=headers, changes=False))
