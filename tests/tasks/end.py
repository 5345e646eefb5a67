"""The state after a task. Every change must be asked for here; everything else must be unchanged."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from deputize.sandbox import Sandbox
from deputize.sandbox.google.gmail.mailbox import Mail
from tests.tasks.changes import Path, fits

ALICE = "alice@example.test"


@dataclass
class End:
    """``said``: the answer; ``read``: everything that tools returned; ``shown``: the previews that were decided on."""

    sandbox: Sandbox
    open: list[tuple[Path, Any, Any]]
    said: str
    read: str
    shown: list[str]
    calls: list[str]

    def changed(self, pattern: str) -> list[Any]:
        """Return the new value at each changed path of this pattern; these changes are accounted for."""
        return [after for _, _, after in self._taken(pattern)]

    def now(self, pattern: str) -> Any:
        """Return the same for the only changed path."""
        [found] = self._taken(pattern)
        return found[2]

    def _taken(self, pattern: str) -> list[tuple[Path, Any, Any]]:
        taken = [change for change in self.open if fits(change[0], pattern)]
        self.open = [change for change in self.open if not fits(change[0], pattern)]
        return taken

    def sent(self) -> list[Mail]:
        """Return the mails that Alice has sent, oldest first, and their delivery to the mailboxes here."""
        mails = self.sandbox.sent(ALICE)
        for mail in mails:
            self.changed(f"gmail {ALICE} mails {mail.id}")
        for person in self.sandbox.people[2:]:
            self.changed(f"gmail {person.email} mails *")
        return mails

    def labels(self, mail: str) -> list[str]:
        """Return the labels of a mail of Alice's that had to change."""
        labels: list[str] = self.now(f"gmail {ALICE} mails {mail} labels")
        return labels

    def posted(self, channel: str = "*") -> list[dict[str, Any]]:
        """Return the new messages in a conversation of Slack, by its id."""
        return self.changed(f"slack channels {channel} messages *")

    def commented(self, repo: str, kind: str = "comments") -> list[dict[str, Any]]:
        """Return the new comments of a repository; ``kind``: comments, review_comments or reviews."""
        return self.changed(f"github {kind} {repo} *")

    def file(self, repo: str, branch: str, path: str) -> str:
        """Return a file's content on a branch."""
        store = self.sandbox.service("github")
        tree = store["commits"][repo][store["repos"][repo]["branches"][branch]]["tree"]
        return b64decode(tree[path]).decode()

    def event(self, id: str) -> dict[str, Any]:
        """Return an event as its organizer's calendar has it."""
        rows = self.sandbox.service("calendar")["events"]
        found: dict[str, Any] = next(row["data"] for row in rows.values() if row["id"] == id)
        return found

    def told(self) -> set[str]:
        """Return whom Google Calendar has mailed about events."""
        return {mail["to"] for mail in self.changed("calendar mails *")}

    def answer(self, id: str) -> tuple[str, str]:
        """Return Alice's answer to an invitation, which had to change, and her comment."""
        assert self.changed(f"calendar events {id} *")
        guest = next(one for one in self.event(id)["attendees"] if one["email"] == ALICE)
        return guest["responseStatus"], guest.get("comment", "")


def files_of(mail: Mail) -> dict[str, bytes]:
    """Return the files of a mail, by their names."""
    parts: Any = mail.message.iter_attachments()
    return {part.get_filename(): part.get_payload(decode=True) for part in parts}
