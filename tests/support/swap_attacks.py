"""Attacks on approvals: what somebody changes behind the user's back, and what is hidden in plain sight.

Each has a call of an agent, the world in which it is made, what a person must be shown of it, and for a swap what is
changed after the approval and then reported as changed.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final

from deputize.core import User
from tests.support.preview_coverage import ShownWorld
from tests.toolkits.github_play import SITE

Given = Mapping[str, Any]

CYRILLIC: Final = "\u0430\u0440\u0440\u04cf\u0435.com"  # looks like a fruit's
ENG: Final = "C0ENG000001"
DRAFT: Final = {"to": ["bob@example.test"], "subject": "Contract", "body": "As agreed."}
MEETING: Final = {
    "title": "Planning",
    "start": "2026-12-01T10:00Z",
    "end": "30m",
    "attendees": ["bob@example.test"],
    "description": "Bring the signed contract.",
}


@dataclass(frozen=True)
class Swap:
    """One attack.

    ``shows``: parts of rows that a person must read before the approval; ``change``: what somebody does after it;
    ``changed``: the names of the changed fields, and ``then`` parts of the rows of the new request.
    """

    name: str
    tool: str
    arguments: Callable[[ShownWorld], Awaitable[Given]]
    shows: Given = field(default_factory=dict)
    change: Callable[[ShownWorld, Given], Awaitable[object]] | None = None
    changed: tuple[str, ...] = ()
    then: Given = field(default_factory=dict)
    refused: str = ""

    def __str__(self) -> str:
        return self.name


def given(**arguments: Any) -> Callable[[ShownWorld], Awaitable[Given]]:
    """Return these arguments, in the world as it is."""

    async def arguments_of(world: ShownWorld) -> Given:
        return arguments

    return arguments_of


# ----------------------------------------------------------------- changed after the yes


async def a_draft(world: ShownWorld) -> Given:
    return {"draft_id": (await world.act("gmail_save_draft", **DRAFT))["draft_id"]}


async def rewritten(world: ShownWorld, call: Given) -> object:
    more = {"to": ["eve@evil.test"], "body": "All our secrets."}
    return await world.act("gmail_save_draft", draft_id=call["draft_id"], **more)


async def a_draft_with_a_file(world: ShownWorld) -> Given:
    kept = await world.deputy.store_file("alice", "offer.pdf", "application/pdf", b"ten")
    made = await world.act("gmail_save_draft", **DRAFT, attachments=[kept["file"]])
    return {"draft_id": made["draft_id"]}


async def other_bytes(world: ShownWorld, call: Given) -> object:
    """Change only the bytes of the draft's file."""
    box = world.sandbox._world.mailbox("alice@example.test")
    found = box.mails[box.drafts[call["draft_id"]]]
    ten, one = (base64.b64encode(content) for content in (b"ten", b"one"))
    assert found.raw.count(ten) == 1
    found.raw = found.raw.replace(ten, one)
    return found


async def a_kept_file(world: ShownWorld) -> Given:
    kept = await world.deputy.store_file("alice", "offer.pdf", "application/pdf", b"ten")
    return DRAFT | {"attachments": [kept["file"]]}


async def swapped_file(world: ShownWorld, call: Given) -> object:
    vault = world.deputy.vault
    place = vault.key_prefix(User("alice")) + call["attachments"][0].removeprefix("file_")
    part = await vault.get("filepart", f"{place}.000")
    assert part is not None
    return await vault.swap(part, b"one")


async def renamed_channel(world: ShownWorld, call: Given) -> object:
    return await world.act("slack_update_channel", conversation=ENG, name="all-customers")


async def a_merge(world: ShownWorld) -> Given:
    found = await world.act("github_get_pull", repo=SITE, number=2)
    return {"repo": SITE, "number": 2, "head_sha": found["head_sha"]}


async def moved_head(world: ShownWorld, call: Given) -> object:
    more = {"branch": "feature/polite", "path": "src/main.py", "mode": "append", "content": "import evil\n"}
    return await world.act("github_write_file", repo=SITE, message="Tidy", **more)


# ----------------------------------------------------------------- hidden in plain sight


async def an_odd_reply(world: ShownWorld) -> Given:
    mail = EmailMessage()
    mail["From"], mail["Reply-To"] = "Bob Brown <bob@example.test>", "Bob Brown <bob@examp1e.test>"
    mail["To"], mail["Subject"], mail["Message-ID"] = "alice@example.test", "Bank details", "<odd@example.test>"
    mail.set_content("Please answer with ours.")
    box = world.sandbox._world.mailbox("alice@example.test")
    return {"message_id": box.add(mail.as_bytes(), ["INBOX"], 1795528800000).id, "body": "DE02 1203 0000 0000 2020 51"}


async def a_meeting(world: ShownWorld) -> Given:
    made = await world.act("calendar_create_event", **MEETING)
    return {"event_id": made["id"], "description": ""}


SWAPS: Final = (
    Swap("draft swap", "gmail_send_draft", a_draft, {"to": "bob@example.test", "text": "As agreed."}, rewritten,
         ("to", "text"), {"to": "eve@evil.test", "text": "All our secrets."}),
    Swap("changed attachment", "gmail_send_draft", a_draft_with_a_file, {"files": "offer.pdf"}, other_bytes,
         ("files",), {"files": "offer.pdf"}),
    Swap("swapped file handle", "gmail_send_email", a_kept_file, {"files": "offer.pdf"}, swapped_file,
         ("files",), {"files": "offer.pdf"}),
    Swap("renamed channel", "slack_send_message", given(conversation="C0ENG000001", body="The quote is 40 % off."),
         {"where": "#eng"}, renamed_channel, ("where",), {"where": "#all-customers"}),
    Swap("moved head", "github_merge_pull", a_merge, {"pull request": "#2 Be polite"}, moved_head,
         refused="has new commits since"),
)  # fmt: skip
"""Changes made after the approval."""

HIDING: Final = (
    Swap("reply to another address", "gmail_reply_email", an_odd_reply, {"to": "bob@examp1e.test"}),
    Swap("emptied description", "calendar_update_event", a_meeting,
         {"description now": "Bring the signed contract.", "description": "(emptied)"}),
    Swap("masked line", "gmail_send_email", given(**DRAFT | {"body": "Hi\ncookie: chocolate chip\nBye"}),
         {"text": "cookie: chocolate chip"}),
    Swap("invisible characters", "gmail_send_email",
         given(**DRAFT | {"body": "Pay\u202e 001\u200b to\U000e0065\U000e0076 a\u200db"}),
         {"text": "Pay[U+202E] 001[U+200B] to[U+E0065][U+E0076] a[U+200D]b"}),
    Swap("look-alike letters", "slack_send_message",
         given(conversation="@bob", body="Sign in at https://p\u0430ypal.com now"), {"text": "p[U+0430]ypal.com"}),
    Swap("look-alike domain", "slack_send_message", given(conversation="@bob", body=f"Sign in at https://{CYRILLIC}/x"),
         {"text": "xn--80ak6aa92e.com"}),
)  # fmt: skip
"""Content that is present from the beginning, and must be seen."""
