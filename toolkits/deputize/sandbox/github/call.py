"""One request to api.github.com, its sender, and the replies that all routes share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from deputize.sandbox.github.scopes import covered_scopes, drop_included
from deputize.sandbox.github.seed import login, stamp
from deputize.sandbox.github.shapes import user
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

HOST = "api.github.com"
Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request, its sender and token. ``right``: the permission that a GitHub App needs."""

    ask: Ask
    world: World
    person: Person
    token: Token
    permissions: tuple[str, ...]
    right: str = "metadata:read"

    @property
    def store(self) -> Json:
        """The stored records."""
        return self.world.services["github"]

    @property
    def me(self) -> str:
        """The caller's login."""
        return login(self.person.email)

    @property
    def now(self) -> str:
        """The time in GitHub's format."""
        return stamp(self.world.clock())

    @property
    def covered_scopes(self) -> set[str]:
        """The granted scopes, with those that they include."""
        return covered_scopes(self.token.scopes)

    def body(self) -> Json:
        return self.ask.content()

    def records(self, kind: str, repo: Json) -> list[Json]:
        """Return a repository's records of a kind."""
        rows: list[Json] = self.store.setdefault(kind, {}).setdefault(repo["full_name"], [])
        return rows

    def next_id(self) -> int:
        """Return an unused id."""
        self.store["last_id"] += 1
        return int(self.store["last_id"])

    def find_person(self, name: str) -> Person | None:
        """Return the person with this login."""
        return next((one for one in self.world.people if login(one.email) == name), None)

    def user(self, name: str) -> Json | None:
        """Return a short user by login."""
        person = self.find_person(name)
        return user(person) if person else None

    # ------------------------------------------------------------- permissions

    def repo(self, name: str) -> Json | None:
        """Return a repository by name, ignoring case."""
        return next((row for key, row in self.store["repos"].items() if key.lower() == name.lower()), None)

    def sees(self, repo: Json) -> bool:
        """Return True for a public repository, or a private one's member with the scope or the app's installation."""
        if not repo["private"]:
            return True
        member = self.me in repo["members"]
        if self.permissions:
            return member and repo["full_name"] in self.store["installed"]
        return member and "repo" in self.token.scopes

    def pushes(self, repo: Json) -> bool:
        """Return True if the caller has push access."""
        return self.me in repo["members"]

    # ------------------------------------------------------------- replies

    def reply(
        self, content: Any, status: int = 200, accepted: Iterable[str] = (), more: Iterable[tuple[str, str]] = ()
    ) -> Reply:
        """Return a reply with the headers that all replies share."""
        now = int(self.world.clock())
        limits = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4987")]
        limits += [("x-ratelimit-reset", str(now + 1800)), ("x-ratelimit-resource", "core")]
        headers = [*self._rights(accepted), *limits, ("date", formatdate(now, usegmt=True)), *more]
        if status in (204, 205, 304):
            return Reply(status, tuple(headers))
        return in_json(content, status, headers)

    def empty_reply(self, status: int = 204) -> Reply:
        """Return a reply without content."""
        return self.reply(None, status)

    def refusal(
        self,
        status: int,
        message: str,
        *errors: Json | str,
        accepted: Iterable[str] = (),
        more: Iterable[tuple[str, str]] = (),
    ) -> Reply:
        """Return an error in GitHub's format."""
        content: Json = {"message": message, "status": str(status)}
        return self.reply(content | ({"errors": list(errors)} if errors else {}), status, accepted, more)

    def invalid(self, resource: str, field: str, code: str = "invalid", message: str = "") -> Refused:
        """Return the 422 of one field."""
        error: Json = {"resource": resource, "field": field, "code": code}
        return Refused(self.refusal(422, "Validation Failed", error | ({"message": message} if message else {})))

    def not_found(self, accepted: Iterable[str] = ()) -> Refused:
        """Return a 404 that names the accepted scopes."""
        return Refused(self.reply({"message": "Not Found", "status": "404"}, 404, accepted))

    def page(
        self,
        rows: list[Json],
        wrap: str = "",
        accepted: tuple[str, ...] = (),
        by: str = "page",
        extra: Json | None = None,
    ) -> Reply:
        """Return a page of rows with a link to the next; ``wrap`` puts them into an object with their count."""
        size = max(1, min(_number(self.ask.one("per_page"), 30), 100))
        page = max(1, _number(self.ask.one(by).rpartition(":")[2], 1))
        more: list[tuple[str, str]] = []
        if page * size < len(rows):
            token = f"Y3Vyc29yOnYyOp:{page + 1}" if by != "page" else str(page + 1)
            query = {name: values[0] for name, values in self.ask.query.items()}
            links = {"next": token} | ({"last": str(-(-len(rows) // size))} if by == "page" else {})
            told_of = [
                f'<https://{HOST}{self.ask.path}?{urlencode(query | {by: n})}>; rel="{r}"' for r, n in links.items()
            ]
            more = [("link", ", ".join(told_of))]
        shown = rows[(page - 1) * size : page * size]
        content: Any = {"total_count": len(rows), wrap: shown, **(extra or {})} if wrap else shown
        if wrap == "items":
            content["incomplete_results"] = False
        return self.reply(content, accepted=accepted, more=more)

    def _rights(self, accepted: Iterable[str]) -> list[tuple[str, str]]:
        if self.permissions:
            return [("x-accepted-github-permissions", self.right.replace(":", "="))]
        return [
            ("x-oauth-scopes", ", ".join(drop_included(self.token.scopes))),
            ("x-accepted-oauth-scopes", ", ".join(accepted)),
        ]


def _number(text: str, usual: int) -> int:
    return int(text) if text.isdecimal() else usual
