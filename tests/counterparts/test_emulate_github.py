"""GitHub's tools end to end as Alice, against emulate's GitHub, and the same against the sandbox. emulate's first user
is a decoy, whose data any unknown token gets: each step checks whose data it got. The responses of both are compared
step by step; each difference is listed in `KNOWN` with its reason, and a listed difference that has gone away fails,
too."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from deputize.core import App, Call, DeputizeError, Deputy, Secret, allow_all
from deputize.core.consent.consents import AnyLocalUser
from deputize.sandbox import Sandbox
from deputize.sandbox.github.git import blob_sha, packed
from deputize.toolkits.github import TOOLKIT
from tests.support.counterparts import require_emulate
from tests.support.emulate import BOBS_SECRET, Emulate, oauth_client
from tests.support.sandbox_deputy import Recorder, build, set_sleep
from tests.support.strict_emulate import StrictTransport, answered, consent_click, lost_after_acting
from tests.toolkits.github_calls import CASES
from tests.toolkits.github_play import ALL, Play

pytestmark = pytest.mark.counterpart
LAB: Final = "alice/lab"
IN: Final = {"repo": LAB}


class Step(NamedTuple):
    """A call of a tool; ``{name}`` in its arguments is replaced by what an earlier step stored under that name."""

    tool: str
    arguments: dict[str, Any]
    keep: tuple[str, str] = ("", "")


SCRIPT: Final = [
    Step("whoami", {}),
    Step("create_repo", {"name": "lab", "private": False, "description": "A place to try things"}),
    Step("create_repo", {"name": "lab", "private": False}),
    Step("create_repo", {"name": "lab2", "org": "acme"}),
    Step("search_repos", {"query": "lab"}),
    Step("search_repos", {"scope": "all", "query": "lab"}),
    Step("get_repo", {**IN, "include": ["readme", "languages"]}),
    Step("list_people", {**IN, "role": "contributors"}),
    Step("list_people", {"org": "acme", "role": "members"}),
    Step("list_people", {"query": "alice"}),
    Step("list_labels", {**IN, "kind": "milestones"}),
    Step("get_file", IN),
    Step("get_file", {**IN, "path": "README.md"}, ("readme", "sha")),
    Step("get_file", {**IN, "path": "nowhere.txt"}),
    Step("get_file", {**IN, "recursive": True}),
    Step("search_code", {"query": "lab", "repo": LAB}),
    Step("write_file", {**IN, "path": "docs/a.txt", "message": "A", "content": "one\ntwo\n"}),
    Step("write_file", {**IN, "path": "docs/a.txt", "message": "A", "content": "x"}),
    Step(
        "write_file", {**IN, "path": "docs/a.txt", "message": "B", "content": "three", "mode": "append"}, ("a", "sha")
    ),
    Step(
        "write_file",
        {**IN, "path": "docs/a.txt", "message": "C", "content": "x", "mode": "overwrite", "expected_sha": "{readme}"},
    ),
    Step(
        "write_file",
        {**IN, "path": "docs/a.txt", "message": "C", "content": "2", "mode": "replace_lines", "start_line": 2},
    ),
    Step("get_file", {**IN, "path": "docs/a.txt", "start_line": 2, "end_line": 2}),
    Step("list_refs", IN),
    Step("list_refs", {**IN, "kind": "tags"}),
    Step("create_branch", {**IN, "branch": "feature/x"}),
    Step("create_branch", {**IN, "branch": "feature/x"}),
    Step("create_branch", {**IN, "branch": "feature/y", "from_ref": "nowhere"}),
    Step(
        "write_file", {**IN, "path": "docs/b.txt", "message": "On the branch", "content": "b\n", "branch": "feature/x"}
    ),
    Step("list_commits", {**IN, "ref": "feature/x"}),
    Step("list_commits", IN),
    Step("get_commit", {**IN, "ref": "feature/x"}),
    Step("compare", {**IN, "base": "main", "head": "feature/x"}),
    Step("list_issues", IN),
    Step("create_issue", {**IN, "title": "First", "body": "Hello"}),
    Step("create_issue", {**IN, "title": "Second"}),
    Step("create_issue", {**IN, "title": "Third", "labels": ["nothing"]}),
    Step("list_issues", {**IN, "state": "all"}),
    Step("list_issues", {**IN, "query": "First"}),
    Step("get_issue", {**IN, "number": 1, "include": ["comments", "timeline"]}),
    Step("get_issue", {**IN, "number": 99}),
    Step("get_issue", {"repo": "alice/nowhere", "number": 1}),
    Step(
        "update_issue",
        {**IN, "number": 1, "state": "closed", "reason": "completed", "title": "Changed", "locked": True},
    ),
    Step("write_comment", {**IN, "number": 2, "body": "A comment"}, ("comment", "id")),
    Step("write_comment", {**IN, "comment_id": "{comment}", "body": "Another word"}),
    Step("list_comments", {**IN, "number": 2}),
    Step("get_my_work", {"kind": "assigned"}),
    Step("create_pull", {**IN, "head": "feature/x", "title": "Pull", "body": "Please"}),
    Step("create_pull", {**IN, "head": "feature/x", "title": "Pull"}),
    Step("create_pull", {**IN, "head": "nowhere", "title": "Pull"}),
    Step("list_pulls", IN),
    Step("list_pulls", {**IN, "query": "Pull"}),
    Step("get_pull", {**IN, "number": 3, "include": ["reviews"]}, ("head", "head_sha")),
    Step("update_pull", {**IN, "number": 3, "title": "Pull again"}),
    Step("list_commits", {**IN, "pull": 3}),
    Step("review_pull", {**IN, "number": 3, "body": "Looks fine"}),
    Step("get_checks", {**IN, "ref": "main"}),
    Step("list_runs", IN),
    Step("get_run", {**IN, "run_id": 1}),
    Step("run_workflow", {**IN, "workflow": "ci.yml"}),
    Step("control_run", {**IN, "run_id": 1, "action": "cancel"}),
    Step("merge_pull", {**IN, "number": 3, "head_sha": "0" * 40}),
    Step("merge_pull", {**IN, "number": 3, "head_sha": "{head}"}),
    Step("get_pull", {**IN, "number": 3}),
    Step("save_release", {**IN, "tag": "v1", "name": "One", "body": "b", "draft": False}, ("release", "id")),
    Step("save_release", {**IN, "tag": "v1", "name": "Two", "draft": False}),
    Step("list_releases", IN),
    Step("list_releases", {**IN, "tag": "v1"}),
    Step("list_releases", {**IN, "tag": "latest"}),
    Step("delete", {**IN, "kind": "release", "id": "{release}"}),
    Step("delete", {**IN, "kind": "comment", "id": "{comment}"}),
    Step("delete", {**IN, "kind": "branch", "id": "feature/x"}),
    Step("delete", {**IN, "kind": "branch", "id": "main"}),
]
ONLY_REFUSED: Final = {"run_workflow", "control_run", "get_run"}  # emulate knows no workflow to begin with

KNOWN: Final = {
    "0 whoami": "emulate has no /user/teams",
    "22 list_refs": "emulate has no GraphQL, so the plain list of branches is taken",
    "26 create_branch": "emulate answers 404 for a commit that is not there, GitHub 422",
    "48 create_pull": "emulate opens a pull request for a branch that is not there, GitHub answers 422",
    "51 get_pull": "emulate has neither GraphQL nor statuses of commits",
    "54 review_pull": "emulate answers 201, GitHub 200",
    "55 get_checks": "emulate has no statuses of commits",
    "61 merge_pull": "emulate has no statuses of commits",
}


class Outcome(NamedTuple):
    """What is compared of a step: how it ended, the names in its result, and its requests with their status."""

    ended: str
    names: tuple[str, ...]
    requests: tuple[str, ...]


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("github") as running:
        yield running


@pytest.fixture
def strict(emulate: Emulate) -> StrictTransport:
    emulate.reset()
    return StrictTransport(emulate.urls)


class Watched(httpx.AsyncBaseTransport):
    """A transport that records each request with the status of its response."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.seen: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        path = request.url.raw_path.decode().partition("?")[0]
        path = re.sub(r"\b[0-9a-f]{40}\b", "SHA", path)
        path = re.sub(r"/(comments|releases)/\d+", r"/\1/N", path)
        self.seen.append(f"{request.method} {path} {answer.status_code}")
        return answer


async def connected(transport: httpx.AsyncBaseTransport, strict: StrictTransport, *users: str) -> Deputy:
    """Return a deputy of these users at emulate, connected through its consent page."""
    client = oauth_client("github")
    app = App("github", client.id, Secret(client.secret))
    deputy = await build(transport=transport, apps=[app], policy=allow_all, toolkits=[TOOLKIT])
    for user in users:
        for consent in await deputy.connect(user, "github", scopes=ALL):
            started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
            back = await consent_click(strict, started.url, f"{user}@example.test")
            params = dict(parse_qsl(urlsplit(back).query))
            await deputy.consents.finish(consent.app, params, AnyLocalUser(), started.nonce.reveal())
            ended = await deputy.consents.status(consent.id)
            assert ended is not None and ended.status == "granted"
    return deputy


def filled(value: Any, kept: dict[str, Any]) -> Any:
    if isinstance(value, str) and (found := re.fullmatch(r"\{(\w+)\}", value)):
        return kept[found[1]]
    return value


async def performed(deputy: Deputy, watched: Watched) -> list[tuple[Step, Outcome, Any]]:
    """Run the whole script, one step after the other."""
    kept: dict[str, Any] = {}
    told = []
    for n, step in enumerate(SCRIPT):
        at = len(watched.seen)
        arguments = {name: filled(value, kept) for name, value in step.arguments.items()}
        if step.tool == "delete":
            arguments["id"] = str(arguments["id"])
        try:
            result = await deputy.act(f"github_{step.tool}", arguments, user="alice", call=Call("t", f"{n}", f"{n}"))
        except DeputizeError as refused:
            outcome = Outcome(refused.code, (), tuple(watched.seen[at:]))
            told.append((step, outcome, str(refused)))
            continue
        if step.keep[0]:
            kept[step.keep[0]] = result[step.keep[1]]
        told.append((step, Outcome("done", tuple(sorted(result)), tuple(watched.seen[at:])), result))
    return told


async def at_emulate(strict: StrictTransport) -> list[tuple[Step, Outcome, Any]]:
    watched = Watched(strict)
    deputy = await connected(watched, strict, "alice")
    watched.seen.clear()
    async with deputy:
        return await performed(deputy, watched)


async def at_the_sandbox() -> list[tuple[Step, Outcome, Any]]:
    play = await Play.begin(sandbox=Sandbox())
    watched = Watched(play.recorder)
    deputy = await build(
        play.sandbox,
        transport=watched,
        apps=[next(iter(play.deputy.apps.values()))],
        vault=play.deputy.vault,
        policy=allow_all,
        toolkits=[TOOLKIT],
    )
    async with deputy:
        return await performed(deputy, watched)


async def test_github_tools_work_at_emulate_as_alice_and_never_the_decoy(strict: StrictTransport) -> None:
    told = {n: (step, outcome, result) for n, (step, outcome, result) in enumerate(await at_emulate(strict))}
    ended = [outcome.ended for _, outcome, _ in told.values()]
    refused = [n for n, one in enumerate(ended) if one != "done"]
    codes = [(SCRIPT[n].tool, ended[n]) for n in refused]
    assert codes == [
        ("create_repo", "conflict"),
        ("get_file", "not_found"),
        ("write_file", "conflict"),
        ("write_file", "conflict"),
        ("create_branch", "not_found"),
        ("create_issue", "invalid_input"),
        ("get_issue", "not_found"),
        ("get_issue", "not_found"),
        ("get_run", "not_found"),
        ("run_workflow", "not_found"),
        ("control_run", "not_found"),
        ("merge_pull", "conflict"),
        ("delete", "invalid_input"),
    ]
    everything = json.dumps([result for _, _, result in told.values()])
    assert told[0][2]["login"] == "alice" and "decoy" not in everything and BOBS_SECRET not in everything
    results = [(step.tool, result) for step, _, result in told.values()]
    assert (
        next(
            r
            for tool, r in results
            if tool == "get_file" and isinstance(r, dict) and "lines" in r and r["lines"] == "2-2 of 3"
        )["text"]
        == "2"
    )
    [first] = [r for tool, r in results if tool == "create_issue" and isinstance(r, dict) and r["title"] == "First"]
    assert first["number"] == 1
    pulls = [r for tool, r in results if tool == "create_pull" and isinstance(r, dict)]
    assert [one["existed"] for one in pulls][:2] == [False, True] and pulls[0]["number"] == pulls[1]["number"] == 3
    last = [r for tool, r in results if tool == "get_pull"][-1]
    assert last["state"] == "merged"


async def test_sandbox_github_answers_like_emulate(strict: StrictTransport) -> None:
    there, here = await at_emulate(strict), await at_the_sandbox()
    found = {}
    for n, ((step, theirs, _), (_, ours, _)) in enumerate(zip(there, here, strict=True)):
        if theirs != ours:
            found[f"{n} {step.tool}"] = (theirs, ours)
    for name, (theirs, ours) in found.items():
        print(name, *(f"\n   {side}" for side in (theirs, ours)))
    assert found.keys() == KNOWN.keys()


async def test_coverage_table_says_where_tools_were_tried(
    strict: StrictTransport, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {step.tool for step, outcome, _ in await at_emulate(strict) if outcome.ended == "done"}
    refused = {step.tool for step in SCRIPT} - there
    here = {case.tool for case in CASES}
    rows = {name.removeprefix("github_"): tool.toolset for name, tool in TOOLKIT.tools.items()}
    with capsys.disabled():
        print("\n| tool | toolset | emulate | sandbox |\n|---|---|---|---|")
        for name, toolset in rows.items():
            where = "yes" if name in there else "refusals" if name in refused else "no"
            print(f"| {name} | {toolset} | {where} | {'yes' if name in here else 'NO'} |")
        print(f"\n{len(there)} tools at emulate, {len(here)} at the sandbox, {len(rows)} in all")
    assert rows.keys() == here and refused == ONLY_REFUSED


# ----------------------------------------------------------------- whose, and once


@pytest.fixture
async def both(strict: StrictTransport) -> AsyncIterator[tuple[Deputy, Recorder]]:
    recorder = Recorder(strict)
    async with await connected(recorder, strict, "alice", "bob") as deputy:
        yield deputy, recorder


async def act(deputy: Deputy, user: str, tool: str, call: Call | None = None, **arguments: Any) -> Any:
    return await deputy.act(f"github_{tool}", arguments, user=user, call=call)


async def test_alice_and_bob_see_only_their_own_repositories(both: tuple[Deputy, Recorder]) -> None:
    deputy, _ = both
    seen = dict(
        zip(
            ("alice", "bob"),
            await asyncio.gather(*(act(deputy, u, "search_repos") for u in ("alice", "bob"))),
            strict=True,
        )
    )
    names = {user: {row["repo"] for row in found["items"]} for user, found in seen.items()}
    assert "bob/diary" in names["bob"] and "bob/diary" not in names["alice"] and "alice/private-notes" in names["alice"]
    with pytest.raises(DeputizeError):
        await act(deputy, "alice", "get_repo", repo="bob/diary")
    assert BOBS_SECRET not in json.dumps(seen["alice"]) and BOBS_SECRET in json.dumps(seen["bob"])
    made = await act(deputy, "bob", "create_issue", repo="alice/hello", title="From Bob")
    issue = await act(deputy, "alice", "get_issue", repo="alice/hello", number=made["number"])
    assert issue["author"] == "bob"


@pytest.mark.parametrize(
    ("tool", "path", "arguments"),
    [
        ("create_issue", "/repos/alice/hello/issues", {"title": "Once"}),
        ("write_comment", "/repos/alice/hello/issues/1/comments", {"number": 1, "body": "Once"}),
    ],
)
async def test_object_with_a_lost_answer_is_found_and_not_created_again(
    both: tuple[Deputy, Recorder], strict: StrictTransport, tool: str, path: str, arguments: dict[str, Any]
) -> None:
    deputy, _ = both
    await act(deputy, "alice", "create_issue", repo="alice/hello", title="Before")
    before = len([e for e in strict.ledger if e.method == "POST" and e.path == path])
    strict.inject("POST", path, lost_after_acting)
    call = Call("thread", "message", "1")
    results = [await act(deputy, "alice", tool, call, repo="alice/hello", **arguments) for _ in range(3)]
    assert results[0] == results[1] == results[2] and results[0]["url"]
    assert len([e for e in strict.ledger if e.method == "POST" and e.path == path]) == before + 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_edited_lines_keep_every_other_byte_of_a_file(both: tuple[Deputy, Recorder], end: str) -> None:
    deputy, _ = both
    await act(deputy, "alice", "create_repo", name="lab", private=False)
    file: dict[str, Any] = {**IN, "path": "run.cmd", "message": "M"}
    made = await act(deputy, "alice", "write_file", **file, content=f"\ufeffone{end}two{end}three")
    read = await act(deputy, "alice", "get_file", repo=LAB, path="run.cmd")
    assert read["text"] == "one\ntwo\nthree" and read["bom"] is True and read["sha"] == made["sha"]
    done = await act(deputy, "alice", "write_file", **file, content="zwei", mode="replace_lines", start_line=2)
    assert done["sha"] == blob_sha(packed(f"\ufeffone{end}zwei{end}three"))
    whole: dict[str, Any] = {"content": "eins\nzwei\nthree\n", "mode": "overwrite", "expected_sha": done["sha"]}
    done = await act(deputy, "alice", "write_file", **file, **whole)
    assert done["sha"] == blob_sha(packed(f"\ufeffeins{end}zwei{end}three"))


async def test_secondary_limit_is_waited_out(both: tuple[Deputy, Recorder], strict: StrictTransport) -> None:
    deputy, _ = both
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    set_sleep(deputy, sleep)
    limit = {"message": "You have exceeded a secondary rate limit."}
    strict.inject("GET", "/repos/alice/hello", answered(403, limit, {"retry-after": "7"}))
    assert (await act(deputy, "alice", "get_repo", repo="alice/hello"))["repo"] == "alice/hello"
    assert waited == [7.0]
