"""A small cookie jar: per host, by name and path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx


@dataclass(frozen=True)
class _Cookie:
    value: str = field(repr=False)
    secure: bool


class Jar:
    """Cookies by host, as in browsers: ports do not separate them, Secure ones are sent over https only."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], _Cookie] = {}

    def take(self, url: httpx.URL, lines: Iterable[str]) -> None:
        """Store, replace or delete the cookies of ``Set-Cookie`` lines."""
        for line in lines:
            pair, *rest = line.split(";")
            name, _, value = pair.strip().partition("=")
            attributes = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in rest)}
            key = (url.host, attributes.get("path") or "/", name)
            self._cookies.pop(key, None)
            if not _is_expired(attributes):
                self._cookies[key] = _Cookie(value, "secure" in attributes)

    def header(self, url: httpx.URL) -> str:
        """Return the ``Cookie`` header for a request to ``url``, or ""."""
        return "; ".join(
            f"{name}={cookie.value}"
            for (host, path, name), cookie in self._cookies.items()
            if host == url.host and _path_matches(url.path, path) and (url.scheme == "https" or not cookie.secure)
        )

    def names(self, host: str) -> set[str]:
        """Return the names of a host's cookies, Secure ones included."""
        return {name for kept, _, name in self._cookies if kept == host}


def _path_matches(path: str, cookie_path: str) -> bool:
    """Return True if a cookie's path matches (RFC 6265 5.1.4)."""
    return path == cookie_path or path.startswith(cookie_path if cookie_path.endswith("/") else cookie_path + "/")


def _is_expired(attributes: dict[str, str]) -> bool:
    if "max-age" in attributes:
        return not attributes["max-age"].isdecimal() or int(attributes["max-age"]) == 0
    if "expires" not in attributes:
        return False
    try:
        return parsedate_to_datetime(attributes["expires"]).astimezone(UTC) <= datetime.now(UTC)
    except ValueError:
        return False
