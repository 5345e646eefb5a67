"""Responses of the simulated APIs: one read and one write of each provider, for the token's owner, and refusals."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox, github, linear, salesforce, slack
from deputize.sandbox.github.seed import BOBS_SECRET as GITHUB_SECRET
from deputize.sandbox.graphql import InvalidDocument, read_document
from deputize.sandbox.linear.seed import BOBS_SECRET as LINEAR_SECRET
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.salesforce.seed import BOBS_SECRET as SALESFORCE_SECRET
from deputize.sandbox.slack.seed import BOBS_SECRET as SLACK_SECRET
from tests.sandbox.registered_app import ALICE, BOB

ENG, LEADS, ATTIC, BOBS = "C0ENG000001", "G0LEADS0001", "C0ATTIC0001", "G0BOB000001"
ALL = ("chat:write", "channels:read", "groups:read", "channels:history", "groups:history")
DATA = "https://acme.my.salesforce.com/services/data/v64.0"


class As:
    """Calls as one person with these scopes."""

    def __init__(self, sandbox: Sandbox, provider: str, *scopes: str, email: str = ALICE) -> None:
        self.http = httpx.AsyncClient(transport=sandbox.transport())
        self.headers = {"authorization": f"Bearer {sandbox.give(provider, email, scopes)['access_token']}"}

    async def __call__(self, method: str, url: str, **how: Any) -> httpx.Response:
        return await self.http.request(method, url, headers=self.headers, **how)

    async def slack(self, method: str, **arguments: Any) -> Any:
        return (await self("POST", f"https://slack.com/api/{method}", json=arguments)).json()

    async def graphql(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        return (await self("POST", "https://api.linear.app/graphql", json=body)).json()

    async def soql(self, query: str) -> Any:
        return (await self("GET", f"{DATA}/query", params={"q": query})).json()


# ------------------------------------------------------------------ slack


async def test_slack_channels_are_paged_and_bobs_private_ones_hidden(sandbox: Sandbox) -> None:
    me, names, cursor = As(sandbox, "slack", *ALL), [], ""
    for _ in range(10):
        body = await me.slack("conversations.list", types="public_channel,private_channel", limit=2, cursor=cursor)
        names += [row["name"] for row in body["channels"]]
        cursor = body["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert names == ["general", "eng", "random", "design", "attic", "leads"]
    bob = As(sandbox, "slack", *ALL, email=BOB)
    assert "bob-notes" in json.dumps(await bob.slack("conversations.list", types="private_channel"))
    assert SLACK_SECRET in json.dumps(await bob.slack("conversations.history", channel=BOBS))
    assert (await me.slack("conversations.history", channel=BOBS))["error"] == "channel_not_found"


async def test_slack_arguments_may_be_query_form_or_json(sandbox: Sandbox) -> None:
    me = As(sandbox, "slack", *ALL)
    metadata = {"event_type": "deputize.write", "event_payload": {"key": "k1"}}
    posted = await me.slack("chat.postMessage", channel=ENG, text="Hello", metadata=metadata)
    form = {"channel": ENG, "text": "Form", "metadata": json.dumps(metadata)}
    assert (await me("POST", "https://slack.com/api/chat.postMessage", data=form)).json()["ok"]
    query = {"channel": ENG, "oldest": posted["ts"], "inclusive": "true"}
    body = (await me("GET", "https://slack.com/api/conversations.history", params=query)).json()
    assert [row["text"] for row in body["messages"]] == ["Form", "Hello"] and "metadata" not in body["messages"][0]
    full = await me.slack("conversations.history", channel=ENG, include_all_metadata=True, limit=2)
    assert [row["metadata"] for row in full["messages"]] == [metadata, metadata] and full["has_more"]
    assert full["messages"][0]["user"] == "U0ALICE0000"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ({"channel": ATTIC, "text": "x"}, "is_archived"),
        ({"channel": ENG}, "no_text"),
        ({"channel": ENG, "text": "x" * 40001}, "msg_too_long"),
    ],
)
async def test_slack_refuses_with_200(sandbox: Sandbox, arguments: dict[str, str], error: str) -> None:
    before = sandbox.service("slack")
    assert await As(sandbox, "slack", *ALL).slack("chat.postMessage", **arguments) == {"ok": False, "error": error}
    assert sandbox.service("slack") == before


async def test_slack_names_the_missing_scope(sandbox: Sandbox) -> None:
    me = As(sandbox, "slack", "channels:read")
    reply = await me("POST", "https://slack.com/api/chat.postMessage", json={"channel": ENG, "text": "x"})
    assert reply.status_code == 200 and reply.headers["x-oauth-scopes"] == "channels:read"
    assert reply.json() == {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write",
        "provided": "channels:read",
    }
    assert (await me.slack("conversations.list", types="private_channel"))["needed"] == "groups:read"


async def test_slack_refuses_missing_and_dead_tokens_and_unknown_methods(sandbox: Sandbox) -> None:
    me = As(sandbox, "slack", *ALL)
    assert (await me.slack("no.such"))["error"] == "unknown_method"
    assert (await me.slack("auth.revoke"))["revoked"] is True
    assert (await me.slack("auth.test"))["error"] == "invalid_auth"
    me.headers = {}
    assert (await me.slack("auth.test"))["error"] == "not_authed"


async def test_slack_refusal_in_200_uses_up_no_lost_reply_switch(sandbox: Sandbox) -> None:
    me = As(sandbox, "slack", *ALL)
    sandbox.switches.drop_after_commit.append("/api/chat.postMessage")
    assert (await me.slack("chat.postMessage", channel=ENG))["error"] == "no_text"
    with pytest.raises(httpx.ReadError):
        await me.slack("chat.postMessage", channel=ENG, text="once")
    rows = sandbox.service("slack")["channels"][ENG]["messages"]
    assert [row["text"] for row in rows].count("once") == 1


# ------------------------------------------------------------------ github

GARDEN = "https://api.github.com/repos/alice/garden/issues"


async def test_github_lists_issues_with_links_and_scopes_and_creates_one(sandbox: Sandbox) -> None:
    me = As(sandbox, "github", "repo", "public_repo")
    reply = await me("GET", GARDEN, params={"state": "all", "per_page": 2})
    assert [row["number"] for row in reply.json()] == [3, 2] and reply.headers["x-oauth-scopes"] == "repo"
    following = reply.links["next"]["url"]
    assert following.startswith(GARDEN) and [row["number"] for row in (await me("GET", following)).json()] == [1]
    made = await me("POST", GARDEN, json={"title": "Water the beds", "labels": ["help wanted"]})
    assert (made.status_code, made.json()["number"], made.json()["user"]["login"]) == (201, 4, "alice")
    assert (await me("GET", f"{GARDEN}/4")).json()["title"] == "Water the beds"
    assert [row["number"] for row in (await me("GET", GARDEN, params={"creator": "alice"})).json()] == [4]


async def test_github_hides_what_a_token_cannot_see(sandbox: Sandbox) -> None:
    me, narrow = As(sandbox, "github", "repo"), As(sandbox, "github", "public_repo")
    diary = "https://api.github.com/repos/bob/diary/issues"
    assert (await me("GET", diary)).status_code == 404
    assert GITHUB_SECRET in (await As(sandbox, "github", "repo", email=BOB)("GET", diary)).text
    notes = await narrow("GET", "https://api.github.com/repos/alice/private-notes/issues")
    assert notes.status_code == 404 and notes.headers["x-accepted-oauth-scopes"] == "repo"
    assert "diary" not in (await me("GET", "https://api.github.com/user/repos")).text
    assert (await narrow("POST", GARDEN, json={"title": "ok"})).status_code == 201
    bare = As(sandbox, "github", "gist")
    assert (await bare("POST", GARDEN, json={"title": "no"})).headers["x-accepted-oauth-scopes"] == "public_repo, repo"


async def test_github_refuses_bad_issues_archived_repositories_and_bad_tokens(sandbox: Sandbox) -> None:
    me = As(sandbox, "github", "repo")
    untitled = await me("POST", GARDEN, json={"body": "x"})
    assert (untitled.status_code, untitled.json()["errors"][0]["field"]) == (422, "title")
    attic = "https://api.github.com/repos/acme/attic/issues"
    assert (await me("POST", attic, json={"title": "x"})).status_code == 403
    me.headers = {"authorization": "Bearer gho_forged"}
    assert (await me("GET", GARDEN)).json()["message"] == "Bad credentials"
    me.headers = {}
    assert (await me("GET", GARDEN)).json()["message"] == "Requires authentication"


async def test_github_app_works_only_where_it_is_installed(sandbox: Sandbox) -> None:
    me = As(sandbox, "github_app")
    found = (await me("GET", "https://api.github.com/user/installations")).json()["installations"]
    assert [row["account"]["login"] for row in found] == ["acme", "alice"] and found[0]["permissions"][
        "issues"
    ] == "write"
    assert (await me("POST", GARDEN, json={"title": "x"})).status_code == 201
    assert (await me("GET", "https://api.github.com/repos/alice/private-notes/issues")).status_code == 404
    elsewhere = await me("POST", "https://api.github.com/repos/acme/attic/issues", json={"title": "x"})
    assert elsewhere.status_code == 403 and elsewhere.headers["x-accepted-github-permissions"] == "issues=write"


# ------------------------------------------------------------------ linear

CREATE = """mutation($input: IssueCreateInput!) { issueCreate(input: $input) { success issue { ...I } } }
fragment I on Issue { id identifier title creator { email } }"""
TEAM = stable_id("team", "ENG")


async def test_linear_issues_are_paged_and_bobs_private_ones_hidden(sandbox: Sandbox) -> None:
    me = As(sandbox, "linear", "read")
    query = """query($n: Int!, $a: String) {
        issues(first: $n, after: $a) { nodes { identifier } pageInfo { hasNextPage endCursor } }
    }"""
    first = (await me.graphql(query, n=3))["data"]["issues"]
    second = (await me.graphql(query, n=3, a=first["pageInfo"]["endCursor"]))["data"]["issues"]
    found = [row["identifier"] for page in (first, second) for row in page["nodes"]]
    assert found == ["OPS-2", "OPS-1", "ENG-3", "ENG-2", "ENG-1"] and not second["pageInfo"]["hasNextPage"]
    every = "{ issues { nodes { title description } } }"
    assert LINEAR_SECRET not in json.dumps(await me.graphql(every))
    assert LINEAR_SECRET in json.dumps(await As(sandbox, "linear", "read", email=BOB).graphql(every))
    mine = """{ issues(filter: {team: {key: {eq: "OPS"}}, assignee: {email: {eq: "alice@example.test"}}}) {
        nodes { identifier }
    } }"""
    assert (await me.graphql(mine))["data"]["issues"]["nodes"] == [{"identifier": "OPS-1"}]


async def test_linear_creates_an_issue_once_per_id(sandbox: Sandbox) -> None:
    me = As(sandbox, "linear", "read", "issues:create")
    given = {"id": "c75bff3a-a0ba-49e9-815c-90eceef797aa", "teamId": TEAM, "title": "Once"}
    made = (await me.graphql(CREATE, input=given))["data"]["issueCreate"]
    assert made["success"] and made["issue"]["identifier"] == "ENG-4" and made["issue"]["creator"]["email"] == ALICE
    again = (await me.graphql(CREATE, input=given))["errors"][0]
    assert (
        again["message"] == "conflict on insert of Issue"
        and given["id"] in again["extensions"]["userPresentableMessage"]
    )
    one = await me.graphql("query($id: String!){ it: issue(id: $id) { name: title } }", id=given["id"])
    assert one["data"] == {"it": {"name": "Once"}}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ viewer { shoeSize } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ viewer { id ", "GRAPHQL_PARSE_FAILED"),
        ('{ issue(id: "BOB-1") { title } }', "INPUT_ERROR"),
        ('mutation { issueCreate(input: {teamId: "x", title: "y"}) { success } }', "FORBIDDEN"),
        ("{ issues(filter: {shoeSize: {eq: 1}}) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_linear_refuses_with_errors(sandbox: Sandbox, query: str, code: str) -> None:
    body = await As(sandbox, "linear", "read").graphql(query)
    assert body["errors"][0]["extensions"]["code"] == code and body.get("data") is None


@pytest.mark.parametrize(
    "document", ["", "{", "}", "{ a(b: ) }", "{ ...f } fragment f on X { ...f }", "{ ...x }", "{a} {b}", "{ ~ }"]
)
def test_invalid_graphql_document_is_refused(document: str) -> None:
    with pytest.raises(InvalidDocument):
        read_document(document, {})


# ------------------------------------------------------------------ salesforce


async def test_salesforce_answers_queries_and_limits_tasks_to_their_owners(sandbox: Sandbox) -> None:
    me = As(sandbox, "salesforce", "api")
    body = await me.soql(
        "SELECT Id, Name FROM Account WHERE Industry = 'Retail' AND Name LIKE 'North%' ORDER BY Name LIMIT 5"
    )
    assert body["totalSize"] == 1 and body["done"] and body["records"][0]["Name"] == "Northwind"
    assert body["records"][0]["attributes"]["type"] == "Account"
    assert [
        row["LastName"] for row in (await me.soql("SELECT LastName FROM Contact ORDER BY LastName DESC"))["records"]
    ] == ["Dunn", "Clark"]
    tasks = "SELECT Subject, Description FROM Task"
    mine = await me.soql(tasks)
    assert mine["totalSize"] == 1 and SALESFORCE_SECRET not in json.dumps(mine)
    assert SALESFORCE_SECRET in json.dumps(await As(sandbox, "salesforce", "api", email=BOB).soql(tasks))


async def test_salesforce_creates_a_record(sandbox: Sandbox) -> None:
    me = As(sandbox, "salesforce", "api")
    made = await me("POST", f"{DATA}/sobjects/Contact", json={"LastName": "Fox", "Email": "fox@example.test"})
    assert made.status_code == 201 and made.json()["success"] is True
    one = (await me("GET", f"{DATA}/sobjects/Contact/{made.json()['id']}")).json()
    assert one["LastName"] == "Fox" and len(one["Id"]) == 18
    escaped = await me.soql(r"SELECT Id FROM Contact WHERE LastName = 'O\'Neil'")
    assert escaped["totalSize"] == 0


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "code"),
    [
        ("GET", "query", {"params": {"q": "SELECT FROM"}}, 400, "MALFORMED_QUERY"),
        ("GET", "query", {"params": {"q": "SELECT Salary__c FROM Contact"}}, 400, "INVALID_FIELD"),
        ("GET", "query", {"params": {"q": "SELECT Id FROM Nothing"}}, 400, "INVALID_TYPE"),
        ("POST", "sobjects/Account", {"json": {}}, 400, "REQUIRED_FIELD_MISSING"),
        ("POST", "sobjects/Account", {"json": {"Name": "x", "Shoe": 1}}, 400, "INVALID_FIELD"),
        ("GET", "sobjects/Account/001xx", {}, 404, "NOT_FOUND"),
        ("GET", "nothing", {}, 404, "NOT_FOUND"),
    ],
)
async def test_salesforce_refuses_with_a_list(
    sandbox: Sandbox, method: str, path: str, how: Any, status: int, code: str
) -> None:
    reply = await As(sandbox, "salesforce", "api")(method, f"{DATA}/{path}", **how)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (status, code)


async def test_salesforce_needs_the_api_scope_and_refuses_dead_sessions(sandbox: Sandbox) -> None:
    me = As(sandbox, "salesforce", "openid")
    narrow = await me("GET", f"{DATA}/query", params={"q": "SELECT Id FROM Account"})
    assert (narrow.status_code, narrow.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    dead = await me.http.get("https://login.salesforce.com/services/oauth2/userinfo")
    assert (dead.status_code, dead.text) == (403, "Bad_OAuth_Token")
    assert (await me.http.get("https://acme.my.salesforce.com/services/data")).json()[0]["version"] == "64.0"


def test_client_ids_of_all_apps_differ() -> None:
    apps = [*slack.APPS, *github.APPS, *linear.APPS, *salesforce.APPS]
    assert len({app.client_id for app in apps}) == len(apps) == 6
