"""What access logs and tracers of the host's server see of our pages: no ticket, no local link, no code, no state.

Servers log a request when its answer begins or has ended, from the scope that they handed to the application; what
stands in between, such as an instrumentation, reads it before. So the pages go on with a copy and leave in the scope
what may be read (`pages_scope`), and around a whole application that is done first (`hide_links`). `LinkFilter` is for
loggers that read elsewhere: gunicorn's ASGI worker logs what it has parsed itself, uvicorn's level TRACE every scope.
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
    r"""(/(?:connect|me)/)[\w%.~=-]{16,}|(/callback/[\w-]{1,100}|/sign-in(?:/callback)?)\?[^\s"'<>]*"""
)
_IN_SCOPE: Final = re.compile(r"""('query_string': b)(?:'[^']*'|"[^"]*")""")
"""Of a scope that was written out."""
_KEPT: Final = "deputize.request"
"""Where a scope keeps what was taken out of it."""


class _Request:
    """What was really asked for. Opaque, since scopes are logged."""

    def __init__(self, scope: Scope) -> None:
        self._parts = {name: scope[name] for name in ("path", "raw_path", "query_string", "headers") if name in scope}

    def put_back(self, scope: Scope) -> Scope:
        """A scope of its own with all of it."""
        return {**{name: value for name, value in scope.items() if name != _KEPT}, **self._parts}


def pages_scope(app: ASGIApp) -> ASGIApp:
    """``app``, our pages, with the request as it was; whoever shares the scope that comes in does not see it."""

    async def restored(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        true = scope.get(_KEPT) or _Request(scope)
        _hide(scope)
        await app(true.put_back(scope), receive, send)

    return restored


def hide_links(app: ASGIApp, at: str) -> ASGIApp:
    """``app``, a host's whole application, in which only our pages see what is asked of them.

    ``at``: the path below which `pages_app` is mounted, as ``/agents``; empty where nothing else is served. All that is
    between this and the pages, such as an instrumentation of the application, finds ``/agents/connect/-`` and no query.
    Raises `SettingsError` for another path.
    """
    if at and not re.fullmatch("(/[^/?#]+)+", at):
        raise SettingsError(f"hide_links is given {at!r}.", hint="The path of the mount, as /agents, or nothing.")

    async def hidden(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (mount := _mount_in(scope, at)) is not None:
            true = _Request(scope)
            _hide(scope, mount)
            scope[_KEPT] = true
        await app(scope, receive, send)

    return hidden


def _mount_in(scope: Scope, at: str) -> str | None:
    """How the path of this request begins if it leads below ``at``. A server that was told where a proxy serves it has
    that in front (``uvicorn --root-path``), and routes are found with and without it, as Starlette does."""
    root = scope.get("root_path", "").rstrip("/")
    return next((mount for mount in (root + at, at) if scope["path"].startswith(f"{mount}/")), None)


def _hide(scope: Scope, at: str = "") -> None:
    """Leave in the scope what may be read. Changes it in place: it is the one that the server logs."""
    path = at + _IN_PATH.sub(lambda found: f"/{found[1] or found[2]}-", scope["path"][len(at) :])
    scope["path"], scope["query_string"] = path, b""
    if "raw_path" in scope:
        scope["raw_path"] = quote(path).encode()
    scope["headers"] = [
        (name, without_links(value.decode("latin-1")).encode("latin-1") if name == b"referer" else value)
        for name, value in scope["headers"]
    ]


def without_links(text: str) -> str:
    """A text in which addresses of our pages hold no ticket, no local link and no query; nor do scopes of callbacks."""
    if "/callback" in text or "/sign-in" in text:
        text = _IN_SCOPE.sub(r"\1''", text)
    return _IN_TEXT.sub(lambda found: f"{found[1]}-" if found[1] else found[2], text)


class LinkFilter(logging.Filter):
    """For loggers of requests: ``logging.getLogger("gunicorn.access").addFilter(LinkFilter())``.

    Takes tickets, local links and the queries of callbacks out of each record, and lets all records through.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, whose arguments keep their form: some formatters want so many of them."""
        if isinstance(record.args, MutableMapping):
            for name, value in record.args.items():
                record.args[name] = _cleaned(value)
        elif isinstance(record.args, tuple):
            record.args = tuple(map(_cleaned, record.args))
        record.msg = _cleaned(record.msg)
        if (message := record.getMessage()) != (clean := without_links(message)):
            record.msg, record.args = clean, ()
        return True


def _cleaned(value: Any) -> Any:
    return without_links(value) if isinstance(value, str) else value
