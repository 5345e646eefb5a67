"""GitHub: creating repositories."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from deputize.core import Audience, Effect, Need, Preview, Run, Steps, Wait
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import NewName, Owner, RepoName
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, needs, reads
from deputize.toolkits.github.idempotent_create import LOST, raise_if_unsent
from deputize.toolkits.github.prose import Content
from deputize.toolkits.github.show_fields import Home, home_of


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    made = {"fork": "POST R/forks", "template": "POST /repos/{template_owner}/{template_repo}/generate"}
    plain = "POST O/repos" if arguments["org"] else "POST /user/repos"
    method = made[arguments["source_kind"]] if arguments["source"] else plain
    hidden = arguments["private"] and not (arguments["source"] and arguments["source_kind"] == "fork")
    accepted = ("repo",) if hidden else ("public_repo", "repo")
    return [needs(method, *accepted, app=("administration:write",)), reads("GET R")]


def _create_effect(arguments: Arguments) -> Effect:
    """Return the effect: SENDS if the repository is public, a fork (as public as its source), or in an organization."""
    forks = arguments["source"] and arguments["source_kind"] == "fork"
    shown = not arguments["private"] or forks or arguments["org"]
    return SENDS if shown else Effect.WRITES


@GITHUB.tool(needs=_create_needs, effect=_create_effect, gravest=SENDS, toolset="repos")
def create_repo(
    name: NewName,
    org: Annotated[Owner | None, Field(description="owner, if not me")] = None,
    description: Content = "",
    private: bool = True,
    source: Annotated[RepoName | None, Field(description="owner/name to fork, or of a template")] = None,
    source_kind: Literal["fork", "template"] = "fork",
    init: bool = True,
    *,
    run: Run,
) -> Steps:
    """Create a repository: empty, from a template, or as a fork."""
    owner = org or run.account.name
    full_name = f"{owner}/{name}"
    if source and "/" not in source:
        raise InvalidInput("source: must be owner/name.", hint="Such as acme/website.")
    body: Json = {"name": name, "description": " ".join(description.split()), "private": private}
    home = (yield from home_of(source)) if source else None
    forks = home is not None and source_kind == "fork"
    yield _show(full_name, org, body, home, forks=forks, empty=not home and not init)
    if home and not forks:
        first, _, second = home.name.partition("/")
        at = {"template_owner": first, "template_repo": second}
        request = rest("POST /repos/{template_owner}/{template_repo}/generate", at=at, json=body | {"owner": owner})
    elif home:
        fork: Json = {"name": name} | ({"organization": org} if org else {})
        request = rest("POST R/forks", home.name, json=fork, repeat="idem")
    else:
        at = {"org": org} if org else {}
        request = rest("POST O/repos" if org else "POST /user/repos", at=at, json=body | {"auto_init": init})
    try:
        made = (yield from api.send(request)).data
    except LOST as lost:
        raise_if_unsent(lost)
        made = yield from _find_created(full_name, lost, run.now if not source else None)
    except (Conflict, InvalidInput) as refused:
        raise (yield from _explain_refusal(full_name, refused)) from None
    found = yield from _wait_until_ready(str(made["full_name"]))
    existed = bool(source) and source_kind == "fork" and str(made.get("name")) != name
    return {
        "repo": found["full_name"],
        "url": found.get("html_url"),
        "private": bool(found.get("private")),
        "default_branch": found.get("default_branch"),
        "existed": existed,
        "summary": "This fork was there already." if existed else "Created.",
    }


def _show(name: str, org: str | None, body: Json, source: Home | None, *, forks: bool, empty: bool) -> Preview:
    """Preview the repository and its audience: a fork is as public as its source."""
    members = Audience.ORGANISATION if org else Audience.SELF
    if forks and source:
        audience = (
            source.audience
            if source.audience > Audience.ORGANISATION
            else Audience.ORGANISATION
            if org
            else Audience.PEOPLE
        )
        what, kind = "Fork this repository", source.visibility
    else:
        what = "Create a repository from this template" if source else "Create this repository"
        audience, kind = (members, "private") if body["private"] else (Audience.PUBLIC, "public")
    return Preview(
        what,
        audience=audience,
        name=name,
        description=(body["description"] or None) if not forks else None,
        source=source.where() if source else None,
        visibility=kind,
        contents="nothing, not even a README" if empty else None,
        pins={"source": source.row.get("id") if source else None},
    )


def _find_created(repo: str, lost: DeputizeError, since: float | None) -> Asks[Json]:
    """Return the repository after a lost response. Raises ``lost`` if there is none, or an older one."""
    yield Wait(2)
    try:
        found = dict((yield from api.get("R", repo)))
    except NotFound:
        raise lost from None
    made = str(found.get("created_at") or "")
    if since is not None and made < f"{datetime.fromtimestamp(since - 60, UTC):%Y-%m-%dT%H:%M:%SZ}":
        raise lost
    return found


def _explain_refusal(repo: str, refused: DeputizeError) -> Asks[DeputizeError]:
    """Return the error for a refusal: a `Conflict` if the name is taken, else the refusal itself."""
    try:
        yield from api.get("R", repo)
    except NotFound:
        return refused
    return Conflict(
        f"{repo}: conflict (exists): there is a repository of this name.", reason="exists", hint="Choose another name."
    )


def _wait_until_ready(repo: str) -> Asks[Json]:
    """Return the repository once GitHub has created it: a fork takes a moment."""
    for pause in (2, 4, 8, 10, 0):
        try:
            return dict((yield from api.get("R", repo)))
        except NotFound:
            if pause:
                yield Wait(pause)
    return {"full_name": repo}
