"""The demo's own chat model: no network, no key, no memory.

Its answers depend on the messages only, so a conversation continues in another process without a difference. It
understands a few sentences, calls the real tools, and answers from their real results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

WHAT_I_CAN: Final = (
    "I am a small scripted model and understand a few sentences: “anything from Bob this week?”, “answer him yes”, "
    "“answer him no, I am away”, “turn his mail into a Linear issue in ENG, open a GitHub issue in acme/website that "
    "links to it, tell the design channel”, “who am I?”."
)
_SPANS: Final = {"today": "-1d", "yesterday": "-2d", "this week": "-7d", "this month": "-31d"}
_PERIOD = rf"(?:\s+(?P<span>{'|'.join(_SPANS)}))?"
_QUOTED = 1200  # characters of a mail that an answer repeats


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers with `reply`."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=reply(messages))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model itself, because the script knows its tools by name."""
        return self


class _History:
    """The conversation so far, and the results since the user's last message."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self.messages = [message for message in messages if not isinstance(message, SystemMessage)]
        spoken = [i for i, message in enumerate(self.messages) if isinstance(message, HumanMessage)]
        start = spoken[-1] if spoken else len(self.messages)
        self.asked = str(self.messages[start].text) if spoken else ""
        self.answers = [message for message in self.messages[start:] if isinstance(message, ToolMessage)]

    def call(self, name: str, **arguments: Any) -> AIMessage:
        """Return a tool call. Its id counts the messages before it, so it is unique in the conversation."""
        call = {"name": name, "args": arguments, "id": f"call_{len(self.messages)}", "type": "tool_call"}
        return AIMessage("", tool_calls=[call])

    def calls(self, *wanted: tuple[str, dict[str, Any]]) -> AIMessage:
        """Return several tool calls in one message."""
        calls = [self.call(name, **arguments).tool_calls[0] for name, arguments in wanted]
        return AIMessage("", tool_calls=[{**call, "id": f"{call['id']}_{n}"} for n, call in enumerate(calls)])

    def result(self, tool: str) -> Any:
        """Return this tool's result since the user's last message, or None if it was not called."""
        return next(_results(self.answers, tool), None)

    def last_mail(self) -> dict[str, Any] | None:
        """Return the last mail that was read in the whole conversation."""
        return next(_results(self.messages, "gmail_get_email"), None)

    def failure(self) -> str:
        """Return the first sentence of the last tool call's failure, or ""."""
        last = self.answers[-1] if self.answers else None
        return re.split(r"(?<=[.!])\s", str(last.text))[0] if last is not None and last.status == "error" else ""


def _results(messages: Sequence[BaseMessage], tool: str) -> Iterator[Any]:
    """Yield a tool's results, newest first."""
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and message.name == tool and message.status != "error":
            yield json.loads(str(message.text))


def reply(messages: Sequence[BaseMessage]) -> AIMessage:
    """Return the model's next message: a tool call, or an answer from the tools' results."""
    history = _History(messages)
    if failure := history.failure():
        return AIMessage(f"I go on without that. {failure}")
    for pattern, answer in _INTENTS:
        if match := pattern.search(history.asked):
            return answer(history, match)
    return AIMessage(WHAT_I_CAN)


def _from_somebody(history: _History, match: re.Match[str]) -> AIMessage:
    """Search, read the newest mail, and report it."""
    who, span = match["who"].rstrip(".?!,"), (match["span"] or "").lower()
    found = history.result("gmail_search_emails")
    if found is None:
        return history.call("gmail_search_emails", **{"from": [who]}, **({"after": _SPANS[span]} if span else {}))
    rows = found["items"]
    if not rows:
        return AIMessage(f"No, nothing from {who}{f' {span}' if span else ''}.")
    mail = history.result("gmail_get_email")
    if mail is None:
        return history.call("gmail_get_email", message_id=rows[0]["id"])
    return AIMessage(_quoted(mail, rows[1:]))


def _quoted(mail: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    body = str(mail.get("body", "")).strip()
    shown = body if len(body) <= _QUOTED else f"{body[:_QUOTED]} [...]"
    text = f"Yes. {_name(mail['from'])} wrote on {mail['date']}, “{mail['subject']}”:\n\n{shown}"
    if others:
        text += "\n\nAnd before that: " + ", ".join(f"“{row['subject']}”" for row in others) + "."
    return text


def _answer_him(history: _History, match: re.Match[str]) -> AIMessage:
    """Reply to the last mail that was read."""
    if (sent := history.result("gmail_reply_email")) is not None:
        return AIMessage(f"Sent: “{sent['subject']}” to {_listed(sent['to'])}.")
    mail = history.last_mail()
    if mail is None:
        return AIMessage("Answer whom? Ask me first whether there is anything from somebody.")
    said = f"{match['word'].capitalize()}{match['rest'].rstrip('. ')}."
    mine, theirs = _name(_listed(mail.get("to", ""))).split(" ")[0], _name(mail["from"]).split(" ")[0]
    return history.call("gmail_reply_email", message_id=mail["id"], body=f"Hi {theirs},\n\n{said}\n\n{mine}")


def _into_work(history: _History, match: re.Match[str]) -> AIMessage:
    """Turn the last mail into work: three writes at once, then one that needs their results."""
    mail = history.last_mail()
    if mail is None:
        return AIMessage("Which mail? Ask me first whether there is anything from somebody.")
    title, where = str(mail["subject"]), {"repo": match["repo"]}
    made, opened = history.result("linear_create_issue"), history.result("github_create_issue")
    if made is None or opened is None:
        quote = f"{_name(mail['from'])} wrote: {str(mail.get('body', '')).strip()[:_QUOTED]}"
        said = f"New work out of a mail of {_name(mail['from'])}: {title}"
        return history.calls(
            ("linear_create_issue", {"team": match["team"], "title": title, "description": quote}),
            ("github_create_issue", {**where, "title": title, "body": quote}),
            ("slack_send_message", {"conversation": f"#{match['channel']}", "body": said}),
        )
    if history.result("github_write_comment") is None:
        linked = f"Planned as [{made['identifier']}]({made['url']})."
        return history.call("github_write_comment", **where, number=opened["number"], body=linked)
    return AIMessage(
        f"Done: {made['identifier']} at Linear, {match['repo']}#{opened['number']} at GitHub, which links to it, and a "
        f"word in #{match['channel']}."
    )


def _who_am_i(history: _History, match: re.Match[str]) -> AIMessage:
    who = history.result("gmail_whoami")
    if who is None:
        return history.call("gmail_whoami")
    return AIMessage(f"At Google you are {who.get('name') or 'somebody'} <{who['email']}>.")


def _listed(people: Any) -> str:
    return people if isinstance(people, str) else ", ".join(str(person) for person in people)


def _name(address: str) -> str:
    """Return the name in ``Bob Brown <bob@example.test>``, else the part before the @."""
    name = address.partition("<")[0].strip(' "')
    return name or address.strip("<> ").partition("@")[0]


_Answer = Callable[[_History, re.Match[str]], AIMessage]
_INTENTS: Final[tuple[tuple[re.Pattern[str], _Answer], ...]] = (
    (
        re.compile(
            r"\bturn\b.*\bmail into\b.*\blinear\b.*\bin (?P<team>\w+).*\bgithub\b.*\bin (?P<repo>[\w.-]+/[\w.-]+).*"
            r"\btell\b.*?#?(?P<channel>[\w-]+) channel",
            re.IGNORECASE | re.DOTALL,
        ),
        _into_work,
    ),
    (re.compile(r"\bwho am i\b|\bwhose (?:account|mailbox)\b", re.IGNORECASE), _who_am_i),
    (re.compile(r"\b(?:answer|reply|respond|tell)\b.*?\b(?P<word>yes|no)\b(?P<rest>.*)", re.IGNORECASE), _answer_him),
    (re.compile(rf"\bfrom\s+(?P<who>[\w.+-]+(?:@[\w.-]+)?){_PERIOD}", re.IGNORECASE), _from_somebody),
)
