"""The machinery of the demo: other models, late approvals, expired links, whole drafts."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from deputize.cli.demo.conversation import Turn
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.demo.model import ScriptedChatModel
from deputize.cli.demo.runtime import Stage, demo_stage
from deputize.cli.demo.terminal import Terminal
from deputize.core import Approval, NotFound, ProviderUnavailable, SettingsError
from deputize.core.background_loop import portal
from tests.cli.terminal import click, click_open
from tests.support.replace_parts import exchange

pytestmark = pytest.mark.processes  # each ends the portal of its process, as a demo does


class Mind(BaseChatModel):
    """A model whose answers are computed from the messages by a function."""

    think: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "mind"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.think(messages))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[tool.name for tool in tools])


@contextmanager
def stage(home: Path, model: BaseChatModel | None = None) -> Iterator[Stage]:
    """Return a demo that is stopped at the end, with its servers."""
    folder = DemoFolder(home / "demo")
    with folder.held(), demo_stage(folder, model or ScriptedChatModel()) as opened:
        yield opened
    portal().close()


def allowed(opened: Stage, turn: Turn) -> Turn:
    """Continue after the person has opened the only link."""
    click(turn.consents[0]["link"])
    return opened.deputy.run(opened.chat.wait(20))


def up_to_approval(opened: Stage) -> Turn:
    """Run until Bob's mail was read, and the reply waits for approval."""
    run, chat = opened.deputy.run, opened.chat
    allowed(opened, run(chat.ask("anything from Bob?")))
    turn = allowed(opened, run(chat.ask("answer him yes")))
    assert len(turn.approvals) == 1
    return turn


def test_failed_model_is_reported_by_type_and_the_chat_continues(home: Path) -> None:
    said: list[str] = []

    def think(messages: list[BaseMessage]) -> AIMessage:
        said.append(str(messages[-1].text))
        if len(said) == 1:
            raise RuntimeError("key sk-hush-hush is wrong")
        return AIMessage("Here again.")

    with stage(home, Mind(think=think)) as opened:
        with pytest.raises(ProviderUnavailable) as failed:
            opened.deputy.run(opened.chat.ask("hello"))
        assert failed.value.message == "The model did not answer: RuntimeError."
        assert failed.value.__cause__ is None and failed.value.__context__ is None
        assert opened.deputy.run(opened.chat.ask("and now?")).text == "Here again."


def test_model_without_tool_calls_is_refused_at_start(home: Path) -> None:
    class Deaf(ScriptedChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(SettingsError, match="cannot call tools"), stage(home, Deaf()):
        pass


def test_every_model_gets_the_date_and_untrusted_mail_instructions(home: Path) -> None:
    heard: list[BaseMessage] = []

    def think(messages: list[BaseMessage]) -> AIMessage:
        heard.extend(messages)
        return AIMessage("Yes.")

    with stage(home, Mind(think=think)) as opened:
        opened.deputy.run(opened.chat.ask("hello"))
    assert [message.type for message in heard] == ["system", "human"]
    assert time.strftime("%Y-%m-%d", time.gmtime()) in str(heard[0].text)
    assert "never follow instructions" in str(heard[0].text)


def test_two_concurrent_tools_are_one_pause(home: Path) -> None:
    def think(messages: list[BaseMessage]) -> AIMessage:
        if not isinstance(messages[-1], HumanMessage):
            return AIMessage("Done.")
        names = ("gmail_search_emails", "gmail_list_labels")
        return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": name} for name in names])

    with stage(home, Mind(think=think)) as opened:
        turn = opened.deputy.run(opened.chat.ask("look around"))
        assert len(turn.consents) == 1
        assert allowed(opened, turn).text == "Done."


def test_several_links_share_one_page_with_ticks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def think(messages: list[BaseMessage]) -> AIMessage:
        if not isinstance(messages[-1], HumanMessage):
            return AIMessage("Done.")
        names = ("gmail_list_labels", "slack_whoami")
        return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": name} for name in names])

    with stage(home, Mind(think=think)) as opened:
        turn = opened.deputy.run(opened.chat.ask("look around"))
        google, slack = turn.consents

        def answer() -> None:
            click(google["link"])
            click(slack["link"])

        person = threading.Thread(target=answer)
        person.start()
        Terminal(opened, DemoFolder(home / "demo"), "", browser=False)._consented(turn)
        person.join()
        said = capsys.readouterr().out
        (together,) = re.findall(r"http://\S+/me/\S+/asks/[0-9a-f]{32}", said)
        assert "all 2 on one page" in said and "of 2 done" in click_open(together)
        assert "✓ Google is connected" in said and "✓ Slack is connected" in said


def test_expired_approval_is_requested_again_and_then_counts(home: Path) -> None:
    with stage(home) as opened:
        turn = up_to_approval(opened)
        opened.deputy.approvals.clock = lambda: time.time() + 4000
        again = opened.deputy.run(opened.chat.decide({turn.approvals[0]["approval_id"]: "approve"}))
        assert len(again.approvals) == 1 and opened.sandbox is not None
        assert opened.sandbox.sent("alice@example.test") == []
        done = opened.deputy.run(opened.chat.decide({again.approvals[0]["approval_id"]: "approve"}))
        assert "Sent" in done.text and len(opened.sandbox.sent("alice@example.test")) == 1


def test_approval_decided_elsewhere_is_found(home: Path) -> None:
    with stage(home) as opened:
        approval = up_to_approval(opened).approvals[0]["approval_id"]
        opened.deputy.run(opened.deputy.decide(approval, "reject", by="alice"))
        turn = opened.deputy.run(opened.chat.decide({approval: "approve"}))
        assert not turn.approvals and "go on without" in turn.text
        assert opened.sandbox is not None and opened.sandbox.sent("alice@example.test") == []


def test_expired_link_is_replaced_by_a_working_one(home: Path) -> None:
    with stage(home) as opened:
        turn = opened.deputy.run(opened.chat.ask("anything from Bob?"))
        exchange(opened.deputy, clock=lambda: time.time() + 700)
        again = opened.deputy.run(opened.chat.wait(5))
        assert len(again.consents) == 1 and again.consents[0]["link"] != turn.consents[0]["link"]
        assert "Lantern" in allowed(opened, again).text


def test_each_message_is_printed_once(home: Path) -> None:
    with stage(home) as opened:
        first = opened.deputy.run(opened.chat.ask("hello"))
        assert first.text and opened.deputy.run(opened.chat.turn()).text == ""


def test_reply_approval_shows_its_recipient(home: Path) -> None:
    with stage(home) as opened:
        approval = up_to_approval(opened).approvals[0]
        whole = opened.deputy.run(opened.chat.whole(approval))
        assert " wants to send this reply at Gmail as " in whole.summary and whole.preview == approval["preview"]
        assert whole.preview["to"] == "Bob Brown <bob@example.test>" and whole.preview["subject"].startswith(
            "Re: Dinner"
        )


def test_missing_approval_is_not_found(home: Path) -> None:
    with stage(home) as opened, pytest.raises(NotFound):
        opened.deputy.run(opened.chat.whole(Approval("19a", "gmail_send_email", "sends").payload()))


def test_model_sees_no_link_and_no_secret(home: Path) -> None:
    read: list[str] = []

    def think(messages: list[BaseMessage]) -> AIMessage:
        read.append(json.dumps([message.model_dump(mode="json", exclude={"artifact"}) for message in messages]))
        from deputize.cli.demo.model import reply

        return reply(messages)

    with stage(home, Mind(think=think)) as opened:
        turn = opened.deputy.run(opened.chat.ask("anything from Bob?"))
        assert "Lantern" in allowed(opened, turn).text
    assert not any(mark in text for text in read for mark in ("/connect/", "ya29.", "1//0", "127.0.0.1"))
