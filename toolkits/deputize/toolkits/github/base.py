"""What all GitHub tools share: the toolkit, and which scopes or permissions a method accepts.

API: docs.github.com/en/rest (version 2022-11-28) and docs.github.com/en/graphql. An OAuth App's scopes and a GitHub
App's permissions are two vocabularies: a need names both. Nothing public needs a scope of an OAuth App, and whether a
repository is private is not known before it is asked for; so a read is tried with what is granted (`Tried`), and
GitHub's answer says when more would have been needed.
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
    shows=True,
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
    """A scope that is needed for what is private only: any grant may try."""

    def is_met_by(self, granted: frozenset[str]) -> bool:
        """Always, at an OAuth App. At a GitHub App `of` makes it a plain need."""
        return True


def route(method: str) -> str:
    """The method with its paths spelt out: R is a repository, O an organization, U a user."""
    verb, _, path = method.partition(" ")
    start, slash, rest = path.partition("/")
    short = {"R": "/repos/{owner}/{repo}", "O": "/orgs/{org}", "U": "/users/{username}"}
    return f"{verb} {short[start]}{slash}{rest}" if start in short else method


def reads(method: str, *permissions: str) -> Need:
    """The need of a method that reads a repository. ``permissions``: any of them does at a GitHub App."""
    return Tried(frozenset({REPO}), REPO, route(method), _at(permissions))


def writes(method: str, *permissions: str) -> Need:
    """The need of a method that writes to a repository; a private one needs `also_private` too."""
    return any_of(PUBLIC, REPO, method=route(method), at=_at(permissions))


def also_private(method: str, *permissions: str) -> Need:
    """What a write needs where the repository is private."""
    return Tried(frozenset({REPO}), REPO, route(method), _at(permissions))


def changes(method: str, *permissions: str) -> list[Need]:
    """The needs of a method that writes to a repository, whether or not it is private."""
    return [writes(method, *permissions), also_private(method, *permissions)]


def needs(method: str, scope: str, *broader: str, app: tuple[str, ...] = ()) -> Need:
    """The need of a method that has a scope of its own."""
    return any_of(scope, *broader, method=route(method), at=_at(app))


def optional(method: str, scope: str, *broader: str, app: tuple[str, ...] = ()) -> Need:
    """The need of a method that answers with less where the scope is missing."""
    return Tried(frozenset((scope, *broader)), scope, route(method), _at(app))


def _at(permissions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {APP: permissions or ("metadata:read",)}
