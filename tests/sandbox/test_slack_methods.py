"""The sandbox's Slack beyond emulate's: search, groups, canvases, files, do not disturb."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deputize.core.providers import SLACK
from deputize.sandbox import Sandbox
from deputize.sandbox.slack.methods import METHODS
from deputize.sandbox.slack.seed import BOBS_SECRET, REPORT
from tests.sandbox.registered_app import ALICE, BOB

ENG, BOBS = "C0ENG000001", "G0BOB000001"
ALL = tuple(SLACK.scope_descriptions)


class As:
    """Calls as one person with these scopes."""

    def __init__(self, sandbox: Sandbox, *scopes: str, email: str = ALICE) -> None:
        self.http = httpx.AsyncClient(transport=sandbox.transport())
        token = sandbox.give("slack", email, scopes or ALL)["access_token"]
        self.headers = {"authorization": f"Bearer {token}"}

    async def __call__(self, method: str, **form: Any) -> Any:
        url = f"https://slack.com/api/{method}"
        return (await self.http.post(url, data=form, headers=self.headers)).json()


async def test_slack_search_finds_visible_content_and_needs_a_scope_per_type(sandbox: Sandbox) -> None:
    alice, bob = As(sandbox), As(sandbox, email=BOB)
    everywhere = {"query": "safe opens", "channel_types": "public_channel,private_channel,im,mpim"}
    assert (await alice("assistant.search.context", **everywhere))["results"]["messages"] == []
    [found] = (await bob("assistant.search.context", **everywhere))["results"]["messages"]
    assert found["content"] == BOBS_SECRET and found["channel_id"] == BOBS
    narrow = As(sandbox, "search:read.public")
    assert (await narrow("assistant.search.context", query="deploy"))["ok"] is True
    assert (await narrow("assistant.search.context", **everywhere))["needed"] == "search:read.private"
    files = await narrow("assistant.search.context", query="deploy", content_types="files")
    assert files["needed"] == "search:read.files"


async def test_slack_search_supports_words_places_people_and_times(sandbox: Sandbox) -> None:
    alice = As(sandbox)

    async def count(query: str, **more: Any) -> int:
        found = await alice("assistant.search.context", query=query, **more)
        return len(found["results"]["messages"])

    assert await count("deploy staging") == 1 and await count("deploy nothing") == 0
    assert await count("e", modifiers="from:<@U0BOB000000>") == 4
    assert await count("e", modifiers=f"in:<#{ENG}>") == 2
    assert await count("e", after=str(int(sandbox.clock()) - 4 * 3600)) == 1
    page = await alice("assistant.search.context", query="e", limit="2")
    more = await alice(
        "assistant.search.context", query="e", limit="2", cursor=page["response_metadata"]["next_cursor"]
    )
    assert page["results"]["messages"] != more["results"]["messages"]
    assert (await alice("assistant.search.context", query="e", limit="21"))["error"] == "invalid_limit"
    old = await alice("search.messages", query=f"deploy in:<#{ENG}>", count="1")
    assert old["messages"]["matches"][0]["channel"]["name"] == "eng" and old["messages"]["paging"]["total"] == 1


async def test_slack_file_needs_its_bytes_before_sharing_and_a_token_to_download(sandbox: Sandbox) -> None:
    alice, bob = As(sandbox), As(sandbox, email=BOB)
    up = await alice("files.getUploadURLExternal", filename="a.txt", length="3")
    files = f'[{{"id": "{up["file_id"]}"}}]'
    assert (await alice("files.completeUploadExternal", files=files))["error"] == "file_not_found"
    assert (await alice.http.post(up["upload_url"], content=b"four")).status_code == 400
    assert (await alice.http.post(up["upload_url"], content=b"abc")).status_code == 200
    assert (await bob("files.completeUploadExternal", files=files))["error"] == "file_not_found"
    done = await alice("files.completeUploadExternal", files=files)
    assert (await bob("files.info", file=up["file_id"]))["error"] == "file_not_found"  # shown to nobody
    place = done["files"][0]["url_private"]
    assert (await alice.http.get(place, headers=alice.headers)).content == b"abc"
    for headers in ({}, {"authorization": "Bearer xoxp-forged"}, bob.headers):
        page = await alice.http.get(place, headers=headers)
        assert "Sign in" in page.text and page.headers["content-type"].startswith("text/html")
    assert (await alice.http.get("https://files.slack.com/other", headers=alice.headers)).status_code == 404


async def test_slack_canvases_groups_and_do_not_disturb_work(sandbox: Sandbox) -> None:
    alice, bob = As(sandbox), As(sandbox, email=BOB)
    content = '{"type": "markdown", "markdown": "# Plan"}'
    own = await alice("canvases.create", title="Plan", document_content=content)
    assert (await bob("canvases.edit", canvas_id=own["canvas_id"], changes="[]"))["error"] == "canvas_not_found"
    assert (await alice("canvases.edit", canvas_id=own["canvas_id"], changes="[]"))["error"] == "invalid_arguments"
    shared = {"canvas_id": own["canvas_id"], "access_level": "read", "channel_ids": f'["{ENG}"]'}
    assert (await alice("canvases.access.set", **shared))["ok"] is True
    assert (await bob("files.info", file=own["canvas_id"]))["file"]["title"] == "Plan"
    assert (await alice("conversations.canvases.create", channel_id=ENG, document_content=content))["ok"] is True
    again = await alice("conversations.canvases.create", channel_id=ENG, document_content=content)
    assert again["error"] == "channel_canvas_already_exists"
    assert (await alice("canvases.create", document_content="[1]"))["error"] == "invalid_document_content"

    [group] = (await alice("usergroups.list", include_count="true"))["usergroups"]
    assert group["user_count"] == 2
    assert len((await alice("usergroups.users.list", usergroup=group["id"]))["users"]) == 2
    assert (await alice("usergroups.users.list", usergroup="S0NONE"))["error"] == "no_such_subteam"

    assert (await alice("dnd.endSnooze"))["error"] == "snooze_not_active"
    assert (await alice("dnd.setSnooze", num_minutes="30"))["snooze_remaining"] == 1800
    assert (await alice("dnd.endSnooze"))["ok"] is True


async def test_slack_lists_the_users_own_conversations(sandbox: Sandbox) -> None:
    bob = As(sandbox, email=BOB)
    kinds = {"types": "public_channel,private_channel,im"}
    rows = (await bob("users.conversations", **kinds))["channels"]
    assert {row["name"] for row in rows} >= {"eng", "leads", "bob-notes"} and any(row["is_im"] for row in rows)
    await bob("conversations.leave", channel=ENG)
    rows = (await bob("users.conversations", **kinds))["channels"]
    assert "eng" not in {row["name"] for row in rows}
    assert (await bob("chat.postMessage", channel=ENG, text="x"))["error"] == "not_in_channel"
    assert (await bob("conversations.leave", channel=ENG))["not_in_channel"] is True


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_slack_token_with_one_scope_can_do_nothing_else(sandbox: Sandbox, method: str) -> None:
    free = {"auth.test", "auth.revoke", "chat.getPermalink", "chat.scheduledMessages.list"}
    before = sandbox.service("slack")
    answer = await As(sandbox, "team:read")(
        method, channel=ENG, channel_id=ENG, ts="1.1", query="x", user="U0BOB000000", users="U0BOB000000", file=REPORT
    )
    assert answer.get("error") == "missing_scope" or method in free
    assert sandbox.service("slack") == before
