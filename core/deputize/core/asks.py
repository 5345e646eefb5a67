"""What a user is asked, as plain data: to consent at a provider, or to approve one act.

Both may be stored, streamed and shown: they hold no token, no provider address and no state. The link is for the
user's eyes, never for a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ConsentStatus = Literal["pending", "granted", "partial", "denied", "failed", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Consent:
    """A request for a grant, or for more scopes. Reached by its ``link`` on our own host.

    ``scopes`` are those asked for; ``words`` the same in plain language, in the same order. ``expires_at`` is in Unix
    seconds. ``account`` is the name of the account that must consent, empty for a first one. ``why`` says for a lost
    grant what happened to it.
    """

    id: str
    provider: str
    app: str
    scopes: tuple[str, ...]
    words: tuple[str, ...]
    link: str
    expires_at: float
    agent: str = ""
    account: str = ""
    status: ConsentStatus = "pending"
    why: str = ""

    def payload(self) -> dict[str, Any]:
        """The consent as JSON for an interrupt, an event or a page."""
        return {
            "consent_id": self.id,
            "provider": self.provider,
            "app": self.app,
            "account": self.account,
            "scopes": list(self.scopes),
            "words": list(self.words),
            "link": self.link,
            "expires_at": self.expires_at,
            "why": self.why,
        }


ApprovalStatus = Literal["pending", "approved", "rejected", "used"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One act that waits for the user's yes: this tool with exactly these arguments.

    ``preview`` is what a person should see before saying yes; ``expires_at`` is in Unix seconds.
    """

    id: str
    tool: str
    effect: str
    preview: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float = 0.0
    agent: str = ""
    account: str = ""
    status: ApprovalStatus = "pending"
    reason: str = ""

    def payload(self) -> dict[str, Any]:
        """The approval as JSON for an interrupt, an event or a page."""
        return {
            "approval_id": self.id,
            "tool": self.tool,
            "effect": self.effect,
            "account": self.account,
            "preview": dict(self.preview),
            "expires_at": self.expires_at,
            "reason": self.reason,
        }
