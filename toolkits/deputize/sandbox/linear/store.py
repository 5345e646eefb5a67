"""The workspace's stored rows, and the check of who may see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deputize.sandbox.http_types import Refused, in_json
from deputize.sandbox.linear.seed import stamp, user_id
from deputize.sandbox.linear.tokens import IMPLIES
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import BOB, Person
from deputize.sandbox.world import World

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One operation, its sender and token."""

    world: World
    person: Person
    token: Token

    @property
    def store(self) -> Json:
        """The workspace's stored lists, by kind."""
        return self.world.services["linear"]

    @property
    def now(self) -> str:
        """The time in Linear's format."""
        return stamp(self.world.clock())

    @property
    def me(self) -> str:
        """The id of the person."""
        return user_id(self.person.email)

    def needs(self, *accepted: str) -> None:
        """Raise FORBIDDEN unless one of these scopes was granted."""
        held = set(self.token.scopes).union(*(IMPLIES.get(scope, set()) for scope in self.token.scopes))
        if not held & set(accepted):
            raise failed(403, f"Invalid scope: `{accepted[0]}` required", "forbidden", "FORBIDDEN")

    def rows(self, kind: str) -> list[Json]:
        """Return the rows of a kind, as a list to append to."""
        rows: list[Json] = self.store.setdefault(kind, [])
        return rows

    def teams(self) -> list[Json]:
        """Return the visible teams; only Bob sees a private one."""
        return [team for team in self.rows("teams") if not team["private"] or self.person.email == BOB.email]

    def is_visible(self, row: Json) -> bool:
        """Return True if the person can see a row: it has no team, or a visible one."""
        return not row.get("team") or any(team["id"] == row["team"] for team in self.teams())

    def _open(self, project: Json) -> bool:
        """Return True if the person can see one of the project's teams."""
        mine = {team["id"] for team in self.teams()}
        return bool(mine & set(project.get("teams") or mine))

    def visible(self, kind: str) -> list[Json]:
        """Return the visible rows of a kind, newest last. Rows on a hidden issue are hidden too."""
        rows = self.teams() if kind == "teams" else [row for row in self.rows(kind) if self.is_visible(row)]
        hidden = {row["id"] for row in self.rows("issues") if not self.is_visible(row)}
        projects = {row["id"] for row in self.rows("projects") if not self._open(row)}
        rows = [row for row in rows if not hidden & {row.get("issue"), row.get("related")}]
        if kind != "issues":
            rows = [row for row in rows if not projects & {row["id"], row.get("project")}]
        return [row for row in rows if row.get("of", self.person.email) == self.person.email]

    def by_id(self, kind: str, id: Any) -> Json | None:
        """Return the visible row with this id or slug."""
        return next((row for row in self.visible(kind) if id and id in (row["id"], row.get("slugId"))), None)

    def find(self, kind: str, id: Any, label: str) -> Json:
        """Return the visible row with this id or slug. Raise Linear's error if there is none."""
        row = self.by_id(kind, id)
        if row is None:
            raise not_found(label)
        return row


def failed(status: int, message: str, kind: str, code: str, shown: str = "") -> Refused:
    """Return a reply with ``errors``."""
    extensions: Json = {"type": kind, "code": code, "statusCode": status if status >= 400 else 400, "userError": True}
    if shown:
        extensions["userPresentableMessage"] = shown
    nothing: Json = {} if status in (400, 401) else {"data": None}
    errors = [{"message": message, "extensions": extensions}]
    return Refused(in_json({"errors": errors} | nothing, status, changes=False))


def not_found(label: str) -> Refused:
    """Return the error of a row that does not exist."""
    shown = f"Could not find referenced {label}."
    return failed(200, f"Entity not found: {label}", "invalid input", "INPUT_ERROR", shown)


def invalid(field: str, kind: str) -> Refused:
    """Return the error of an input field that the schema lacks."""
    message = f'Field "{field}" is not defined by type "{kind}".'
    return failed(400, message, "graphql error", "GRAPHQL_VALIDATION_FAILED")
