"""``deputize demo --auto``: the whole story without a user, each step compared with the sandbox's state.

The consent pages are clicked over HTTP as by a browser. In the middle everything is closed and reopened from disk, as
after a crash. Secrets are recorded at the provider and searched for in every byte that remains.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from langgraph.types import Command

from deputize.cli import show
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.demo.runtime import USER
from deputize.cli.demo.scripted_user import ALICE, BOB, READ, SEND, Detail, Harness, Surprise, expect
from deputize.cli.demo.terminal import WORK
from deputize.core.audit import verify
from deputize.sandbox.google.gmail.letters import BOBS_SECRET


def play(folder: DemoFolder, tell: Callable[[Detail], None]) -> bool:
    """Play all steps and pass each to ``tell`` as ``{"step", "ok", ...}``. Return whether all went as expected."""
    with ExitStack() as opened:
        story = Story(folder, opened)
        for name, step in story.steps():
            began = time.monotonic()
            try:
                detail = step()
            except Exception as e:
                tell({"step": name, "ok": False, "reason": str(e) if isinstance(e, Surprise) else show.reason(e)})
                return False
            tell({"step": name, "ok": True, **detail, "ms": round((time.monotonic() - began) * 1000)})
    return True


class Story(Harness):
    """The steps of the story, in order. Each builds on the ones before it."""

    def steps(self) -> Iterator[tuple[str, Callable[[], Detail]]]:
        """Yield the steps."""
        yield "ask about Bob: one consent, to read", self.ask
        yield "allow: the chat goes on by itself", self.allow_reading
        yield "answer him yes: one consent more, to send", self.answer
        yield "close everything, open it again: the same link", self.restart
        yield "allow: the draft waits for approval", self.allow_sending
        yield "approve: one mail leaves", self.approve
        yield "resume once more: still one mail", self.resume_again
        yield "turn his mail into work: one pause, three consents", self.plan
        yield "allow all three: three approvals", self.allow_three
        yield "approve: one issue here, one there, one message", self.work
        yield "approve the link: it is made once", self.tie
        yield "nobody else's things were touched", self.only_alice
        yield "revoke: gone here and at the providers", self.revoke
        yield "ask again: asked again", self.ask_again
        yield "say no: the model goes on without", self.deny
        yield "the audit's chain is whole", self.audit
        yield "no secret in any byte that is left", self.scan

    # ------------------------------------------------------------- reading

    def ask(self) -> Detail:
        """Ask a question that needs the mailbox."""
        turn = self._turn(self.chat.ask("anything from Bob this week?"))
        ask = self._one_consent(turn, READ)
        expect(not self.sandbox.requests, "the provider was called before anybody consented")
        return {"scopes": ask["scopes"], "scope_descriptions": ask["scope_descriptions"], "link": _host(ask["link"])}

    def allow_reading(self) -> Detail:
        """Click both consent pages, and expect the answer."""
        turn = self._turn(self._clicked(self.link))
        mail = self._from_bob()
        expect(not turn.consents and not turn.approvals, "the chat paused again")
        expect(_words(mail.text)[:60] in _words(turn.text), "Bob's newest mail is not in the answer")
        return {"subject": mail.subject, "account": ALICE}

    # ------------------------------------------------------------- sending

    def answer(self) -> Detail:
        """Ask for something that needs a scope that was not granted yet."""
        ask = self._one_consent(self._turn(self.chat.ask("Answer him yes")), SEND)
        expect(ask["account"] == ALICE, "the consent is not for the account that is connected")
        return {"scopes": ask["scopes"], "link": _host(ask["link"])}

    def restart(self) -> Detail:
        """Restart as after a crash: only the folder is kept."""
        before = self.link
        self.stage = self._open()
        asked = self._run(self.chat.unfinished_message())
        expect(asked == "Answer him yes", "the conversation does not know where it stood")
        self._one_consent(self._turn(self.chat.look_again()), SEND)
        expect(self.link == before, "the link is another one than before")
        return {"picked_up": asked}

    def allow_sending(self) -> Detail:
        """Allow sending, and expect the draft before anything is sent."""
        turn = self._turn(self._clicked(self.link))
        expect(len(turn.approvals) == 1 and not turn.consents, "there is not exactly one approval")
        self.approval, draft = turn.approvals[0], turn.approvals[0]["preview"]
        expect(BOB in draft["to"] and "yes" in draft["text"].lower(), "the draft is not the answer to Bob")
        expect(not self.sandbox.sent(ALICE), "a mail left before it was approved")
        return {"to": draft["to"], "subject": draft["subject"]}

    def approve(self) -> Detail:
        """Approve, and expect exactly one mail, in Bob's thread."""
        self.paused = self._run(self.chat.graph.aget_state(self.chat.config)).interrupts
        turn = self._turn(self.chat.decide({self.approval["approval_id"]: "approve"}))
        sent = self.sandbox.sent(ALICE)
        expect(len(sent) == 1, f"{len(sent)} mails left")
        expect(BOB in sent[0].to and sent[0].thread_id == self._from_bob().thread_id, "it is not the answer to Bob")
        expect(not turn.approvals and "Sent" in turn.text, "the model does not say that it was sent")
        return {"sent": 1, "to": sent[0].to, "subject": sent[0].subject}

    def resume_again(self) -> Detail:
        """Resume the same pause with the same answer again, as an impatient client does."""
        answer = {"decisions": {self.approval["approval_id"]: "approve"}}
        again: Command[Any] = Command(resume={pause.id: answer for pause in self.paused})
        self._run(self.chat.graph.ainvoke(again, self.chat.config))
        self._turn(self.chat.look_again())
        expect(len(self.sandbox.sent(ALICE)) == 1, "the mail left a second time")
        return {"sent": 1}

    # ------------------------------------------------------------- three more products

    def plan(self) -> Detail:
        """Ask for work at three providers that were never connected, unlike Google."""
        turn = self._turn(self.chat.ask(WORK))
        asks = {ask["provider"]: ask["scopes"] for ask in turn.consents}
        expect(len(turn.consents) == 3 and not turn.approvals, f"{len(turn.consents)} consents, not three")
        expect(set(asks) == {"linear", "github", "slack"}, f"it asks for {sorted(asks)}")
        self.links = [ask["link"] for ask in turn.consents]
        return {"scopes": asks}

    def allow_three(self) -> Detail:
        """Allow three pages, in any order, and expect one pause with everything that others will see."""
        turn = self._turn(self._all_clicked(self.links))
        expect(len(turn.approvals) == 3 and not turn.consents, f"{len(turn.approvals)} approvals, not three")
        expect(self._made() == (0, 0, 0), "something was made before it was approved")
        self.asked = [ask["approval_id"] for ask in turn.approvals]
        return {"tools": sorted(ask["tool"] for ask in turn.approvals)}

    def work(self) -> Detail:
        """Approve the writes, and expect each exactly once. Then request the link, which needs the ids of the new
        objects."""
        turn = self._turn(self.chat.decide(dict.fromkeys(self.asked, "approve")))
        expect(self._made() == (1, 1, 1), f"made {self._made()}, not one of each")
        expect(len(turn.approvals) == 1 and not turn.consents, "there is not exactly one approval for the link")
        self.asked = [turn.approvals[0]["approval_id"]]
        return {"linear": 1, "github": 1, "slack": 1}

    def tie(self) -> Detail:
        """Approve the link from the GitHub issue to the Linear issue."""
        turn = self._turn(self.chat.decide(dict.fromkeys(self.asked, "approve")))
        self._turn(self.chat.look_again())
        [issue] = self._issues_at_linear()
        comments = json.dumps(self.sandbox.service("github"))
        expect(self._made() == (1, 1, 1), f"made {self._made()}, not one of each")
        expect(comments.count(f"/issue/ENG-{issue['number']}") == 1, "the link was not made once")
        expect("links to it" in turn.text, "the model does not say that it is done")
        return {"said": turn.text}

    def only_alice(self) -> Detail:
        """Expect that each call carried Alice's token or none, and that Bob's secret appears nowhere."""
        callers = {seen.who for seen in self.sandbox.requests} - {""}
        expect(callers == {ALICE}, f"calls were made as {sorted(callers)}")
        expect(not any(BOBS_SECRET in text for text in self.transcript), "Bob's own mail was shown")
        return {"calls": len(self.sandbox.requests), "as": ALICE}

    # ------------------------------------------------------------- ending

    def revoke(self) -> Detail:
        """Revoke all grants, and expect that they are gone at deputize and at the providers."""
        held = {one.provider for one in self._run(self.stage.deputy.connections(USER))}
        ended = [self._run(self.stage.deputy.revoke(USER, provider))[0] for provider in sorted(held)]
        expect([one.upstream for one in ended] == ["done"] * 4, "a provider did not revoke its tokens")
        expect(not self._run(self.stage.deputy.connections(USER)), "the grant is still here")
        expect(self.sandbox.live_tokens()[ALICE] == 0, "the provider still accepts a token")
        return {"accounts": [one.account for one in ended], "live_tokens": 0}

    def ask_again(self) -> Detail:
        """Ask another question, and expect a new consent."""
        ask = self._one_consent(self._turn(self.chat.ask("anything from Bob today?")), READ)
        return {"scopes": ask["scopes"]}

    def deny(self) -> Detail:
        """Reject the consent, and expect an answer, not an error."""
        turn = self._turn(self._clicked(self.link, deny=True))
        expect(not turn.consents and "go on without" in turn.text, "the model does not take no for an answer")
        return {"said": turn.text}

    def audit(self) -> Detail:
        """Verify the audit of everything that happened."""
        keys, folder = [self.stage.deputy.vault.keys.audit], self.folder.file("audit")
        self._close()
        report = verify(folder, keys)
        expect(report.ok and not report.findings, f"{len(report.findings)} findings")
        expect(report.rows and not report.orphans, "an act has no outcome in it")
        return {"rows": report.rows, "chains": report.writers}

    def scan(self) -> Detail:
        """Search for secrets in every file, and in every text that the user or the model received."""
        kinds = set(self.secrets.recorded.values())
        expect(kinds >= {"access_token", "refresh_token", "code", "state", "code_verifier"}, f"recorded only {kinds}")
        files = [path for path in self.folder.path.rglob("*") if path.is_file()]
        places = {path.name: path.read_bytes() for path in files} | {
            "what was said": "\n".join(self.transcript).encode()
        }
        hits = sorted({f"{kind} in {place}" for place, data in places.items() for kind in self.secrets.found_in(data)})
        expect(not hits, "; ".join(hits))
        return {"secrets": len(self.secrets.recorded), "files": len(files), "hits": 0}


def _host(link: str) -> str:
    """Return a link without its ticket."""
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}/connect/..."


def _words(text: str) -> str:
    return " ".join(text.split())
