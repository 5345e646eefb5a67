"""An act whose preview somebody else can change while it waits for approval."""

from __future__ import annotations

from deputize.core import Audience, Effect, Preview, Request, Steps, Toolkit, any_of
from tests.support.gmail_toolkit import raw
from tests.support.sandbox_deputy import GMAIL


class Board:
    """A notice that everybody may edit, and a toolkit that shares it as a mail."""

    def __init__(self, text: str = "Lunch at one.") -> None:
        self.text, self.people = text, ["bob@example.test"]
        self.toolkit = Toolkit("board", provider="google", api="gmail", shows=True)

        @self.toolkit.tool(needs=[any_of(f"{GMAIL}send")], effect=Effect.SENDS)
        def share(note: str = "") -> Steps:
            """Share the notice."""
            text = self.text
            yield Preview("Share the notice", audience=Audience.PEOPLE, people=self.people, text=text, note=note)
            yield Request("POST", "/users/me/messages/send", json={"raw": raw("bob@example.test", "Notice", text)})
            return text
