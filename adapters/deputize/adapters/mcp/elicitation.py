"""The ways in which a call asks its user, by what the client declared on this request.

    page     a link to a deputize page: an `InputRequiredResult` since 2026-07-28, the error -32042 before
    form     an approval in the client's own form, with the text of the page
    text     an error result for the model: it names the users' dashboard, one address for all, without a ticket; a
             server on the user's own machine also opens their browser at the question's page

All questions have one key, because a client (`langchain.mcp`) that continues a call answers every key that the call
ever sent. A call that starts again finds the same question under the same link. Each round sends its question again.
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

from deputize.core import Approval, ApprovalRequired, Call, ConsentRequired, User

__all__ = [
    "KEY",
    "Context",
    "Guidance",
    "OpenPage",
    "Question",
    "Waiting",
    "Ways",
    "approval_words",
    "decision_in",
    "question_of",
]

Context: TypeAlias = ServerRequestContext[Any, Any]

KEY: Final = "deputize"
DECISION: Final = "decision"
MAX_FORM_CHARACTERS: Final = 8000
"""Characters of an approval that a form shows. A longer one is shown on the page."""
URL_SINCE: Final = "2025-11-25"

_DECISIONS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {DECISION: {"type": "string", "enum": ["approve", "reject"], "title": "Your decision"}},
    "required": [DECISION],
}


@dataclass(frozen=True)
class Question:
    """A question to the user. ``link``: the question's page, "" if only the user may see the link. ``forms``: True if a
    client's form can answer the question. A foreign server's question is answered only on deputize's page.
    ``approvers``: the role that is asked instead of the user, "" for the user."""

    kind: Literal["consent", "approval"]
    id: str
    message: str
    link: str
    forms: bool = False
    approvers: str = ""

    @property
    def url(self) -> types.ElicitRequestURLParams:
        """The question as a link for the client to display."""
        return types.ElicitRequestURLParams(message=self.message, url=self.link)

    @property
    def legacy_url(self) -> types.ElicitRequestURLParams:
        """The question as a link, for protocols that name each question."""
        return self.url.model_copy(update={"elicitation_id": self.id})

    @property
    def form(self) -> types.ElicitRequestFormParams:
        """The question as a form for the client to display."""
        return types.ElicitRequestFormParams(message=self.message, requested_schema=_DECISIONS)


class Guidance(NamedTuple):
    """How a user learns of a question. ``opened``: True if the page was opened. ``words``: text for the model."""

    opened: bool
    words: str


OpenPage: TypeAlias = Callable[[User, Question], Awaitable[Guidance]]
"""Opens a question's page for its user, if the client shows no links; may be called again for the same question."""


def question_of(error: ConsentRequired | ApprovalRequired) -> Question:
    """Return the question for the user that this error requires."""
    if isinstance(error, ConsentRequired):
        return Question("consent", error.consent.id, _consent_words(error), error.consent.link)
    asked = error.approval
    own = asked.kind == "act" and not asked.approvers
    return Question("approval", asked.id, approval_words(asked), asked.link, forms=own, approvers=asked.approvers)


def _consent_words(error: ConsentRequired) -> str:
    asked = error.consent
    label = asked.label or asked.provider
    agent = asked.agent if asked.agent not in ("", "agent") else "Your agent"
    account = f" with the account {asked.account}" if asked.account else ""
    lines = [f"{agent} needs your consent at {label}{account} to:", *(f"- {one}" for one in asked.scope_descriptions)]
    return "\n".join(
        lines if asked.scope_descriptions else [f"{agent} needs to know which account of {label} is yours."]
    )


def approval_words(asked: Approval) -> str:
    """Return the whole preview as text. Lines of a longer value are indented, so that none looks like a new field."""
    lines = [asked.summary, ""]
    if asked.approvers:
        lines += [f"This waits for somebody with the role {asked.approvers}. You cannot approve it.", ""]
    if asked.changed_fields:
        lines += ["It has changed since you were asked.", ""]
    lines += [f"{name}: {line}" for name in asked.dangers for line in asked.preview[name].split("\n")]
    lines += [""] if asked.dangers else []
    for name, text in asked.preview.items():
        if name in asked.dangers:
            continue
        mark = " (changed)" if name in asked.changed_fields else ""
        lines.append(
            f"{name}:{mark}\n{indent(text, '    ', lambda line: True)}" if "\n" in text else f"{name}:{mark} {text}"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Ways:
    """The ways of asking the user that the client declared on this request. See the specification on capabilities."""

    modern: bool
    url: bool
    form: bool

    @classmethod
    def of(cls, ctx: Context, *, forms: bool) -> Self:
        """Return the ways in which this client can ask its user. ``forms``: True if decisions in a form are accepted.
        The capability ``elicitation: {}`` means that the client has forms."""
        declared = ctx.session.client_capabilities
        can, modern = declared.elicitation if declared else None, ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if can is None:
            return cls(modern, url=False, form=False)
        url = can.url is not None and (modern or ctx.protocol_version >= URL_SINCE)
        return cls(modern, url, forms and (can.form is not None or can.url is None))

    def to_ask(self, question: Question) -> Literal["page", "form", "text"]:
        """Return the way in which this client can ask the question."""
        if self.url and question.link:
            return "page"
        fits = question.forms and len(question.message) <= MAX_FORM_CHARACTERS
        return "form" if self.form and fits else "text"


class Waiting(NamedTuple):
    """State that a client returns with an answer, encrypted: the call, the question, and the way of asking."""

    call: Call
    kind: str
    question: str
    way: str

    def packed(self) -> str:
        """Return the state as text for ``requestState``."""
        return json.dumps([self.call.thread, self.call.message, self.call.id, self.kind, self.question, self.way])

    @classmethod
    def of(cls, state: str | None) -> Self | None:
        """Return the state from the text of `packed`, or None for a first round."""
        if state is None:
            return None
        thread, message, id, *asked = json.loads(state)
        return cls(Call(thread, message, id), *asked)


def decision_in(content: Mapping[str, Any] | None) -> Literal["approve", "reject"] | None:
    """Return the decision in a form, or None."""
    said = (content or {}).get(DECISION)
    return said if said == "approve" or said == "reject" else None
