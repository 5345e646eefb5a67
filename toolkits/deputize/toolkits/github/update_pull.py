"""GitHub: changing a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Change, Need, Preview, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api, documents
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Branch, Number, Repo, Reviewer
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, reads
from deputize.toolkits.github.create_pull import ASKS
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Title, check_edit, new_body
from deputize.toolkits.github.pulls import reviewers_of
from deputize.toolkits.github.rows import logins, state_of
from deputize.toolkits.github.show_fields import Home, change_of, loses, restorable_text, title_of


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    methods = [f"PATCH {PULL}"] if any(arguments[one] for one in ("title", "body", "state", "base")) else []
    methods += [ASKS] if arguments["add_reviewers"] else []
    methods += [f"DELETE {PULL}/requested_reviewers"] if arguments["remove_reviewers"] else []
    if arguments["draft"] is not None:
        methods.append("GRAPHQL PullDraft" if arguments["draft"] else "GRAPHQL PullReady")
    found = [need for method in methods for need in changes(method, "pull_requests:write")]
    if arguments["update_branch"]:
        found += changes(f"PUT {PULL}/update-branch", "pull_requests:write")
        found += changes(f"PUT {PULL}/update-branch", "contents:write")
    return [*found, reads(f"GET {PULL}", "pull_requests:read")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The changes of a pull request, whose row is ``row``. Reviewers are logins, and slugs after "team "."""

    row: Mapping[str, Any]
    patch: Json
    draft: bool | None
    asked: frozenset[str]
    unasked: frozenset[str]
    update_branch: bool

    @property
    def before(self) -> list[str]:
        """The requested reviewers."""
        teams = [f"{_TEAM}{one.get('slug')}" for one in self.row.get("requested_teams") or ()]
        return sorted(logins(self.row.get("requested_reviewers"), 100) + teams)

    @property
    def after(self) -> list[str]:
        """The requested reviewers after the change."""
        there, gone = ({one.lower() for one in who} for who in (self.before, self.unasked))
        new = [one for one in self.asked if one.lower() not in there]
        return sorted(one for one in [*self.before, *new] if one.lower() not in gone)

    @property
    def fields(self) -> dict[str, Change | None]:
        """The changes as the preview displays them."""
        row, patch = self.row, self.patch
        base, was = str(row["base"]["ref"]), bool(row.get("draft"))
        return {
            "title": change_of(row.get("title"), patch.get("title", row.get("title"))),
            "text": change_of(row.get("body"), patch.get("body", row.get("body") or "")),
            "state": change_of(row.get("state"), patch.get("state", row.get("state"))),
            "into": change_of(base, patch.get("base", base)),
            "stage": change_of(_DRAFT[was], _DRAFT[was if self.draft is None else self.draft]),
            "reviewers": change_of(self.before, self.after),
        }

    @property
    def sent(self) -> Json:
        """The fields of the patch that change something."""
        shown, names = self.fields, {"body": "text", "base": "into"}
        return {name: value for name, value in self.patch.items() if shown[names.get(name, name)] is not None}


_TEAM = "team "
_DRAFT = {True: "a draft", False: "ready for review"}


@GITHUB.tool(needs=_update_needs, effect=SENDS)
@in_repo("this pull request")
def update_pull(
    repo: Repo,
    number: Number,
    title: Title | None = None,
    body: Body | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: Literal["open", "closed"] | None = None,
    base: Annotated[Branch | None, Field(description="target branch")] = None,
    draft: bool | None = None,
    add_reviewers: Annotated[list[Reviewer] | None, Field(description="logins or names; org/team for teams")] = None,
    remove_reviewers: list[Reviewer] | None = None,
    update_branch: bool = False,
    *,
    run: Run,
) -> Steps:
    """Change a pull request: text, state, base, draft, reviewers, or bring its branch up to date."""
    edit = Edit(append, replaces, if_text)
    check_edit(edit, body)
    patch: Json = {"title": title, "body": body, "state": state, "base": base}
    patch = {name: value for name, value in patch.items() if value is not None}
    if not patch and draft is None and not (add_reviewers or remove_reviewers or update_branch):
        raise InvalidInput("Nothing to change.", hint="Give at least one thing to change.")
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    home = Home(row["base"]["repo"])
    if body is not None:
        patch.pop("body")
        patch |= new_body(row, body, edit, run.key)
    add_reviewers = yield from names.logins_of(add_reviewers or [], "add_reviewers")
    asked, unasked = (_names(names.reviewers(who or [], run.account)) for who in (add_reviewers, remove_reviewers))
    wanted = Wanted(row, patch, draft, asked, unasked, update_branch)
    if not update_branch and not any(wanted.fields.values()):
        return _receipt(row, [], [])
    yield _show(home, wanted)
    done: list[str] = []
    warnings: list[str] = []
    for name, change in _writes(home.name, wanted):
        yield from api.attempt(change, name, done, warnings)
    if undo := _undo(home.name, wanted, warnings):
        yield undo
    return _receipt((yield from api.get(PULL, home.name, at={"pull_number": number})), done, warnings)


def _names(reviewers: tuple[Sequence[str], Sequence[str]]) -> frozenset[str]:
    people, teams = reviewers
    return frozenset([*people, *(f"{_TEAM}{one}" for one in teams)])


def _show(home: Home, wanted: Wanted) -> Preview:
    """Preview all changes, before and after."""
    row, fields = wanted.row, dict[str, Any](wanted.fields)
    base, head = row["base"], row["head"]
    into = f"{base['ref']} into {head.get('label') or head.get('ref')}"
    return home.shows(
        "Change this pull request",
        pull_request=title_of(row),
        **fields,
        merges=into if wanted.update_branch else None,
        context={"link": row.get("html_url")},
        pins={
            "pull_request": row.get("node_id"),
            "number": row.get("number"),
            "head": head.get("sha") if wanted.update_branch else None,
        },
        destroys=loses(row.get("body"), wanted.patch.get("body")),
    )


def _writes(repo: str, wanted: Wanted) -> list[tuple[str, Asks[Any]]]:
    """Return the writes, each with its name in the result."""
    row, patch, found = wanted.row, wanted.sent, list[tuple[str, Asks[Any]]]()
    at = {"pull_number": row["number"]}

    def change(method: str, json: Any) -> Asks[Any]:
        return api.send(rest(method, repo, at=at, json=json, repeat="idem"))

    if patch:
        found.append((", ".join(patch), change(f"PATCH {PULL}", patch)))
    if wanted.fields["stage"] is not None:
        document = documents.DRAFT if wanted.draft else documents.READY
        found.append(("draft", documents.query(document, "idem", id=str(row["node_id"]))))
    for verb, who in (
        ("POST", [one for one in wanted.after if one not in wanted.before]),
        ("DELETE", [one for one in wanted.before if one not in wanted.after]),
    ):
        if who:
            found.append(("reviewers", change(f"{verb} {PULL}/requested_reviewers", _reviewers(who))))
    if wanted.update_branch:
        found.append(("branch", change(f"PUT {PULL}/update-branch", {"expected_head_sha": row["head"]["sha"]})))
    return found


def _reviewers(who: Sequence[str]) -> Json:
    teams = [one.removeprefix(_TEAM) for one in who if one.startswith(_TEAM)]
    people = [one for one in who if not one.startswith(_TEAM)]
    return {"reviewers": people} | ({"team_reviewers": teams} if teams else {})


def _undo(repo: str, wanted: Wanted, warnings: Sequence[str]) -> Undo | None:
    """Return the call that restores the pull request, or None if a write failed or an old value cannot be restored."""
    row, shown = wanted.row, {name: one for name, one in wanted.fields.items() if one is not None}
    title, body = restorable_text(row.get("title")), restorable_text(row.get("body"))
    if warnings or wanted.update_branch or title is None or body is None:
        return None
    back: Json = {"repo": repo, "number": row["number"]}
    back |= {"title": title} if "title" in shown else {}
    back |= {"body": body, "if_text": digest(wanted.patch["body"])} if "text" in shown else {}
    back |= {"state": row.get("state")} if "state" in shown else {}
    back |= {"base": row["base"]["ref"]} if "into" in shown else {}
    back |= {"draft": not wanted.draft} if "stage" in shown else {}
    owner = repo.partition("/")[0]
    for name, one, other in (
        ("add_reviewers", wanted.before, wanted.after),
        ("remove_reviewers", wanted.after, wanted.before),
    ):
        who = [who.replace(_TEAM, f"{owner}/", 1) if who.startswith(_TEAM) else who for who in one if who not in other]
        back |= {name: who} if who else {}
    return Undo("github_update_pull", back, holds={name: one.after for name, one in shown.items()})


def _receipt(row: Mapping[str, Any], done: Sequence[str], warnings: Sequence[str]) -> Json:
    return {
        "number": row.get("number"),
        "url": row.get("html_url"),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "base": (row.get("base") or {}).get("ref"),
        "reviewers": reviewers_of(row),
        "changed": list(dict.fromkeys(", ".join(done).split(", "))) if done else [],
        **({"warnings": list(warnings)} if warnings else {}),
    }
