"""Lookup of labels, milestones and people by name. Writes never guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from deputize.core import ResolvePerson
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.vault.grant import Account
from deputize.toolkits.github import api
from deputize.toolkits.github.api import rest
from deputize.toolkits.github.argument_types import is_login
from deputize.toolkits.github.base import Asks
from deputize.toolkits.github.prose import Prose

_PAGES: Final = 10  # of labels, of milestones


def pick(asked: str, rows: Sequence[Any], field: str, name: Callable[[Any], str]) -> Any:
    """Return the row of this name; case may differ. Raises `InvalidInput` with the nearest names."""
    exact = [row for row in rows if name(row) == asked] or [row for row in rows if name(row).lower() == asked.lower()]
    if len(exact) == 1:
        return exact[0]
    outside = Prose()
    near = [outside.line(one, 80) for one in near_names(asked, [name(row) for row in exact or rows])]
    hint = f"Did you mean {', '.join(near)}?" if near else _list_known(outside, [name(row) for row in rows])
    said = outside.line(asked, 60)
    raise InvalidInput(f"{field}: {'several have' if exact else 'nothing has'} the name {said!r}.", hint=hint)


def _list_known(outside: Prose, known: Sequence[str]) -> str:
    """List the known names, if they are few."""
    if len(known) > 12:
        return f"There are {len(known)}, and none has a similar name."
    return f"There are: {', '.join(outside.line(one, 80) for one in known)}." if known else "There are none."


def near_names(asked: str, known: Iterable[str]) -> list[str]:
    """Return up to five known names similar to this one."""
    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(asked.lower(), by_lower, 5, 0.5)
    close += [one for one in by_lower if asked.lower() in one and one not in close]
    return [by_lower[one] for one in close[:5]]


def every_label(repo: str) -> Asks[list[Any]]:
    return (yield from api.list_rows("R/labels", repo, _PAGES))


def label_rows(repo: str, asked: Sequence[str], field: str) -> Asks[list[Mapping[str, Any]]]:
    """Return the labels of these names."""
    if not asked:
        return []
    known = yield from every_label(repo)
    return [pick(one, known, field, lambda row: str(row["name"])) for one in dict.fromkeys(asked)]


def label_names(repo: str, asked: Sequence[str], field: str) -> Asks[list[str]]:
    """Return the labels' names as GitHub spells them."""
    return [str(row["name"]) for row in (yield from label_rows(repo, asked, field))]


def milestone(repo: str, asked: str) -> Asks[int]:
    """Return the number of a milestone, by its title or number."""
    return int((yield from milestone_row(repo, asked))["number"])


def milestone_row(repo: str, asked: str) -> Asks[Mapping[str, Any]]:
    """Return a milestone, by its title or number."""
    known = yield from api.list_rows("R/milestones", repo, _PAGES, params={"state": "all"})
    if asked.isdecimal() and (numbered := [row for row in known if row["number"] == int(asked)]):
        return dict(numbered[0])
    open_ = [row for row in known if row.get("state") == "open" and str(row["title"]).lower() == asked.lower()]
    return dict(pick(asked, open_ or known, "milestone", lambda row: str(row["title"])))


def issue_type(repo: str, asked: str) -> Asks[str]:
    """Return a type of issues, as GitHub spells it."""
    try:
        known = yield from api.get("R/issue-types", repo)
    except NotFound:
        raise InvalidInput("type: issues of this repository have no types.", hint="Use labels.") from None
    return str(pick(asked, known or (), "type", lambda row: str(row["name"]))["name"])


def resolve_me(person: str, account: Account) -> str:
    """Return the login, with @me resolved to the account's own."""
    return account.name if person == "@me" else person


def logins_of(asked: Sequence[str], field: str) -> Asks[list[str]]:
    """Return logins for names and addresses. Raises `InvalidInput` for an uncertain one."""
    found = []
    for at, one in enumerate(asked):
        found.append(one if is_login(one) else str((yield ResolvePerson(one, f"{field}[{at}]", "github"))))
    return found


def assignees(repo: str, asked: Sequence[str], field: str, account: Account) -> Asks[list[str]]:
    """Return the logins of people who can be assigned. Raises `InvalidInput` for others."""
    named = yield from logins_of(asked, field)
    people = list(dict.fromkeys(resolve_me(one, account) for one in named))
    checks = [rest("GET R/assignees/{assignee}", repo, at={"assignee": one}) for one in people]
    answers = yield from api.gather(checks)
    refused = [who for who, answer in zip(people, answers, strict=True) if isinstance(answer, DeputizeError)]
    if not refused:
        return people
    if not all(isinstance(one, NotFound) for one in answers if isinstance(one, DeputizeError)):
        raise next(one for one in answers if isinstance(one, DeputizeError))
    known = [str(row["login"]) for row in (yield from api.list_rows("R/assignees", repo, 1))]
    near = near_names(refused[0], known) or known[:5]
    raise InvalidInput(f"{field}: {refused[0]} cannot be assigned here.", hint=f"These can: {', '.join(near)}.")


def reviewers(asked: Sequence[str], account: Account) -> tuple[list[str], list[str]]:
    """Return the logins, and the slugs of the teams written as ``org/slug``."""
    people = [resolve_me(one, account) for one in dict.fromkeys(asked) if "/" not in one]
    return people, [one.partition("/")[2] for one in dict.fromkeys(asked) if "/" in one]


def check_people(account: Account, **filters: str | None) -> Asks[None]:
    """Raise `InvalidInput` for a filter that names nobody: GitHub would return an empty list for it."""
    for field, person in filters.items():
        if person in (None, "none", "@me"):
            continue
        try:
            yield from api.get("U", at={"username": resolve_me(str(person), account)})
        except NotFound:
            hint = "github_list_people finds people by what they are called."
            raise InvalidInput(f"{field}: nobody has the login {person} at GitHub.", hint=hint) from None


def check_issue_filters(repo: str, account: Account, labels: Sequence[str], assignee: str | None) -> Asks[None]:
    """Raise `InvalidInput` for a label or an assignee that the repository does not have."""
    yield from label_rows(repo, labels, "labels")
    if assignee not in (None, "none"):
        yield from assignees(repo, [str(assignee)], "assignee", account)
