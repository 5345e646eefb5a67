"""Which request is which: a table of routes below api.github.com, and who may use them.

A route names what a GitHub App must be permitted to do; an OAuth App needs ``repo`` for what is private, and for public
repositories ``public_repo`` to write. What a token may not see is 404; what a person may see but not do is 403.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import unquote

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.http_types import Refused, Reply

Handler = Callable[..., Reply]


class Route(NamedTuple):
    """A route, what it needs, and what answers it. ``scopes``: its own, where ``repo`` has nothing to do with it."""

    method: str
    pattern: re.Pattern[str]
    right: str
    scopes: tuple[str, ...]
    push: bool
    handler: Handler


ROUTES: list[Route] = []


def route(
    method: str, path: str, right: str = "metadata:read", *, scopes: tuple[str, ...] = (), push: bool = False
) -> Callable[[Handler], Handler]:
    """Declare what answers a route. ``{name}`` is one segment, ``{name+}`` several; R is a repository.

    ``push``: only people who may push.
    """
    path = re.sub(r"^R", "/repos/{owner}/{repo}", path)
    pattern = re.sub(r"\{(\w+_number)\}", r"(?P<\1>\\d+)", path)
    pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", pattern)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def declare(handler: Handler) -> Handler:
        ROUTES.append(Route(method, re.compile(pattern), right, scopes, push, handler))
        return handler

    return declare


def handle(call: Call) -> Reply:
    """What the first route that fits answers. A repository may be called by its number, and by its old name."""
    path = _by_number(call)
    for one in ROUTES:
        found = one.pattern.fullmatch(path) if one.method == call.ask.method else None
        if found:
            places = {name: unquote(value) for name, value in found.groupdict().items()}
            return _allowed(replace(call, right=one.right), one, places)
    raise call.missing()


def _by_number(call: Call) -> str:
    found = re.fullmatch(r"/repositories/(\d+)(/.*)?", call.ask.path)
    if found is None:
        return call.ask.path
    for name, row in call.store["repos"].items():
        if row["id"] == int(found[1]):
            return f"/repos/{name}{found[2] or ''}"
    raise call.missing()


def _allowed(call: Call, one: Route, places: dict[str, str]) -> Reply:
    if "owner" not in places:
        _scoped(call, one.scopes)
        _permitted(call, one, None)
        return one.handler(call, **places)
    name = f"{places.pop('owner')}/{places.pop('repo')}"
    if now := call.store["renamed"].get(name):
        return _elsewhere(call, call.store["repos"][now]["id"], name)
    repo = call.repo(name)
    writes = call.ask.method != "GET"
    if repo is None or not call.sees(repo):
        raise call.missing(("public_repo", "repo") if repo and writes and not repo["private"] else ("repo",))
    _scoped(call, one.scopes)
    accepted = ("repo",) if repo["private"] else ("public_repo", "repo") if writes and not one.scopes else ()
    if accepted and not call.permissions and not call.closed & set(accepted):
        raise call.missing(accepted)
    _permitted(call, one, repo)
    if writes and repo["archived"]:
        raise Refused(call.refusal(403, "Repository was archived so is read-only."))
    if one.push and not call.pushes(repo):
        raise Refused(call.refusal(403, "Must have push access to repository", accepted=("repo",)))
    return one.handler(call, repo, **places)


def _scoped(call: Call, scopes: tuple[str, ...]) -> None:
    if scopes and not call.permissions and not call.closed & set(scopes):
        raise call.missing(scopes)


def _permitted(call: Call, one: Route, repo: Json | None) -> None:
    """403 for a GitHub App without the permission, or that is not installed there."""
    if not call.permissions:
        return
    name, _, level = one.right.partition(":")
    held = {level for part, _, level in (held.partition(":") for held in call.permissions) if part == name}
    installed = repo is None or repo["full_name"] in call.store["installed"] or call.ask.method == "GET"
    if not installed or not (level in held or "write" in held):
        raise Refused(call.refusal(403, "Resource not accessible by integration"))


def _elsewhere(call: Call, number: int, name: str) -> Reply:
    """301 to read, 307 to write, to the repository's number."""
    rest = call.ask.path.removeprefix(f"/repos/{name}")
    to = f"https://{call.ask.host}/repositories/{number}{rest}"
    status = 301 if call.ask.method == "GET" else 307
    content: Any = {"message": "Moved Permanently", "url": to}
    return call.reply(content, status, more=[("location", to)])
