"""A long text full of fragile content is read to its end by ``more``, and changed: nothing else of it changes.

Every text that a tool edits in part has an entry here. It is put into the sandbox's store, read raw through the whole
deputy, written back with one line more, and compared with the store, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from deputize.core import Conflict, Deputy, InvalidInput, allow_all
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.seed import TEAM
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.pytest_plugin import Granting
from deputize.sandbox.salesforce.seed import record_id
from tests.toolkits.github_play import ALL, SITE

ODD: Final = (
    "<!-- template:v3 -->\r\nShip it \U0001f469\u200d\U0001f4bb \U0001f1f3\U0001f1f1 1\ufe0f\u20e3 "
    "\u2764\ufe0f\u200d\U0001f525 "
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645  \n![shot](https://x.test/a.png \"a\") <img src='b.png'>\r\n"
    "```suggestion\n\tif a < b && c:  \n```\n| a | b |\n|---|--:|\n| 1 | `x\\|y` |\n- [ ] todo &amp; done @bob #12\n"
    "\u0928\u094d\u200d\u0928 \u00ad soft, \u00a0 hard blank, cafe\u0301, \u65e5\u672c\u8a9e\u3000\u5168\u89d2\n   \n"
)
MARK: Final = re.compile(r"\n\n<!-- deputize:[0-9a-f]+ -->\Z")
"""What a comment or body on GitHub carries, so that it is found again after a lost response."""
ELSEWHERE: Final = {"slack_update_message", "slack_write_canvas", "gmail_save_draft"}
"""Held by tests/toolkits/test_slack_round_trips.py (Slack has a notation of its own, and no text is read raw) and by
tests/toolkits/test_gmail_drafts.py (mail has line ends of its own)."""
LEAD: Final = record_id("Lead", 1)
NOTES: Final = "a" * 20


def long(characters: int) -> str:
    """Return this many characters, with no line twice."""
    text, n = "", 0
    while len(text) < characters:
        text += f"{n}. {ODD}"
        n += 1
    return text[: characters - 6] + "\u200b  \r\n\n"


@dataclass(frozen=True)
class Place:
    """A text that is edited: how it is read and changed, and where the sandbox keeps it.

    ``row``: the object in the store whose ``key`` is the text. ``text``: its name in the result that reads it.
    ``raw``: whether it is an argument of the tool that reads it, which else reads nothing but what is stored.
    ``change``: makes the arguments that change it out of a text. ``longest``: characters that the provider takes.
    """

    reads: str
    where: Mapping[str, Any]
    writes: str
    change: Callable[[str], dict[str, Any]]
    row: Callable[[Sandbox], Any]
    key: str
    text: str
    longest: int = 60_000
    digest: Callable[[str], Any] = field(default=lambda digest: digest)
    append: Any = True
    raw: bool = True


def github(kind: str, at: int = 0) -> Callable[[Sandbox], Any]:
    return lambda sandbox: sandbox._world.services["github"][kind][SITE][at]


def alices(kind: str) -> Callable[[Sandbox], Any]:
    def row(sandbox: Sandbox) -> Any:
        return next(one for one in sandbox._world.services["github"][kind][SITE] if one["user"] == "alice")

    return row


def linear(kind: str, at: int = 0) -> Callable[[Sandbox], Any]:
    return lambda sandbox: sandbox._world.services["linear"][kind][at]


def lead(sandbox: Sandbox) -> Any:
    return next(one for one in sandbox._world.services["salesforce"]["records"]["Lead"] if one["Id"] == LEAD)


def event(sandbox: Sandbox) -> Any:
    return sandbox._world.services["calendar"]["events"]["alice@example.test/focus000001"]["data"]


def gmail(kind: str, at: int | None = None) -> Callable[[Sandbox], Any]:
    def row(sandbox: Sandbox) -> Any:
        kept = sandbox._world.mailbox("alice@example.test").settings[kind]
        return kept if at is None else kept[at]

    return row


def with_(**where: Any) -> Callable[[str], dict[str, Any]]:
    """Arguments beside the text, whose argument is the one that is None."""
    return lambda text: {name: text if value is None else value for name, value in where.items()}


G: Final = {"repo": SITE}
BOARD: Final = {"owner": "acme", "project": "Roadmap"}
NUMBER: Final = {"number": 1}
PROJECT: Final = {"project": "Import rewrite"}
COMMENT: Final = {"comment_id": stable_id("comment", "2")}
DESIGN: Final = {"document": stable_id("document", "design")}
PLACES: Final = {
    "issue": Place(
        "github_get_issue", G | NUMBER, "github_update_issue", with_(**G, number=1, body=None),
        github("issues"), "body", "body",
    ),
    "pull": Place(
        "github_get_pull", G | {"number": 2}, "github_update_pull", with_(**G, number=2, body=None),
        github("issues", 1), "body", "body",
    ),
    "comment": Place(
        "github_list_comments", G | {"comment_id": 6002}, "github_write_comment",
        with_(**G, comment_id=6002, body=None), alices("comments"), "body", "body",
    ),
    "release": Place(
        "github_list_releases", G | {"tag": "v1.0"}, "github_save_release",
        with_(**G, tag="v1.0", draft=False, body=None), github("releases"), "body", "body",
    ),
    "review comment": Place(
        "github_list_comments", G | {"comment_id": 6101, "kind": "review"}, "github_write_comment",
        with_(**G, comment_id=6101, comment_kind="review", body=None), alices("review_comments"), "body", "body",
    ),
    "milestone": Place(
        "github_list_labels", G | {"milestone": "1"}, "github_save_milestone", with_(**G, milestone="1", body=None),
        lambda sandbox: sandbox._world.services["github"]["repos"][SITE]["milestones"][0], "description", "body",
    ),
    "gist": Place(
        "github_list_gists", {"gist_id": NOTES, "file": "notes.md"}, "github_save_gist",
        lambda text: {"gist_id": NOTES, "files": {"notes.md": text}, "exact": True},
        lambda sandbox: sandbox._world.services["github"]["gists"][NOTES]["files"], "notes.md", "text",
        digest=lambda digest: {"notes.md": digest}, append=None,
    ),
    "gist's description": Place(
        "github_list_gists", {"gist_id": NOTES, "file": ""}, "github_save_gist",
        lambda text: {"gist_id": NOTES, "description": text},
        lambda sandbox: sandbox._world.services["github"]["gists"][NOTES], "description", "description",
        digest=lambda digest: {"": digest}, append=None,
    ),
    "project's field": Place(
        "github_list_project_items", BOARD | {"item_id": 501, "fields": ["Notes"]}, "github_update_project_item",
        lambda text: {**BOARD, "item": "501", "set": {"Notes": text}},
        lambda sandbox: sandbox._world.services["github"]["projects"][0]["items"][0]["values"], "104", "Notes", 1_000,
        digest=lambda digest: {"Notes": digest}, append=None,
    ),
    "linear issue": Place(
        "linear_get_issue", {"issue": "ENG-1"}, "linear_update_issue", with_(issues=["ENG-1"], description=None),
        linear("issues"), "description", "description",
    ),
    "linear project": Place(
        "linear_get_project", PROJECT | {"include": ["content"]}, "linear_save_project", with_(**PROJECT, content=None),
        linear("projects"), "content", "content",
    ),
    "initiative": Place(
        "linear_get_initiative", {"initiative": "Reliability"}, "linear_save_initiative",
        with_(initiative="Reliability", content=None), linear("initiatives"), "content", "content",
    ),
    "document": Place(
        "linear_get_document", DESIGN, "linear_save_document", with_(**DESIGN, content=None),
        linear("documents"), "content", "content",
    ),
    "linear milestone": Place(
        "linear_get_project", PROJECT | {"milestone": "Beta"}, "linear_save_milestone",
        with_(**PROJECT, milestone="Beta", description=None), linear("milestones"), "description", "description",
    ),
    "linear comment": Place(
        "linear_list_comments", COMMENT, "linear_write_comment", with_(**COMMENT, body=None),
        linear("comments", 1), "body", "body",
    ),
    "salesforce": Place(
        "salesforce_get_record", {"object": "Lead", "record": LEAD, "fields": ["Description"]},
        "salesforce_update_record", lambda text: {"object": "Lead", "id": LEAD, "fields": {"Description": text}},
        lead, "Description", "Description", 32_000 - 40, digest=lambda digest: {"Description": digest},
        append=["Description"],
    ),
    "event": Place(
        "calendar_get_event", {"event_id": "focus000001"}, "calendar_update_event",
        with_(event_id="focus000001", description=None), event, "description", "description", 8_192 - 40,
    ),
    "calendar": Place(
        "calendar_list_calendars", {"calendar": "Team"}, "calendar_manage_calendar",
        with_(action="update", calendar="Team", description=None),
        lambda sandbox: sandbox._world.services["calendar"]["calendars"][TEAM], "description", "description", 8_192,
        append=None, raw=False,
    ),
    "signature": Place(
        "gmail_get_settings", {"section": "aliases", "send_as": "support@example.test"}, "gmail_set_signature",
        with_(send_as="support@example.test", body=None), gmail("sendAs", 1), "signature", "signature", 10_000 - 40,
        append=None,
    ),
    "vacation": Place(
        "gmail_get_settings", {"section": "vacation"}, "gmail_set_vacation", with_(enabled=True, body=None),
        gmail("vacation"), "responseBodyHtml", "body", append=None,
    ),
}  # fmt: skip


@pytest.fixture
def alice(deputy: Deputy, grant: Granting) -> Deputy:
    """Return a deputy where Alice has every scope."""
    grant("alice", *ALL, provider="github")
    grant("alice", "read", "write", "admin", provider="linear")
    grant("alice", "api", provider="salesforce")
    grant("alice", "calendar", "gmail.settings.basic", "drive", provider="google")
    deputy.policy = allow_all
    return deputy


async def act(deputy: Deputy, tool: str, arguments: Mapping[str, Any]) -> Any:
    return await deputy.act(tool, dict(arguments), user="alice")


def within(told: Any, name: str) -> dict[str, Any]:
    """Return the object that holds the text of this name, in a result."""
    if isinstance(told, dict):
        if isinstance(told.get(name), str):
            return told
        if isinstance(told.get(name), dict) and "text" in told[name]:
            return {**told[name], name: told[name]["text"]}
        found = (within(value, name) for value in told.values())
    else:
        found = (within(value, name) for value in (told if isinstance(told, list) else ()))
    return next(filter(None, found), {})


async def followed(alice: Deputy, place: Place) -> tuple[str, dict[str, Any]]:
    """Return the text as stored, by ``more`` from result to result, and the metadata of its last part."""
    raw = {"raw": True} if place.raw else {}
    found = await act(alice, place.reads, {**place.where, **raw})
    whole = ""
    for _ in range(80):
        told = within(found, place.text) or {**found, **found.get("fields", {})}
        whole += told[place.text]
        told = {**found, **told}
        if "more" not in told:
            return whole, told
        found = await act(alice, place.reads.partition("_")[0] + "_read_more", {"ref": told["more"]})
    raise AssertionError("the text does not end")


def laid(sandbox: Sandbox, place: Place, text: str) -> Any:
    row = place.row(sandbox)
    row[place.key] = text
    return row


def test_every_tool_that_takes_a_digest_is_covered() -> None:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    guarded = {tool.name for tool in tools if "if_text" in tool.schema["properties"]}
    assert guarded == {place.writes for place in PLACES.values()} | ELSEWHERE


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("size", ["short", "long"])
async def test_text_is_read_and_changed_without_loss(alice: Deputy, sandbox: Sandbox, name: str, size: str) -> None:
    place = PLACES[name]
    text = ODD if size == "short" else long(place.longest)
    row = laid(sandbox, place, text)
    with pytest.raises(InvalidInput) as refused:
        await act(alice, place.writes, place.change("One line more"))
    assert "text_digest" in refused.value.hint and row[place.key] == text
    whole, told = await followed(alice, place)
    assert whole == text
    read = {"if_text": place.digest(told["text_digest"])}
    row[place.key] = f"{text}Bob."
    with pytest.raises(Conflict):
        await act(alice, place.writes, {**place.change(f"{whole}One line more"), **read})
    assert row[place.key] == f"{text}Bob."
    row[place.key] = text
    await act(alice, place.writes, {**place.change(f"{whole}One line more"), **read})
    assert place.row(sandbox)[place.key] == f"{text}One line more"
    if place.append:
        row = place.row(sandbox)
        row[place.key] = text
        await act(alice, place.writes, {**place.change("The end."), "append": place.append})
        assert MARK.sub("", place.row(sandbox)[place.key]) == f"{text}\n\nThe end."


async def test_signature_cut_by_a_row_is_read_to_its_end(alice: Deputy, sandbox: Sandbox) -> None:
    words = " ".join(f"word{n}" for n in range(4_000))
    gmail("sendAs", 0)(sandbox)["signature"] = f"<p>{words}</p>"
    told = (await act(alice, "gmail_get_settings", {"section": "aliases"}))["items"][0]
    assert told["cut"] is True
    whole = ""
    while True:
        whole += told["signature"].removesuffix("\u2026")
        if "more" not in told:
            break
        told = await act(alice, "gmail_read_more", {"ref": told["more"]})
    assert whole == words


async def test_calendar_description_is_read_from_its_row_to_its_end(alice: Deputy, sandbox: Sandbox) -> None:
    words = " ".join(f"word{n}" for n in range(4_000))
    sandbox._world.services["calendar"]["calendars"][TEAM]["description"] = words
    rows = (await act(alice, "calendar_list_calendars", {"query": "Team"}))["items"]
    told = next(row for row in rows if row["id"] == TEAM)
    assert told["cut"] is True
    whole = ""
    while True:
        whole += told["description"]
        if "more" not in told:
            break
        told = await act(alice, "calendar_read_more", {"ref": told["more"]})
    assert whole == words and told["text_digest"]
    with pytest.raises(InvalidInput, match="cursor"):
        await act(alice, "calendar_list_calendars", {"calendar": "Team", "cursor": "-1"})
