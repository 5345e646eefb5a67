"""Hostile text in every argument of every tool stays in its place, whatever the request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

import httpx
import pytest

from deputize.core import DeputizeError, InvalidInput
from deputize.toolkits.github import TOOLKIT, documents
from tests.support.lanes import sample
from tests.toolkits.github_calls import CASES, Case
from tests.toolkits.github_play import SITE, Play

HOSTILE: Final = [
    *("..", ".", "../../user", "a/../../b", "a/..", "%2e%2e", "%2e%2e%2fuser", "a%2Fb", "a//b", "/a", "a/"),
    *(
        "//evil.example.test/x",
        "https://evil.example.test/x",
        "https://github.com.evil.example.test/a/b",
        "@evil.example.test",
    ),
    *("?x=1", "a?per_page=1&page=2", "#f", "a#b", "a&state=all", "a;b", "{owner}", "a\r\nHost: evil.example.test"),
    *(
        "\x00",
        "a\x7f",
        "\\..\\x",
        "a b",
        "x" * 300,
        "\u202ea",
        "\ud800",
        "",
        "-x",
        "@{1}",
        "x.lock",
        "bob/diary",
        "repo:bob/diary",
    ),
]
WIDE: Final = {"path", "ref", "basehead", "tag", "branch", "tree_sha"}
LOOKS: Final = {
    *("GET /repos/{owner}/{repo}", "GET /user/repos", "GET /repos/{owner}/{repo}/pulls", "GET /gists"),
    *("GET /repos/{owner}/{repo}/issues", "GET /repos/{owner}/{repo}/assignees"),
    *(
        "GET /repos/{owner}/{repo}/issues/{issue_number}/comments",
        "GET /repos/{owner}/{repo}/pulls/{pull_number}/comments",
    ),
    *("GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews", "GET /repos/{owner}/{repo}/pulls/{pull_number}/files"),
    *("GET /repos/{owner}/{repo}/git/ref/{ref}", "GET /repos/{owner}/{repo}/labels", "GET /orgs/{org}/projectsV2"),
    *("GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs", "GET /users/{username}/projectsV2"),
    *("GET /repos/{owner}/{repo}/commits/{ref}/check-runs", "GET /repos/{owner}/{repo}/commits/{ref}/status"),
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the places of strings in arguments."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from places(one, (*at, name))
    elif isinstance(value, list):
        for n, one in enumerate(value):
            yield from places(one, (*at, n))


def with_text(value: Any, at: tuple[Any, ...], text: str) -> Any:
    """Return the arguments with another string in one place."""
    if not at:
        return text
    head, *rest = at
    if isinstance(value, list):
        return [with_text(one, tuple(rest), text) if n == head else one for n, one in enumerate(value)]
    return {name: with_text(one, tuple(rest), text) if name == head else one for name, one in value.items()}


def chosen() -> Iterator[tuple[Case, tuple[Any, ...]]]:
    """Return every place of a string in some call of every tool, once."""
    seen = set[tuple[str, tuple[Any, ...]]]()
    for case in CASES:
        for at in places(case.arguments):
            if (case.tool, at) not in seen:
                seen.add((case.tool, at))
                yield case, at


CHOSEN: Final = list(chosen())


@cache
def templates(tool: str) -> list[re.Pattern[str]]:
    """Return what the tool may request, as patterns of raw paths."""
    declared = set(LOOKS)
    made = TOOLKIT.tools[f"github_{tool}"]
    for case in CASES:
        if case.tool == tool:
            arguments = json.loads(re.sub(r"\$head:[\w/]+", "0" * 40, json.dumps(case.arguments)))
            declared |= {need.method for need in made.needs_of(made.validate(arguments))}
    return [_pattern(one) for one in declared if not one.startswith("GRAPHQL")]


def _pattern(method: str) -> re.Pattern[str]:
    def place(found: re.Match[str]) -> str:
        return r"[^?#]*" if found[1] in WIDE else r"[^/?#]+"

    path = re.sub(r"\\\{(\w+)\\\}", place, re.escape(method)).replace("/contents/", "/contents/?")
    return re.compile(path)


@cache
def parameters() -> set[str]:
    """Return the query parameters that tools use."""
    return {
        *(
            "per_page",
            "page",
            "after",
            "q",
            "sort",
            "order",
            "direction",
            "state",
            "since",
            "until",
            "sha",
            "path",
            "author",
        ),
        *(
            "ref",
            "recursive",
            "type",
            "permission",
            "affiliation",
            "labels",
            "assignee",
            "creator",
            "milestone",
            "base",
            "head",
        ),
        *(
            "activity_type",
            "actor",
            "time_period",
            "branch",
            "status",
            "event",
            "head_sha",
            "created",
            "all",
            "participating",
        ),
        *("fields", "severity", "hide_secret", "visibility"),
    }


def harmless(request: httpx.Request, tool: str) -> None:
    """Check that a request is as intended, whatever was in the arguments."""
    assert (request.url.scheme, request.url.host, request.url.port) == ("https", "api.github.com", None)
    raw = request.url.raw_path.decode("ascii")
    path, _, query = raw.partition("?")
    segments = path.split("/")[1:]
    assert all(unquote(one) not in ("", ".", "..") and "/" not in unquote(one) for one in segments), raw
    assert not re.search(r"[\x00-\x20\x7f\\]", unquote(path)) or "%20" in path, raw
    assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= parameters(), raw
    if path == "/graphql":
        known = {text for text in vars(documents).values() if isinstance(text, str)}
        assert json.loads(request.content)["query"] in known
        return
    asked_who = f"{request.method} {path}" == "GET /user/orgs"  # who is meant by a name that is no login
    assert asked_who or any(one.fullmatch(f"{request.method} {path}") for one in templates(tool)), raw


@pytest.mark.parametrize("tool", sample(dict.fromkeys(case.tool for case, _ in CHOSEN)))
async def test_hostile_text_is_refused_or_stays_in_its_segment(tool: str, subtests: pytest.Subtests) -> None:
    for case, at in CHOSEN:
        if case.tool == tool:
            with subtests.test(arguments=case.arguments, at=at):
                await _stays_in_its_place(case, at)


async def _stays_in_its_place(case: Case, at: tuple[Any, ...]) -> None:
    play = await Play.begin()
    secret = json.dumps(play.store["issues"]["bob/diary"])
    for text in HOSTILE:
        play.recorder.seen.clear()
        try:
            result = await play.act(case.tool, **with_text(case.arguments, at, text))
        except DeputizeError as refused:
            unnamed = refused.message.replace(repr(text), "")  # the value may be named, in quotes
            assert text not in unnamed or len(text) < 4 or "repo:" in text or text == "bob/diary"
            result = None
        for request in play.recorder.seen:
            if request.url.host == "api.github.com":
                harmless(request, case.tool)
        assert "the fern" not in json.dumps(result) and "For Bob alone" not in json.dumps(result)
    assert json.dumps(play.store["issues"]["bob/diary"]) == secret
    await play.deputy.close()


NO_REPO: Final = [
    *(
        "../user",
        "acme/..",
        "acme/.",
        "./x",
        "a/b/c",
        "acme%2Fwebsite",
        "acme/website?x",
        "acme/website#",
        "https://evil.example.test/a/b",
    ),
    *(
        "http://github.com/a/b",
        "https://github.com/a/b/issues",
        "acme/web site",
        "",
        "/",
        "acme/",
        "-a/b",
        "acme/website\n\nx",
    ),
]


@pytest.mark.parametrize("repo", NO_REPO)
async def test_invalid_repository_is_refused_before_any_request(repo: str, play: Play) -> None:
    with pytest.raises(InvalidInput, match="repo"):
        await play.act("get_repo", repo=repo)
    assert play.asked == []


@pytest.mark.parametrize(
    "repo", ["acme/website", "acme/website.git", "https://github.com/acme/website", "website", "Website"]
)
async def test_repository_may_be_given_in_several_forms(repo: str, play: Play) -> None:
    assert (await play.act("get_repo", repo=repo))["repo"] == SITE


async def test_unknown_or_ambiguous_bare_name_is_refused_with_suggestions(play: Play) -> None:
    with pytest.raises(InvalidInput) as refused:
        await play.act("create_issue", repo="web", title="T")
    assert refused.value.hint == "There are: acme/website." and play.writes() == []
    await play.act("create_repo", name="website", source=SITE)
    with pytest.raises(InvalidInput) as refused:
        await play.act("create_issue", repo="website", title="T")
    assert "acme/website" in refused.value.hint and "alice/website" in refused.value.hint


WIDER: Final = [
    "repo:bob/diary",
    "x repo:bob/diary",
    "-repo:acme/website",
    "(a OR b)",
    "user:bob",
    "org:acme",
    "a OR b",
    "REPO:x/y",
    "owner:bob",
    "repo :x",
]


@pytest.mark.parametrize("tool", ["list_issues", "list_pulls", "search_code", "list_discussions"])
async def test_query_cannot_leave_its_repository(tool: str, play: Play) -> None:
    for query in WIDER:
        with pytest.raises(InvalidInput, match="query"):
            await play.act(tool, repo=SITE, query=query)
    assert play.asked == []


async def test_rows_of_other_repositories_are_dropped(play: Play) -> None:
    row = {
        "number": 1,
        "title": "Elsewhere",
        "state": "open",
        "repository_url": "https://api.github.com/repos/bob/diary",
    }
    answer = {"total_count": 1, "incomplete_results": False, "items": [row]}
    play.sandbox.switches.faults["GET", "/search/issues"] = [(200, {}, answer)] * 2
    assert (await play.act("list_issues", repo=SITE, query="x"))["items"] == []
    assert (await play.act("list_issues", org="acme", query="x"))["items"] == []


@pytest.mark.parametrize("label", ['a" repo:bob/diary "', "a\nb", 'x"'])
async def test_quote_or_line_end_in_a_qualifier_is_refused(label: str, play: Play) -> None:
    with pytest.raises(InvalidInput):
        await play.act("list_issues", org="acme", labels=[label])
    assert play.asked == []


async def test_next_page_link_decides_neither_host_nor_path(play: Play) -> None:
    link = '<https://evil.example.test/steal?page=2&token=x>; rel="next"'
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/labels"] = [(200, {"link": link}, [{"name": "a"}])]
    first = await play.act("list_labels", repo=SITE, limit=1)
    await play.act("list_labels", repo=SITE, limit=1, cursor=first["next"])
    assert {request.url.host for request in play.recorder.seen} == {"api.github.com"}
    assert [dict(request.url.params) for request in play.recorder.seen] == [
        {"per_page": "1"},
        {"per_page": "1", "page": "2"},
    ]


MOVED: Final = [
    "https://evil.example.test/repositories/1006",
    "https://evil.example.test/repos/bob/diary",
    "https://api.github.com/repositories/1006",
    "//evil.example.test/repositories/1006",
]


@pytest.mark.parametrize("location", MOVED)
async def test_redirect_decides_a_path_and_never_a_host(location: str, play: Play) -> None:
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/labels"] = [(301, {"location": location}, {})]
    try:
        await play.act("list_labels", repo=SITE)
    except DeputizeError as refused:
        assert refused.code == "not_found"  # bob/diary is hidden from Alice
    assert {request.url.host for request in play.recorder.seen} == {"api.github.com"}


@pytest.mark.parametrize(
    "path", ["/user", "/repositories/../user", "/repositories/%2e%2e/user", "/repos//x", "/gists/a", ""]
)
async def test_redirect_out_of_repositories_is_not_followed(path: str, play: Play) -> None:
    location = f"https://api.github.com{path}"
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/labels"] = [(301, {"location": location}, {})]
    with pytest.raises(DeputizeError):
        await play.act("list_labels", repo=SITE)
    assert [one for one in play.asked if "/user" in one or "gists" in one] == []


async def test_renamed_repository_is_read_and_written_under_its_new_name(play: Play) -> None:
    issue = await play.act("get_issue", repo="acme/homepage", number=1)
    assert issue["moved_to"] == SITE
    made = await play.act("create_issue", repo="acme/homepage", title="T")
    assert made["url"].startswith(f"https://github.com/{SITE}/issues/")


async def test_cursor_of_another_list_or_tool_is_refused(play: Play) -> None:
    cursor = (await play.act("list_issues", repo="alice/garden", state="all", limit=1))["next"]
    assert cursor and len(cursor) <= 60
    for arguments in ({"repo": SITE, "state": "all"}, {"repo": "alice/garden"}):
        with pytest.raises(InvalidInput, match="cursor"):
            await play.act("list_issues", **arguments, cursor=cursor)
    with pytest.raises(InvalidInput, match="cursor"):
        await play.act("list_pulls", repo="alice/garden", cursor=cursor)
    with pytest.raises(InvalidInput, match="cursor"):
        await play.act("list_issues", by="bob", repo="alice/garden", state="all", cursor=cursor)
