"""The list of all audit events and their fields. Only these events can be written.

An event is a frozen value: ``audit.write(TokenRefreshed(of_grant))``. Its fields are `Facts` that several events share,
and its own, each with a description. To add a field, add it here; to add an event, add a class here; then run ``python
-m tests.docs.generated``, which writes docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from deputize.core.audit.common_fields import (
    Facts,
    Obtained,
    OfApp,
    OfApproval,
    OfCall,
    OfConsent,
    OfGrant,
    OfMandate,
    OfUser,
    event,
)

Reason = Annotated[str, "machine-readable reason"]
KeyId = Annotated[str, "id of a key, never the key"]


class Event(Facts):
    """The subject of a row. ``event``: the name in the row."""

    event: ClassVar[str]


# ------------------------------------------------------------- calls


@event
class ActIntent(Event):
    """An act is about to write. From here on it may have happened."""

    event = "act.intent"
    call: OfCall
    args_mac: Annotated[str, "keyed digest of the act and its arguments"]
    record: Annotated[str, "keyed digest of the ledger record of its outcome"]
    kept: Annotated[float, "minimum seconds that the record is kept"]


@event
class ActResult(Event):
    """A call has ended. Each call has one such row, however it ends."""

    event = "act.result"
    call: OfCall
    decision: Annotated[str, "done, interrupted (cancelled, or a bug), or the code of the error"]
    duration_ms: Annotated[int, "milliseconds"]
    sealed: Annotated[str, "summary of a write, encrypted for the user's own activity page"] = ""


@event
class LedgerSaveFailed(Event):
    """The outcome of an act could not be stored. No later run repeats the act."""

    event = "ledger.save_failed"
    of_user: OfUser
    tool: Annotated[str, "the tool's name"]


# ------------------------------------------------------------- approvals


@event
class ApprovalRequested(Event):
    """The user is asked to approve one act."""

    event = "approval.requested"
    approval: OfApproval
    kept: Annotated[float, "minimum seconds that the record is kept"]


@event
class ApprovalApproved(Event):
    """The user approved."""

    event = "approval.approved"
    approval: OfApproval


@event
class ApprovalRejected(Event):
    """The user rejected."""

    event = "approval.rejected"
    approval: OfApproval


@event
class ApprovalEdited(Event):
    """The user approved with other arguments."""

    event = "approval.edited"
    approval: OfApproval


@event
class ApprovalUsed(Event):
    """The approval is used up: the act begins."""

    event = "approval.used"
    approval: OfApproval


@event
class ApprovalReleased(Event):
    """The act did nothing: the approval is not used up any more. Written before the vault's record changes."""

    event = "approval.released"
    approval: OfApproval


@event
class ApprovalTooLate(Event):
    """The user rejected, but the act had begun."""

    event = "approval.too_late"
    approval: OfApproval


# ------------------------------------------------------------- mandates


@event
class MandateGiven(Event):
    """The user approved several acts. With `approval_id`: acts like the one of that approval."""

    event = "mandate.given"
    mandate: OfMandate
    tools: Annotated[Sequence[str], "names of the tools"]
    audience: Annotated[str, "audience of the acts: self, people, organisation or public"]
    most: Annotated[int, "maximum number of acts"]
    valid_until: Annotated[int, "expiry, Unix seconds"]
    approval_id: Annotated[str, "the approval's id"] = ""
    targets: Annotated[Sequence[str], "keyed digests of the targets that the user allowed"] = ()


@event
class MandateUsed(Event):
    """An act under a mandate begins."""

    event = "mandate.used"
    mandate: OfMandate
    tool: Annotated[str, "the tool's name"]
    thread: Annotated[str, "the conversation's id in your application"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""
    show: Annotated[str, "digest of the preview that was shown and approved"] = ""
    reached: Annotated[Sequence[str], "keyed digests of what the act reaches, at most 100"] = ()


@event
class MandateReleased(Event):
    """The act did nothing: its use of the mandate does not count. Written before the vault's record changes."""

    event = "mandate.released"
    mandate: OfMandate
    tool: Annotated[str, "the tool's name"]
    thread: Annotated[str, "the conversation's id in your application"] = ""
    call_id: Annotated[str, "the tool call's id, as the model's provider gave it"] = ""


@event
class MandateEnded(Event):
    """The user revoked a mandate before it expired."""

    event = "mandate.ended"
    mandate: OfMandate


# ------------------------------------------------------------- the policy


@event
class PolicyLoaded(Event):
    """A changed policy file is in force in this process."""

    event = "policy.loaded"
    file: Annotated[str, "the file's name"]
    digest: Annotated[str, "beginning of the SHA-256 of the file in force"]


@event
class PolicyRefused(Event):
    """A changed policy file cannot be used. The old rules stay in force in this process."""

    event = "policy.refused"
    file: Annotated[str, "the file's name"]
    why: Annotated[str, "what is wrong, with the line"]
    digest: Annotated[str, "beginning of the SHA-256 of the file in force"]


@event
class BudgetSpent(Event):
    """An act is counted in a budget of the policy, before it begins."""

    event = "budget.spent"
    of_user: OfUser
    budget: Annotated[str, "id of the budget"]
    agent: Annotated[str, "the agent's name"]
    tool: Annotated[str, "the tool's name"]
    used: Annotated[int, "acts that the budget has counted in this period"]
    most: Annotated[int, "maximum number of acts"]
    period_end: Annotated[int, "end of the period, Unix seconds"]


@event
class BudgetReleased(Event):
    """The act did nothing: the budget does not count it."""

    event = "budget.released"
    of_user: OfUser
    budget: Annotated[str, "id of the budget"]
    agent: Annotated[str, "the agent's name"]
    tool: Annotated[str, "the tool's name"]


# ------------------------------------------------------------- consents


@event
class ConsentRequested(Event):
    """The user is asked for scopes."""

    event = "consent.requested"
    consent: OfConsent
    scopes_required: Annotated[Sequence[str], "scopes that are needed, or were requested"]
    reason: Reason = ""


@event
class ConsentOpened(Event):
    """The user continued to the provider."""

    event = "consent.opened"
    consent: OfConsent
    by: Annotated[str, "`device` if not opened by a browser on this machine"] = ""


@event
class ConsentEnded(Event):
    """The end of a consent: not an event itself, but the fields that the five events share."""

    consent: OfConsent
    scopes_required: Annotated[Sequence[str], "scopes that are needed, or were requested"] = ()
    reason: Reason = ""
    obtained: Obtained | None = None


class ConsentGranted(ConsentEnded):
    """The user granted all requested scopes."""

    event = "consent.granted"


class ConsentPartial(ConsentEnded):
    """The user granted a part of the scopes."""

    event = "consent.partial"


class ConsentDenied(ConsentEnded):
    """The user or an administrator denied the consent."""

    event = "consent.denied"


class ConsentFailed(ConsentEnded):
    """The consent failed, or was misused."""

    event = "consent.failed"


class ConsentCancelled(ConsentEnded):
    """The user disconnected meanwhile."""

    event = "consent.cancelled"


ENDS: Final = {
    "granted": ConsentGranted,
    "partial": ConsentPartial,
    "denied": ConsentDenied,
    "failed": ConsentFailed,
    "cancelled": ConsentCancelled,
}
"""The event by a consent's final state."""


@event
class Misused(Event):
    """A refused link or callback: not an event itself, but the field that these events share."""

    consent: OfConsent | None = None


class LinkEnded(Misused):
    """A link was opened whose consent had ended."""

    event = "connect.link_ended"


class UnknownState(Misused):
    """A callback with an unknown `state`."""

    event = "connect.unknown_state"


class UnknownConsent(Misused):
    """A device code for an unknown consent."""

    event = "connect.unknown_consent"


class UserMismatch(Misused):
    """Another user than the one who was asked."""

    event = "connect.user_mismatch"


class Replayed(Misused):
    """A callback for a consent that does not wait for one."""

    event = "connect.replayed"


class AppMismatch(Misused):
    """A callback at the address of another OAuth client."""

    event = "connect.app_mismatch"


class ExpiredState(Misused):
    """A callback that came too late."""

    event = "connect.expired_state"


class BrowserMismatch(Misused):
    """A callback in another browser than the one that began (CSRF), or a link of local mode in a second browser."""

    event = "connect.browser_mismatch"


class IssuerMismatch(Misused):
    """A callback of another authorization server (RFC 9207)."""

    event = "connect.issuer_mismatch"


class DeviceCodeLate(Misused):
    """A device code was entered after its consent had ended."""

    event = "connect.device_code_late"


Misuse = Literal[
    "used",
    "unknown_state",
    "unknown_consent",
    "user_mismatch",
    "replayed",
    "other_app",
    "expired_state",
    "browser_mismatch",
    "other_issuer",
    "late_code",
]
MISUSES: Final[dict[Misuse, type[Misused]]] = {
    "used": LinkEnded,
    "unknown_state": UnknownState,
    "unknown_consent": UnknownConsent,
    "user_mismatch": UserMismatch,
    "replayed": Replayed,
    "other_app": AppMismatch,
    "expired_state": ExpiredState,
    "browser_mismatch": BrowserMismatch,
    "other_issuer": IssuerMismatch,
    "late_code": DeviceCodeLate,
}
"""The event by the fault of a link or a callback."""


# ------------------------------------------------------------- grants and tokens


@event
class AccountChosen(Event):
    """The user chose the account that acts."""

    event = "account.chosen"
    grant: OfGrant


@event
class AccountDeselected(Event):
    """Another account acts from now on."""

    event = "account.deselected"
    grant: OfGrant


@event
class GrantObtained(Event):
    """A grant was obtained without a consent."""

    event = "grant.obtained"
    grant: OfGrant
    scopes_granted: Annotated[Sequence[str], "scopes of the grant, as the provider named them"]
    imported_by: Annotated[str, "the importer of existing tokens"] = ""


@event
class GrantNotObtained(Event):
    """A grant could not be obtained without a consent."""

    event = "grant.not_obtained"
    tokens: OfApp
    source: Annotated[str, "source of the grant, if it came without a consent"]
    reason: Reason


@event
class TokenRefreshed(Event):
    """A new access token was stored."""

    event = "token.refreshed"
    grant: OfGrant


@event
class TokenRefreshFailed(Event):
    """The provider gave no new access token."""

    event = "token.refresh_failed"
    grant: OfGrant
    reason: Reason


@event
class TokenSaveFailed(Event):
    """A new access token could not be stored. deputize tries again."""

    event = "token.save_failed"
    grant: OfGrant
    attempt: Annotated[int, "which attempt failed"]


@event
class GrantMarkedLost(Event):
    """The grant is dead: the user must consent again."""

    event = "grant.lost"
    grant: OfGrant
    reason: Reason


@event
class GrantSuspected(Event):
    """The API refuses the grant's token, which may be an outage: the grant is kept, and the next act tries it again."""

    event = "grant.suspected"
    grant: OfGrant
    reason: Reason


@event
class GrantEndsSoon(Event):
    """The grant ends within three days, and was used. Recorded once for each end."""

    event = "grant.ends_soon"
    grant: OfGrant
    ends_at: Annotated[int, "when it ends, in Unix seconds"]
    reason: Reason


@event
class GrantCleared(Event):
    """The API accepts the token of a suspected grant."""

    event = "grant.cleared"
    grant: OfGrant


@event
class ProviderRefusesTokens(Event):
    """The API refuses the tokens of several users. Until it accepts a token again, hardly any token is refreshed."""

    event = "provider.refuses_tokens"
    provider: Annotated[str, "the provider's name"]


@event
class GrantRevoked(Event):
    """The grant has ended here."""

    event = "grant.revoked"
    grant: OfGrant
    upstream: Annotated[str, "outcome for its tokens at the provider"] = ""


@event
class GrantsEnded(Event):
    """All earlier grants of everybody, or of one tenant, have ended here."""

    event = "grants.ended"
    epoch: Annotated[int, "the revocation epoch that begins with it"]
    everybody: Annotated[bool, "true if of all tenants"]
    leaked: Annotated[bool | None, "true if others may have the tokens"] = None
    tenant: Annotated[str, "the user's tenant; left out if there is only one tenant"] = ""


@event
class GrantSnapshot(Event):
    """The state of a grant, repeated because the rows that record it are dropped."""

    event = "grant.snapshot"
    grant: OfGrant
    revoked: Annotated[bool, "true if it had been revoked"] = False


@event
class GrantRestored(Event):
    """A backup was restored, and the grant has this generation in it."""

    event = "grant.restored"
    grant: OfGrant


@event
class GrantDropped(Event):
    """Grants that could not be decrypted were removed."""

    event = "grant.dropped"
    records: Annotated[int, "how many records"]


@event
class UserOffboarded(Event):
    """A user's access ended: grants, approvals, mandates and sessions."""

    event = "user.offboarded"
    who: OfUser
    cause: Annotated[str, "why access ended: the operator's words, or the signal"]
    accounts: Annotated[int, "accounts that were disconnected"]
    approvals: Annotated[int, "approvals that were closed"]
    mandates: Annotated[int, "mandates that were ended"]
    sessions: Annotated[int, "sessions at the pages that were ended"]


@event
class SessionsEnded(Event):
    """A signal of the identity provider ended a user's sessions, and the grants that came from them."""

    event = "user.sessions_ended"
    who: OfUser
    cause: Annotated[str, "why access ended: the operator's words, or the signal"]
    sessions: Annotated[int, "sessions at the pages that were ended"]


@event
class UserErased(Event):
    """All data of a user was erased."""

    event = "user.erased"
    who: OfUser


@event
class TenantErased(Event):
    """All data of a tenant was erased, and then its data key."""

    event = "tenant.erased"
    tenant: Annotated[str, "the user's tenant; left out if there is only one tenant"]
    users: Annotated[int, "users whose data was erased"]


@event
class OperatorDisconnects(Event):
    """An operator disconnects a user of the tenant. Written before the grants end, whose rows follow."""

    event = "operator.disconnects"
    who: OfUser
    operator: Annotated[str, "pseudonym of the operator"]
    justification: Annotated[str, "the operator's reason, in the operator's words"]
    provider: Annotated[str, "the provider's name"] = ""
    app: Annotated[str, "the OAuth client's name"] = ""


@event
class ChatLinked(Event):
    """A user linked an account of a chat, which can then decide for the user, or unlinked it."""

    event = "chat.linked"
    who: OfUser
    chat: Annotated[str, "the chat product"]
    linked: Annotated[bool, "false: unlinked"]


@event
class AuditViewed(Event):
    """An auditor read rows of the tenant on the pages."""

    event = "audit.viewed"
    who: OfUser
    rows: Annotated[int, "how many"]


# ------------------------------------------------------------- the revocation queue (RFC 7009)


@event
class RevokeReplaced(Event):
    """A token need not be revoked: a newer grant replaced it."""

    event = "revoke.replaced"
    tokens: OfApp
    entry: Annotated[str, "keyed digest of the entry in the revocation queue"]


@event
class RevokeTried(Event):
    """A revocation at the provider: not an event itself, but the fields that these events share."""

    tokens: OfApp
    entry: Annotated[str, "keyed digest of the entry in the revocation queue"]
    leaked: Annotated[bool | None, "true if others may have the tokens"] = None


class RevokeDone(RevokeTried):
    """The tokens are revoked at the provider."""

    event = "revoke.done"


class RevokeQueued(RevokeTried):
    """The provider did not answer. deputize tries again."""

    event = "revoke.queued"


class RevokeMoved(RevokeTried):
    """The app leads to another server now, which must not get these tokens."""

    event = "revoke.moved"


class RevokeNotSupported(RevokeTried):
    """The provider does not support revocation."""

    event = "revoke.not_supported"


class RevokeAbandoned(RevokeTried):
    """The provider did not answer for days."""

    event = "revoke.abandoned"


REVOKES: Final = {
    "done": RevokeDone,
    "queued": RevokeQueued,
    "moved": RevokeMoved,
    "not_supported": RevokeNotSupported,
    "abandoned": RevokeAbandoned,
}
"""The event by the outcome for tokens at the provider."""


# ------------------------------------------------------------- keys and the vault


@event
class KeyAdded(Event):
    """A root key was made, and encrypts from now on."""

    event = "key.added"
    key: KeyId


@event
class KeyRemoved(Event):
    """A root key was removed from the list."""

    event = "key.removed"
    key: KeyId


@event
class KeyWrapped(Event):
    """All root keys were wrapped by a key management service."""

    event = "key.wrapped"
    key: KeyId
    kms: Annotated[str, "its name in the settings"]
    only: Annotated[bool | None, "true: copies that other services had wrapped were removed"] = None


@event
class KeyResealed(Event):
    """Records were encrypted with the newest key."""

    event = "key.resealed"
    key: KeyId
    records: Annotated[int, "how many records"]
    shut: Annotated[int, "records that do not open, left as they are"]


@event
class KeyRotated(Event):
    """The audit has a new key. This row closes a chain that was written under an older key."""

    event = "key.rotated"
    key: KeyId
    old_key: KeyId
    closed: Annotated[str, "the writer of that chain"]
    closed_seq: Annotated[int, "its last row"]
    closed_mac: Annotated[str, "and that row's mac"]


@event
class VaultCopied(Event):
    """A backup was made."""

    event = "vault.copied"


@event
class VaultRestored(Event):
    """A backup was restored. Generations are counted again from here."""

    event = "vault.restored"
    copied_at: Annotated[int, "when it was made, Unix seconds"]
    grants: Annotated[int, "grants to be confirmed before use"]
    found: Annotated[bool | None, "true if a start found it in the vault's place: an operator must accept that"] = None


@event
class RestoreAccepted(Event):
    """An operator accepted a restore, and the loss of exactly the rows that this row names."""

    event = "restore.accepted"
    justification: Annotated[str, "the operator's reason, in the operator's words"]
    gaps: Annotated[
        Sequence[str], "rows that are gone: writer, first and last row, mac of the row before, mac of the last row"
    ] = ()
    replayed: Annotated[
        Sequence[str], "acts that were repeated, because the vault had forgotten them: what is wrong, writer and row"
    ] = ()


@event
class DatabaseFailedOver(Event):
    """The vault's database has another history, after a failover or a restored backup. Each process writes this row."""

    event = "database.failed_over"
    timeline: Annotated[str, "id of the past that it has now"]
    again: Annotated[int, "records that this process wrote there again"]


@event
class VaultRecreated(Event):
    """A new vault replaced one that was lost."""

    event = "vault.recreated"


# ------------------------------------------------------------- the audit itself


@event
class ChainAnchor(Event):
    """A row whose line is also kept elsewhere."""

    event = "chain.anchor"
    ended: Annotated[bool, "true if the chain ends here because its process closed it"] = False


@event
class ChainClosed(Event):
    """From now on, this chain vouches for the end of another chain, instead of the vault."""

    event = "chain.closed"
    closed: Annotated[str, "the writer of that chain"]
    closed_seq: Annotated[int, "its last row"]
    closed_mac: Annotated[str, "and that row's mac"]


@event
class AuditDropped(Event):
    """Old files, or old rows of a table, were removed because the retention period was over."""

    event = "audit.dropped"
    until: Annotated[int, "older than this: Unix seconds"]
    files: Annotated[int | None, "how many files"] = None
    rows: Annotated[int | None, "how many"] = None


@event
class AuditLost(Event):
    """Rows were lost: the disk refused them for too long."""

    event = "audit.lost"
    rows: Annotated[int, "how many"]


EVENTS: Final[dict[str, type[Event]]] = {
    kind.event: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Event) and "event" in vars(kind)
}
"""Every event by its name."""
