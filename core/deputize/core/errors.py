"""All errors, as one closed tree.

    DeputizeError
    ├── UserRequired             no user was passed: nothing runs
    ├── InvalidInput             arguments, names, values: says which and where
    ├── ConsentRequired          the user must open a page first; carries the consent
    ├── ScopeNotGranted          the user was just asked and left the scope out
    ├── Declined                 the user declined a consent or rejected an act
    ├── ReconsentRequired        the grant is dead; carries the reason and the new consent
    ├── AccountMismatch          the user signed in with another account than expected
    ├── ApprovalRequired         the user must approve this one act; carries the approval
    ├── PolicyDenied             the application's policy denied the act
    ├── RateLimited              a limit of the provider, or of requests that wait for the user: retry_after
    ├── NotFound                 absent at the provider, or hidden from this user
    ├── Conflict                 the provider's state differs from what the act assumed
    ├── OrgBlocked               an administrator, a plan or single sign-on blocks the act; carries the url
    ├── OutcomeUnknown           a write may have happened: check before repeating it
    ├── ProviderUnavailable      the provider or the network failed; nothing was done
    ├── VaultError               a record cannot be opened: wrong key, altered, not this vault's
    ├── StoreUnavailable         the store cannot be read or written now
    ├── AuditNotExported         a collector of the audit lags, and the settings then block acts
    └── SettingsError            a setting, key or file that prevents the start

Each has a stable ``code`` for programs, a message that is safe for a model, and a ``hint`` that says what to do. None
contains a request, a response, a token or a link. Only the objects that `ConsentRequired` and `ApprovalRequired` carry
have a link, and it is not part of the message. The provider's own reason is in ``from_provider`` and never in the
message, because it may be untrusted content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from deputize.core.user_requests import Approval, Consent

NOBODY_ANSWERS: Final = (
    "Nobody is there to answer now. Nothing was done, and the request waits for an answer. Go on without it."
)


class DeputizeError(Exception):
    """The base class of all errors. ``str(error)`` is one short sentence that may be shown to a model.

    ``from_provider``: the provider's own message, fields and codes, marked as untrusted; empty if it sent none.
    """

    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""
    from_provider: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        if self.hint:
            self.add_note(self.hint)  # tracebacks show it (PEP 678)

    def dict(self) -> Mapping[str, str]:
        """Return the fields that a client may see. LangGraph Server calls this method. Without it, the server would
        report "internal error"."""
        said = {"provider_says": self.provider_says} if self.from_provider else {}
        return {"error": type(self).__name__, "message": str(self), "code": self.code, **said}

    @property
    def provider_says(self) -> str:
        """The provider's reason in one line for a person, such as ``Title is required (title; missing_field)``."""
        row = self.from_provider
        names = "; ".join((*row.get("fields", ()), *row.get("codes", ())))
        message = str(row.get("message", ""))
        return f"{message} ({names})" if message and names else message or names

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), vars(self))


def _rebuild(kind: type[DeputizeError], data: dict[str, object]) -> DeputizeError:
    """Recreate an unpickled error."""
    error = kind.__new__(kind, data["message"])
    vars(error).update(data)
    return error


def instead(name: str, known: Iterable[str], *, every: bool = True) -> str:
    """Return a hint for an unknown name: similar names, and with ``every`` also all known names."""
    from difflib import get_close_matches  # imported only for an error

    names = list(known)
    near = get_close_matches(name[:100], names, n=3, cutoff=0.6)
    asked = f"Did you mean {' or '.join(near)}?" if near else ""
    listed = f"There are: {', '.join(names)}." if every and names else ""
    return " ".join(filter(None, (asked, listed)))


class UserRequired(DeputizeError):
    """Your application passed no user; deputize has no anonymous user. ``reason``: ``no_id`` if the value is not a user
    id, else empty."""

    code = "user_required"
    default_hint = "Pass the user from your application: user=..., the runtime's context, or bound at construction."

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class InvalidInput(DeputizeError):
    """An argument, a name or a link cannot be used. ``fix_by``: agent, user or operator. ``reason``: for programs."""

    code = "invalid_input"

    def __init__(self, message: str, *, hint: str = "", fix_by: str = "agent", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.fix_by = fix_by
        self.reason = reason


class ConsentRequired(DeputizeError):
    """The act needs scopes that the user has not granted. ``consent`` holds the scopes and the link.

    ``unattended``: True if nobody is there to answer now (`User.unattended`), so that waiting is of no use.
    """

    code = "consent_required"
    default_hint = "Show consent.link to the user, and call again when the consent is granted."

    def __init__(self, message: str, *, consent: Consent, hint: str = "", unattended: bool = False) -> None:
        super().__init__(f"{message} {NOBODY_ANSWERS}" if unattended else message, hint=hint)
        self.consent = consent
        self.unattended = unattended


class ScopeNotGranted(DeputizeError):
    """The user consented but left out ``scopes``. They are not requested again at once, which would cause a loop."""

    code = "scope_not_granted"
    default_hint = "Go on without it. A later request of the user, or deputy.connect(), asks again."

    def __init__(self, message: str, *, scopes: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.scopes = scopes


class Declined(DeputizeError):
    """The user declined a consent or rejected an act."""

    code = "declined"
    default_hint = "Go on without it. A later request of the user asks again."


class ReconsentRequired(ConsentRequired):
    """An existing grant no longer works. ``reason``: invalid_grant, lost_rotation, rejected, other_account, ..."""

    code = "reconsent_required"

    def __init__(
        self, message: str, *, consent: Consent, reason: str, hint: str = "", unattended: bool = False
    ) -> None:
        super().__init__(message, consent=consent, hint=hint, unattended=unattended)
        self.reason = reason


class AccountMismatch(DeputizeError):
    """The user signed in with another account than the connected or the requested one."""

    code = "account_mismatch"
    default_hint = "Connect again with the same account, or switch accounts on purpose."


class ApprovalRequired(DeputizeError):
    """The policy requires the user's approval of exactly this act. ``approval`` holds the preview and the id.
    ``unattended``: as in `ConsentRequired`. The approval waits until `Approval.expires_at`."""

    code = "approval_required"
    default_hint = "Show the approval to the user, record the answer with deputy.decide(), and call again."

    def __init__(self, message: str, *, approval: Approval, hint: str = "", unattended: bool = False) -> None:
        if approval.approvers and not hint:
            hint = f"Somebody else with the role {approval.approvers} decides, on the page /others. Then call again."
        super().__init__(f"{message} {NOBODY_ANSWERS}" if unattended else message, hint=hint)
        self.approval = approval
        self.unattended = unattended


class PolicyDenied(DeputizeError):
    """Your application's policy denies this act. ``rule``: id of the rule that denies it, "" if it has none."""

    code = "policy_denied"
    default_hint = "The policy denies it. Continue without it."

    def __init__(self, message: str, *, hint: str = "", rule: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class RateLimited(DeputizeError):
    """The provider limits requests, or too many requests already wait for the user. ``retry_after``: seconds, or None
    if the provider does not say."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotFound(DeputizeError):
    """The object does not exist, or this user cannot see it. ``reason``: the provider's code, for programs."""

    code = "not_found"
    default_hint = "Check the id or name with a tool that lists or searches, and whether this account may see it."

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Conflict(DeputizeError):
    """The state differs from the one that was assumed, of the provider or of an approval. ``reason``: already_decided,
    changed, already_done, stale, exists, not_mergeable, not_undoable."""

    code = "conflict"

    def __init__(self, message: str, *, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class OrgBlocked(DeputizeError):
    """Only somebody else can unblock the act: an administrator, the owner of the plan, or single sign-on at ``url``."""

    code = "org_blocked"

    def __init__(self, message: str, *, url: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.url = url


class OutcomeUnknown(DeputizeError):
    """A write may or may not have happened, and deputize does not repeat it."""

    code = "outcome_unknown"
    default_hint = "Check at the provider whether it was done before doing it again."


class ProviderUnavailable(DeputizeError):
    """The provider or the network failed. ``sent``: True if the request may have arrived. ``reason``: "too_long",
    "token_refused" (the API refuses an access token that may be valid; the grant was kept), or empty."""

    code = "provider_unavailable"
    default_hint = "Try again later."

    def __init__(self, message: str, *, hint: str = "", sent: bool = False, reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.reason = reason


class VaultError(DeputizeError):
    """A stored record cannot be opened: wrong key, altered bytes, a record at a wrong storage key, or not a vault."""

    code = "vault_error"
    default_hint = "Check DEPUTIZE_KEY or the key file; restore the vault from a backup. Nothing was changed."


class StoreUnavailable(DeputizeError):
    """The store cannot be read or written now: locked, full, read-only or missing. The operation did not happen."""

    code = "store_unavailable"


class AuditNotExported(DeputizeError):
    """A collector of the audit has not acknowledged rows for too long, and the settings then block acts. Nothing was
    done."""

    code = "audit_not_exported"
    default_hint = "Ask the operator: deputize doctor names the collector."


class SettingsError(DeputizeError):
    """A setting, key or file prevents the start. The message names it, and the hint says how to correct it."""

    code = "settings_error"

    @classmethod
    def without(cls, missing: ImportError, *extras: str) -> SettingsError:
        """Return the error for a package that is missing or too old or new, with the extras that install it."""
        module = (missing.name or "A package").partition(".")[0]
        fits = "is not installed" if isinstance(missing, ModuleNotFoundError) else "has another version than is needed"
        return cls(f"{module} {fits}.", hint=f'pip install "deputize[{",".join(extras)}]"')
