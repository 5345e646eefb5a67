"""The events by which a run of LlamaIndex asks its user, and by which it is woken."""

from __future__ import annotations

from typing import Any, Final, Literal

from llama_index.core.workflow import Event, HumanResponseEvent, InputRequiredEvent

__all__ = ["EVENTS", "ApprovalRequest", "ApprovalResponse", "ConsentRequest", "ConsentResponse", "Never"]


class ConsentRequest(InputRequiredEvent):
    """The user must visit ``link`` before a call goes on. For the user's eyes; see `deputize.core.Consent`."""

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
    """Look again. It proves nothing."""

    consent_id: str


class ApprovalRequest(InputRequiredEvent):
    """The user must approve one act before it happens; see `deputize.core.Approval`."""

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
    """Look again; ``decision`` is recorded first, if it is not empty. ``by``: who answers, as the host knows them.

    An edit is a yes with other ``arguments``: all of them. On a workflow server events come from its clients: a
    decision counts there only where `UserMiddleware` let the event in, and is a mere wake-up elsewhere.
    """

    approval_id: str
    by: str
    decision: Literal["approve", "reject", "edit", ""] = ""
    arguments: dict[str, Any] | None = None
    reason: str = ""


class Never(HumanResponseEvent):
    """What a delivery waits for whose call another one answers."""


for _shown in (ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse):
    _shown.__module__ = "deputize.adapters.llamaindex"  # where hosts import them from; saved runs name it

EVENTS: Final[list[type[Event]]] = [ConsentRequest, ConsentResponse, ApprovalRequest, ApprovalResponse, Never]
"""For ``WorkflowServer.add_workflow(..., additional_events=EVENTS)``: what a run with our tools asks and hears."""
