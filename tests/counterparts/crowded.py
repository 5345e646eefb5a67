"""A sandbox full of objects, each as long as its provider allows."""

from __future__ import annotations

import base64
import copy
import hashlib
from typing import Any, Final

from deputize.sandbox import Sandbox
from deputize.sandbox.google.contacts import person
from deputize.sandbox.google.drive.records import permission
from deputize.sandbox.google.drive.seed import comment, file
from deputize.sandbox.linear.seed import stable_id
from deputize.sandbox.people import SEEDED, Person
from deputize.sandbox.salesforce import objects
from deputize.sandbox.salesforce.seed import record_id
from tests.toolkits.tool_driver import NOW

ENG, DM, FILE = "C0ENG000001", "D0ALICEBOB1", "F0REPORT001"
ALICE, BOB = "alice@example.test", "bob@example.test"
IDS: Final = base64.b64encode(b"".join(hashlib.sha256(bytes([n])).digest() for n in range(24))).decode()
SCRIPTS: Final = {
    "latin": "Quarterly numbers and what they mean for all of us in the coming year. ",
    "russian": "Напоминаю, что встреча по проекту перенесена на четверг. Пожалуйста, подтвердите участие. ",
    "japanese": "先日お送りした資料について、いくつか確認したい点がございます。",
    "emoji": "Great 🎉🎉 team 👩\u200d💻👍🏽 ship 🚀 it ✅❌ ",
    "ids": IDS,
}


def crowded(text: str) -> Sandbox:
    """Return a sandbox whose titles, names and texts are made of ``text``."""
    sandbox = Sandbox(clock=lambda: NOW)
    world = sandbox._world
    many = [Person(f"somebody.with.a.long.name.{n}@example.test", f"{text[:40]} {n}", f"2{n:020}") for n in range(90)]
    world.people = (*SEEDED, *many)
    _calendar(world.services["calendar"], text)
    _contacts(world.services["contacts"], text)
    _drive(world.services["drive"], text)
    _slack(world.services["slack"], text)
    _linear(world.services["linear"], text)
    _salesforce(world.services["salesforce"]["records"], text)
    return sandbox


def long(text: str, size: int) -> str:
    """Repeat the text up to this many characters."""
    return (text * (size // len(text) + 1))[:size]


# ----------------------------------------------------------------- Google


def _calendar(store: dict[str, Any], text: str) -> None:
    like = store["events"][f"{ALICE}/focus000001"]
    guests = [
        {
            "email": f"somebody.with.a.long.name.{n}@example.test",
            "displayName": long(text, 80),
            "responseStatus": "accepted",
            "comment": long(text, 100),
        }
        for n in range(40)
    ]
    organizer = {"email": "somebody.else@department.example.test", "displayName": long(text, 80)}
    words = {"summary": long(text, 900), "location": long(text, 900), "description": long(text, 3_000)}
    for n in range(80):
        at = f"2026-12-0{n % 7 + 1}T{8 + n % 9:02}"
        times = {
            name: {"dateTime": f"{at}:{minute}:00+01:00", "timeZone": "Europe/Berlin"}
            for name, minute in (("start", "00"), ("end", "30"))
        }
        data = {**like["data"], "eventType": "default", "organizer": organizer, "attendees": guests, **words, **times}
        id = f"9vjfruhtfn6vns5p3g6qdoa{n:03}"
        store["events"][f"{ALICE}/{id}"] = {**like, "id": id, "home": ALICE, "data": data, "own": {}, "removed": []}
    shared = [
        {
            "kind": "calendar#aclRule",
            "etag": '"1"',
            "id": f"user:u{n}@example.test",
            "role": "reader",
            "scope": {"type": "user", "value": f"u{n}@example.test"},
        }
        for n in range(40)
    ]
    first = store["calendars"][ALICE]
    for n in range(90):
        id = f"c_{hashlib.sha256(bytes([n])).hexdigest()}@group.calendar.google.com"
        about = {
            "summary": long(text, 250),
            "description": long(text, 1000),
            "location": long(text, 200),
            "acl": shared,
        }
        store["calendars"][id] = {**first, **about}
        store["lists"][ALICE][id] = {"selected": True}


def _contacts(store: dict[str, Any], text: str) -> None:
    for n in range(120):
        mails = [f"somebody.with.a.long.name.{n}.{at}@department.example.test" for at in range(6)]
        about: dict[str, Any] = {
            "phoneNumbers": [{"value": f"+49 30 123456{at:02}", "type": "work"} for at in range(8)],
            "organizations": [{"name": long(text, 200), "title": long(text, 200)}],
            "biographies": [{"value": text * 400}],
            "nicknames": [{"value": long(text, 100)}],
            "addresses": [{"formattedValue": long(text, 300)} for _ in range(5)],
            "urls": [{"value": f"https://example.test/{long('x', 300)}"} for _ in range(5)],
            "relations": [{"person": long(text, 100)} for _ in range(9)],
        }
        store["own"][ALICE].append(
            person(f"c{n + 10}", "CONTACT", f"Zoe {long(text, 100)}", *mails, **copy.deepcopy(about))
        )
        store["other"][ALICE].append(person(f"o{n + 10}", "OTHER_CONTACT", f"Zoe {long(text, 100)}", *mails))
        store["directory"].append(
            person(f"3{n:020}", "DOMAIN_PROFILE", f"Zoe {long(text, 100)}", *mails, **copy.deepcopy(about))
        )


def _drive(store: dict[str, Any], text: str) -> None:
    at = "2026-11-20T10:00:00.000Z"
    everybody = [permission("user", "reader", f"somebody.with.a.long.name.{n}@example.test") for n in range(300)]
    for n in range(120):
        store["files"][f"crowd{n or ''}"] = file(
            *(f"crowd{n or ''}", long(text, 200), "document", ALICE, f"root-{SEEDED[1].sub}", at),
            text=text * 400,
            description=long(text, 2000),
            shared=everybody,
        )
        store["drives"][f"0A{n}"] = {"id": f"0A{n}", "name": long(text, 200), "createdTime": at, "members": everybody}
        store["drives"][f"0A{n}"]["members"] = [permission("user", "reader", ALICE)]
    crowd = store["files"]["crowd"]
    crowd["revisions"] = [{**crowd["revisions"][0], "id": f"r{n}"} for n in range(90)]
    replies = [{"id": f"p{n}", "by": BOB, "content": long(text, 800), "createdTime": at} for n in range(60)]
    crowd["comments"] = [comment(f"k{n}", BOB, long(text, 800), at, replies=replies) for n in range(90)]


# ----------------------------------------------------------------- Slack


def _slack(store: dict[str, Any], text: str) -> None:
    eng = store["channels"][ENG]
    likes = [{"name": f"party_{n}", "count": 2, "users": ["U0ALICE0000", "U0BOB000000"]} for n in range(12)]
    files = [store["files"][FILE] | {"title": long(text, 200)} for _ in range(5)]
    for n in range(120):
        ts = f"{int(NOW) - 5000 + n}.{n:06d}"
        more = {"reactions": likes, "files": files} if n % 2 else {}
        eng["messages"].append(
            {"type": "message", "user": "U0BOB000000", "text": f"deploy {text * 90}"[:8_000], "ts": ts} | more
        )
        row = {
            "id": f"C1{n:09d}",
            "name": f"a-channel-with-a-long-name-{n}",
            "topic": long(text, 250),
            "purpose": long(text, 250),
            "messages": [],
        }
        store["channels"][row["id"]] = {**eng, **row}
        file = {"id": f"F1{n:09d}", "title": f"deploy {long(text, 200)}", "name": f"{'file' * 20}{n}.csv"}
        store["files"][file["id"]] = store["files"][FILE] | file
        plan = {
            "id": f"Q1{n:09d}",
            "channel_id": ENG,
            "post_at": int(NOW) + 9_000 + n,
            "date_created": 1,
            "user": "U0ALICE0000",
        }
        store.setdefault("scheduled", []).append(plan | {"text": text * 90})
        group = {"id": f"S1{n:09d}", "handle": f"group-{n}", "name": long(text, 80), "description": long(text, 140)}
        store["usergroups"].append(group | {"users": ["U0ALICE0000", "U0BOB000000"]})
    eng["pins"] = [row["ts"] for row in eng["messages"]]
    eng["bookmarks"] = [
        {
            "id": f"Bk{n:09d}",
            "title": long(text, 200),
            "link": f"https://example.test/{long('x', 300)}",
            "type": "link",
            "emoji": "",
        }
        for n in range(60)
    ]
    eng |= {"topic": long(text, 250), "purpose": long(text, 250)}
    csv = (text + ",1\n") * 400
    store["files"][FILE] |= {"content": base64.b64encode(csv.encode()).decode(), "title": long(text, 200)}


# ----------------------------------------------------------------- Linear


def _linear(rows: dict[str, list[dict[str, Any]]], text: str) -> None:
    names = {"title": long(text, 250), "name": long(text, 80)}
    texts = {"description": long(text, 9_000), "content": long(text, 9_000), "body": long(text, 4_000)}
    keep = {
        "teams": ("name",),
        "statuses": ("name",),
        "customers": ("name",),
        "projects": ("name",),
        "initiatives": ("name",),
    }
    for kind, every in rows.items():
        for row in every if kind != "uploads" else ():
            row |= {
                field: new
                for field, new in (names | texts).items()
                if row.get(field) and field not in keep.get(kind, ())
            }
    for kind in ("projects", "initiatives"):
        rows[kind][0] |= {"description": long(text, 255), "content": long(text, 30_000)}
    project, initiative = rows["projects"][0]["id"], rows["initiatives"][0]["id"]
    for kind in (
        "issues",
        "comments",
        "projects",
        "project_updates",
        "initiatives",
        "initiative_updates",
        "documents",
        "milestones",
        "labels",
        "needs",
        "notifications",
        "cycles",
        "customers",
        "views",
        "templates",
    ):
        like = rows[kind][0]
        for n in range(110):
            more: dict[str, Any] = {
                "id": stable_id(kind, f"more {n}"),
                "createdAt": "2026-11-01T00:00:00.000Z",
                "updatedAt": "2026-11-02T00:00:00.000Z",
            }
            more |= {"number": 100 + n} if "number" in like else {}
            more |= {"slugId": f"{n:012x}"} if "slugId" in like else {}
            more |= (
                {"name": f"{names['name'][:70]} {n}"}
                if kind in ("labels", "customers", "projects", "initiatives")
                else {}
            )
            rows[kind].append(copy.deepcopy(like) | more)
    for n, issue in enumerate(rows["issues"][7:]):
        issue |= {"parent": rows["issues"][0]["id"]} if n % 2 else {"project": project}
        rows["relations"].append(
            {
                "id": stable_id("relation", str(n)),
                "type": "blocks",
                "issue": rows["issues"][0]["id"],
                "related": issue["id"],
                "createdAt": "2026-11-01T00:00:00.000Z",
            }
        )
        rows["attachments"].append(
            {
                "id": stable_id("attachment", str(n)),
                "issue": rows["issues"][0]["id"],
                "url": f"https://example.test/{'x' * 290}",
                "title": names["title"],
                "createdAt": "2026-11-01T00:00:00.000Z",
                "author": BOB,
            }
        )
        rows["initiative_links"].append(
            {
                "id": stable_id("link", f"m{n}"),
                "initiative": initiative,
                "project": rows["projects"][-1 - n % 100]["id"],
            }
        )
    csv = (text + ",1\n") * 150
    rows["uploads"][0] |= {"bytes": base64.b64encode(csv.encode()).decode(), "size": len(csv.encode())}


# ----------------------------------------------------------------- Salesforce


def _salesforce(records: dict[str, list[dict[str, Any]]], text: str) -> None:
    account, contact = record_id("Account", 1), record_id("Contact", 1)
    for kind in (
        "Account",
        "Contact",
        "Opportunity",
        "Lead",
        "Case",
        "Task",
        "Event",
        "Note",
        "Group",
        "RecordType",
        "User",
        "OpportunityContactRole",
    ):
        like = next(iter(records.get(kind) or []), None)
        if like is None:
            continue
        for row in [like, *(copy.deepcopy(like) for _ in range(110))]:
            n = 1 if row is like else len(records[kind]) + 10
            for field, type in objects.FIELDS[kind].items():
                if type == "string" and field not in ("Type", "SobjectType", "UserType", "Status"):
                    row[field] = f"Northwind {long(text, 230)}" if (kind, n) != ("Account", 1) else row.get(field)
                elif type == "textarea":
                    row[field] = long(text, 4_000)
            row |= {"AccountId": account} if "AccountId" in objects.FIELDS[kind] else {}
            if row is not like:
                row["Id"] = record_id(kind, n)
                records[kind].append(row)
    title = {"Title": long(text, 230)}
    version, link = records["ContentVersion"][0], records["ContentDocumentLink"][0]
    csv = (text + ",1\n") * 400
    version |= {"VersionData": base64.b64encode(csv.encode()).decode(), "ContentSize": len(csv.encode()), **title}
    records["ContentDocument"][0] |= title
    for n in range(60):
        id = record_id("ContentDocument", 10 + n)
        records["ContentDocument"].append(records["ContentDocument"][0] | {"Id": id})
        records["ContentVersion"].append(version | {"Id": record_id("ContentVersion", 10 + n), "ContentDocumentId": id})
        records["ContentDocumentLink"].append(
            link | {"Id": record_id("ContentDocumentLink", 10 + n), "ContentDocumentId": id, "LinkedEntityId": contact}
        )
