"""The scripted user of the demo's story: drives the program, clicks its pages, and checks the sandbox's state."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack
from typing import Any, Final

import httpx

from deputize.cli.demo.conversation import Chat, Turn
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.demo.model import ScriptedChatModel
from deputize.cli.demo.runtime import Stage, demo_stage
from deputize.cli.demo.secret_recorder import SecretRecorder
from deputize.core import ConsentPayload
from deputize.core.background_loop import portal
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google.gmail.mailbox import Mail

ALICE: Final = "alice@example.test"
BOB: Final = "bob@example.test"
READ: Final = "https://www.googleapis.com/auth/gmail.readonly"
SEND: Final = "https://www.googleapis.com/auth/gmail.send"
WAIT_TIMEOUT_SECONDS: Final = 20.0

Detail = dict[str, Any]


class Surprise(Exception):
    """Raised if a step differs from the story. Never leaves the story."""


def expect(truth: object, otherwise: str) -> None:
    """Raise `Surprise` unless ``truth`` is true."""
    if not truth:
        raise Surprise(otherwise)


class Harness:
    """A demo driven by a program instead of a user, which can be closed and reopened from disk."""

    def __init__(self, folder: DemoFolder, opened: ExitStack) -> None:
        logging.getLogger("httpcore").setLevel(logging.WARNING)  # it logs the URLs that the simulated browser opens
        self.folder, self.opened = folder, opened
        self.secrets = SecretRecorder()
        self.transcript: list[str] = []
        self.link = ""
        self.stage = self._open()

    @property
    def chat(self) -> Chat:
        """The conversation."""
        return self.stage.chat

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox, with the provider's state."""
        expect(self.stage.sandbox, "there is no sandbox")
        assert self.stage.sandbox  # noqa: S101  # as just expected
        return self.stage.sandbox

    def _open(self) -> Stage:
        """Close everything, down to the event loop and its servers, and open it again from disk."""
        self._close()
        return self.opened.enter_context(demo_stage(self.folder, ScriptedChatModel(), front=self.secrets.front))

    def _close(self) -> None:
        self.opened.close()
        portal().close()

    def _run(self, work: Any) -> Any:
        return portal().run(work)

    def _turn(self, work: Any) -> Turn:
        """Return one turn, and record everything that left the deputy in it."""
        turn: Turn = self._run(work)
        self.transcript += [message.model_dump_json() for message in turn.said]
        self.transcript += [json.dumps(ask) for ask in (*turn.consents, *turn.approvals)]
        return turn

    def _one_consent(self, turn: Turn, scope: str) -> ConsentPayload:
        """Return the only consent of a pause. It must have only this scope, deputize's host and no provider URL."""
        expect(len(turn.consents) == 1 and not turn.approvals, f"{len(turn.consents)} consents, not one")
        ask = turn.consents[0]
        expect(ask["scopes"] == [scope], f"it asks for {ask['scopes']}")
        expect(ask["link"].startswith(f"{self.stage.pages}/connect/"), "the link is not on our own host")
        given = json.dumps(ask)
        foreign = [self.stage.provider, "accounts.google.com", "state=", "code_challenge"]
        expect(not any(part in given for part in foreign), "the pause holds an address of the provider")
        self.link = ask["link"]
        return ask

    async def _all_clicked(self, links: list[str]) -> Turn:
        """Allow several links, one after the other, and return the turn."""
        waiting = asyncio.create_task(self.chat.wait(WAIT_TIMEOUT_SECONDS))
        try:
            async with httpx.AsyncHTTPTransport() as transport:
                for link in links:
                    await Browser(transport).allow(link, as_=ALICE)
            return await waiting
        finally:
            waiting.cancel()

    def _issues_at_linear(self) -> list[Detail]:
        """Return the Linear issues that were made from the mail."""
        title = self._from_bob().subject
        return [row for row in self.sandbox.service("linear")["issues"] if row["title"] == title]

    def _made(self) -> tuple[int, int, int]:
        """Return how many Linear issues, GitHub issues and Slack messages were made from the mail."""
        title = self._from_bob().subject
        issues = [one for rows in self.sandbox.service("github")["issues"].values() for one in rows]
        messages = [one for row in self.sandbox.service("slack")["channels"].values() for one in row["messages"]]
        at_github = sum(one["title"] == title for one in issues)
        return len(self._issues_at_linear()), at_github, sum(title in str(one["text"]) for one in messages)

    async def _clicked(self, link: str, *, deny: bool = False) -> Turn:
        """Allow or reject a link while the chat waits, and return the turn."""
        waiting = asyncio.create_task(self.chat.wait(WAIT_TIMEOUT_SECONDS))
        try:
            async with httpx.AsyncHTTPTransport() as transport:
                browser = Browser(transport)
                await (browser.deny(link) if deny else browser.allow(link, as_=ALICE))
            return await waiting
        finally:
            waiting.cancel()

    def _from_bob(self) -> Mail:
        """Return Bob's newest mail in the sandbox."""
        return next(mail for mail in self.sandbox.mailbox(ALICE).mails("INBOX") if BOB in mail.sender)
