"""What others do while the user decides: the approved content happens, or nothing; no texts of others are lost."""

from __future__ import annotations

from deputize.sandbox.linear.seed import stable_id
from tests.tasks.end import ALICE, End
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.world import BOB, World

SITE, ENG_1 = "acme/website", stable_id("issue", "ENG", "1")


@task(f"Merge pull request 4 in {SITE} if it is green.", "github")
def new_commit() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4)
    try:
        yield use("github_merge_pull", repo=SITE, number=4, head_sha=pull["head_sha"])
    except Refused as no:
        return f"Not merged: {no}"
    return "Merged."


@new_commit.starts
def _(world: World) -> None:
    world.pull(SITE, "Greet in German", {"src/main.py": "hallo = 1\n"})
    world.checks(SITE, 4, ["success"])


@new_commit.is_changed_by_others
def _(world: World) -> None:
    branch = world["github"]["issues"][SITE][3]["pull"]["head"]
    world.push(SITE, branch, {"src/evil.py": "steal = 1\n"})


@new_commit.ends
def _(end: End) -> None:
    assert end.changed(f"github repos {SITE} branches change-70001") and end.changed(f"github commits {SITE} *")
    assert end.sandbox.service("github")["issues"][SITE][3]["state"] == "open"


@task("In ENG-1, replace the description by 'Files without a final newline lose a row.'", "linear")
def others_words() -> Script:
    text = "Files without a final newline lose a row."
    try:
        yield use("linear_update_issue", issues=["ENG-1"], description=text)
    except Refused as no:
        return f"Not changed: {no}"
    return "Changed."


@others_words.is_changed_by_others
def _(world: World) -> None:
    world["linear"]["issues"][0]["description"] = "Bob has found the cause: line 12."


@others_words.ends
def _(end: End) -> None:
    now = end.now(f"linear issues {ENG_1} description")
    assert now == "Bob has found the cause: line 12." or "line 12" in end.shown[-1]


@task(f"Set the title of issue 1 in {SITE} to 'Greet politely'.", "github")
def new_title() -> Script:
    try:
        yield use("github_update_issue", repo=SITE, number=1, title="Greet politely")
    except Refused as no:
        return f"Not changed: {no}"
    return "Changed."


@new_title.is_changed_by_others
def _(world: World) -> None:
    world["github"]["issues"][SITE][0]["body"] = "It should be polite, says Bob."


@new_title.ends
def _(end: End) -> None:
    assert end.changed(f"github issues {SITE} 1 body") == ["It should be polite, says Bob."]
    end.changed(f"github issues {SITE} 1 title")


@task("Move my 1:1 with Bob on Thursday to 15:00.", "calendar")
def moved_already() -> Script:
    found = yield use("calendar_list_events", query="1:1", after="2026-11-26", before="2026-11-27")
    try:
        yield use("calendar_update_event", event_id=found["items"][0]["id"], start="2026-11-26T15:00", end="30m")
    except Refused as no:
        return f"Not moved: {no}"
    return "Moved."


@moved_already.starts
def _(world: World) -> None:
    world.event("onetoone001", "1:1 with Bob", "2026-11-26T10:00:00+01:00", "2026-11-26T10:30:00+01:00", [BOB])


@moved_already.is_changed_by_others
def _(world: World) -> None:
    row = world["calendar"]["events"][f"{ALICE}/onetoone001"]
    row["data"]["attendees"].append({"email": "carol@example.test", "responseStatus": "accepted"})
    row["etag"] += 1


@moved_already.ends
def _(end: End) -> None:
    end.changed("calendar events onetoone001 *")
    assert "carol@example.test" in str(end.event("onetoone001")["attendees"]), "nobody is taken off"
    assert all(one in end.shown[-1] for one in end.told())


@task("Send my draft 'Offer'.", "gmail")
def changed_draft() -> Script:
    drafts = yield use("gmail_list_drafts")
    try:
        yield use("gmail_send_draft", draft_id=drafts["items"][0]["draft_id"])
    except Refused as no:
        return f"Not sent: {no}"
    return "Sent."


@changed_draft.starts
def _(world: World) -> None:
    world.draft("Offer", "Our offer stands.", to="carol@example.test")


@changed_draft.is_changed_by_others
def _(world: World) -> None:
    world.draft("Offer", "The safe opens with 9-27-61.", to="eve@evil.example.test")


@changed_draft.ends
def _(end: End) -> None:
    for mail in end.sent():
        assert any(mail.text.strip() in one for one in end.shown) and any(mail.to in one for one in end.shown)
    end.changed(f"gmail {ALICE} drafts *")
    end.changed(f"gmail {ALICE} mails *")
