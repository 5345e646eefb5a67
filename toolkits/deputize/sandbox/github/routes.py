"""The routes of api.github.com, and the check of who may use them.

A route names the permission that a GitHub App needs. An OAuth App needs ``repo`` for private repositories, and
``public_repo`` to write to public ones. Hidden records are 404, forbidden acts 403.
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
    """A route, its requirements and its handler. ``scopes``: the route's own, if ``repo`` does not apply."""

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
    """Declare a handler's route. ``{name}`` is one segment, ``{name+}`` several; R is a repository.

    ``push``: requires push access.
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
    """Run the first route that matches. A repository may be named by its id or its old name."""
    path = _resolve_repository_id(call)
    for one in ROUTES:
        found = one.pattern.fullmatch(path) if one.method == call.ask.method else None
        if found:
            places = {name: unquote(value) for name, value in found.groupdict().items()}
            return _run_if_allowed(replace(call, right=one.right), one, places)
    raise call.not_found()


def _resolve_repository_id(call: Call) -> str:
    found = re.fullmatch(r"/repositories/(\d+)(/.*)?", call.ask.path)
    if found is None:
        return call.ask.path
    for name, row in call.store["repos"].items():
        if row["id"] == int(found[1]):
            return f"/repos/{name}{found[2] or ''}"
    raise call.not_found()


def _run_if_allowed(call: Call, one: Route, places: dict[str, str]) -> Reply:
    if "owner" not in places:
        _check_scopes(call, one.scopes)
        _check_permission(call, one, None)
        return one.handler(call, **places)
    name = f"{places.pop('owner')}/{places.pop('repo')}"
    if now := call.store["renamed"].get(name):
        return _redirect_to_id(call, call.store["repos"][now]["id"], name)
    repo = call.repo(name)
    writes = call.ask.method != "GET"
    if repo is None or not call.sees(repo):
        raise call.not_found(("public_repo", "repo") if repo and writes and not repo["private"] else ("repo",))
    _check_scopes(call, one.scopes)
    accepted = ("repo",) if repo["private"] else ("public_repo", "repo") if writes and not one.scopes else ()
    if accepted and not call.permissions and not call.covered_scopes & set(accepted):
        raise call.not_found(accepted)
    _check_permission(call, one, repo)
    if writes and repo["archived"]:
        raise Refused(call.refusal(403, "Repository was archived so is read-only."))
    if one.push and not call.pushes(repo):
        raise Refused(call.refusal(403, "Must have push access to repository", accepted=("repo",)))
    return one.handler(call, repo, **places)


def _check_scopes(call: Call, scopes: tuple[str, ...]) -> None:
    if scopes and not call.permissions and not call.covered_scopes & set(scopes):
        raise call.not_found(scopes)


def _check_permission(call: Call, one: Route, repo: Json | None) -> None:
    """Raise 403 for a GitHub App without the permission or the installation."""
    if not call.permissions:
        return
    name, _, level = one.right.partition(":")
    held = {level for part, _, level in (held.partition(":") for held in call.permissions) if part == name}
    installed = repo is None or repo["full_name"] in call.store["installed"] or call.ask.method == "GET"
    if not installed or not (level in held or "write" in held):
        raise Refused(call.refusal(403, "Resource not accessible by integration"))


def _redirect_to_id(call: Call, number: int, name: str) -> Reply:
    """Redirect to the repository's id: 301 to read, 307 to write."""
    rest = call.ask.path.removeprefix(f"/repos/{name}")
    to = f"https://{call.ask.host}/repositories/{number}{rest}"
    status = 301 if call.ask.method == "GET" else 307
    content: Any = {"message": "Moved Permanently", "url": to}
    return call.reply(content, status, more=[("location", to)])
