"""Attacks on GitHub's tools: forged marks, moved heads, others' objects, and effects that look smaller than they
are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from deputize.core import Account, ActKey, Conflict, Effect, InvalidInput, OutcomeUnknown
from deputize.core.provenance.extract import Believed, find_untrusted_values
from deputize.sandbox.faults import bad_gateway
from deputize.toolkits.github import TOOLKIT
from deputize.toolkits.github.prose import Prose, code, is_marked, mark, plain_log
from deputize.toolkits.github.search import add_qualifiers, check_query
from tests.toolkits.github_play import SITE, Play
from tests.toolkits.test_github_tools import put

R: Final = f"/repos/{SITE}"
HEAD: Final = "$head:feature/polite"
SENDS: Final = Effect.WRITES | Effect.SENDS
TOKEN: Final = "gh" + "p_" + "a1B2" * 9


class Between(httpx.AsyncBaseTransport):
    """A proxy before GitHub: ``seen`` is called with every response, and may drop or replace it."""

    def __init__(self, inner: Any, seen: Callable[[httpx.Request, httpx.Response], httpx.Response]) -> None:
        self.inner, self.seen = inner, seen

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.seen(request, await self.inner.handle_async_request(request))


# ----------------------------------------------------------------- milder than it looks


def effect(tool: str, **arguments: Any) -> Effect:
    made = TOOLKIT.tools[f"github_{tool}"]
    found = made.effect_of(made.validate(arguments))
    assert found.value & ~made.gravest.value == 0
    return found


COMMIT: Final[dict[str, Any]] = {"repo": SITE, "branch": "b"}
FILE: Final[dict[str, Any]] = {"repo": SITE, "content": "x"}
GRAVE: Final[list[tuple[str, dict[str, Any], Effect]]] = [
    ("control_run", {"repo": SITE, "run_id": 1, "action": "rerun"}, SENDS),
    ("control_run", {"repo": SITE, "run_id": 1, "action": "rerun_failed"}, SENDS),
    ("control_run", {"repo": SITE, "run_id": 1, "action": "cancel"}, Effect.WRITES | Effect.DESTRUCTIVE),
    ("save_gist", {"gist_id": "a" * 20, "files": {"a": "b"}}, SENDS),
    ("save_gist", {"gist_id": "a" * 20, "files": {"a": ""}}, SENDS | Effect.DESTRUCTIVE),
    ("create_repo", {"name": "x", "private": False}, SENDS),
    ("create_repo", {"name": "x", "source": SITE}, SENDS),
    ("create_repo", {"name": "x", "source": SITE, "source_kind": "template"}, Effect.WRITES),
    ("write_file", FILE | {"path": ".github/workflows/x.yml", "message": "M"}, SENDS),
    ("write_file", FILE | {"path": ".GitHub/Workflows/x.yml", "message": "M"}, SENDS),
    ("write_file", FILE | {"path": "a", "message": "M"}, SENDS),
    ("commit_files", COMMIT | {"message": "M", "files": [{"path": ".github/x", "content": "x"}]}, SENDS),
    ("commit_files", COMMIT | {"message": "M", "delete_paths": [".github/x"]}, SENDS | Effect.DESTRUCTIVE),
    ("commit_files", COMMIT | {"message": "M", "files": [{"path": "x", "content": "x"}]}, SENDS),
    ("create_branch", {"repo": SITE, "branch": "b"}, SENDS),
    ("save_release", {"repo": SITE, "tag": "v1", "body": "Notes"}, SENDS),
    ("save_gist", {"files": {"a": "b"}}, SENDS),
    ("create_repo", {"name": "x", "org": "acme"}, SENDS),
    ("resolve_thread", {"thread_id": "PRRT_abc123"}, SENDS),
]


@pytest.mark.parametrize(("tool", "arguments", "worst"), GRAVE, ids=[f"{n}-{one[0]}" for n, one in enumerate(GRAVE)])
def test_visible_or_destructive_act_is_never_a_plain_write(tool: str, arguments: dict[str, Any], worst: Effect) -> None:
    assert effect(tool, **arguments) == worst


def test_every_tool_whose_text_can_mention_people_sends() -> None:
    for tool in TOOLKIT.tools.values():
        if {"body", "message"} & tool.parameters.keys() and tool.name != "github_commit_files":
            assert not callable(tool.effects) and Effect.SENDS in tool.effects


async def test_published_release_is_not_withdrawn_by_a_rename(play: Play) -> None:
    with pytest.raises(Conflict) as published:
        await play.act("save_release", repo=SITE, tag="v1.0", name="New name")
    assert published.value.reason == "published" and play.writes() == []
    assert not play.store["releases"][SITE][0]["draft"]


async def test_changed_release_keeps_unnamed_fields(play: Play) -> None:
    play.store["releases"][SITE][0]["prerelease"] = True
    await play.act("save_release", repo=SITE, tag="v1.0", name="New name", draft=False)
    [sent] = [json.loads(one.content) for one in play.recorder.seen if one.method == "PATCH"]
    assert play.store["releases"][SITE][0]["prerelease"] is True
    assert not {"prerelease", "make_latest", "body", "target_commitish"} & sent.keys()


# ----------------------------------------------------------------- guards


@pytest.mark.parametrize("event", ["APPROVE", "COMMENT"])
async def test_review_is_not_given_to_later_commits(play: Play, event: str) -> None:
    old = play.filled(HEAD)
    put(play, "late.py", "evil()\n", "feature/polite")
    with pytest.raises(Conflict) as stale:
        await play.act("review_pull", repo=SITE, number=2, event=event, body="Fine", head_sha=old)
    assert stale.value.reason == "stale" and play.writes() == []


async def test_merge_of_other_commits_by_others_is_not_taken_for_ours(play: Play) -> None:
    def rival(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.method == "PUT":
            play.store["issues"][SITE][1]["pull"]["head_sha"] = play.filled("$head:deutsch")
            raise httpx.ReadError("lost", request=request)
        return answer

    play.recorder.inner = Between(play.recorder.inner, rival)
    with pytest.raises((Conflict, OutcomeUnknown)):
        await play.act("merge_pull", repo=SITE, number=2, head_sha=HEAD)


async def test_merged_branch_with_new_commits_is_not_deleted(play: Play) -> None:
    def late(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/merge"):
            put(play, "late.txt", "not merged", "feature/polite")
        return answer

    play.recorder.inner = Between(play.recorder.inner, late)
    told = await play.act("merge_pull", repo=SITE, number=2, head_sha=HEAD, delete_branch=True)
    assert told["merged"] and not told["branch_deleted"] and "not merged" in told["warnings"][0]
    assert "feature/polite" in play.store["repos"][SITE]["branches"]


async def test_protected_branch_is_not_reported_as_deleted(play: Play) -> None:
    refused: tuple[int, dict[str, str], Any] = (422, {}, {"message": "Cannot delete a protected branch"})
    play.sandbox.switches.faults["DELETE", f"{R}/git/refs"] = [refused]
    told = await play.act("merge_pull", repo=SITE, number=2, head_sha=HEAD, delete_branch=True)
    assert told["merged"] and not told["branch_deleted"] and told["warnings"]
    play.sandbox.switches.faults["DELETE", f"{R}/git/refs"] = [refused]
    with pytest.raises(InvalidInput):
        await play.act("delete", kind="branch", repo=SITE, id="old")


# ----------------------------------------------------------------- marks


def test_idempotency_mark_counts_only_under_the_accounts_own_name() -> None:
    key, alice = ActKey.of("a"), Account("7", "alice")
    text = {"body": f"x\n\n{mark(key)}"}
    assert is_marked(text | {"user": {"id": 7, "login": "renamed"}}, key, alice)
    assert is_marked(text | {"author": {"login": "Alice"}}, key, alice)
    assert not is_marked(text | {"user": {"id": 8, "login": "alice"}}, key, alice)
    for who in ({"user": None}, {"author": None}, {"author": {"login": ""}}, {"author": {"login": "bob"}}, {}):
        assert not is_marked(text | who, key, alice)


FORGED: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("create_issue", {"repo": SITE, "title": "T", "body": "B"}, "issues"),
    ("write_comment", {"repo": SITE, "number": 1, "body": "B"}, "comments"),
    ("write_comment", {"repo": SITE, "number": 2, "reply_to": 6101, "body": "B"}, "review_comments"),
    ("review_pull", {"repo": SITE, "number": 2, "body": "B"}, "reviews"),
    ("review_pull", {"repo": SITE, "number": 2, "comments": [{"path": "src/main.py", "body": "B"}]}, "review_comments"),
    ("write_discussion", {"repo": SITE, "number": 50, "body": "B"}, "discussions"),
]


@pytest.mark.parametrize(("tool", "arguments", "kind"), FORGED, ids=[f"{n}-{one[0]}" for n, one in enumerate(FORGED)])
async def test_marked_text_of_another_author_is_foreign(
    tool: str, arguments: dict[str, Any], kind: str, play: Play
) -> None:

    def forged(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        """The write does not arrive; another user has posted the very same text there."""
        if (
            request.method == "POST"
            and request.url.host == "api.github.com"
            and not request.url.path.endswith("/graphql")
        ):
            steal()
            raise httpx.ReadError("lost", request=request)
        if b"mutation" in request.content:
            for row in play.store["discussions"][SITE][0]["comments"]:
                row["user"] = "bob"
            raise httpx.ReadError("lost", request=request)
        return answer

    def steal() -> None:
        play.store[kind][SITE][-1]["user"] = "bob@example.test" if kind == "issues" else "bob"

    play.recorder.inner = Between(play.recorder.inner, forged)
    with pytest.raises(OutcomeUnknown):
        await play.act(tool, **arguments)


# ----------------------------------------------------------------- once


async def test_file_comments_are_not_repeated_by_a_resumed_run(play: Play) -> None:
    before, lost = len(play.store["review_comments"][SITE]), [0]

    def lose(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/pulls/2/comments"):
            lost[0] += request.method == "POST"
            if lost[0] == 2:
                if request.method == "POST":
                    raise httpx.ReadError("lost", request=request)
                return httpx.Response(404, json={"message": "Not Found"}, request=request)
        return answer

    inner = play.recorder.inner
    play.recorder.inner = Between(inner, lose)
    comments = [{"path": "src/main.py", "body": "one"}, {"path": "src/main.py", "body": "two"}]
    arguments: dict[str, Any] = {"repo": SITE, "number": 2, "body": "B", "comments": comments}
    with pytest.raises(OutcomeUnknown):
        await play.act("review_pull", call="same", **arguments)
    play.recorder.inner = inner
    told = await play.act("review_pull", call="same", **arguments)
    assert told["comments_posted"] == 2 and len(play.store["review_comments"][SITE]) == before + 2
    play.store["review_comments"][SITE].pop()


DELETED: Final[list[tuple[str, str, str]]] = [
    ("branch", "old", f"{R}/git/refs"),
    ("tag", "v1.0", f"{R}/git/refs"),
    ("comment", "6002", f"{R}/issues/comments"),
    ("review_comment", "6101", f"{R}/pulls/comments"),
    ("label", "bug", f"{R}/labels"),
    ("milestone", "1", f"{R}/milestones"),
    ("release", "5001", f"{R}/releases"),
    ("gist", "a" * 20, "/gists"),
]


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize(("kind", "id", "path"), DELETED, ids=[one[0] for one in DELETED])
async def test_delete_with_a_lost_answer_is_reported_as_gone(
    kind: str, id: str, path: str, lost: int, play: Play
) -> None:
    if lost == 1:
        play.sandbox.switches.drop_after_commit.append(path)
    else:
        play.sandbox.switches.faults["DELETE", path] = [bad_gateway()]
    where = {} if kind == "gist" else {"repo": SITE}
    told = await play.act("delete", kind=kind, id=id, **where)
    assert told["deleted"] is True


async def test_existing_repository_is_not_reported_as_created(play: Play) -> None:
    play.sandbox.switches.faults["POST", "/user/repos"] = [bad_gateway()]
    with pytest.raises(OutcomeUnknown):
        await play.act("create_repo", name="garden")


# ----------------------------------------------------------------- things of others


async def test_answer_in_another_repository_is_not_marked(play: Play) -> None:
    row = {**play.store["discussions"][SITE][0], "id": "D_elsewhere", "comments": []}
    row["comments"] = [{"id": "DC_elsewhere", "user": "alice", "body": "x", "at": row["at"], "replies": []}]
    play.store["discussions"]["alice/garden"] = [row]
    for arguments in ({"answer_id": "DC_elsewhere"}, {"answer_id": "DC_comment01", "number": 51}):
        with pytest.raises(InvalidInput, match="answer_id"):
            await play.act("write_discussion", repo=SITE, **arguments)
    assert row["answer"] is None and not any(b"mutation" in one.content for one in play.recorder.seen)


@pytest.mark.parametrize(("id", "kind"), [(6001, "conversation"), (6101, "review")])
async def test_text_of_another_author_is_not_edited(play: Play, id: int, kind: str) -> None:
    before = json.dumps(play.store["comments"]) + json.dumps(play.store["review_comments"])
    by = "alice" if id == 6001 else "bob"
    with pytest.raises(InvalidInput, match="somebody else"):
        await play.act("write_comment", by=by, repo=SITE, comment_id=id, comment_kind=kind, body="I agree")
    assert json.dumps(play.store["comments"]) + json.dumps(play.store["review_comments"]) == before


# ----------------------------------------------------------------- searches


@pytest.mark.parametrize(
    "query", ['"x"repo:bob/diary', "x,repo:bob/diary", "\u200brepo:bob/diary", "+user:bob", '"a\\"']
)
def test_sign_before_a_search_qualifier_does_not_hide_it(query: str) -> None:
    with pytest.raises(InvalidInput):
        check_query(query, fixed=True)


@pytest.mark.parametrize("value", ["a\\", 'a"', 'a\\" repo:bob/diary'])
def test_backslash_cannot_end_a_quoted_search_value(value: str) -> None:
    with pytest.raises(InvalidInput):
        add_qualifiers("x", {"label": [value, " repo:bob/diary "]})


# ----------------------------------------------------------------- text


UNSEEN: Final = "\u00ad\u061c\u180e\u200e\u200f\u2061\u2064\u2065\u206a\u206f\u3164\uffa0\u115f"


def test_invisible_characters_are_removed_from_prose_titles_and_logs() -> None:
    outside = Prose()
    assert outside.prose(f"a{UNSEEN}b") == outside.title(f"a{UNSEEN}b") == "ab"
    assert outside.hidden == 2 * len(UNSEEN) and plain_log(f"a{UNSEEN}b") == "ab"
    assert code(f"a{UNSEEN}b")[1] == len(UNSEEN)


async def test_names_chosen_by_others_are_clean_in_results_and_suggestions(play: Play) -> None:
    play.store["repos"][SITE]["labels"].append(
        {"id": 399, "name": "bu\u202eg\u200b2", "color": "ededed", "description": ""}
    )
    play.store["issues"][SITE][0]["labels"] = ["bu\u202eg\u200b2"]
    told = await play.act("update_issue", repo=SITE, number=1, title="T")
    assert told["labels"] == ["bug2"]
    with pytest.raises(InvalidInput) as refused:
        await play.act("update_issue", repo=SITE, number=1, add_labels=["bug2"])
    assert "bug2" in refused.value.hint and not {"\u202e", "\u200b"} & set(refused.value.hint)


async def test_repository_with_a_very_long_name_is_found(play: Play) -> None:
    row = play.store["repos"]["alice/garden"]
    name = f"alice/{'very-long-' * 9}name"
    play.store["repos"][name] = {**row, "id": 7777, "full_name": name}
    found = await play.act("search_repos", query=name)
    assert found["items"][0]["repo"] == name


@pytest.mark.parametrize("tool", ["write_file", "commit_files"])
async def test_text_that_looks_like_a_secret_is_not_committed(play: Play, tool: str) -> None:
    files: dict[str, Any] = {"files": [{"path": "a", "content": TOKEN}], "branch": "main"}
    given = files if tool == "commit_files" else {"path": "a", "content": TOKEN}
    with pytest.raises(InvalidInput, match="secret") as refused:
        await play.act(tool, repo=SITE, message="M", **given)
    assert TOKEN not in str(refused.value) and play.asked == []


# ----------------------------------------------------------------- logs


WHERE: Final = [
    *("http://evil.example.test/x", "https://127.0.0.1/x", "https://169.254.169.254/latest", "https://[::1]/x"),
    *(
        "//evil.example.test/x",
        "file:///etc/passwd",
        "https://evil.example.test:8443/x",
        "https://a@evil.example.test/",
    ),
    *("https://evil.example.test/x", "https://api.github.com/user", ""),
]


@pytest.mark.parametrize("location", WHERE)
async def test_token_does_not_follow_a_log_redirect(play: Play, location: str) -> None:
    play.sandbox.switches.faults["GET", f"{R}/actions/jobs"] = [(302, {"location": location}, {})]
    await play.act("get_run", repo=SITE, run_id=9001, include=["logs"])
    first, *others = [one for one in play.recorder.seen if "/actions/runs/" not in one.url.path]
    assert first.url.path.endswith("/logs") and len({str(one.url) for one in others}) <= 1
    assert all(one.url.scheme == "https" and one.url.port is None for one in others)
    assert not any({"authorization", "cookie"} & set(one.headers) for one in others)


async def test_log_of_a_renamed_repository_is_read(play: Play) -> None:
    [log] = (await play.act("get_run", repo="acme/homepage", run_id=9001, include=["logs"]))["logs"]
    assert "##[error]" in log["text"]


async def test_bare_name_is_refused_with_more_repositories_than_are_read(play: Play) -> None:
    row = play.store["repos"]["alice/garden"]
    for n in range(520):
        play.store["repos"][f"alice/r{n}"] = {**row, "id": 7000 + n, "full_name": f"alice/r{n}"}
    with pytest.raises(InvalidInput, match="repo"):
        await play.act("set_star", repo="website")
    assert play.writes() == []


OUTGOING: Final[list[tuple[str, dict[str, Any]]]] = [
    ("run_workflow", {"repo": SITE, "workflow": "ci.yml", "inputs": {"key": TOKEN}}),
    ("create_repo", {"name": "x", "description": TOKEN}),
    ("save_gist", {"files": {"a": "b"}, "description": TOKEN}),
    ("update_project_item", {"owner": "acme", "project": "1", "item": "501", "set": {"Status": TOKEN}}),
]


@pytest.mark.parametrize(("tool", "arguments"), OUTGOING, ids=[one[0] for one in OUTGOING])
async def test_secret_in_any_field_is_not_sent(play: Play, tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="secret"):
        await play.act(tool, **arguments)
    assert play.asked == []


async def test_symlink_target_is_shown_with_invisible_characters_escaped(play: Play) -> None:
    answer = {"type": "symlink", "path": "a", "sha": "0" * 40, "target": "x\u202e\x1b[31m"}
    play.sandbox.switches.faults["GET", f"{R}/contents/a"] = [(200, {}, answer)]
    assert (await play.act("get_file", repo=SITE, path="a"))["target"] == "x\\u{202E}\\u{001B}[31m"


PEM: Final = "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEow/+==\nabc\n"


@pytest.mark.parametrize("secret", [TOKEN, PEM], ids=["token", "key"])
async def test_secret_in_foreign_code_logs_or_issues_is_masked(play: Play, secret: str) -> None:
    play.store["runs"][SITE][0]["jobs"][0]["log"] = f"set {secret}"
    play.store["issues"][SITE][0] |= {"title": f"T {secret}", "body": f"B {secret}"}
    put(play, "s.txt", f"key={secret}\n", "feature/polite")
    reads: list[tuple[str, dict[str, Any]]] = [
        ("get_run", {"run_id": 9001, "include": ["logs"]}),
        ("get_issue", {"number": 1}),
        ("list_issues", {"state": "all"}),
        ("get_file", {"path": "s.txt", "ref": "feature/polite"}),
        ("get_pull", {"number": 2, "include": ["diff"]}),
    ]
    for tool, arguments in reads:
        shown = json.dumps(await play.act(tool, repo=SITE, **arguments))
        assert secret.split("\n")[1 if "\n" in secret else 0] not in shown and "[redacted]" in shown


def started(play: Play) -> None:
    """Alice has just started a run by hand."""
    run = {**play.store["runs"][SITE][0], "id": 9900, "event": "workflow_dispatch", "actor": "alice"}
    stamp = datetime.fromtimestamp(play.sandbox.clock() - 20, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    play.store["runs"][SITE].append(run | {"at": stamp, "created_at": stamp})


async def test_earlier_workflow_run_is_not_taken_for_the_requested_one(play: Play) -> None:
    started(play)
    play.sandbox.switches.faults["POST", f"{R}/actions"] = [bad_gateway()]
    with pytest.raises(OutcomeUnknown):
        await play.act("run_workflow", repo=SITE, workflow="ci.yml")
    play.store["old_host"] = True
    told = await play.act("run_workflow", repo=SITE, workflow="ci.yml")
    assert told["run_id"] == play.store["runs"][SITE][-1]["id"] != 9900


# ----------------------------------------------------------------- a name in git


@pytest.mark.parametrize("tool", ["list_commits", "get_commit"])
async def test_git_author_name_does_not_make_an_author(play: Play, tool: str) -> None:
    """Anyone can write any name into ``git config user.name``."""
    for row in play.store["commits"][SITE].values():
        row["author"] = "carol@acme.test"
    result = await play.act(tool, repo=SITE, **({"ref": "main"} if tool == "get_commit" else {}))
    said = find_untrusted_values(result, {}, Believed(TOOLKIT.facts, TOOLKIT.writers, lambda text: False))
    assert "carol@acme.test (a name in git)" in json.dumps(result) and not said["carol@acme.test"].wrote
