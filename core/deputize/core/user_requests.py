"""Requests to a user as plain data: to consent at a provider, or to approve one act.

Applications may store, stream and display them: they contain no token, no provider address and no OAuth state. The link
is for the user only, never for a model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal, NotRequired, TypeAlias

from deputize.core.value_object import ValueObject, frozen

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic has no schema for the standard TypedDict before Python 3.12
    from typing_extensions import TypedDict

ConsentStatus = Literal["pending", "granted", "partial", "denied", "failed", "expired", "cancelled"]


class ConsentPayload(TypedDict):
    """A consent as JSON: what a pause shows to the user. The fields are those of `Consent`."""

    type: Literal["deputize.consent"]
    v: Literal[1]
    consent_id: str
    provider: str
    label: str
    app: str
    account: str
    scopes: list[str]
    scope_descriptions: list[str]
    link: str
    expires_at: float
    reason_code: str
    request_id: str
    request_link: str


@frozen
class Consent(ValueObject):
    """A request for a grant or for more scopes. The user opens its ``link``, which is on deputize's own host.

    ``scopes``: the requested scopes. ``scope_descriptions``: their descriptions in plain language, in the same order.
    ``expires_at``: Unix seconds. ``account``: name of the account that must consent, "" if none is connected yet.
    ``reason_code``: why a grant was lost. ``request_id``: the same for all requests of one model message, "" if the
    message is unknown. ``request_link``: the page with all these requests, for a signed-in user; "" in local mode.
    ``label``: the provider's name for people.
    """

    id: str
    provider: str
    app: str
    scopes: tuple[str, ...]
    scope_descriptions: tuple[str, ...]
    link: str
    expires_at: float
    agent: str = ""
    account: str = ""
    status: ConsentStatus = "pending"
    reason_code: str = ""
    request_id: str = ""
    request_link: str = ""
    label: str = ""

    def payload(self) -> ConsentPayload:
        """Return the consent as JSON for an interrupt, an event or a page."""
        return {
            "type": "deputize.consent",
            "v": 1,
            "consent_id": self.id,
            "provider": self.provider,
            "label": self.label,
            "app": self.app,
            "account": self.account,
            "scopes": list(self.scopes),
            "scope_descriptions": list(self.scope_descriptions),
            "link": self.link,
            "expires_at": self.expires_at,
            "reason_code": self.reason_code,
            "request_id": self.request_id,
            "request_link": self.request_link,
        }


ApprovalStatus = Literal["pending", "approved", "rejected", "used"]
ApprovalKind = Literal["act", "question"]
Outcome = Literal["", "in_progress", "done", "unknown"]

MAX_IN_PAYLOAD: Final = 2000
"""Characters of one text in a payload, which frameworks store with their state."""


class ApprovalPayload(TypedDict):
    """An approval as JSON: what a pause shows to the user. The fields are those of `Approval`.

    ``truncated``: True if a text of the preview was cut. ``fault``: why the user's last edit was not possible; only if
    there is such an error.
    """

    type: Literal["deputize.approval"]
    v: Literal[1]
    approval_id: str
    tool: str
    effect: str
    account: str
    summary: str
    preview: dict[str, str]
    dangers: list[str]
    truncated: bool
    changed_fields: list[str]
    link: str
    request_id: str
    request_link: str
    expires_at: float
    reason: str
    approvers: str
    fault: NotRequired[str]


RequestPayload: TypeAlias = ConsentPayload | ApprovalPayload
"""What a pause shows to the user, tagged by ``type``: "deputize.consent" or "deputize.approval"."""


class Edit(TypedDict):
    """An approval of a call with other arguments. ``arguments``: all of them, by the names of the tool's schema."""

    decision: Literal["edit"]
    arguments: Mapping[str, Any]


Decisions: TypeAlias = Mapping[str, Literal["approve", "reject"] | Edit]
"""The user's decisions by approval id, as every adapter takes them."""


@frozen
class Approval(ValueObject):
    """A request to approve one act (``kind`` "act"), or a provider's question during an act (``kind`` "question").

    ``summary``: the act in one sentence without a full stop: who wants to do what, where, as whom, and whom it reaches.
    ``label``: the product's name for people.
    ``preview``: everything that the user approves, by label and in order. Nothing is masked, invisible characters are
    written out, and long gaps are replaced by their length.
    ``dangers``: labels of the preview's lines about dangers. These lines come first.
    ``targets``: people or things that a mandate for more acts like this one would cover, () if no mandate is possible.
    ``changed_fields``: names of the fields that changed since the user last approved, or since they were shown under
    the id of an earlier generation: see `Deputy.get_approval`.
    ``digest``: the preview's digest, as in the audit.
    ``outcome``: outcome of the act that used the approval, "" if none is stored. ``ended_at``: time of the outcome.
    ``link``: the page that shows the whole preview to the signed-in user. It is "" in local mode, where anybody who has
    a link could approve: see `deputize.core.web.pages.local_links.approval_link`.
    ``request_id``, ``request_link``: as in `Consent`.
    ``rule``: id of the policy's rule that requires the approval, "" if the rule has none. The reason of the rule is the
    line ``operator's rule`` of the preview.
    ``approvers``: the role whose members decide instead of the user, or "". ``requester``: id of the user whose act it
    is, only with ``approvers``.
    ``ended_at``, ``expires_at``: Unix seconds.

    Only the signed-in user answers a question, on the page at ``link``. For a question, `decide` only accepts
    ``reject``, which declines it. The answer may be confidential and is never part of this object.
    """

    id: str
    tool: str
    effect: str
    preview: Mapping[str, str] = field(default_factory=dict)
    dangers: tuple[str, ...] = ()
    expires_at: float = 0.0
    agent: str = ""
    account: str = ""
    label: str = ""
    status: ApprovalStatus = "pending"
    reason: str = ""
    summary: str = ""
    changed_fields: tuple[str, ...] = ()
    digest: str = ""
    targets: tuple[str, ...] = ()
    outcome: Outcome = ""
    ended_at: float = 0.0
    link: str = ""
    request_id: str = ""
    request_link: str = ""
    kind: ApprovalKind = "act"
    rule: str = ""
    approvers: str = ""
    requester: str = ""

    def payload(self) -> ApprovalPayload:
        """Return the approval as JSON for an interrupt or an event."""
        return {
            "type": "deputize.approval",
            "v": 1,
            "approval_id": self.id,
            "tool": self.tool,
            "effect": self.effect,
            "account": self.account,
            "summary": self.summary,
            "preview": {name: _cut(text) for name, text in self.preview.items()},
            "dangers": list(self.dangers),
            "truncated": any(len(text) > MAX_IN_PAYLOAD for text in self.preview.values()),
            "changed_fields": list(self.changed_fields),
            "link": self.link,
            "request_id": self.request_id,
            "request_link": self.request_link,
            "expires_at": self.expires_at,
            "reason": self.reason,
            "approvers": self.approvers,
        }


def id_of(request: object) -> str:
    """Return the id of a consent, approval or mandate. Accepts the object or its id; raises `TypeError` otherwise."""
    found = request if isinstance(request, str) else getattr(request, "id", None)
    if not isinstance(found, str):
        raise TypeError(f"An id is a string, not a value of type {type(request).__name__}.")
    return found


def _cut(text: str) -> str:
    left = len(text) - MAX_IN_PAYLOAD
    return f"{text[:MAX_IN_PAYLOAD]} [... {left} more characters: not all is shown here]" if left > 0 else text
