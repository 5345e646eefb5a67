"""The sandbox's Drive: it accepts what Google's own document allows; people see what they were given."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.google.drive.api import ANSWERS
from deputize.sandbox.google.drive.fields import BadMask, masked, read_mask
from deputize.sandbox.google.drive.methods import BOOLEANS, FIELDS, METHODS, full_scope
from deputize.sandbox.google.drive.seed import BOBS_SECRET, OFFICE
from tests.sandbox.registered_app import ALICE, BOB
from tests.support.counterparts import require
from tests.support.discovery import Discovery

ROOT = "https://www.googleapis.com/drive/v3"
UPLOAD = "https://www.googleapis.com/upload/drive/v3/files"
DRIVES = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true", "corpora": "allDrives"}


class Drive:
    """One person's Drive, without the toolkit."""

    def __init__(self, sandbox: Sandbox, person: str = ALICE, *scopes: str) -> None:
        granted = [full_scope(one) for one in scopes or ("all",)]
        self.token = sandbox.give("google", person, granted)["access_token"]
        self.http = httpx.AsyncClient(transport=sandbox.transport())

    async def send(self, method: str, url: str, body: Any = None, **how: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", **how.pop("headers", {})}
        content = how.pop("content", None)
        url = url if url.startswith("https:") else ROOT + url
        given = {"content": content} if content is not None else {"json": body}
        return await self.http.request(method, url, headers=headers, params=how or None, **given)

    async def ok(self, method: str, url: str, body: Any = None, **how: Any) -> Any:
        reply = await self.send(method, url, body, **how)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    async def refused(self, method: str, url: str, body: Any = None, **how: Any) -> str:
        reply = await self.send(method, url, body, **how)
        assert reply.status_code >= 400, reply.text
        return f"{reply.status_code} {reply.json()['error']['errors'][0]['reason']}"


@pytest.fixture
def alice(sandbox: Sandbox) -> Drive:
    return Drive(sandbox)


@pytest.fixture
def bob(sandbox: Sandbox) -> Drive:
    return Drive(sandbox, BOB)


@pytest.mark.counterpart
def test_drive_methods_match_googles_discovery_document() -> None:
    found = importlib.util.find_spec("googleapiclient") is not None
    require("google-api-python-client", found, "pip install google-api-python-client")
    document = Discovery.of("drive.v3")
    for method in METHODS:
        request = httpx.Request(method.verb, ROOT + re.sub(r"\{\w+\}", "x", method.path))
        call = document.call(request)
        assert (call.id, set(call.method["scopes"])) == (f"drive.{method.id}", set(method.scopes))
        query = {name: spec for name, spec in call.parameters.items() if spec["location"] == "query"}
        assert set(query) == method.query, method.id
        assert method.body == call.method.get("request", {}).get("$ref", "")
        assert method.uploads == ("mediaUpload" in call.method)
        for name, spec in query.items():
            assert (spec["type"] == "boolean") == (name in BOOLEANS)
    assert set(ANSWERS) == {method.id for method in METHODS}
    for name, fields in FIELDS.items():
        assert fields == document._document["schemas"][name]["properties"].keys(), name


async def test_people_see_only_what_they_were_given(alice: Drive, bob: Drive) -> None:
    mine = {one["id"] for one in (await alice.ok("GET", "/files", **DRIVES))["files"]}
    his = {one["id"] for one in (await bob.ok("GET", "/files", **DRIVES))["files"]}
    assert {"offer", "lease", "plan"} <= mine & his and "pay" not in mine and {"notes", "fair"} & his == set()
    assert await alice.refused("GET", "/files/pay") == "404 notFound"
    assert await bob.refused("GET", "/files/notes", alt="media") == "404 notFound"
    assert BOBS_SECRET not in json.dumps(await alice.ok("GET", "/files", q="fullText contains 'salaries'", **DRIVES))
    assert await alice.refused("GET", "/files/lease") == "404 notFound"  # without supportsAllDrives
    assert (await alice.ok("GET", "/files/lease", supportsAllDrives="true"))["id"] == "lease"
    assert "lease" not in {one["id"] for one in (await alice.ok("GET", "/files"))["files"]}


async def test_app_scope_reaches_only_the_apps_files(sandbox: Sandbox) -> None:
    app = Drive(sandbox, ALICE, "file")
    assert (await app.ok("GET", "/files"))["files"] == []
    assert await app.refused("GET", "/files/notes") == "404 notFound"
    made = await app.ok("POST", "/files", {"name": "Mine"})
    assert [one["id"] for one in (await app.ok("GET", "/files"))["files"]] == [made["id"]]
    assert await app.refused("GET", "/drives") == "403 insufficientPermissions"
    readonly = Drive(sandbox, ALICE, "readonly")
    assert await readonly.refused("POST", "/files", {"name": "No"}) == "403 insufficientPermissions"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name contains 'off'", {"offer"}),
        ("name contains 'thwind'", set()),
        ("name = 'Lease notes' or name = 'Stock'", {"notes", "stock"}),
        ("not name = 'Stock' and mimeType = 'application/vnd.google-apps.spreadsheet'", set()),
        ("fullText contains 'booth tea'", {"poster"}),
        ("fullText contains '\"tea booth\"'", set()),
        ("'fair' in parents and trashed = true", {"old"}),
        ("'me' in owners and trashed = false and mimeType contains 'text/'", {"poster", "prices"}),
        ("sharedWithMe", {"plan"}),
        ("modifiedTime > '2100-01-01T00:00:00'", set()),
        ("name contains 'it\\'s'", set()),
    ],
)
async def test_query_finds(alice: Drive, query: str, found: set[str]) -> None:
    assert {one["id"] for one in (await alice.ok("GET", "/files", q=query))["files"]} == found


@pytest.mark.parametrize(
    "query", ["name", "name contains", "name contains 'x", "nam = 'x'", "name = 'x') or (", "name ~ 'x'", "'x' in cats"]
)
async def test_wrong_query_is_refused(alice: Drive, query: str) -> None:
    assert (await alice.refused("GET", "/files", q=query)).startswith("400")


async def test_pages_orders_and_fields(alice: Drive) -> None:
    first = await alice.ok("GET", "/files", pageSize="2", orderBy="name", fields="nextPageToken,files(id,owners(me))")
    assert [*first] == ["nextPageToken", "files"] and len(first["files"]) == 2
    assert {*first["files"][0]} == {"id", "owners"} and first["files"][0]["owners"] in ([{"me": True}], [{"me": False}])
    second = await alice.ok("GET", "/files", pageSize="2", orderBy="name", pageToken=first["nextPageToken"])
    assert not {one["id"] for one in first["files"]} & {one["id"] for one in second["files"]}
    assert await alice.refused("GET", "/files", q="fullText contains 'x'", orderBy="name") == "400 badRequest"
    assert await alice.refused("GET", "/files", fields="files(nam)") == "400 invalidParameter"
    assert await alice.refused("GET", "/files", pagesize="2") == "400 invalidParameter"
    assert await alice.refused("GET", "/files/offer/comments") == "400 required"
    for wrong in ("files(id", "files id", "files(id))", ""):
        with pytest.raises(BadMask):
            read_mask(wrong, "")
    assert masked({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None}}) == {"a": {"b": 1}}


async def test_content_is_downloaded_or_exported(alice: Drive) -> None:
    assert (await alice.send("GET", "/files/poster", alt="media")).content == b"Come to booth 7.\r\nWe have tea.\r\n"
    assert (await alice.send("GET", "/files/offer/export", mimeType="text/markdown")).text.startswith("# Offer")
    assert (await alice.send("GET", "/files/stock/export", mimeType="text/csv")).text.splitlines()[1] == "700,12"
    assert await alice.refused("GET", "/files/offer", alt="media") == "403 fileNotDownloadable"
    assert await alice.refused("GET", "/files/poster/export", mimeType="text/plain") == "403 fileNotExportable"
    assert await alice.refused("GET", "/files/offer/export", mimeType="text/csv") == "400 badRequest"


async def test_files_are_made_changed_moved_and_trashed(alice: Drive) -> None:
    [id] = (await alice.ok("GET", "/files/generateIds", count="1"))["ids"]
    made = await alice.ok("POST", "/files", {"id": id, "name": "New", "parents": ["fair"], "mimeType": "text/plain"})
    assert made["id"] == id and await alice.refused("POST", "/files", {"id": id, "name": "New"}) == "409 fileIdInUse"
    doc = {"id": "x", "name": "D", "mimeType": "application/vnd.google-apps.document"}
    assert await alice.refused("POST", "/files", doc) == "400 invalid"
    await alice.ok("PATCH", f"/files/{id}", {"name": "Renamed"}, addParents="root", removeParents="fair")
    found = await alice.ok("GET", f"/files/{id}", fields="name,parents,trashed")
    assert found == {"name": "Renamed", "parents": ["root-100000000000000000002"], "trashed": False}
    await alice.ok("PATCH", f"/files/{id}", {"trashed": True})
    assert (await alice.ok("GET", f"/files/{id}", fields="trashed"))["trashed"] is True
    assert await alice.refused("PATCH", "/files/plan", {"trashed": True}) == "403 insufficientFilePermissions"
    moved = await alice.refused("PATCH", "/files/fair", {}, addParents=OFFICE, supportsAllDrives="true")
    assert moved == "403 teamDrivesFolderMoveInNotSupported"


async def test_bytes_are_uploaded_at_once_or_in_a_session(alice: Drive, bob: Drive) -> None:
    given = b'Content-Type: application/json\r\n\r\n{"name": "a.bin"}'
    body = b"--b1\r\n" + given + b"\r\n--b1\r\nContent-Type: x/y\r\n\r\n\x00--b2\r\n\r\n--b1--"
    kind = {"content-type": "multipart/related; boundary=b1"}
    made = await alice.ok("POST", UPLOAD, content=body, headers=kind, uploadType="multipart")
    assert (await alice.send("GET", f"/files/{made['id']}", alt="media")).content == b"\x00--b2\r\n"
    start = await alice.send(
        "POST", UPLOAD, {"name": "b"}, uploadType="resumable", headers={"x-upload-content-type": "x/y"}
    )
    session = dict(httpx.URL(start.headers["location"]).params)
    assert await bob.refused("PUT", UPLOAD, content=b"stolen", **session) == "404 notFound"
    start = await alice.send(
        "POST", UPLOAD, {"name": "b"}, uploadType="resumable", headers={"x-upload-content-type": "x/y"}
    )
    session = dict(httpx.URL(start.headers["location"]).params)
    made = await alice.ok("PUT", UPLOAD, content=b"bytes", **session)
    assert (await alice.send("GET", f"/files/{made['id']}", alt="media")).content == b"bytes"
    assert await alice.refused("PUT", UPLOAD, content=b"bytes", **session) == "404 notFound"


async def test_sharing_is_inherited_and_mails(sandbox: Sandbox, alice: Drive, bob: Drive) -> None:
    assert await bob.refused("GET", "/files/poster") == "404 notFound"
    reader = {"type": "user", "role": "reader", "emailAddress": BOB}
    given = await alice.ok("POST", "/files/fair/permissions", reader)
    assert (await bob.ok("GET", "/files/poster"))["id"] == "poster"
    assert sandbox.service("drive")["mails"] == [{"to": BOB, "file": "fair", "text": ""}]
    assert (await alice.refused("DELETE", f"/files/poster/permissions/{given['id']}")).startswith("403")
    assert (await bob.refused("POST", "/files/fair/permissions", reader)).startswith("403")
    await alice.ok("PATCH", f"/files/fair/permissions/{given['id']}", {"role": "writer"})
    await alice.ok("DELETE", f"/files/fair/permissions/{given['id']}")
    assert await bob.refused("GET", "/files/poster") == "404 notFound"
    wrong = {"type": "anyone", "role": "reader"}
    assert (
        await alice.refused("POST", "/files/fair/permissions", wrong, sendNotificationEmail="true") == "400 badRequest"
    )


async def test_comments_are_written_answered_and_resolved(alice: Drive, bob: Drive) -> None:
    made = await bob.ok("POST", "/files/offer/comments", {"content": "Look"}, fields="id,author(me,displayName)")
    assert made["author"] == {"me": True, "displayName": "Bob Brown"}
    path = f"/files/offer/comments/{made['id']}"
    await alice.ok("POST", f"{path}/replies", {"content": "Done", "action": "resolve"}, fields="id")
    found = await alice.ok("GET", path, fields="resolved,author(me,emailAddress),replies(content)")
    assert found == {"resolved": True, "author": {"me": False}, "replies": [{"content": "Done"}]}
    assert (await alice.refused("DELETE", path)).startswith("403")
    assert (await alice.refused("POST", "/files/plan/comments", {"content": "x"}, fields="id")).startswith("403")
