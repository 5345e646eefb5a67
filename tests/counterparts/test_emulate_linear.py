"""Alice and Bob with Linear's tools, against emulate's Linear.

The first user is a decoy. emulate knows a part of Linear's schema, so documents are reduced to it in transit
(`tests.support.pruned_linear`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from deputize.core import PROVIDERS, App, Deputy, InvalidInput, Secret, allow_all
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.toolkits.linear import TOOLKIT
from tests.support.called_tools import tools_called
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, oauth_client
from tests.support.pruned_linear import PrunedLinear
from tests.support.strict_emulate import StrictTransport, consent_click
from tests.toolkits.linear_calls import EVERY

pytestmark = pytest.mark.counterpart
PEOPLE = {"alice": "alice@example.test", "bob": "bob@example.test"}
PAGES = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("linear") as running:
        yield running


@pytest.fixture
def linear(emulate: Emulate) -> PrunedLinear:
    emulate.reset()
    return PrunedLinear(StrictTransport(emulate.urls))


@pytest.fixture
async def deputy(emulate: Emulate, linear: PrunedLinear) -> AsyncIterator[Deputy]:
    client = oauth_client("linear")
    vault = await Vault.open(open_store("memory:", create=True), [bytes(range(32))])
    apps = [App("linear", client.id, Secret(client.secret))]
    async with Deputy(
        vault, apps, pages=PAGES, policy=allow_all, providers=PROVIDERS, toolkits=[TOOLKIT], transport=linear
    ) as deputy:
        for user in PEOPLE:
            [consent] = await deputy.connect(user, "linear", scopes=["read", "write"])
            started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
            back = await consent_click(StrictTransport(emulate.urls), started.url, PEOPLE[user])
            params = dict(parse_qsl(urlsplit(back).query))
            await deputy.consents.finish(consent.app, params, AnyLocalUser(), started.nonce.reveal())
        yield deputy


async def act(deputy: Deputy, user: str, tool: str, **arguments: Any) -> Any:
    return await deputy.act(f"linear_{tool}", arguments, user=user)


async def test_each_account_is_who_consented_and_never_the_decoy(deputy: Deputy) -> None:
    for user in PEOPLE:
        shown = await act(deputy, user, "whoami")
        assert shown["email"] == PEOPLE[user] and shown["workspace"]["url_key"] == "acme"


async def test_issue_is_created_found_changed_commented_and_archived(deputy: Deputy, linear: PrunedLinear) -> None:
    made = await act(
        deputy, "alice", "create_issue", team="ENG", title="Made by the agent", state="Todo", priority="high"
    )
    key = made["identifier"]
    assert (await act(deputy, "bob", "get_issue", issue=key))["creator"] in ("Alice Adams", "alice")
    listed = await act(deputy, "bob", "list_issues")
    assert {"Made by the agent", "First issue"} <= {row["title"] for row in listed["items"]}
    changed = await act(deputy, "bob", "update_issue", issues=[key], title="Changed by Bob")
    assert changed["updated"][0]["identifier"] == key
    written = await act(deputy, "alice", "write_comment", target=key, body="Thanks, Bob.")
    shown = await act(deputy, "bob", "get_issue", issue=key, include=["comments"])
    assert shown["title"] == "Changed by Bob" and "Thanks, Bob." in json.dumps(shown["comments"])
    edited = await act(deputy, "alice", "write_comment", comment_id=written["comment_id"], body="Thank you, Bob.")
    assert edited["comment_id"] == written["comment_id"]
    gone = await act(deputy, "alice", "archive", kind="comment", id=written["comment_id"], action="delete")
    assert gone["action"] == "delete"
    for action in ("archive", "restore", "delete"):
        assert (await act(deputy, "alice", "archive", kind="issue", id=key, action=action))["action"] == action
    assert {"IssueCreate", "IssueUpdate", "CommentCreate", "CommentUpdate", "CommentDelete"} <= set(linear.sent)


async def test_only_known_fields_are_dropped_at_emulate(deputy: Deputy, linear: PrunedLinear) -> None:
    await act(deputy, "alice", "create_issue", team="Engineering", title="Whole")
    assert "IssueCreateInput.id" in linear.dropped["IssueCreate"]
    assert not {one for one in linear.dropped["IssueCreate"] if one.startswith("Mutation.")}


async def test_teams_labels_states_cycles_and_projects_are_found(deputy: Deputy) -> None:
    team = await act(deputy, "alice", "get_team", team="eng")
    assert team["key"] == "ENG" and {"Todo", "Done"} <= {state["name"] for state in team["states"]}
    for kind, name in (("teams", "Engineering"), ("users", "Bob Brown"), ("states", "Todo"), ("labels", "Bug")):
        found = await act(deputy, "alice", "lookup", kind=kind)
        assert name in {row["name"] for row in found["items"]}, kind
    assert (await act(deputy, "alice", "lookup", kind="cycles"))["items"][0]["team"] == "ENG"
    assert (await act(deputy, "alice", "list_projects"))["items"][0]["name"] == "Local Project"


async def test_project_cycle_and_issue_comments_are_read(deputy: Deputy) -> None:
    project = (await act(deputy, "alice", "list_projects"))["items"][0]
    assert (await act(deputy, "alice", "get_project", project=project["id"]))["name"] == "Local Project"
    cycle = (await act(deputy, "alice", "lookup", kind="cycles"))["items"][0]
    assert (await act(deputy, "alice", "get_cycle", cycle=cycle["id"]))["number"] == 1
    made = await act(deputy, "alice", "create_issue", team="ENG", title="Talked about")
    await act(deputy, "bob", "write_comment", target=made["identifier"], body="Well.")
    found = await act(deputy, "alice", "list_comments", target=made["identifier"])
    assert "Well." in {row["body"] for row in found["items"]}


async def test_label_is_created_and_retired(deputy: Deputy) -> None:
    made = await act(deputy, "alice", "save_label", name="Docs", color="#00ff00", team="ENG")
    again = await act(deputy, "alice", "save_label", name="docs", team="ENG")
    assert again["existed"] and again["label_id"] == made["label_id"]
    changed = await act(deputy, "alice", "save_label", label="Docs", name="Documentation")
    assert changed["name"] == "Documentation"
    await act(deputy, "alice", "archive", kind="label", id=made["label_id"], action="delete")
    names = {row["name"] for row in (await act(deputy, "alice", "lookup", kind="labels"))["items"]}
    assert "Documentation" not in names


async def test_unknown_team_is_refused(deputy: Deputy, linear: PrunedLinear) -> None:
    before = linear.sent.count("IssueCreate")
    with pytest.raises(InvalidInput):
        await act(deputy, "alice", "create_issue", team="ENGX", title="x")
    assert linear.sent.count("IssueCreate") == before


def test_each_tool_is_exercised_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """By the tests above, or by the calls of `test_linear_tools.py` in the sandbox."""
    used, sandbox = tools_called(TOOLKIT, __file__), {case.name for case in EVERY}
    with capsys.disabled():
        print("\ntool | emulate | sandbox")
        for name in TOOLKIT.tools:
            there = "yes" if name.removeprefix("linear_") in used else "-"
            print(f"{name} | {there} | {'yes' if name in sandbox else '-'}")
    assert set(TOOLKIT.tools) == {f"linear_{tool}" for tool in used} | sandbox
