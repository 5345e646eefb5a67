"""Writing back what was read destroys nothing: GitHub, Linear and Salesforce, through the whole deputy."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Call, Conflict, Deputy, InvalidInput, NotFound
from deputize.sandbox import Sandbox
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.salesforce.seed import record_id
from tests.toolkits.github_play import SITE, Play

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
BODY = f"<!-- template:v3 -->\nSee ![shot](https://x.test/a.png) 👩\u200d💻 {PERSIAN}\n"
LONG = " ".join(f"word{n}" for n in range(1_200))
LEAD = record_id("Lead", 1)


async def act(deputy: Deputy, tool: str, call: Call | None = None, /, **arguments: Any) -> Any:
    return await deputy.act(tool, arguments, user="alice", call=call)


# ----------------------------------------------------------------- GitHub


def bodies(play: Play) -> dict[str, dict[str, Any]]:
    """By the tool that changes it: the object in the sandbox that has the text of number 1 or 2."""
    store = play.store
    return {
        "update_issue": store["issues"][SITE][0],
        "update_pull": store["issues"][SITE][1],
        "write_comment": next(one for one in store["comments"][SITE] if one["user"] == "alice"),
        "save_release": store["releases"][SITE][0],
    }


PLACES: dict[
    str, tuple[str, dict[str, Any], dict[str, Any]]
] = {  # by tool that changes: tool that reads, and arguments
    "update_issue": ("get_issue", {"number": 1}, {"number": 1}),
    "update_pull": ("get_pull", {"number": 2}, {"number": 2}),
    "write_comment": ("list_comments", {"comment_id": 6002}, {"comment_id": 6002}),
    "save_release": ("list_releases", {"tag": "v1.0"}, {"tag": "v1.0", "draft": False}),
}


@pytest.mark.parametrize("text", [BODY, LONG], ids=["hiding", "long"])
@pytest.mark.parametrize("tool", PLACES)
async def test_github_body_is_replaced_only_with_its_digest(play: Play, tool: str, text: str) -> None:
    reads, where, change = PLACES[tool]
    bodies(play)[tool]["body"] = text
    shown = await play.act(reads, repo=SITE, **where)
    if reads != "list_comments":
        assert "text_digest" not in shown or shown["body"] == text
    with pytest.raises(InvalidInput) as refused:
        await play.act(tool, repo=SITE, **change, body=f"{shown['body'][:200]}\n\nOne line more")
    assert refused.value.reason == "unread" and "raw=true" in refused.value.hint
    whole, told = "", dict[str, Any](next_offset=0)
    while "next_offset" in told:
        told = await play.act(reads, repo=SITE, **where, raw=True, offset=told["next_offset"])
        whole += told["body"]
        assert told["untrusted"] and told["raw"]
    assert whole == text == bodies(play)[tool]["body"]
    bodies(play)[tool]["body"] = f"{text}Bob was here."
    with pytest.raises(Conflict) as stale:
        await play.act(tool, repo=SITE, **change, body=f"{whole}More", if_text=told["text_digest"])
    assert stale.value.reason == "stale" and play.writes() == []
    bodies(play)[tool]["body"] = text
    await play.act(tool, repo=SITE, **change, body=f"{whole}More", if_text=told["text_digest"])
    assert bodies(play)[tool]["body"] == f"{text}More"


@pytest.mark.parametrize("tool", PLACES)
async def test_github_body_is_appended_to_and_edited_without_reading(play: Play, tool: str) -> None:
    _, _, change = PLACES[tool]
    bodies(play)[tool]["body"] = BODY
    await play.act(tool, repo=SITE, **change, body="cat", replaces="shot")
    assert bodies(play)[tool]["body"] == BODY.replace("shot", "cat")
    await play.act(tool, repo=SITE, **change, body="The end.", append=True, call="again")
    assert bodies(play)[tool]["body"].startswith(f"{BODY.replace('shot', 'cat')}\n\nThe end.")
    with pytest.raises(InvalidInput, match="replaces"):
        await play.act(tool, repo=SITE, **change, body="x", replaces="not there")


async def test_empty_or_short_github_body_is_replaced_freely(play: Play) -> None:
    for old in (None, "", "Short and plain.", "Two\r\nlines\n\n<!-- deputize:0123456789abcdef -->"):
        play.store["issues"][SITE][0]["body"] = old
        await play.act("update_issue", repo=SITE, number=1, body="New")
        assert play.store["issues"][SITE][0]["body"] == "New"


async def test_token_in_a_body_is_neither_shown_raw_nor_lost(play: Play) -> None:
    token = "gh" + "p_" + "a1B2" * 9
    play.store["issues"][SITE][0]["body"] = f"see {token} there"
    told = await play.act("get_issue", repo=SITE, number=1, raw=True)
    assert told["body"] == "see [redacted] there" and "text_digest" not in told
    with pytest.raises(InvalidInput):
        await play.act("update_issue", repo=SITE, number=1, body="see [redacted] there")
    await play.act("update_issue", repo=SITE, number=1, body="here", replaces="there")
    assert play.store["issues"][SITE][0]["body"] == f"see {token} here"


async def test_gist_file_is_read_in_parts_and_replaced_with_its_digest(play: Play) -> None:
    id = "a" * 20
    play.store["gists"][id]["files"]["notes.md"] = LONG * 2
    shown = await play.act("list_gists", gist_id=id)
    assert shown["files"][0]["truncated"] and shown["files"][0]["next_offset"] > 0
    with pytest.raises(InvalidInput, match="files: notes"):
        await play.act("save_gist", gist_id=id, files={"notes.md": "New"})
    whole, told = "", dict[str, Any](next_offset=0)
    while "next_offset" in told:
        told = await play.act("list_gists", gist_id=id, file="notes.md", raw=True, offset=told["next_offset"])
        whole += told["text"]
    assert whole == LONG * 2
    await play.act("save_gist", gist_id=id, files={"notes.md": "New"}, if_text={"notes.md": told["text_digest"]})
    assert play.store["gists"][id]["files"]["notes.md"] == "New"
    with pytest.raises(InvalidInput, match="file"):
        await play.act("list_gists", gist_id=id, file="note.md")


SUGGESTION = "Please:\n```suggestion\n    return 1\n```\n" + "Because of this. " * 220


async def test_comments_keep_lines_mark_cuts_and_are_read_whole(play: Play) -> None:
    play.store["comments"][SITE][0]["body"] = SUGGESTION
    for row in play.store["review_comments"][SITE]:
        row["body"] = SUGGESTION
    kinds: list[dict[str, Any]] = [{"number": 1}, {"number": 2, "kind": "review"}, {"kind": "review"}]
    for arguments in kinds:
        row = (await play.act("list_comments", repo=SITE, **arguments))["items"][0]
        row = row["comments"][0] if "comments" in row else row
        assert row["cut"] and "\n```suggestion\n    return 1\n```\n" in row["body"]
        kind = arguments.get("kind", "conversation")
        whole = await play.act("list_comments", repo=SITE, comment_id=row["id"], kind=kind)
        assert whole["body"] == SUGGESTION.strip() and "cut" not in whole
        assert whole["author"] == row["author"]


async def test_review_and_discussion_comment_are_read_whole(play: Play) -> None:
    play.store["reviews"][SITE][0]["body"] = SUGGESTION
    reviews = (await play.act("get_pull", repo=SITE, number=2, include=["reviews"]))["reviews"]
    assert reviews[0]["cut"] and "\n```suggestion\n" in reviews[0]["body"]
    whole = await play.act("get_pull", repo=SITE, number=2, review_id=reviews[0]["id"])
    assert whole["body"] == SUGGESTION.strip() and whole["state"] == reviews[0]["state"]
    comment = play.store["discussions"][SITE][0]["comments"][0]
    comment["body"] = SUGGESTION
    comment["replies"] = [{"id": "DC_reply0001", "user": "bob", "body": SUGGESTION, "at": comment["at"], "replies": []}]
    shown = (await play.act("list_discussions", repo=SITE, number=50))["comments"][0]
    assert shown["cut"] and shown["replies"][0]["cut"]
    for id in (shown["id"], "DC_reply0001"):
        told = await play.act("list_discussions", repo=SITE, comment_id=id)
        assert told["body"] == SUGGESTION.strip()
    play.store["discussions"]["alice/garden"] = play.store["discussions"].pop(SITE)
    with pytest.raises((InvalidInput, NotFound)):
        await play.act("list_discussions", repo=SITE, comment_id="DC_reply0001")


async def test_events_and_reviews_are_paged_from_last_to_first(play: Play) -> None:
    issue = play.store["issues"][SITE][0]
    at = "2026-11-02T00:00:00Z"
    issue["events"] = [{"id": n, "event": f"e{n}", "actor": "alice", "created_at": at} for n in range(250)]
    play.store["comments"][SITE] = []
    first = play.store["reviews"][SITE][0]
    play.store["reviews"][SITE] = [{**first, "id": n, "body": "x" * 90} for n in range(1, 151)]
    events = await walked(play, "get_issue", 1, "timeline")
    assert [one["event"] for one in events] == [f"e{n}" for n in range(249, -1, -1)]
    reviews = await walked(play, "get_pull", 2, "reviews")
    assert [one["id"] for one in reviews] == [*range(150, 0, -1)]


async def test_sub_issues_beyond_the_page_are_read(play: Play) -> None:
    first = play.store["issues"][SITE][0]
    play.store["issues"][SITE] += [{**first, "number": n, "title": "x" * 200, "parent": 1} for n in range(10, 90)]
    rows = await walked(play, "get_issue", 1, "sub_issues")
    assert [one["number"] for one in rows] == [*range(10, 90)]


async def walked(play: Play, tool: str, number: int, block: str) -> list[Any]:
    """Return all rows of a block, from result to result."""
    rows: list[Any] = []
    more: dict[str, Any] = {}
    for _ in range(60):
        found = await play.act(tool, repo=SITE, number=number, include=[block], **more)
        rows += found[block]
        if found["next"] is None:
            return rows
        more = {"cursor": found["next"]}
    raise AssertionError("the block does not end")


# ----------------------------------------------------------------- Linear


def linear(sandbox: Sandbox, kind: str) -> dict[str, Any]:
    """Return the object whose text is changed: the first, and of comments Alice's own."""
    rows: list[dict[str, Any]] = sandbox._world.services["linear"][kind]
    return rows[1] if kind == "comments" else rows[0]


DESIGN = stable_id("document", "design")
TEXTS: dict[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]] = {
    "issues": ("description", "linear_get_issue", "linear_update_issue", {"issue": "ENG-1"}, {"issues": ["ENG-1"]}),
    "projects": (
        "content",
        "linear_get_project",
        "linear_save_project",
        {"project": "Import rewrite", "include": ["content"]},
        {"project": "Import rewrite"},
    ),
    "initiatives": (
        "content",
        "linear_get_initiative",
        "linear_save_initiative",
        {"initiative": "Reliability"},
        {"initiative": "Reliability"},
    ),
    "documents": ("content", "linear_get_document", "linear_save_document", {"document": DESIGN}, {"document": DESIGN}),
    "milestones": (
        "description",
        "linear_get_project",
        "linear_save_milestone",
        {"project": "Import rewrite", "milestone": "Beta"},
        {"project": "Import rewrite", "milestone": "Beta"},
    ),
    "comments": (
        "body",
        "linear_list_comments",
        "linear_write_comment",
        {"comment_id": stable_id("comment", "2")},
        {"comment_id": stable_id("comment", "2")},
    ),
}


async def whole_of(alice: Deputy, tool: str, field: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """Return a text, read raw to its end, and its digest."""
    whole, told = "", dict[str, Any](next_offset=0)
    while "next_offset" in told:
        found = await act(alice, tool, **arguments, raw=True, offset=told["next_offset"])
        told = found[field] if isinstance(found[field], dict) else found
        whole += told.get("text", told.get(field, ""))
    return whole, told["text_digest"]


@pytest.mark.parametrize("text", [BODY, LONG], ids=["hiding", "long"])
@pytest.mark.parametrize("kind", TEXTS)
async def test_linear_text_needs_its_digest_to_change(alice: Deputy, sandbox: Sandbox, kind: str, text: str) -> None:
    field, reads, changes, where, change = TEXTS[kind]
    linear(sandbox, kind)[field] = text
    guard = {"unmodified_since": linear(sandbox, kind)["updatedAt"]} if kind == "documents" else {}
    with pytest.raises(InvalidInput) as refused:
        await act(alice, changes, **change, **{field: "One line more"}, **guard)
    assert refused.value.reason == "unread" and linear(sandbox, kind)[field] == text
    whole, digest = await whole_of(alice, reads, field, where)
    assert whole == text
    linear(sandbox, kind)[field] = f"{text}Bob was here."
    with pytest.raises(Conflict):
        await act(alice, changes, **change, **{field: f"{whole}More"}, if_text=digest)
    linear(sandbox, kind)[field] = text
    await act(alice, changes, **change, **{field: f"{whole}More"}, if_text=digest)
    assert linear(sandbox, kind)[field] == f"{text}More"


@pytest.mark.parametrize("kind", TEXTS)
async def test_linear_text_is_appended_to_and_edited_in_part(alice: Deputy, sandbox: Sandbox, kind: str) -> None:
    field, _, changes, _, change = TEXTS[kind]
    linear(sandbox, kind)[field] = BODY
    await act(alice, changes, **change, **{field: "cat"}, replaces="shot")
    await act(alice, changes, **change, **{field: "The end."}, append=True)
    assert linear(sandbox, kind)[field] == f"{BODY.replace('shot', 'cat')}\n\nThe end."
    for wrong in ({"append": True}, {"replaces": "x"}, {"if_text": "0" * 16}):
        with pytest.raises(InvalidInput):
            await act(alice, changes, **change, **wrong)


async def test_long_description_says_how_to_continue(alice: Deputy, sandbox: Sandbox) -> None:
    linear(sandbox, "issues")["description"] = LONG
    found = await act(alice, "linear_get_issue", issue="ENG-1")
    assert found["truncated"] and found["total_chars"] == len(LONG)
    text = found["description"]
    while "next_offset" in found:
        found = await act(alice, "linear_get_issue", issue="ENG-1", offset=found["next_offset"])
        text += found["description"]
    assert text == LONG and found["text_digest"]


async def test_cut_comments_and_updates_are_marked_and_read_whole(alice: Deputy, sandbox: Sandbox) -> None:
    linear(sandbox, "comments")["body"] = SUGGESTION
    rows = (await act(alice, "linear_list_comments", target="ENG-1"))["items"]
    row = next(one for one in rows if one["comment_id"] == linear(sandbox, "comments")["id"])
    assert row["cut"] and "\n```suggestion\n    return 1\n" in row["body"]
    whole = await act(alice, "linear_list_comments", comment_id=row["comment_id"])
    assert whole["body"] == SUGGESTION.strip() and "cut" not in whole
    for kind, about in (
        ("project_updates", {"project": "Import rewrite"}),
        ("initiative_updates", {"initiative": "Reliability"}),
    ):
        linear(sandbox, kind)["body"] = SUGGESTION
        [row] = (await act(alice, "linear_list_updates", **about))["items"]
        assert row["cut"]
        told = await act(alice, "linear_list_updates", update_id=row["update_id"])
        assert told["body"] == SUGGESTION.strip() and told["text_digest"]
    with pytest.raises(NotFound) as missing:
        await act(alice, "linear_list_updates", update_id=stable_id("no such"))
    assert "linear_list_updates" in missing.value.hint


async def test_text_appended_by_an_interrupted_run_is_not_appended_again(alice: Deputy, sandbox: Sandbox) -> None:
    linear(sandbox, "issues")["description"] = LONG
    call = Call("thread", "message", "call")
    sandbox.switches.drop_after_commit += ["/graphql"] * 9
    more = {"issues": ["ENG-1"], "description": "The end.", "append": True}
    with pytest.raises(Exception):  # noqa: B017 - whatever a lost answer is
        await act(alice, "linear_update_issue", call, **more)
    sandbox.switches.drop_after_commit.clear()
    await act(alice, "linear_update_issue", call, **more)
    assert linear(sandbox, "issues")["description"] == f"{LONG}\n\nThe end."


# ----------------------------------------------------------------- Salesforce


def lead(sandbox: Sandbox) -> dict[str, Any]:
    rows = sandbox._world.services["salesforce"]["records"]["Lead"]
    return next(row for row in rows if row["Id"] == LEAD)


async def test_long_salesforce_field_is_read_and_replaced_only_with_its_digest(alice: Deputy, sandbox: Sandbox) -> None:
    lead(sandbox)["Description"] = LONG
    where = {"object": "Lead", "record": LEAD, "fields": ["Description"]}
    change = {"object": "Lead", "id": LEAD}
    both = await act(alice, "salesforce_get_record", **{**where, "fields": ["Description", "Status"]})
    assert both["truncated"] and both["cut"] == {"Description": len(LONG)} and both["fields"]["Status"]
    with pytest.raises(InvalidInput) as refused:
        await act(alice, "salesforce_update_record", **change, fields={"Description": "New", "Status": "Working"})
    assert refused.value.reason == "unread" and lead(sandbox)["Status"] != "Working"
    whole, told = "", dict[str, Any](next_offset=0)
    while "next_offset" in told:
        told = await act(alice, "salesforce_get_record", **where, raw=True, offset=told["next_offset"])
        whole += told["fields"]["Description"]
    assert whole == LONG
    digest = {"if_text": {"description": told["text_digest"]}}
    lead(sandbox)["Description"] = f"{LONG} Bob was here."
    with pytest.raises(Conflict):
        await act(alice, "salesforce_update_record", **change, fields={"Description": "New"}, **digest)
    lead(sandbox)["Description"] = LONG
    done = await act(alice, "salesforce_update_record", **change, fields={"Description": "New"}, **digest)
    assert lead(sandbox)["Description"] == "New" and done["changed"] == ["Description"]


async def test_salesforce_field_is_appended_to_edited_and_not_emptied_unread(alice: Deputy, sandbox: Sandbox) -> None:
    lead(sandbox)["Description"] = LONG
    change = {"object": "Lead", "id": LEAD}
    with pytest.raises(InvalidInput):
        await act(alice, "salesforce_update_record", **change, fields={"Description": ""})
    await act(alice, "salesforce_update_record", **change, fields={"Description": "End."}, append=["Description"])
    await act(
        alice, "salesforce_update_record", **change, fields={"Description": "7"}, replaces={"Description": "word7 "}
    )
    assert lead(sandbox)["Description"] == LONG.replace("word7 ", "7") + "\n\nEnd."
    for wrong in ({"append": ["Status"]}, {"append": ["Phone"]}, {"if_text": {"Nope": "x"}}):
        with pytest.raises(InvalidInput):
            await act(alice, "salesforce_update_record", **change, fields={"Status": "Working"}, **wrong)


async def test_edit_does_not_overwrite_a_concurrent_change(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deputize.sandbox.salesforce import api, records

    lead(sandbox)["Description"] = "Short."
    update = records.update

    def late(call: Any, kind: str, id: str) -> Any:
        lead(sandbox).update(Description="Bob was first.", LastModifiedDate="2027-01-01T00:00:00.000+0000")
        return update(call, kind, id)

    routes = tuple((pattern, late if handler is update else handler) for pattern, handler in api.ROUTES)
    monkeypatch.setattr(api, "ROUTES", routes)
    with pytest.raises(Conflict):
        await act(alice, "salesforce_update_record", object="Lead", id=LEAD, fields={"Description": "Mine."})
    assert lead(sandbox)["Description"] == "Bob was first."
