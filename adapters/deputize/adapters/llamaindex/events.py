"""Events by which a LlamaIndex run asks its user, and by which it is resumed."""

from __future__ import annotations

from typing import Any, Final, Literal

from llama_index.core.workflow import Event, HumanResponseEvent, InputRequiredEvent
from pydantic import Field

__all__ = ["EVENTS", "ApprovalRequest", "ApprovalResponse", "ConsentRequest", "ConsentResponse", "Never"]


class ConsentRequest(InputRequiredEvent):
    """A request to the user to open ``link`` before a call continues. Show it only to this user; see
    `deputize.core.Consent`."""

    type: Literal["deputize.consent"] = "deputize.consent"
    v: Literal[1] = 1
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
    """A signal to read the vault again. It proves nothing."""

    consent_id: str


class ApprovalRequest(InputRequiredEvent):
    """A request to the user to approve one act before it happens; see `deputize.core.Approval`."""

    type: Literal["deputize.approval"] = "deputize.approval"
    v: Literal[1] = 1
    approval_id: str
    tool: str
    effect: str
    account: str
    summary: str = ""
    preview: dict[str, str]
    dangers: list[str] = Field(default_factory=list)
    truncated: bool = False
    changed_fields: list[str] = Field(default_factory=list)
    link: str = ""
    request_id: str = ""
    request_link: str = ""
    expires_at: float
    reason: str
    approvers: str = ""


class ApprovalResponse(HumanResponseEvent):
    """A signal to read the vault again, after recording ``decision`` unless it is empty. ``by``: the user, as your
    application knows them.

    An edit is an approval with other ``arguments``: all of them. On a workflow server, clients write events. There a
    decision counts only if `UserMiddleware` accepted the event, and is ignored otherwise.
    """

    approval_id: str
    by: str
    decision: Literal["approve", "reject", "edit", ""] = ""
    arguments: dict[str, Any] | None = None
    reason: str = ""


class Never(HumanResponseEvent):
    """The event for which a parked delivery waits. It never comes."""


for _shown in (ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse):
    _shown.__module__ = "deputize.adapters.llamaindex"  # their public import path, which saved runs name

EVENTS: Final[list[type[Event]]] = [ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse, Never]
"""For ``WorkflowServer.add_workflow(..., additional_events=EVENTS)``: the events of a run with deputize tools."""
