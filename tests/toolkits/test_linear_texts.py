"""What Linear's tools show of a text leads to all of it."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Deputy, InvalidInput, NotFound, allow_all
from deputize.sandbox import Sandbox
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.pytest_plugin import Granting

LONG = "\n\n".join(f"Paragraph {n}: what was said.\n- one\n- two" for n in range(400))
NEED = stable_id("need", "1")


@pytest.fixture
def alice(deputy: Deputy, grant: Granting) -> Deputy:
    """A deputy with whose help Alice may do everything in Linear."""
    grant("alice", "read", "write", "admin", provider="linear")
    deputy.policy = allow_all
    return deputy


@pytest.fixture
def store(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = sandbox._world.services["linear"]
    return found


async def act(deputy: Deputy, tool: str, **arguments: Any) -> Any:
    return await deputy.act(f"linear_{tool}", arguments, user="alice")


async def whole(deputy: Deputy, tool: str, **arguments: Any) -> str:
    """A body, from part to part."""
    found = await act(deputy, tool, **arguments)
    text = found["body"]
    while "next_offset" in found:
        found = await act(deputy, tool, **arguments, offset=found["next_offset"])
        text += found["body"]
    assert found["text_digest"] and "cut" not in found
    return str(text)


async def test_what_a_customer_asks_for_is_read_to_its_end(alice: Deputy, store: dict[str, Any]) -> None:
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
async def test_a_notification_says_what_was_written_and_where_the_rest_is(
    alice: Deputy, store: dict[str, Any], about: dict[str, str], tool: str, id: str
) -> None:
    store["notifications"][0] |= about
    for kind in ("comments", "project_updates", "initiative_updates"):
        store[kind][0]["body"] = LONG
    [row] = (await act(alice, "list_notifications"))["items"]
    assert row["cut"] and "\n- one\n" in row["body"] and row["from_outside"]
    assert await whole(alice, tool, **{id: row[id]}) == LONG


async def test_a_detail_has_the_whole_title_and_a_comment_all_that_it_quotes(
    alice: Deputy, store: dict[str, Any]
) -> None:
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


async def test_an_address_on_an_issue_is_never_cut(alice: Deputy, store: dict[str, Any]) -> None:
    url = f"https://example.test/{'path/' * 200}end"
    await act(alice, "link_url", issue="ENG-1", url=url, title="Long")
    found = await act(alice, "get_issue", issue="ENG-1", include=["attachments"])
    assert [one["url"] for one in found["attachments"]] == [url]
