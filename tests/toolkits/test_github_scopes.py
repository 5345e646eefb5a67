"""The needs of GitHub's tools, in both vocabularies: scopes of an OAuth App, permissions of a GitHub App."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deputize.core import ConsentRequired, DeputizeError, Effect, Need, NotFound, Tool
from deputize.core.providers import GITHUB, GITHUB_APP
from deputize.sandbox import Sandbox
from deputize.toolkits.github import TOOLKIT
from deputize.toolkits.github.base import Tried
from tests.support.lanes import sample
from tests.toolkits.github_calls import CASES, IDS, Case
from tests.toolkits.github_play import SITE, Play, permitted

every_case = pytest.mark.parametrize("case", sample(CASES, lambda case: case.tool, ids=IDS))


def tool_of(case: Case) -> Tool:
    return TOOLKIT.tools[f"github_{case.tool}"]


def arguments_of(case: Case) -> dict[str, Any]:
    return dict(tool_of(case).validate(json.loads(re.sub(r"\$head:[\w/]+", "0" * 40, json.dumps(case.arguments)))))


def needs_of(case: Case, provider: str = "github") -> list[Need]:
    return list(tool_of(case).needs_of(arguments_of(case), provider))


def asked_for(case: Case, provider: str = "github") -> set[str]:
    """Return what consent would request before the first try."""
    return {need.ask for need in needs_of(case, provider) if not need.is_met_by(frozenset())}


@every_case
def test_every_need_names_its_method_and_github_app_permission(case: Case) -> None:
    for need in needs_of(case):
        assert re.match(r"(GET|POST|PUT|PATCH|DELETE|GRAPHQL) ", need.method)
        assert need.accepts <= GITHUB.scope_descriptions.keys()
        there = need.of("github_app")
        assert not isinstance(there, Tried) and there.method == need.method
        assert there.accepts <= GITHUB_APP.scope_descriptions.keys() or there.accepts == {"notifications"}


@every_case
async def test_requested_scopes_suffice_for_public_data(case: Case) -> None:
    scopes = asked_for(case) | {"read:user"}
    play = await Play.begin(*scopes)
    case.before(play)
    try:
        await play.act(case.tool, **case.arguments)
    except ConsentRequired as more:
        assert {*more.consent.scopes} <= {"repo", "public_repo", "read:org", "gist"}
        assert case.tool in {"create_repo", "list_people", "list_gists", "get_repo", "whoami"}


@every_case
def test_reading_call_requests_no_writing_scope(case: Case) -> None:
    if tool_of(case).effect_of(arguments_of(case)) is not Effect.READS:
        return
    assert asked_for(case) <= {"read:org", "read:project", "notifications", "security_events"}
    asked = {need.ask for need in needs_of(case, "github_app")} - {"notifications"}
    assert all(one.endswith(":read") for one in asked)


@every_case
async def test_github_app_with_the_needed_permissions_can_act(case: Case) -> None:
    asked = {need.ask for need in needs_of(case, "github_app")}
    sandbox = Sandbox()
    permitted(sandbox, *sorted(asked - {"notifications"} | {"metadata:read"}))
    play = await Play.begin(provider="github_app", sandbox=sandbox)
    play.store["installed"] += [SITE, "alice/garden"]
    case.before(play)
    if "notifications" in asked:  # which no GitHub App can have
        with pytest.raises(DeputizeError):
            await play.act(case.tool, **case.arguments)
        assert play.asked == []
        return
    await play.act(case.tool, **case.arguments)


@pytest.mark.parametrize(
    ("tool", "arguments", "scope"),
    [
        ("create_issue", {"repo": SITE, "title": "T"}, "public_repo"),
        ("merge_pull", {"repo": SITE, "number": 2, "head_sha": "0" * 40}, "public_repo"),
        ("write_file", {"repo": SITE, "path": ".github/workflows/a.yml", "message": "M", "content": "x"}, "workflow"),
        ("save_gist", {"files": {"a": "b"}}, "gist"),
        ("list_notifications", {}, "notifications"),
        ("list_projects", {"owner": "acme"}, "read:project"),
        ("update_project_item", {"owner": "acme", "project": "1", "item": "501", "remove": True}, "project"),
        ("list_people", {"org": "acme", "role": "members"}, "read:org"),
        ("list_alerts", {"repo": SITE, "kind": "dependabot"}, "security_events"),
        ("create_repo", {"name": "x"}, "repo"),
        ("create_repo", {"name": "x", "private": False}, "public_repo"),
        ("delete", {"kind": "gist", "id": "a" * 20}, "gist"),
    ],
)
async def test_narrowest_scope_is_requested_before_any_request(
    tool: str, arguments: dict[str, Any], scope: str
) -> None:
    play = await Play.begin("read:user")
    with pytest.raises(ConsentRequired) as asked:
        await play.act(tool, **arguments)
    assert scope in asked.value.consent.scopes and play.asked == []
    assert "repo" not in asked.value.consent.scopes or scope == "repo"


async def test_private_scope_is_requested_once_needed_and_never_for_public_data() -> None:
    play = await Play.begin("read:user")
    assert (await play.act("get_issue", repo=SITE, number=1))["title"]
    with pytest.raises(ConsentRequired) as asked:
        await play.act("get_issue", repo="alice/private-notes", number=1)
    assert asked.value.consent.scopes == ("repo",)


async def test_write_to_a_private_repository_steps_up_from_public_repo() -> None:
    play = await Play.begin("public_repo")
    assert (await play.act("create_issue", repo=SITE, title="T"))["url"]
    with pytest.raises(ConsentRequired) as asked:
        await play.act("create_issue", repo="alice/private-notes", title="T")
    assert asked.value.consent.scopes == ("repo",)
    play.give("alice", ["repo"])
    assert (await play.act("create_issue", repo="alice/private-notes", title="T"))["url"]


async def test_hidden_and_missing_objects_have_different_errors(play: Play) -> None:
    with pytest.raises(NotFound) as missing:
        await play.act("get_issue", repo=SITE, number=99)
    assert missing.value.message == f"{SITE} can be seen, but not this issue."
    for repo in ("bob/diary", "acme/nowhere"):
        with pytest.raises(NotFound) as hidden:
            await play.act("get_issue", repo=repo, number=1)
        assert hidden.value.message == f"{repo}: not found, or private and not visible to this user."


async def test_search_with_narrow_scopes_says_what_it_leaves_out() -> None:
    for scopes, says in ((("read:user",), True), (("repo",), False)):
        play = await Play.begin(*scopes)
        found = await play.act("list_issues", query="deploys")
        assert ("note" in found and "Public repositories only" in found["note"]) is says
        assert bool(found["items"]) is not says


async def test_whoami_with_narrow_scopes_leaves_out_organizations() -> None:
    play = await Play.begin("gist")
    me = await play.act("whoami")
    assert (me["login"], me["orgs"], me["teams"]) == ("alice", None, None) and "note" in me
    play = await Play.begin("read:org")
    me = await play.act("whoami")
    assert me["orgs"] == ["acme"] and me["teams"] == ["acme/docs", "acme/web"]


def effects(tool: str, **arguments: Any) -> Effect:
    made = TOOLKIT.tools[f"github_{tool}"]
    return made.effect_of(made.validate(arguments))


def test_effects_depend_on_the_arguments() -> None:
    sends, destroys = Effect.WRITES | Effect.SENDS, Effect.WRITES | Effect.DESTRUCTIVE
    commit = {"repo": SITE, "branch": "b", "message": "m"}
    assert effects("commit_files", **commit, files=[{"path": "a", "content": "b"}]) == sends
    assert effects("commit_files", **commit, delete_paths=["a"]) == sends | destroys
    assert effects("control_run", repo=SITE, run_id=1, action="rerun") == sends
    assert effects("control_run", repo=SITE, run_id=1, action="force_cancel") == destroys
    assert effects("save_release", repo=SITE, tag="v1") == sends
    assert effects("save_release", repo=SITE, tag="v1", draft=False) == sends
    assert effects("save_gist", files={"a": "b"}) == effects("save_gist", files={"a": "b"}, public=True) == sends
    assert effects("update_project_item", owner="a", project="1", item="1", set={"Status": "Done"}) == sends
    assert effects("update_project_item", owner="a", project="1", item="1", remove=True) == sends | destroys
    assert effects("merge_pull", repo=SITE, number=1, head_sha="0" * 40) == sends | Effect.DESTRUCTIVE
    assert effects("delete", kind="gist", id="a") == destroys


def test_gravest_effect_is_declared() -> None:
    for case in CASES:
        tool = tool_of(case)
        assert tool.effect_of(arguments_of(case)).value & ~tool.gravest.value == 0


def test_advance_consent_requests_the_scopes_of_the_plain_call() -> None:
    for tool in TOOLKIT.tools.values():
        assert all(need.ask in GITHUB.scope_descriptions for need in tool.usual_needs())
        assert tool.usual_needs("github_app") is not None
