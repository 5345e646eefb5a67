"""Every request of every GitHub tool against GitHub's own descriptions: REST by OpenAPI, GraphQL by its schema.

The sandbox's responses are checked against the same descriptions, so that the tools are not tested against an
invention.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deputize.core.tools.required_scopes import Need
from deputize.sandbox.github.call import HOST
from deputize.toolkits.github import TOOLKIT, documents
from tests.support.openapi import NotAsDescribed, OpenApi, check_graphql, graphql_schema
from tests.toolkits.github_calls import CASES, IDS, Case
from tests.toolkits.github_play import GARDEN, SITE, Play

pytestmark = pytest.mark.counterpart
AFTER_A_LOSS = {  # looked at to learn what became of a write
    *("GET /repos/{owner}/{repo}/issues", "GET /repos/{owner}/{repo}/pulls/{pull_number}/comments"),
    *(
        "GET /repos/{owner}/{repo}/issues/{issue_number}/comments",
        "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
    ),
    *("GET /repos/{owner}/{repo}/pulls", "GET /gists", "GET /repos/{owner}/{repo}/git/ref/{ref}"),
    *("GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs", "GET /repos/{owner}/{repo}/commits/{ref}"),
    *("GRAPHQL Discussion", "GRAPHQL Discussions"),
}
ALWAYS = {"GET /repos/{owner}/{repo}"}  # is it there at all


@pytest.fixture(scope="module")
def api() -> OpenApi:
    return OpenApi.of_github()


@pytest.fixture
async def played(request: pytest.FixtureRequest) -> AsyncIterator[Play]:
    """Run one case to its end."""
    case: Case = request.param
    play = await Play.begin()
    case.before(play)
    async with play.deputy:
        await play.act(case.tool, **case.arguments)
        yield play


def requests_of(play: Play) -> list[httpx.Request]:
    return [one for one in play.recorder.seen if one.url.host == HOST and one.url.path != "/user/installations"]


def called(api: OpenApi, request: httpx.Request) -> str:
    """Return the method of a request, as needs name it."""
    if request.url.path == "/graphql":
        return f"GRAPHQL {check_graphql(json.loads(request.content))}"
    return api.check(request).name


async def run(case: Case) -> Play:
    play = await Play.begin()
    case.before(play)
    await play.act(case.tool, **case.arguments)
    return play


def needs_of(case: Case) -> list[Need]:
    tool = TOOLKIT.tools[f"github_{case.tool}"]
    return list(tool.needs_of(tool.validate(_plain(case.arguments))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return "0" * 40 if isinstance(value, str) and value.startswith("$head:") else value


def declared_as(name: str) -> str:
    """Return a method as needs write it: template repositories are repositories."""
    return name


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_every_request_is_described_by_github_and_declared_by_its_tool(case: Case, api: OpenApi) -> None:
    play = await run(case)
    names = {called(api, request) for request in requests_of(play)}
    declared = {need.method for need in needs_of(case)}
    spoilt = case.before is not Case._field_defaults["before"]
    assert names - declared - ALWAYS - (AFTER_A_LOSS if spoilt else set()) <= {
        "GET /repos/{owner}/{repo}/pulls",  # opening one looks for it first
        *({"GET /user/repos"} if "/" not in str(case.arguments.get("repo", "/")) else set()),
    }


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_sandbox_answers_match_githubs_description(case: Case, api: OpenApi) -> None:
    play = await run(case)
    for request in requests_of(play):
        if request.url.path == "/graphql":
            continue
        answer = await httpx.AsyncClient(transport=play.sandbox.transport()).send(request)
        api.check_answer(request, answer)


async def test_people_reader_requests_match_githubs_description(api: OpenApi) -> None:
    play = await Play.begin()
    async with play.deputy:
        await play.deputy.act("find_people", {"who": "Bob Brown"}, user="alice")
    assert {called(api, request) for request in requests_of(play)} == {"GET /user/orgs", "GRAPHQL Members"}


async def test_all_requests_are_covered_by_the_cases(api: OpenApi, capsys: pytest.CaptureFixture[str]) -> None:
    checked, tools, methods, failures = 0, set[str](), Counter[str](), 0
    for case in CASES:
        play = await run(case)
        tools.add(case.tool)
        for request in requests_of(play):
            checked += 1
            try:
                methods[called(api, request)] += 1
            except NotAsDescribed:
                failures += 1
    with capsys.disabled():
        print(f"\n| toolkit | tools | calls | requests checked | methods | failures |\n|{'---|' * 6}")
        print(f"| github | {len(tools)} | {len(CASES)} | {checked} | {len(methods)} | {failures} |")
    assert failures == 0 and {f"github_{tool}" for tool in tools} == set(TOOLKIT.tools)
    declared = {need.method for case in CASES for need in needs_of(case)}
    assert declared <= methods.keys()


BAD: list[tuple[str, str, str, Any]] = [
    ("an unknown path", "GET", f"/repos/{SITE}/isues", None),
    ("an unknown query parameter", "GET", f"/repos/{SITE}/issues?page_size=3", None),
    ("a value outside of an enum", "GET", f"/repos/{SITE}/issues?state=opened", None),
    ("no integer", "GET", f"/repos/{SITE}/issues?per_page=many", None),
    ("a missing query parameter", "GET", "/search/issues", None),
    ("a missing member of a body", "POST", f"/repos/{SITE}/issues", {"body": "x"}),
    ("an unknown member of a body", "POST", f"/repos/{SITE}/issues", {"title": "x", "labls": []}),
    ("a member of another type", "POST", f"/repos/{SITE}/issues", {"title": "x", "labels": "bug"}),
    ("a body where none belongs", "PUT", f"/user/starred/{SITE}", {"x": 1}),
    ("another host", "GET", "//example.test/user", None),
]


@pytest.mark.parametrize(("what", "method", "path", "body"), BAD, ids=[one[0] for one in BAD])
def test_invalid_request_is_detected(what: str, method: str, path: str, body: Any, api: OpenApi) -> None:
    url = f"https:{path}" if path.startswith("//") else f"https://{HOST}{path}"
    with pytest.raises(NotAsDescribed):
        api.check(httpx.Request(method, url, json=body))


BAD_GRAPHQL = [
    (
        "a misspelt field",
        documents.MERGE_STATE.replace("isDraft", "isDraught"),
        {"owner": "a", "name": "b", "number": 1},
    ),
    ("a variable of another type", documents.MERGE_STATE, {"owner": "a", "name": "b", "number": "one"}),
    ("a missing variable", documents.MERGE_STATE, {"owner": "a", "name": "b"}),
    ("an unknown variable", documents.MERGE_STATE, {"owner": "a", "name": "b", "number": 1, "x": 2}),
    ("an unknown input field", documents.COMMIT, {"input": {"expectedHeadOid": "a", "branches": {}}}),
]


@pytest.mark.parametrize(("what", "document", "variables"), BAD_GRAPHQL, ids=[one[0] for one in BAD_GRAPHQL])
def test_invalid_document_is_detected(what: str, document: str, variables: Any) -> None:
    name = document.partition("(")[0].split()[1]
    with pytest.raises(NotAsDescribed):
        check_graphql({"query": document, "operationName": name, "variables": variables})


def test_every_graphql_document_is_sent_and_uses_nothing_deprecated() -> None:
    from graphql import NoDeprecatedCustomRule, parse, validate

    known = {
        name: text
        for name, text in vars(documents).items()
        if isinstance(text, str) and text.startswith(("query", "mutation"))
    }
    assert len(known) == 22
    for text in known.values():
        assert validate(graphql_schema(), parse(text), [NoDeprecatedCustomRule]) == []


async def test_push_permission_request_matches_the_description(api: OpenApi) -> None:
    play = await Play.begin(trusted_authors="push")
    for tool, arguments in (
        ("list_issues", {"repo": GARDEN}),
        ("get_pull", {"repo": SITE, "number": 2, "include": ["files"]}),
        ("search_code", {"query": "a"}),
    ):
        await play.act(tool, **arguments)
    asked = {called(api, one) for one in requests_of(play)}
    assert "GET /repos/{owner}/{repo}/collaborators/{username}/permission" in asked and ALWAYS <= asked
