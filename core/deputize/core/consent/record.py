"""A consent as a state machine. Only this module reads and writes the JSON of consents in the vault.

    created -> opened -> returned -> confirmed -> granted | partial
       any  -> denied | failed | cancelled

``created``: a ticket exists. ``opened``: the verified user pressed Connect; state, verifier and nonce exist.
``returned``: the browser is back with a code, which is stored. ``confirmed``: the user was verified again; the code is
redeemed, once. If a link expires, ``opened`` becomes ``created`` again. With a device code, ``opened`` becomes
``confirmed`` directly. Final states contain neither code nor verifier. A `ConsentRecord` is immutable: each transition
makes a new record, which `deputize.core.consent.repository` saves by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, replace
from typing import Any, Final, Literal, Self, cast

from deputize.core.audit.common_fields import OfConsent
from deputize.core.errors import InvalidInput
from deputize.core.user_requests import ConsentStatus
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Origin, Secret, User
from deputize.core.vault.record import Record, StoredRecord

CONSENT_LINK_TTL: Final = 600.0
"""Seconds for which a link can be opened, and seconds between a press of Connect and the callback."""
REDEEM_TTL: Final = 60.0
"""Seconds after which an unredeemed code is abandoned: its process has died."""
CONSENT_TTL: Final = 86400.0
"""Seconds for which a consent is remembered after the last request for it."""
MAX_VISITS: Final = 3
"""The number of latest presses of Connect that may come back."""
MAX_FORMER: Final = 8
"""The number of earlier consents whose end a record remembers, for callers that still wait for one."""
MAX_ASKS: Final = 32

Status = Literal["created", "opened", "returned", "confirmed", "granted", "partial", "denied", "failed", "cancelled"]
EndStatus = Literal["granted", "partial", "denied", "failed", "cancelled"]
Other = Literal["", "another", "switch"]
"""Which account a consent is for: the connected one, another one, or one to switch to."""

OPENABLE: Final = frozenset({"created", "opened"})
REDEEMING: Final = frozenset({"returned", "confirmed"})
PENDING: Final = OPENABLE | REDEEMING
CUT_OFF: Final = frozenset({"denied", "failed", "cancelled"})
MOVES: Final[Mapping[Status, frozenset[str]]] = {
    "created": frozenset({"created", "opened"}) | CUT_OFF,
    "opened": frozenset({"created", "opened", "returned", "confirmed"}) | CUT_OFF,
    "returned": frozenset({"confirmed"}) | CUT_OFF,
    "confirmed": frozenset({"granted", "partial"}) | CUT_OFF,
}
"""The transitions of each state. States without an entry are final."""


class AnyLocalUser:
    """The user of this machine, without an identity: only for pages that no other machine can reach."""


Who = User | AnyLocalUser | None


def refuse_link(reason: str) -> InvalidInput:
    """Return the one error for every unusable link and callback. Only the audit contains the reason."""
    hint = "Go back to where you were asked and open the newest link."
    return InvalidInput("This link cannot be used.", hint=hint, fix_by="user", reason=reason)


@frozen
class Visit(ValueObject):
    """One press of Connect. ``state`` and ``nonce`` are fingerprints; ``expires`` is in Unix seconds."""

    state: str
    nonce: str
    verifier: Secret = field(repr=False)
    expires: float


@frozen
class DeviceWait(ValueObject):
    """A device code (RFC 8628) that can be entered until ``expires`` (Unix seconds)."""

    code: Secret = field(repr=False)
    expires: float


@frozen
class Former(ValueObject):
    """The end of an earlier consent for the same need, for callers that still wait for it."""

    id: str
    issue: int
    status: Status
    reason: str = ""
    returned: float = 0.0
    account: str = ""
    agent: str = ""
    ticket_expires: float = 0.0
    visit_expires: float = 0.0
    threads: tuple[str, ...] = ()


@frozen(kw_only=True, slots=False)
class ConsentRecord(StoredRecord):
    """A consent in the vault. Times are in Unix seconds.

    ``enough``: groups of scopes; a grant with one scope of each group is enough. ``subject``, ``account``: the account
    that must consent, empty for any. ``other``: set if the consent adds an account, or replaces the default account
    ``instead``. ``why``: the reason code of the request. ``claims``: claims to request from the provider, besides
    scopes. ``asks``: ids of the user's requests that led here; ``threads``: their conversations. ``issue``: number of
    tickets issued. ``asked``: all
    scopes requested from the provider; ``missing``: scopes that the provider did not grant. ``return_to``: the address
    to which the page links at the end. ``family``: the token family that it led to. ``epoch``: the revocation epoch in
    which it was requested. ``lease``: the time, by the store's clock, until which the process that sent the code may
    still receive the reply; 0: as long as that process lives.
    """

    KIND = "consent"
    id: str
    user: User
    provider: str
    app: str
    scopes: tuple[str, ...]
    enough: tuple[tuple[str, ...], ...] = ()
    agent: str = ""
    subject: str = ""
    account: str = ""
    other: Other = ""
    instead: str = ""
    why: str = ""
    claims: str = ""
    asks: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    status: Status = "created"
    issue: int = 1
    ticket_expires: float
    expires: float
    visits: tuple[Visit, ...] = ()
    visit_expires: float = 0.0
    redirect_uri: str = ""
    asked: frozenset[str] = frozenset()
    origin: Origin | None = None
    device: DeviceWait | None = None
    code: Secret = field(default=Secret(""), repr=False)
    returned: float = 0.0
    lease: float = 0.0
    reason: str = ""
    finished: float = 0.0
    missing: tuple[str, ...] = ()
    return_to: str = ""
    family: str = ""
    epoch: int = 0
    before: tuple[Former, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    # ------------------------------------------------------------- moves

    def _move(self, status: Status, **facts: Any) -> Self:
        if status not in MOVES.get(self.status, ()):
            raise RuntimeError(f"A consent does not move from {self.status} to {status}.")
        return self.copy_with(status=status, **facts)

    def open(
        self, visit: Visit, *, redirect_uri: str, asked: frozenset[str], origin: Origin, return_to: str = ""
    ) -> Self:
        """Move to opened: the verified user pressed Connect. The browsers of the last presses may return."""
        visits, back = (*self.visits[1 - MAX_VISITS :], visit), {"redirect_uri": redirect_uri, "return_to": return_to}
        return self._move("opened", visits=visits, visit_expires=visit.expires, asked=asked, origin=origin, **back)

    def open_by_device(self, device: DeviceWait, *, asked: frozenset[str], origin: Origin) -> Self:
        """Move to opened: a device code was issued and waits for the user."""
        return self._move("opened", device=device, visit_expires=device.expires, asked=asked, origin=origin)

    def receive_code(self, visit: Visit, code: Secret, now: float) -> Self:
        """Move to returned: the browser of this visit came to the callback with a code."""
        return self._move("returned", visits=(visit,), code=code, returned=now)

    def confirm(self, lease: float) -> Self:
        """Move to confirmed: the code is being redeemed. The code and its verifier are removed."""
        visits = tuple(replace(visit, verifier=Secret("")) for visit in self.visits)
        return self._move("confirmed", code=Secret(""), visits=visits, lease=lease)

    def confirm_by_device(self, now: float) -> Self:
        """Move to confirmed: the user entered the device code, and the provider sent tokens."""
        return self._move("confirmed", visits=(), device=None, returned=now)

    def renew_ticket(self, now: float) -> Self:
        """Return the record with a new ticket. Earlier tickets become invalid, and no open browser may return."""
        return self._without_secrets()._move("created", issue=self.issue + 1, ticket_expires=now + CONSENT_LINK_TTL)

    def end(self, status: EndStatus, reason: str, now: float, **facts: Any) -> Self:
        """Move to a final state, without any secrets. ``facts``: ``account``, ``missing``, ``family``."""
        return self._without_secrets()._move(status, reason=reason, finished=now, **facts)

    def add_request(self, ask: str, thread: str, why: str, enough: tuple[tuple[str, ...], ...]) -> Self:
        """Return the record with one more user request, its conversation and its scope groups ``enough``."""
        return self.copy_with(
            asks=_with_latest(self.asks, ask),
            threads=_with_latest(self.threads, thread),
            why=why or self.why,
            enough=tuple(dict.fromkeys(self.enough + enough)),
        )

    def _without_secrets(self) -> Self:
        return self.copy_with(visits=(), code=Secret(""), device=None)

    # ------------------------------------------------------------- judging

    def is_for(self, who: Who) -> bool:
        """Return True if the consent belongs to this user."""
        return self.user == who if isinstance(who, User) else isinstance(who, AnyLocalUser)

    def has_enough_for(self, groups: tuple[tuple[str, ...], ...]) -> bool:
        """Return True if the consent already requires all of these groups."""
        return set(groups) <= set(self.enough)

    def is_met_by(self, granted: frozenset[str]) -> bool:
        """Return True if the granted scopes are enough for all requests."""
        return all(not granted.isdisjoint(group) for group in self.enough or ((scope,) for scope in self.scopes))

    def is_live(self, now: float) -> bool:
        """Return True if the consent can still be completed. If its ticket has expired, a new one can be issued."""
        return now < self.returned + REDEEM_TTL if self.status in REDEEMING else self.status in OPENABLE

    def is_late(self, now: float) -> bool:
        """Return True if the link has expired and no browser can return from the provider any more."""
        return now >= max(self.ticket_expires, self.visit_expires)

    def public_status(self, now: float) -> ConsentStatus:
        """Return the status in the terms of `Consent`."""
        if self.status not in PENDING:
            return cast("ConsentStatus", self.status)
        if not self.is_live(now):
            return "failed"
        return "expired" if self.is_late(now) and self.status not in REDEEMING else "pending"

    def visit_of(self, state: str) -> Visit | None:
        """Return the visit whose ``state`` has this fingerprint, or None."""
        return next((visit for visit in self.visits if visit.state == state), None)

    def to_former(self) -> Former:
        """Return the facts to remember when a new consent for the same need replaces this one."""
        return Former(**{field.name: getattr(self, field.name) for field in fields(Former)})

    def versions(self) -> list[Self]:
        """Return the remembered ends of earlier consents, and this consent, oldest first."""
        return [*(self.copy_with(**_fields(one)) for one in self.before), self]

    def version_with_id(self, consent_id: str) -> Self | None:
        """Return the consent with this id, this one or the remembered end of an earlier one, or None."""
        return next((one for one in self.versions() if one.id == consent_id), None)

    def facts(self) -> OfConsent:
        """Return the consent's fields for audit rows."""
        return OfConsent(
            tenant=self.user.tenant,
            user=self.user.id,
            agent=self.agent,
            provider=self.provider,
            app=self.app,
            consent_id=self.id,
        )

    # ------------------------------------------------------------- as JSON

    def pack(self) -> dict[str, Any]:
        """Return the record as JSON for the vault."""
        found = self.pack_fields(_ALWAYS) | {"user": self.user.id, "tenant": self.user.tenant}
        found |= {name: [_fields(one) for one in found[name]] for name in ("visits", "before") if name in found}
        found |= {"device": _fields(self.device)} if self.device else {}
        found |= {"origin": self.origin.pack()} if self.origin else {}
        return found | ({"asked": sorted(self.asked)} if self.asked else {})

    @staticmethod
    def upgrade(content: dict[str, Any]) -> dict[str, Any]:
        """Return old content in the present form: user id and tenant as one field, no empty values."""
        if content.get("tenant") is not None:
            content["user"] = {"id": content.get("user"), "tenant": content.pop("tenant")}
        return {name: value for name, value in content.items() if value or name not in ("device", "origin")}


_ALWAYS: Final = frozenset("agent subject account other instead why asks status issue".split())


def _with_latest(ids: tuple[str, ...], latest: str) -> tuple[str, ...]:
    """Return the latest `MAX_ASKS` of these ids."""
    return (*(one for one in ids[1 - MAX_ASKS :] if one != latest), latest) if latest else ids


def _fields(one: Any) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(one)}
