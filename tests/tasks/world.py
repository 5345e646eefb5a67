"""The initial state of a task, put into the sandbox's own stores in their format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import count
from typing import Any, Final

from deputize.sandbox import Sandbox
from deputize.sandbox.github.git import commit, packed
from deputize.sandbox.github.seed_code import issue as github_issue
from deputize.sandbox.google.drive.seed import file as drive_file
from deputize.sandbox.google.gmail.mailbox import Mailbox
from deputize.sandbox.linear.seed import stable_id, stamp
from deputize.sandbox.people import Person
from deputize.sandbox.slack.seed import channel_row, user_id

NOW: Final = 1795528800.0  # 2026-11-24 14:00 UTC, a Tuesday
ALICE, BOB = "alice@example.test", "bob@example.test"
Json = dict[str, Any]


class World:
    """The sandbox before the request. Times are hours ago."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.numbers = count(70001)

    def __getitem__(self, provider: str) -> Json:
        """Return what a provider stores; changes take effect."""
        return self.sandbox._world.services[provider]

    # ------------------------------------------------------------------ Gmail

    def mail(
        self,
        subject: str,
        text: str,
        *,
        sender: str = f"Bob Brown <{BOB}>",
        to: str = f"Alice Adams <{ALICE}>",
        hours: float = 2,
        files: Sequence[tuple[str, str, bytes]] = (),
        labels: Iterable[str] = ("INBOX", "UNREAD", "CATEGORY_PERSONAL"),
        answers: str = "",
        html: str = "",
        inline: tuple[str, bytes] | None = None,
        **headers: str,
    ) -> str:
        """A mail to Alice; its id. ``answers``: the Message-ID of another, which is ``<m70001@mail.example.test>`` of
        the first that is laid in. ``inline``: an image's Content-ID and bytes."""
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = sender, to, subject
        message["Date"] = format_datetime(datetime.fromtimestamp(NOW - hours * 3600, UTC))
        message["Message-ID"] = f"<m{next(self.numbers)}@mail.example.test>"
        if answers:
            message["In-Reply-To"] = message["References"] = answers
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        if inline:
            _, shown = message.iter_parts()  # the HTML, which names it
            shown.add_related(
                inline[1], "image", "png", cid=f"<{inline[0]}>", filename="shot.png", disposition="inline"
            )
        for name, kind, content in files:
            message.add_attachment(content, maintype=kind.split("/")[0], subtype=kind.split("/")[1], filename=name)
        return self.sandbox.mailbox(ALICE).add(message, labels=labels, age=hours * 3600).id

    def draft(self, subject: str, text: str, *, to: str) -> None:
        """Write Alice's draft, replacing the existing one."""
        box, draft = self.sandbox._world.mailbox(ALICE), "r1000000000000000001"
        if draft in box.drafts:
            box.remove(box.mails[box.drafts[draft]])
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = f"Alice Adams <{ALICE}>", to, subject
        message["Message-ID"] = f"<m{next(self.numbers)}@mail.example.test>"
        message.set_content(text)
        box.drafts[draft] = box.add(message.as_bytes(), ["DRAFT"], int(NOW * 1000)).id

    # ------------------------------------------------------------------ Slack

    def say(self, channel: str, text: str, *, by: str = BOB, hours: float = 1.0, thread: str = "", **more: Any) -> str:
        """Add a message to a conversation, by its id; return its timestamp."""
        ts = f"{int(NOW - hours * 3600)}.{next(self.numbers) % 1000000:06d}"
        row = {"type": "message", "user": user_id(by), "text": text, "ts": ts, **more}
        rows = self["slack"]["channels"][channel]["messages"]
        rows.append(row | ({"thread_ts": thread} if thread else {}))
        rows.sort(key=lambda one: str(one["ts"]))
        return ts

    def person(self, email: str, name: str) -> str:
        """Add an account holder at every provider; return the person's Slack id."""
        world = self.sandbox._world
        one = Person(email, name, f"10000000000000000{len(world.people):04d}")
        world.people = (*world.people, one)
        world.mailboxes |= {email: Mailbox(email)}
        return user_id(email)

    def direct_message(self, email: str) -> str:
        """Open a conversation between Alice and a person; return its id."""
        id, pair = f"D0ALICE{user_id(email)[2:6]}", [user_id(ALICE), user_id(email)]
        row = channel_row(id, "", True, "", pair, pair[1], int(NOW) - 80 * 86400)
        self["slack"]["channels"][id] = row | {"kind": "im"}
        return id

    # ------------------------------------------------------------------ GitHub

    def issue(self, repo: str, title: str, body: str = "", *, by: str = BOB, hours: float = 30, **more: Any) -> int:
        """Add an issue; return its number."""
        rows = self["github"]["issues"][repo]
        at = _iso(hours)
        rows.append(github_issue(len(rows) + 1, by, title, body, at, more.pop("state", "open")) | more)
        return len(rows)

    def pull(
        self, repo: str, title: str, files: dict[str, str], *, body: str = "", by: str = ALICE, hours: float = 20
    ) -> int:
        """Add a pull request from its own branch with these files; return its number."""
        store = self["github"]
        kept, history = store["repos"][repo], store["commits"][repo]
        base, branch = kept["branches"]["main"], f"change-{next(self.numbers)}"
        tree = history[base]["tree"] | {path: packed(text) for path, text in files.items()}
        kept["branches"][branch] = commit(history, tree, [base], title, by.partition("@")[0], _iso(hours))
        number = self.issue(repo, title, body, by=by, hours=hours)
        pull: Json = {"head": branch, "base": "main", "head_repo": repo, "draft": False, "merged_at": None, "sha": None}
        store["issues"][repo][-1]["pull"] = pull | {"reviewers": [], "teams": [], "auto_merge": False}
        return number

    def file(self, repo: str, path: str, text: str) -> None:
        """Write a file on the branch main."""
        store = self["github"]
        kept, history = store["repos"][repo], store["commits"][repo]
        parent = kept["branches"]["main"]
        tree = history[parent]["tree"] | {path: packed(text)}
        kept["branches"]["main"] = commit(history, tree, [parent], f"Write {path}", "alice", _iso(50))

    def push(self, repo: str, branch: str, files: dict[str, str]) -> None:
        """Push a commit of Bob's to a branch."""
        store = self["github"]
        kept, history = store["repos"][repo], store["commits"][repo]
        parent = kept["branches"][branch]
        tree = history[parent]["tree"] | {path: packed(text) for path, text in files.items()}
        kept["branches"][branch] = commit(history, tree, [parent], "One thing more", "bob", _iso(0))

    def head(self, repo: str, number: int) -> str:
        """Return the head commit of a pull request."""
        store = self["github"]
        return str(store["repos"][repo]["branches"][store["issues"][repo][number - 1]["pull"]["head"]])

    def comment(self, repo: str, number: int, body: str, *, by: str = BOB, hours: float = 10) -> int:
        """Add a comment to an issue or pull request; return its id."""
        row = {
            "id": next(self.numbers),
            "number": number,
            "user": by.partition("@")[0],
            "body": body,
            "at": _iso(hours),
        }
        self["github"]["comments"].setdefault(repo, []).append(row)
        return int(row["id"])  # type: ignore[call-overload, no-any-return]

    def review_comment(
        self, repo: str, number: int, path: str, line: int, body: str, *, by: str = BOB, hours: float = 9
    ) -> tuple[int, str]:
        """Add a comment on a line of a pull request; return its id and its thread's."""
        store, id = self["github"], next(self.numbers)
        thread = f"PRRT_thread{id}"
        row = {"id": id, "number": number, "user": by.partition("@")[0], "body": body, "path": path, "line": line}
        row |= {"side": "RIGHT", "reply_to": None, "thread": thread, "at": _iso(hours)}
        store["review_comments"].setdefault(repo, []).append(row)
        store["threads"][thread] = {"repo": repo, "resolved": False}
        return id, thread

    def checks(self, repo: str, number: int, results: Iterable[str]) -> None:
        """Add checks with these conclusions to a pull request's last commit."""
        sha = self.head(repo, number)
        rows = self["github"]["checks"].setdefault(repo, [])
        for place, conclusion in enumerate(results, 1):
            row = {"id": next(self.numbers), "sha": sha, "name": f"check {place}", "conclusion": conclusion}
            rows.append(row | {"run": 9001, "job": 9101, "annotations": []})

    # ------------------------------------------------------------------ Linear

    def linear_issue(self, title: str, description: str = "", *, team: str = "ENG", **more: Any) -> str:
        """Add an issue in Linear; return its identifier."""
        rows, key = self["linear"]["issues"], stable_id("team", team)
        number = 1 + sum(row["team"] == key for row in rows)
        state = stable_id("state", team, more.pop("state", "Todo"))
        at = stamp(NOW - more.pop("hours", 40.0) * 3600)
        row = {"id": stable_id("issue", team, str(number)), "number": number, "team": key, "state": state}
        row |= {"title": title, "description": description or None, "priority": more.pop("priority", 0)}
        row |= {
            "creator": more.pop("by", BOB),
            "assignee": more.pop("assignee", None),
            "createdAt": at,
            "updatedAt": at,
        }
        rows.append(row | more)
        return f"{team}-{number}"

    # ------------------------------------------------------------------ Calendar

    def event(self, id: str, title: str, start: str, end: str, guests: Sequence[str] = (), **more: Any) -> None:
        """Add an event of Alice's, or of ``home``'s; times as ``2026-11-26T10:00:00+01:00``."""
        home = more.pop("home", ALICE)
        answers = {home: "accepted"} | more.pop("answers", {})
        attendees = [{"email": one, "responseStatus": answers.get(one, "needsAction")} for one in (home, *guests)]
        zone = "Europe/Berlin"
        data: Json = {"summary": title, "status": "confirmed", "eventType": "default", "sequence": 0}
        data |= {"created": "2026-11-01T09:00:00.000Z", "updated": "2026-11-01T09:00:00.000Z"}
        data |= {"creator": {"email": home}, "organizer": {"email": home}, "iCalUID": f"{id}@google.com"}
        data |= {"start": {"dateTime": start, "timeZone": zone}, "end": {"dateTime": end, "timeZone": zone}}
        data |= {"attendees": attendees} if guests else {}
        row: Json = {"id": id, "home": home, "data": data | more, "exceptions": {}, "own": {}, "removed": [], "etag": 1}
        self["calendar"]["events"][f"{home}/{id}"] = row

    # ------------------------------------------------------------------ Drive

    def drive_file(
        self, id: str, name: str, kind: str, folder: str, *, drive: str = "", hours: float = 20.0, **more: Any
    ) -> None:
        """Add a file of Alice's, or of ``owner``'s, or of a shared ``drive``. ``more``: as for the sandbox's seed."""
        owner = more.pop("owner", "" if drive else ALICE)
        at = _iso(hours).replace("Z", ".000Z")
        made = drive_file(id, name, kind, owner, folder, at, by=more.pop("by", owner or BOB), **more)
        self["drive"]["files"][id] = made | {"driveId": drive or None, "parents": [folder] if folder else []}

    def resource(self, address: str, name: str, taken: tuple[str, str] = ("", "")) -> str:
        """Add a room or other resource to Alice's list of calendars; return its address. ``taken``: by Bob."""
        address = f"c_{address}@resource.calendar.google.com"
        store = self["calendar"]
        store["calendars"][address] = {
            "summary": name, "description": "", "timeZone": "Europe/Berlin", "owner": "rooms@example.test",
            "acl": [{"id": "domain", "role": "freeBusyReader", "scope": {"type": "domain", "value": "example.test"}}],
            "free_busy": True, "made_by_app": False,
        }  # fmt: skip
        store["lists"][ALICE][address] = {"selected": True}
        if taken[0]:
            self.event(f"taken{address[2:8]}0", "Taken", *taken, [address], home=BOB, answers={address: "accepted"})
        return address


def _iso(hours: float) -> str:
    return datetime.fromtimestamp(int(NOW - hours * 3600), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
