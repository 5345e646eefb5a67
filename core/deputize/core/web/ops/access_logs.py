"""Access logs and traces without links: no ticket, no local link, no code, no state of deputize's pages.

Servers log a request when its response begins or has ended, from the scope that they passed to the application.
Middleware in between, such as an instrumentation, reads the scope before. So the pages work on a copy and leave only
loggable values in the scope (`pages_scope`), and `hide_links` does that first around a whole application. `LinkFilter`
is for loggers with other sources: gunicorn's ASGI worker logs its own parsed request, uvicorn's TRACE every scope.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from deputize.core.errors import SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_IN_PATH: Final = re.compile(r"/(connect/).+|/(me/)[^/]+", re.DOTALL)
_IN_TEXT: Final = re.compile(
    r"""(/(?:connect|me)/)[\w%.~=-]{16,}|(/callback/[\w-]{1,100}|/sign-in(?:/[a-z0-9-]{1,40}){0,2})\?[^\s"'<>]*"""
)
_IN_SCOPE: Final = re.compile(r"""('query_string': b)(?:'[^']*'|"[^"]*")""")
"""The query string in a printed scope."""
_KEPT: Final = "deputize.request"
"""The scope's key for the original request."""


class _Request:
    """The original request. It is never printed, because servers log the scope."""

    def __init__(self, scope: Scope) -> None:
        self._parts = {name: scope[name] for name in ("path", "raw_path", "query_string", "headers") if name in scope}

    def put_back(self, scope: Scope) -> Scope:
        """Return a separate scope with the original values."""
        return {**{name: value for name, value in scope.items() if name != _KEPT}, **self._parts}


def pages_scope(app: ASGIApp) -> ASGIApp:
    """Return ``app``, the pages, with the original request. Other readers of the incoming scope do not see it."""

    async def restored(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        true = scope.get(_KEPT) or _Request(scope)
        _hide(scope)
        await app(true.put_back(scope), receive, send)

    return restored


def hide_links(app: ASGIApp, at: str) -> ASGIApp:
    """Return ``app``, your whole application, wrapped so that only deputize's pages see their addresses.

    ``at``: the path at which `pages_app` is mounted, as ``/agents``; empty if nothing else is served. Everything
    between this wrapper and the pages, such as an instrumentation, sees ``/agents/connect/-`` and no query. Raises
    `SettingsError` for another path.
    """
    if at and not re.fullmatch("(/[^/?#]+)+", at):
        raise SettingsError(
            f"hide_links does not accept at={at!r}.", hint="Pass the path of the mount, as /agents, or nothing."
        )

    async def hidden(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (mount := _mount_in(scope, at)) is not None:
            true = _Request(scope)
            _hide(scope, mount)
            scope[_KEPT] = true
        await app(scope, receive, send)

    return hidden


def _mount_in(scope: Scope, at: str) -> str | None:
    """Return the prefix of this request's path if it leads below ``at``, or None. A server that knows the path of its
    proxy prepends that path (``uvicorn --root-path``). Routes are found with and without it, as in Starlette."""
    root = scope.get("root_path", "").rstrip("/")
    return next((mount for mount in (root + at, at) if scope["path"].startswith(f"{mount}/")), None)


def _hide(scope: Scope, at: str = "") -> None:
    """Replace the scope's values by loggable ones, in place, because the server logs this object."""
    path = at + _IN_PATH.sub(lambda found: f"/{found[1] or found[2]}-", scope["path"][len(at) :])
    scope["path"], scope["query_string"] = path, b""
    if "raw_path" in scope:
        scope["raw_path"] = quote(path).encode()
    scope["headers"] = [
        (name, remove_links(value.decode("latin-1")).encode("latin-1") if name == b"referer" else value)
        for name, value in scope["headers"]
    ]


def remove_links(text: str) -> str:
    """Return the text without tickets, local links and queries in the pages' addresses, and callback scopes."""
    if "/callback" in text or "/sign-in" in text:
        text = _IN_SCOPE.sub(r"\1''", text)
    return _IN_TEXT.sub(lambda found: f"{found[1]}-" if found[1] else found[2], text)


class LinkFilter(logging.Filter):
    """A logging filter for requests: ``logging.getLogger("gunicorn.access").addFilter(LinkFilter())``.

    It removes tickets, local links and callback queries from each record, and drops no record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record and return True. Its arguments keep their number and types, which some formatters need."""
        if isinstance(record.args, MutableMapping):
            for name, value in record.args.items():
                record.args[name] = _clean(value)
        elif isinstance(record.args, tuple):
            record.args = tuple(map(_clean, record.args))
        record.msg = _clean(record.msg)
        if (message := record.getMessage()) != (clean := remove_links(message)):
            record.msg, record.args = clean, ()
        return True


def _clean(value: Any) -> Any:
    return remove_links(value) if isinstance(value, str) else value
