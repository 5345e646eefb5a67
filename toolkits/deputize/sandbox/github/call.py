"""One request to api.github.com, who sends it, and the answers that every route gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from deputize.sandbox.github.scopes import closed, normal
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
    """One request, and who sends it with which token. ``right``: what a GitHub App needs for it."""

    ask: Ask
    world: World
    person: Person
    token: Token
    permissions: tuple[str, ...]
    right: str = "metadata:read"

    @property
    def store(self) -> Json:
        """What GitHub keeps."""
        return self.world.services["github"]

    @property
    def me(self) -> str:
        """The login of whoever asks."""
        return login(self.person.email)

    @property
    def now(self) -> str:
        """The time, as GitHub writes it."""
        return stamp(self.world.clock())

    @property
    def closed(self) -> set[str]:
        """The scopes that are held, with all that they cover."""
        return closed(self.token.scopes)

    def body(self) -> Json:
        """What was sent."""
        return self.ask.content()

    def kept(self, kind: str, repo: Json) -> list[Json]:
        """What a repository has of a kind."""
        rows: list[Json] = self.store.setdefault(kind, {}).setdefault(repo["full_name"], [])
        return rows

    def next_id(self) -> int:
        """A number that nothing else has."""
        self.store["last_id"] += 1
        return int(self.store["last_id"])

    def who(self, name: str) -> Person | None:
        """The person with this login."""
        return next((one for one in self.world.people if login(one.email) == name), None)

    def user(self, name: str) -> Json | None:
        """A short user, by login."""
        person = self.who(name)
        return user(person) if person else None

    # ------------------------------------------------------------- who may

    def repo(self, name: str) -> Json | None:
        """A repository, in any case."""
        return next((row for key, row in self.store["repos"].items() if key.lower() == name.lower()), None)

    def sees(self, repo: Json) -> bool:
        """Public ones everybody; private ones members with the scope, or the app where it is installed."""
        if not repo["private"]:
            return True
        member = self.me in repo["members"]
        if self.permissions:
            return member and repo["full_name"] in self.store["installed"]
        return member and "repo" in self.token.scopes

    def pushes(self, repo: Json) -> bool:
        """Whether this person may push."""
        return self.me in repo["members"]

    # ------------------------------------------------------------- answers

    def reply(
        self, content: Any, status: int = 200, accepted: Iterable[str] = (), more: Iterable[tuple[str, str]] = ()
    ) -> Reply:
        """An answer with the headers that every answer has."""
        now = int(self.world.clock())
        limits = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4987")]
        limits += [("x-ratelimit-reset", str(now + 1800)), ("x-ratelimit-resource", "core")]
        headers = [*self._rights(accepted), *limits, ("date", formatdate(now, usegmt=True)), *more]
        if status in (204, 205, 304):
            return Reply(status, tuple(headers))
        return in_json(content, status, headers)

    def none(self, status: int = 204) -> Reply:
        """An answer without content."""
        return self.reply(None, status)

    def refusal(
        self,
        status: int,
        message: str,
        *errors: Json | str,
        accepted: Iterable[str] = (),
        more: Iterable[tuple[str, str]] = (),
    ) -> Reply:
        """An error as GitHub tells it."""
        content: Json = {"message": message, "status": str(status)}
        return self.reply(content | ({"errors": list(errors)} if errors else {}), status, accepted, more)

    def invalid(self, resource: str, field: str, code: str = "invalid", message: str = "") -> Refused:
        """422 for one field."""
        error: Json = {"resource": resource, "field": field, "code": code}
        return Refused(self.refusal(422, "Validation Failed", error | ({"message": message} if message else {})))

    def missing(self, accepted: Iterable[str] = ()) -> Refused:
        """404, with what would have been accepted."""
        return Refused(self.reply({"message": "Not Found", "status": "404"}, 404, accepted))

    def page(
        self,
        rows: list[Json],
        wrap: str = "",
        accepted: tuple[str, ...] = (),
        by: str = "page",
        told: Json | None = None,
    ) -> Reply:
        """A page of rows, with a link to the next; ``wrap`` names them in an object with their number and ``told``."""
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
        content: Any = {"total_count": len(rows), wrap: shown, **(told or {})} if wrap else shown
        if wrap == "items":
            content["incomplete_results"] = False
        return self.reply(content, accepted=accepted, more=more)

    def _rights(self, accepted: Iterable[str]) -> list[tuple[str, str]]:
        if self.permissions:
            return [("x-accepted-github-permissions", self.right.replace(":", "="))]
        return [
            ("x-oauth-scopes", ", ".join(normal(self.token.scopes))),
            ("x-accepted-oauth-scopes", ", ".join(accepted)),
        ]


def _number(text: str, usual: int) -> int:
    return int(text) if text.isdecimal() else usual
