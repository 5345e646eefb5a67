"""How a call asks its user: by what the client has declared on this very request.

    page     a link of ours, which the client shows: an `InputRequiredResult` since 2026-07-28, the error -32042 before
    form     an approval in the client's own form, with the words of our page
    text     an error result, for the model: it names the users' own page, one address for all, and no ticket; a
             server on the user's own machine opens their browser as well, at the page of the question

All questions have one key, since a client (`langchain.mcp`) that goes on with a call answers every key it was ever
asked. A call that comes again from the beginning finds the same question under the same link. No round only waits: each
asks what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from deputize.core import ApprovalRequired, Call, ConsentRequired, User

__all__ = ["KEY", "Context", "Guidance", "OpenPage", "Question", "Waiting", "Ways", "decision_in", "question_of"]

Context: TypeAlias = ServerRequestContext[Any, Any]

KEY: Final = "deputize"
DECISION: Final = "decision"
LONGEST_FORM: Final = 8000
"""Characters of an approval that a form shows. A longer one is read on our page."""
URL_SINCE: Final = "2025-11-25"

_DECISIONS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {DECISION: {"type": "string", "enum": ["approve", "reject"], "title": "Your decision"}},
    "required": [DECISION],
}


@dataclass(frozen=True)
class Question:
    """What the user is asked. ``link``: the page of it, "" where only the user may be told. ``forms``: whether a yes in
    a client's form would answer it: not what a foreign server asks, whose answer is given on our page alone."""

    kind: Literal["consent", "approval"]
    id: str
    message: str
    link: str
    forms: bool = False

    @property
    def url(self) -> types.ElicitRequestURLParams:
        """As a link for the client to show."""
        return types.ElicitRequestURLParams(message=self.message, url=self.link)

    @property
    def legacy_url(self) -> types.ElicitRequestURLParams:
        """The same, for protocols that name each question."""
        return self.url.model_copy(update={"elicitation_id": self.id})

    @property
    def form(self) -> types.ElicitRequestFormParams:
        """As a form for the client to show."""
        return types.ElicitRequestFormParams(message=self.message, requested_schema=_DECISIONS)


class Guidance(NamedTuple):
    """How a user was told of a question by us. ``opened``: its page is before them. ``words``: for the model to say."""

    opened: bool
    words: str


OpenPage: TypeAlias = Callable[[User, Question], Awaitable[Guidance]]
"""Opens the page of a question before its user, where the client can show none; may be called again for the same."""


def question_of(error: ConsentRequired | ApprovalRequired) -> Question:
    """What such an error asks of the user."""
    if isinstance(error, ConsentRequired):
        return Question("consent", error.consent.id, _consent_words(error), error.consent.link)
    asked = error.approval
    return Question("approval", asked.id, _approval_words(error), asked.link, forms=asked.kind == "act")


def _consent_words(error: ConsentRequired) -> str:
    asked = error.consent
    label = asked.label or asked.provider
    agent = asked.agent if asked.agent not in ("", "agent") else "Your agent"
    account = f" with the account {asked.account}" if asked.account else ""
    lines = [f"{agent} needs your consent at {label}{account} to:", *(f"- {one}" for one in asked.scope_descriptions)]
    return "\n".join(
        lines if asked.scope_descriptions else [f"{agent} needs to know which account of {label} is yours."]
    )


def _approval_words(error: ApprovalRequired) -> str:
    """All that the yes is a yes to. The lines of a longer text are indented, so that none of them looks like a row."""
    asked = error.approval
    lines = [f"{asked.summary or asked.tool}{f' as {asked.account}' if asked.account else ''}", ""]
    if asked.changed_fields:
        lines += ["It is not as it was when you said yes.", ""]
    for name, text in asked.preview.items():
        mark = " (changed)" if name in asked.changed_fields else ""
        lines.append(
            f"{name}:{mark}\n{indent(text, '    ', lambda line: True)}" if "\n" in text else f"{name}:{mark} {text}"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Ways:
    """What the client can show, as it has declared on this request; see the specification on capabilities."""

    modern: bool
    url: bool
    form: bool

    @classmethod
    def of(cls, ctx: Context, *, forms: bool) -> Self:
        """``forms``: whether the host takes decisions in a client's form. ``elicitation: {}`` is one that has forms."""
        declared = ctx.session.client_capabilities
        can, modern = declared.elicitation if declared else None, ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if can is None:
            return cls(modern, url=False, form=False)
        url = can.url is not None and (modern or ctx.protocol_version >= URL_SINCE)
        return cls(modern, url, forms and (can.form is not None or can.url is None))

    def to_ask(self, question: Question) -> Literal["page", "form", "text"]:
        """In which way this client can ask it."""
        if self.url and question.link:
            return "page"
        fits = question.forms and len(question.message) <= LONGEST_FORM
        return "form" if self.form and fits else "text"


class Waiting(NamedTuple):
    """What a client hands back with an answer, sealed on its way: which call it is, what was asked, and how."""

    call: Call
    kind: str
    question: str
    way: str

    def packed(self) -> str:
        """For ``requestState``."""
        return json.dumps([self.call.thread, self.call.message, self.call.id, self.kind, self.question, self.way])

    @classmethod
    def of(cls, state: str | None) -> Self | None:
        """What `packed` made; None for a first round."""
        if state is None:
            return None
        thread, message, id, *asked = json.loads(state)
        return cls(Call(thread, message, id), *asked)


def decision_in(content: Mapping[str, Any] | None) -> Literal["approve", "reject"] | None:
    """What a form says; None for what is no decision."""
    said = (content or {}).get(DECISION)
    return said if said == "approve" or said == "reject" else None
