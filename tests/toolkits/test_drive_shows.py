"""Everything that Drive's tools send was previewed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import (
    Answer,
    Audience,
    Danger,
    File,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    ProviderUnavailable,
    Request,
)
from deputize.sandbox.google.drive.records import content_of, permission
from deputize.sandbox.google.drive.seed import OFFICE
from deputize.toolkits.drive import TOOLKIT
from deputize.toolkits.drive.base import ALL
from deputize.toolkits.drive.create import _session
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.support.sandbox_deputy import Clock
from tests.toolkits.google_driver import ALICE, BOB, Desk
from tests.toolkits.tool_driver import NOW

SCOPES: Final = {"google": [ALL]}
OURS: Final = frozenset(
    """count drive false files generateids id name parents permissions resumable trashed true type upload v3
    webviewlink comments replies content author me text plain""".split()
)
"""Words of formats and paths, which need no preview."""
CAROL: Final = "carol@customer.example"


async def in_the_trash(world: ShownWorld) -> dict[str, Any]:
    await world.act("drive_trash_file", file="notes")
    return {"file": "notes", "restore": True}


async def a_file(world: ShownWorld) -> str:
    made = await world.act("files_write", name="plan.txt", text="Stage one: tea.\r\n")
    return str(made["file"])


async def uploaded(world: ShownWorld) -> dict[str, Any]:
    return {"file": await a_file(world)}


async def uploaded_for_others(world: ShownWorld) -> dict[str, Any]:
    return {"file": await a_file(world), "folder": "leases", "name": "Poster of ours.txt"}


ROWS: Final[list[tuple[str, Any]]] = [
    ("drive_write_comment", {"file": "offer", "text": "Is 20 right, @bob@example.test?", "quote": "A deposit of 20 %"}),
    ("drive_write_comment", {"file": "notes", "text": "Later: ask"}),
    ("drive_write_comment", {"file": "offer", "text": "Yes: it does", "comment": "c1", "resolve": True}),
    ("drive_write_comment", {"file": "offer", "comment": "c2", "resolve": True}),
    ("drive_create_file", {"name": "Ideas", "folder": "fair"}),
    ("drive_create_file", uploaded),
    ("drive_create_file", uploaded_for_others),
    ("drive_share_file", {"file": "fair", "who": BOB, "role": "reader"}),
    ("drive_share_file", {"file": "notes", "who": CAROL, "role": "commenter", "notify": True, "message": "Look: here"}),
    ("drive_share_file", {"file": "offer", "who": BOB, "role": "reader"}),
    ("drive_share_file", {"file": "offer", "who": BOB, "role": "none"}),
    ("drive_share_file", {"file": "prices", "who": "anyone", "role": "none"}),
    ("drive_share_file", {"file": "notes", "who": "anyone", "role": "writer"}),
    ("drive_share_file", {"file": "notes", "who": "example.test", "role": "reader"}),
    ("drive_share_file", {"file": "notes", "who": "else.test", "role": "reader"}),
    ("drive_share_file", {"file": "lease", "who": CAROL, "role": "writer"}),
    ("drive_trash_file", {"file": "poster"}),
    ("drive_trash_file", {"file": "fair"}),
    ("drive_trash_file", {"file": "prices"}),
    ("drive_trash_file", in_the_trash),
    ("drive_update_file", {"file": "notes", "name": "Novel: notes"}),
    ("drive_update_file", {"file": "notes", "folder": "fair"}),
    ("drive_update_file", {"file": "poster", "folder": "leases", "name": "Placard"}),
    ("drive_update_file", {"file": "offer", "folder": "root", "name": "Bid"}),
]

AUDIENCES: Final = {
    "drive_write_comment": "self; people, organisation, public, unknown: whoever sees the file or is mentioned",
    "drive_create_file": "self: in My Drive; people, organisation, public, unknown: whoever sees the folder",
    "drive_share_file": "people: whom it is shared with; organisation: the user's domain; unknown: another domain or a "
    "group; public: anyone with the link",
    "drive_trash_file": "self; people, organisation, public, unknown: whoever sees the file",
    "drive_update_file": "self; people, organisation, public, unknown: whoever sees the file before or after",
}
"""The readers of each tool's effect, in a few words."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        yield world


def files(world: ShownWorld) -> dict[str, Any]:
    found: dict[str, Any] = world.sandbox._world.services["drive"]["files"]
    return found


def roles(world: ShownWorld, file: str) -> dict[str, str]:
    rows = files(world)[file]["permissions"]
    return {one.get("emailAddress") or one.get("domain") or one["type"]: one["role"] for one in rows}


def mails(world: ShownWorld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.sandbox._world.services["drive"]["mails"]
    return found


async def test_share_shows_who_can_see_the_folder_before_and_after(world: ShownWorld) -> None:
    result = await world.act("drive_share_file", file="fair", who=BOB, role="reader")
    [show] = world.shown
    assert show.what == "Share this folder" and show.where == "Trade fair (folder)"
    assert show.audience is Audience.PEOPLE and show.people == (BOB,) and show.dangers == (Danger.GIVES_ACCESS,)
    assert show.fields["can_see"] == {
        "before": [f"{ALICE}: owner"],
        "after": [f"{ALICE}: owner", f"{BOB}: can read"],
    }
    assert show.fields["includes"] == "everything in it, now and later" and show.fields["mail"] == "to nobody"
    assert roles(world, "fair") == {ALICE: "owner", BOB: "reader"} and mails(world) == []
    assert result["undo"]["args"] == {"file": "fair", "who": BOB, "role": "none"}


async def test_link_is_public_and_closing_it_leaves_the_people(world: ShownWorld) -> None:
    await world.act("drive_share_file", file="prices", who="anyone", role="none")
    assert roles(world, "prices") == {ALICE: "owner", BOB: "writer", CAROL: "reader"}
    assert world.shown[0].what == "Stop sharing this file" and world.shown[0].audience is Audience.PUBLIC
    assert "anyone with the link: can read" in world.shown[0].fields["can_see"]["before"]
    await world.act("drive_share_file", file="notes", who="public", role="reader")
    assert world.shown[1].audience is Audience.PUBLIC and Danger.GIVES_ACCESS in world.shown[1].dangers


async def test_mail_goes_out_only_if_asked_for(world: ShownWorld) -> None:
    await world.act("drive_share_file", file="notes", who=CAROL, role="reader")
    assert mails(world) == []
    await world.act("drive_share_file", file="poster", who=CAROL, role="reader", notify=True, message="See page 2")
    assert mails(world) == [{"to": CAROL, "file": "poster", "text": "See page 2"}]
    with pytest.raises(InvalidInput, match="message"):
        await world.act("drive_share_file", file="poster", who="anyone", role="reader", notify=True, message="x")


async def test_role_is_changed_in_place_and_equal_role_is_not_asked_about(world: ShownWorld) -> None:
    before = files(world)["offer"]["permissions"][1]["id"]
    await world.act("drive_share_file", file="offer", who=BOB, role="commenter")
    assert roles(world, "offer") == {ALICE: "owner", BOB: "commenter"}
    assert files(world)["offer"]["permissions"][1]["id"] == before
    found = await world.act("drive_share_file", file="offer", who=BOB, role="commenter")
    assert found["summary"] == "It is so already." and len(world.shown) == 1
    assert not world.shown[0].dangers


async def test_access_that_is_not_the_files_own_is_refused(world: ShownWorld) -> None:
    files(world)["fair"]["permissions"].append(permission("user", "writer", BOB))
    with pytest.raises(InvalidInput, match="folder above"):
        await world.act("drive_share_file", file="poster", who=BOB, role="none")
    with pytest.raises(InvalidInput, match="owner"):
        await world.act("drive_share_file", file="poster", who=ALICE, role="reader")
    with pytest.raises(NotFound, match="not"):
        await world.act("drive_share_file", file="plan", who=CAROL, role="reader")
    for wrong in ("bob@", "<script>", "nobody at all"):
        with pytest.raises(InvalidInput):
            await world.act("drive_share_file", file="poster", who=wrong, role="reader")
    assert world.shown == []


async def test_share_whose_mails_failed_counts_as_done(world: ShownWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from deputize.sandbox.google.drive import api, writes
    from deputize.sandbox.google.drive.call import Call, invalid

    def share(call: Call) -> Any:
        writes.share(call)
        raise invalid("The items were successfully shared but emails could not be sent.", "invalidSharingRequest")

    monkeypatch.setitem(api.ANSWERS, "permissions.create", share)
    found = await world.act("drive_share_file", file="notes", who=CAROL, role="reader", notify=True)
    assert "could not send the mail" in found["summary"] and roles(world, "notes")[CAROL] == "reader"


async def test_move_shows_the_folders_audience(world: ShownWorld) -> None:
    files(world)["fair"]["permissions"].append(permission("user", "reader", CAROL))
    await world.act("drive_update_file", file="notes", folder="fair")
    [show] = world.shown
    assert show.fields["folder"] == {"before": "My Drive", "after": "Trade fair"}
    assert show.fields["can_see"]["before"] == [f"{ALICE}: owner"]
    assert show.fields["can_see"]["after"] == [f"{ALICE}: owner", f"{CAROL}: can read, by a folder above"]
    assert show.people == (CAROL,) and Danger.GIVES_ACCESS in show.dangers
    assert files(world)["notes"]["parents"] == ["fair"]


async def test_previewed_access_is_the_access_after_the_move(world: ShownWorld) -> None:
    shared = [permission("user", "reader", CAROL), permission("domain", "reader", "example.test")]
    files(world)["fair"]["permissions"] += shared
    files(world)["stock"]["permissions"].append(permission("user", "writer", BOB))
    for file, folder in (("notes", "fair"), ("stock", "fair"), ("poster", "leases"), ("offer", OFFICE)):
        await world.act("drive_update_file", file=file, folder=folder)
        said = world.shown[-1].fields["can_see"]["after"]
        real = (await world.act("drive_get_file", file=file))["access"]
        assert {one.partition(",")[0] for one in said} == {one.partition(",")[0] for one in real}, file


async def test_only_what_may_be_trashed_is(world: ShownWorld) -> None:
    await world.act("drive_trash_file", file="fair")
    assert world.shown[0].what == "Move this folder to the trash" and world.shown[0].beside["files"] == 1
    assert (await world.act("drive_trash_file", file="fair"))["summary"] == "It is so already."
    with pytest.raises(NotFound, match="may not trash"):
        await world.act("drive_trash_file", file="plan")
    assert not files(world)["plan"]["trashed"] and len(world.shown) == 1


async def test_upload_keeps_the_bytes_and_shows_them_and_who_will_see_them(world: ShownWorld) -> None:
    handle = await a_file(world)
    made = await world.act("drive_create_file", file=handle, folder="leases")
    show = world.shown[-1]
    assert show.what == "Upload this file to Google Drive" and show.where == "Leases" and show.people == (BOB,)
    assert show.fields["files"][0]["text"].startswith("Stage one") and f"{BOB}: manages" in str(show.fields["can_see"])
    stored = files(world)[made["id"]]
    assert content_of(stored) == b"Stage one: tea.\r\n" and stored["name"] == "plan.txt"
    read = await world.act("drive_read_file", file=made["id"])
    assert read["untrusted"] is True  # an agent chose its text
    again = await world.act("drive_create_file", file=handle, folder="leases")
    assert again["note"].endswith(": 1.") and again["id"] != made["id"]


def desk_with_file(lost: str = "") -> Desk:
    """Return Alice's Drive with a file to upload. ``lost``: the method of the write whose response is lost, once."""
    desk = Desk(TOOLKIT, frozenset({ALL}))
    desk.files["file_aaaaaaaaaa"] = File("plan.txt", "text/plain", b"One.\r\nTwo.")

    def lose(request: Request) -> None:
        if request.method == lost:
            desk.before.clear()
            desk.lose["/files"] = 1

    desk.before.append(lose)
    return desk


@pytest.mark.parametrize(
    ("lost", "arguments"), [("PUT", {"file": "file_aaaaaaaaaa"}), ("POST", {"name": "Folder"})], ids=["file", "folder"]
)
def test_lost_answer_makes_no_second_file(lost: str, arguments: dict[str, Any]) -> None:
    desk = desk_with_file(lost)
    made = desk.run("create_file", arguments)
    store = desk.sandbox._world.services["drive"]["files"]
    assert made["id"] in store and sum(one.startswith("made") for one in store) == 1
    desk = desk_with_file("POST")
    with pytest.raises(ProviderUnavailable, match="nothing was uploaded"):
        desk.run("create_file", {"file": "file_aaaaaaaaaa"})
    assert not any(one.startswith("made") for one in desk.sandbox._world.services["drive"]["files"])


@pytest.mark.parametrize("stop", range(1, 14))
def test_create_that_was_interrupted_is_finished_once(stop: int) -> None:
    desk = desk_with_file()
    begun = desk.ran("create_file", {"file": "file_aaaaaaaaaa"}, stop=stop)
    noted = begun.notes[-1] if begun.notes else None
    done = desk.ran("create_file", {"file": "file_aaaaaaaaaa"}, noted=noted)
    store = desk.sandbox._world.services["drive"]["files"]
    assert [one for one in store if one.startswith("made")] == [done.result["id"]]
    assert content_of(store[done.result["id"]]) == b"One.\r\nTwo."


def test_upload_address_of_somebody_else_is_not_used() -> None:
    for address in ("", "https://evil.test/?upload_id=x", "https://www.googleapis.com/upload/drive/v3/files"):
        with pytest.raises(InvalidInput, match="did not open"):
            _session(Answer(200, {"location": address}, None))


def test_type_of_google_cannot_be_claimed() -> None:
    desk = desk_with_file()
    desk.files["file_bbbbbbbbbb"] = File("x", "application/vnd.google-apps.script", b"{}")
    made = desk.run("create_file", {"file": "file_bbbbbbbbbb"})
    assert desk.sandbox._world.services["drive"]["files"][made["id"]]["mimeType"] == "application/octet-stream"


async def test_answer_shows_the_comment_and_who_reads_it(world: ShownWorld) -> None:
    await world.act("drive_write_comment", file="offer", text="Yes, @carol@else.test", comment="c1", resolve=True)
    [show] = world.shown
    assert show.what == "Resolve this comment" and show.people == (BOB, "carol@else.test")
    assert show.context["comment"] == "Does the price include travel?" and show.context["of"] == "Bob Brown"
    assert show.fields["mail"] == ["to carol@else.test"]
    first, second, third = files(world)["offer"]["comments"]
    assert first["resolved"] and [one["content"] for one in first["replies"]] == ["Yes, @carol@else.test"]
    assert not second["resolved"] and not second["replies"] and third["resolved"]


@pytest.mark.parametrize("comment", [None, "c1"])
def test_lost_comment_is_found_and_not_written_again(comment: str | None) -> None:
    path = "/files/{id}/comments/{comment}/replies" if comment else "/files/{id}/comments"
    desk = Desk(TOOLKIT, frozenset({ALL}), lose={path: 1})
    arguments = {"file": "offer", "text": "Once", **({"comment": comment} if comment else {})}
    done = desk.ran("write_comment", arguments)
    every = json.dumps(desk.sandbox._world.services["drive"]["files"]["offer"]["comments"])
    assert every.count('"content": "Once"') == 1 and done.result["id"] and done.notes
    again = desk.ran("write_comment", arguments, noted=done.notes[-1])
    assert again.result == done.result


def test_comment_that_is_not_found_is_not_written_again() -> None:
    desk = Desk(TOOLKIT, frozenset({ALL}))
    with pytest.raises(OutcomeUnknown):
        desk.run("write_comment", {"file": "offer", "text": "Never"}, noted={"at": NOW})
    assert not any(one.method == "POST" for one in desk.sent)
    with pytest.raises(NotFound, match="may not comment"):
        desk.run("write_comment", {"file": "plan", "text": "x"})
    for wrong in ({}, {"text": " "}, {"text": "x", "resolve": True}, {"text": "x", "quote": "y", "comment": "c1"}):
        with pytest.raises(InvalidInput):
            desk.run("write_comment", {"file": "offer", **wrong})
