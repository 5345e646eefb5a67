"""What a user is asked, as plain data: to consent at a provider, or to approve one act.

Both may be stored, streamed and shown: they hold no token, no provider address and no state. The link is for the
user's eyes, never for a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal

from deputize.core.value_object import ValueObject, frozen

ConsentStatus = Literal["pending", "granted", "partial", "denied", "failed", "expired", "cancelled"]


@frozen
class Consent(ValueObject):
    """A request for a grant, or for more scopes. Reached by its ``link`` on our own host.

    ``scopes`` are those asked for; ``scope_descriptions`` the same in plain language, in the same order. ``expires_at``
    is in Unix seconds. ``account`` is the name of the account that must consent, empty for a first one. ``reason_code``
    says for a lost grant what happened to it. ``request_id`` names all that one message of the model asks, empty where
    that is not known; ``request_link`` is the page of it, for whoever signs in there as the user, "" in local mode.
    ``label`` is the provider's name as people know it.
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

    def payload(self) -> dict[str, Any]:
        """The consent as JSON for an interrupt, an event or a page."""
        return {
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
"""Characters of one text in a payload, which frameworks store wherever they keep their state."""


@frozen
class Approval(ValueObject):
    """One act that waits for the user's yes, or for what its provider asks the user in the middle of it.

    ``kind``: of a ``question`` the answer is given on the page at ``link``, by nobody but the signed-in user, and never
    by a decision: but for ``reject``, which declines it. It may hold more than a yes, and none of it comes here.

    ``summary`` says in a sentence what will happen, "" of a tool that does not say. ``preview``: everything the yes is
    a yes to, by name, as a person reads it, in order: nothing is masked, and what cannot be seen is written out.
    ``outcome``: of a used one, how its act stands, as long as that is known; since ``ended_at``, in Unix seconds.
    ``targets``: whom or what a yes to more acts like this one would be bound to, () where there can be none.
    ``changed_fields``: the names of what is not as it was when the user last said yes. ``digest``: of what is shown, as
    audit rows have it. ``link``: the page that shows all of it, to whoever signs in there as the user; "" in local
    mode, whose links approve for whoever has them: see `deputize.core.web.pages.local_links.approval_link`.
    ``request_id`` names all that one message of the model asks, and ``request_link`` is the page of it; as ``link``.
    ``expires_at`` is in Unix seconds.
    """

    id: str
    tool: str
    effect: str
    preview: Mapping[str, str] = field(default_factory=dict)
    expires_at: float = 0.0
    agent: str = ""
    account: str = ""
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

    def payload(self) -> dict[str, Any]:
        """The approval as JSON for an interrupt or an event. ``truncated``: a text was cut, and the cut says so."""
        return {
            "approval_id": self.id,
            "tool": self.tool,
            "effect": self.effect,
            "account": self.account,
            "summary": self.summary,
            "preview": {name: _cut(text) for name, text in self.preview.items()},
            "truncated": any(len(text) > MAX_IN_PAYLOAD for text in self.preview.values()),
            "changed_fields": list(self.changed_fields),
            "link": self.link,
            "request_id": self.request_id,
            "request_link": self.request_link,
            "expires_at": self.expires_at,
            "reason": self.reason,
        }


def id_of(asked: Consent | Approval | str) -> str:
    """The id of what is named by itself or by its id."""
    return asked if isinstance(asked, str) else asked.id


def _cut(text: str) -> str:
    left = len(text) - MAX_IN_PAYLOAD
    return f"{text[:MAX_IN_PAYLOAD]} [... {left} more characters: not all is shown here]" if left > 0 else text
