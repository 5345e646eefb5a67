"""Everything that Linear's tools show of a text leads to the whole text."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Deputy, InvalidInput, NotFound
from deputize.sandbox import Sandbox
from deputize.sandbox.linear.seed import stable_id

LONG = "\n\n".join(f"Paragraph {n}: what was said.\n- one\n- two" for n in range(400))


@pytest.fixture
def store(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = sandbox._world.services["linear"]
    return found


async def act(deputy: Deputy, tool: str, **arguments: Any) -> Any:
    return await deputy.act(f"linear_{tool}", arguments, user="alice")


async def whole(deputy: Deputy, tool: str, **arguments: Any) -> str:
    """Return a body, from part to part."""
    found = await act(deputy, tool, **arguments)
    text = found["body"]
    while "next_offset" in found:
        found = await act(deputy, tool, **arguments, offset=found["next_offset"])
        text += found["body"]
    assert found["text_digest"] and "cut" not in found
    return str(text)


async def test_customer_request_is_read_to_its_end(alice: Deputy, store: dict[str, Any]) -> None:
    store["needs"][0]["body"] = LONG
    [row] = (await act(alice, "list_customer_needs"))["items"]
    assert row["cut"] and row["body"].startswith("Paragraph 0: what was said.\n- one\n- two\n\nParagraph 1")
    assert await whole(alice, "list_customer_needs", need_id=row["id"]) == LONG
    for wrong in (stable_id("no such"), "no id at all"):
        with pytest.raises(NotFound) as missing:
            await act(alice, "list_customer_needs", need_id=wrong)
        assert "linear_list_customer_needs" in missing.value.hint
    with pytest.raises(InvalidInput, match="reading one request"):
        await act(alice, "list_customer_needs", offset=3)


@pytest.mark.parametrize(
    ("about", "tool", "id"),
    [
        ({"comment": stable_id("comment", "1")}, "list_comments", "comment_id"),
        ({"projectUpdate": stable_id("project update", "1")}, "list_updates", "update_id"),
        ({"initiativeUpdate": stable_id("initiative update", "1")}, "list_updates", "update_id"),
    ],
)
async def test_notification_shows_its_text_and_continuation(
    alice: Deputy, store: dict[str, Any], about: dict[str, str], tool: str, id: str
) -> None:
    store["notifications"][0] |= about
    for kind in ("comments", "project_updates", "initiative_updates"):
        store[kind][0]["body"] = LONG
    [row] = (await act(alice, "list_notifications"))["items"]
    assert row["cut"] and "\n- one\n" in row["body"] and row["untrusted"]
    assert await whole(alice, tool, **{id: row[id]}) == LONG


async def test_detail_has_the_whole_title_and_a_comment_its_quote(alice: Deputy, store: dict[str, Any]) -> None:
    title = "A title of many words " * 20 + "with an end"
    store["issues"][0]["title"] = store["documents"][0]["title"] = title
    store["comments"][0]["quotedText"] = quoted = "What is quoted here " * 20 + "and its end"
    store["labels"][0]["description"] = described = "d" * 255
    assert (await act(alice, "get_issue", issue="ENG-1"))["title"] == title
    document = store["documents"][0]["id"]
    assert (await act(alice, "get_document", document=document))["title"] == title
    for row in ("projects", "initiatives"):
        store[row][0]["name"] = title
    assert (await act(alice, "get_project", project=store["projects"][0]["id"]))["name"] == title
    assert (await act(alice, "get_initiative", initiative=store["initiatives"][0]["id"]))["name"] == title
    told = await act(alice, "list_comments", comment_id=stable_id("comment", "1"))
    assert told["quoted"] == quoted
    labels = (await act(alice, "lookup", kind="labels"))["items"]
    assert described in [one.get("description") for one in labels]


async def test_url_on_an_issue_is_never_cut(alice: Deputy, store: dict[str, Any]) -> None:
    url = f"https://example.test/{'path/' * 200}end"
    await act(alice, "link_url", issue="ENG-1", url=url, title="Long")
    found = await act(alice, "get_issue", issue="ENG-1", include=["attachments"])
    assert [one["url"] for one in found["attachments"]] == [url]


# ----------------------------------------------------------------- from reference to reference


def cut_texts(result: Any) -> list[tuple[str, str]]:
    """Return every cut text in a result, with the reference to its rest."""
    if isinstance(result, list):
        return [one for part in result for one in cut_texts(part)]
    if not isinstance(result, dict):
        return []
    found = [one for part in result.values() for one in cut_texts(part)]
    if "more" in result:
        [text] = [result[name] for name in ("text", "body", "description") if isinstance(result.get(name), str)][:1]
        found.append((text.removesuffix("\u2026"), result["more"]))
    else:
        assert not {"cut", "next_offset"} & set(result) or isinstance(result.get("cut"), list), result
    return found


READS: list[tuple[str, dict[str, Any], int]] = [
    ("get_issue", {"issue": "ENG-1", "include": ["comments"]}, 2),
    ("list_comments", {"target": "ENG-1"}, 1),
    ("list_updates", {"project": "Import rewrite"}, 1),
    ("list_updates", {"initiative": "Reliability"}, 1),
    ("get_project", {"project": "Import rewrite", "include": ["content", "milestones", "updates"]}, 3),
    ("get_initiative", {"initiative": "Reliability", "include": ["content", "updates"]}, 2),
    ("get_document", {"document": stable_id("document", "design")}, 1),
    ("list_customer_needs", {}, 1),
    ("list_notifications", {}, 1),
]


@pytest.mark.parametrize(("tool", "arguments", "texts"), READS)
async def test_every_cut_text_is_read_to_its_end_by_continuations(
    alice: Deputy, store: dict[str, Any], tool: str, arguments: dict[str, Any], texts: int
) -> None:
    for kind, field in (
        *((kind, "body") for kind in ("comments", "project_updates", "initiative_updates", "needs")),
        *((kind, "description") for kind in ("issues", "milestones")),
        *((kind, "content") for kind in ("projects", "initiatives", "documents")),
    ):
        store[kind][0][field] = LONG
    store["notifications"][0]["comment"] = stable_id("comment", "1")
    found = cut_texts(await act(alice, tool, **arguments))
    assert len(found) == texts
    for text, more in found:
        told: dict[str, Any] = {"more": more}
        while "more" in told:
            told = await act(alice, "read_more", ref=told["more"])
            told = told["content"] if isinstance(told.get("content"), dict) else told
            text += next(told[name] for name in ("text", "body", "description") if name in told)
        assert "".join(text.split()) == "".join(LONG.split()) and told["text_digest"]


async def test_raw_reading_continues_raw(alice: Deputy, store: dict[str, Any]) -> None:
    store["issues"][0]["description"] = text = f"<!-- hidden -->\n{LONG}"
    told = await act(alice, "get_issue", issue="ENG-1", raw=True)
    whole = told["description"]
    while "more" in told:
        told = await act(alice, "read_more", ref=told["more"])
        whole += told["description"]
        assert told["raw"]
    assert whole == text and told["text_digest"]


async def test_list_in_a_detail_says_that_linear_has_more(alice: Deputy, store: dict[str, Any]) -> None:
    comment, issue = store["comments"][0], store["issues"][0]
    store["comments"] += [{**comment, "id": stable_id("c", str(n)), "body": "x"} for n in range(30)]
    store["issues"] += [
        {**issue, "id": stable_id("i", str(n)), "number": 100 + n, "parent": issue["id"]} for n in range(60)
    ]
    found = await act(alice, "get_issue", issue="ENG-1", include=["comments", "children"])
    [comments, children] = found["cut"]
    assert (
        found["truncated"]
        and comments.endswith("of more than 25 are shown. linear_list_comments lists all.")
        and comments.startswith("comments: ")
    )
    assert children.startswith("children: ") and "of more than 50 are shown." in children
    store["project_updates"] += [{**store["project_updates"][0], "id": stable_id("u", str(n))} for n in range(9)]
    told = (await act(alice, "get_project", project="Import rewrite", include=["updates"]))["cut"]
    assert told == ["updates: 5 of more than 5 are shown. linear_list_updates lists all."]
    store["labels"] += [{**store["labels"][0], "id": stable_id("l", str(n)), "name": f"L{n}"} for n in range(20)]
    issue["labels"] = [stable_id("l", str(n)) for n in range(20)]
    labels = (await act(alice, "get_issue", issue="ENG-1"))["labels"]
    assert len(labels) == 8 and labels[-1] == "\u2026"
