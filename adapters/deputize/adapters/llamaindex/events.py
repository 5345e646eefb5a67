"""Events by which a LlamaIndex run asks its user, and by which it is resumed."""

from __future__ import annotations

from typing import Any, Final, Literal

from llama_index.core.workflow import Event, HumanResponseEvent, InputRequiredEvent

__all__ = ["EVENTS", "ApprovalRequest", "ApprovalResponse", "ConsentRequest", "ConsentResponse", "Never"]


class ConsentRequest(InputRequiredEvent):
    """A request that the user opens ``link`` before a call continues. Show it only to this user; see
    `deputize.core.Consent`."""

    consent_id: str
    provider: str
    app: str
    account: str
    scopes: list[str]
    scope_descriptions: list[str]
    link: str
    expires_at: float
    reason_code: str
    request_id: str = ""
    request_link: str = ""
    label: str = ""


class ConsentResponse(HumanResponseEvent):
    """A signal to look again. It proves nothing."""

    consent_id: str


class ApprovalRequest(InputRequiredEvent):
    """A request that the user approves one act before it happens; see `deputize.core.Approval`."""

    approval_id: str
    tool: str
    effect: str
    account: str
    summary: str = ""
    preview: dict[str, str]
    truncated: bool = False
    changed_fields: tuple[str, ...] = ()
    link: str = ""
    request_id: str = ""
    request_link: str = ""
    expires_at: float
    reason: str


class ApprovalResponse(HumanResponseEvent):
    """A signal to look again, after recording ``decision``, if it is not empty. ``by``: the user, as your application
    knows them.

    An edit is an approval with other ``arguments``: all of them. On a workflow server, clients write events: a decision
    counts only if `UserMiddleware` let the event in, and is ignored otherwise.
    """

    approval_id: str
    by: str
    decision: Literal["approve", "reject", "edit", ""] = ""
    arguments: dict[str, Any] | None = None
    reason: str = ""


class Never(HumanResponseEvent):
    """The event that a parked delivery waits for. It never comes."""


for _shown in (ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse):
    _shown.__module__ = "deputize.adapters.llamaindex"  # their public import path, which saved runs name

EVENTS: Final[list[type[Event]]] = [ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse, Never]
"""For ``WorkflowServer.add_workflow(..., additional_events=EVENTS)``: the events of a run with deputize tools."""
