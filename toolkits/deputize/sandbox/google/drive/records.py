"""The records of files and of their permissions."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

Json = dict[str, Any]
APPS: Final = "application/vnd.google-apps."
FOLDER: Final = f"{APPS}folder"
SHORTCUT: Final = f"{APPS}shortcut"


def permission_id(kind: str, value: str = "") -> str:
    """Return the id of a principal's permission, the same on every file."""
    if kind == "anyone":
        return "anyoneWithLink"
    return str(int(hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()[:16], 16))


def permission(kind: str, role: str, value: str = "", **more: Any) -> Json:
    """Return a permission. ``kind``: user, group, domain or anyone. ``value``: the address or the domain."""
    name = {"user": "emailAddress", "group": "emailAddress", "domain": "domain"}.get(kind)
    found = {"id": permission_id(kind, value), "type": kind, "role": role, **({name: value} if name else {})}
    return found | ({"displayName": value.partition("@")[0].title()} if kind in ("user", "group") else {}) | more


def content_of(file: Json) -> bytes:
    """Return a file's bytes."""
    return base64.b64decode(file.get("content") or "")
