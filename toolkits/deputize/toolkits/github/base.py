"""The GitHub toolkit, and the scopes or permissions that a method accepts.

API: docs.github.com/en/rest (version 2022-11-28) and docs.github.com/en/graphql. An OAuth App's scopes and a GitHub
App's permissions are two vocabularies: a need names both. Public data needs no scope of an OAuth App, and only a
request reveals whether a repository is private. So a read is tried with the granted scopes (`Tried`), and GitHub's
response says if more are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deputize.core import Effect, Need, Toolkit, any_of
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.text import FACTS, WRITERS

GITHUB = Toolkit(
    "github",
    provider="github",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    cuts=True,
    words=("git", "repository"),
)

REPO: Final = "repo"
PUBLIC: Final = "public_repo"
SENDS: Final = Effect.WRITES | Effect.SENDS
APP: Final = "github_app"
PULL: Final = "R/pulls/{pull_number}"


@dataclass(frozen=True, slots=True)
class Tried(Need):
    """A scope that only private data needs, so that a call may be tried with any grant."""

    def is_met_by(self, granted: frozenset[str]) -> bool:
        """Return True for an OAuth App. For a GitHub App, `of` makes this a plain need."""
        return True


def route(method: str) -> str:
    """Expand a method's path: R is a repository, O an organization, U a user."""
    verb, _, path = method.partition(" ")
    start, slash, rest = path.partition("/")
    short = {"R": "/repos/{owner}/{repo}", "O": "/orgs/{org}", "U": "/users/{username}"}
    return f"{verb} {short[start]}{slash}{rest}" if start in short else method


def reads(method: str, *permissions: str) -> Need:
    """Return the need of a method that reads a repository. ``permissions``: any one suffices at a GitHub App."""
    return Tried(frozenset({REPO}), REPO, route(method), _app_permissions(permissions))


def writes(method: str, *permissions: str) -> Need:
    """Return the need of a method that writes to a repository; a private one also needs `need_if_private`."""
    return any_of(PUBLIC, REPO, method=route(method), at=_app_permissions(permissions))


def need_if_private(method: str, *permissions: str) -> Need:
    """Return the need of a write to a private repository."""
    return Tried(frozenset({REPO}), REPO, route(method), _app_permissions(permissions))


def changes(method: str, *permissions: str) -> list[Need]:
    """Return the needs of a method that writes to a repository, public or private."""
    return [writes(method, *permissions), need_if_private(method, *permissions)]


def needs(method: str, scope: str, *broader: str, app: tuple[str, ...] = ()) -> Need:
    """Return the need of a method that has a scope of its own."""
    return any_of(scope, *broader, method=route(method), at=_app_permissions(app))


def optional(method: str, scope: str, *broader: str, app: tuple[str, ...] = ()) -> Need:
    """Return the need of a method that answers with less if the scope is missing."""
    return Tried(frozenset((scope, *broader)), scope, route(method), _app_permissions(app))


def _app_permissions(permissions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {APP: permissions or ("metadata:read",)}
