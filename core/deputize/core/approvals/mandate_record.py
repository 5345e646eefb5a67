"""A mandate as a typed record, with its limits and transitions, and the check that it covers an act.

valid -> valid, with one use more or less
valid -> ended
ended -> ended, with one use less
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, TypeAlias

from deputize.core.audit.common_fields import OfMandate
from deputize.core.audit.events import Event, MandateEnded, MandateUsed
from deputize.core.errors import InvalidInput
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Preview
from deputize.core.tools.tool import Effect
from deputize.core.tools.untrusted import is_chosen_by_others
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Account, User
from deputize.core.vault.record import Record, StoredRecord

MAX_ACTS: Final = 200
MAX_TARGETS: Final = 100
MAX_MANDATE_SECONDS: Final = 90 * 86400.0
"""Maximum lifetime of a mandate in seconds."""

_DOMAIN: Final = r"@[^\s@]+\.[^\s@]+"
_EVERYBODY_THERE: Final = frozenset({"@channel", "@everyone", "@here"})
"""Group mentions that a message may contain. A `Preview` lists them among its people."""
_TARGETS: Final = "Write a person as an address or id, a domain as @acme.example. List each subdomain separately."
_ADDRESS: Final = r"[^\s@\"<>(),;:\\\[\]]+(@[^\s@]+)"


@frozen
class MandateOffer(ValueObject):
    """The extension of an approval to more acts: ``max_acts`` acts like the approved one, until ``expires_at`` in Unix
    seconds."""

    max_acts: int
    expires_at: float


@frozen
class Mandate(ValueObject):
    """An approval by ``user`` of up to ``max_acts`` acts of ``agent`` with ``tools``, until ``expires_at`` in Unix
    seconds. ``used``: number of these acts that are done or in progress.

    ``targets``: all allowed targets: people by address or id, all addresses of a domain as ``@acme.example``, places as
    a `Preview` names them. ``audience``: the widest allowed audience. ``account``: the acting account, "" for any of
    the user's. ``allow_destructive``: True if text or data may be lost. ``approval``: the id of the approval that
    created the mandate.
    """

    id: str
    user: User
    agent: str
    tools: tuple[str, ...]
    targets: tuple[str, ...]
    audience: Audience
    max_acts: int
    expires_at: float
    used: int = 0
    account: str = ""
    allow_destructive: bool = False
    approval: str = ""


@frozen(kw_only=True, slots=False)
class MandateRecord(StoredRecord):
    """A mandate in the vault. Times are in Unix seconds.

    ``user``, ``tenant``: the owner, whom the record key does not reveal. ``targets``: addresses or ids of people,
    ``@acme.example`` for everybody in that domain, or a place. ``subject``: the acting account's subject, None for any
    account of the user. ``spent``: one act key for each use. ``latest``: time of the last use by act key, from which a
    later run of the act learns that it has used the mandate. ``ended``: when the user ended the mandate, 0.0 while it
    is valid. ``expires``: equal to ``until``. An ended record is kept until then, so that a repeated approval cannot
    create the mandate again.
    """

    KIND = "mandate"
    id: str
    tenant: str
    user: str
    agent: str
    tools: tuple[str, ...]
    targets: tuple[str, ...] = field(repr=False)
    audience: Audience
    account: str
    subject: str | None = None
    destroys: bool
    most: int
    until: float
    expires: float
    spent: tuple[str, ...] = ()
    latest: Mapping[str, float] = field(default_factory=dict)
    ended: float = 0.0
    approval: str
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    # ------------------------------------------------------------- transitions

    def use(self, act: Act, now: float, reached: Sequence[str] = ()) -> Change:
        """Record one more use, by an act that begins. ``reached``: digests of the act's targets, for the audit."""
        if self.ended or len(self.spent) >= self.most:
            raise RuntimeError("The mandate has ended or is used up.")
        key, digest = act.key.hex, act.show.digest if act.show else ""
        used = self.copy_with(spent=(*self.spent, key), latest={**self.latest, key: now})
        return used, MandateUsed(self.facts(), act.tool.name, act.call.thread, act.call.id, digest, reached)

    def release(self, act: Act) -> Change:
        """Remove the last use by this act, because the act did nothing."""
        key, spent = act.key.hex, list(self.spent)
        if key not in spent:
            raise RuntimeError("This act has not used this mandate.")
        spent.remove(key)
        latest = {one: when for one, when in self.latest.items() if one != key}
        return self.copy_with(spent=tuple(spent), latest=latest), None

    def end(self, now: float) -> Change:
        """End the mandate, as requested by the user."""
        if self.ended:
            raise RuntimeError("The mandate has already ended.")
        return self.copy_with(ended=now), MandateEnded(self.facts())

    # ------------------------------------------------------------- judging

    @property
    def owner(self) -> User:
        """The user who created the mandate."""
        return User(self.user, self.tenant)

    def counts(self, now: float) -> bool:
        """Return True if the mandate has neither ended nor expired."""
        return not self.ended and self.until > now

    def covers(self, act: Act, account: Account, now: float) -> bool:
        """Return True if the mandate covers this act. The number of uses is not checked here.

        A mandate never covers an act with a target that untrusted content may have chosen, an act with an unknown
        audience, an act that the user edited, or an undo. A mandate for any of the user's accounts covers no
        organisation's account. A mandate covers a first contact only if it names the person's exact address.
        """
        show = act.show
        return bool(
            show is not None
            and self.counts(now)
            and act.agent == self.agent
            and act.tool.name in self.tools
            and (self.subject == account.subject or (self.subject is None and not act.organisation))
            and show.audience <= self.audience < Audience.UNKNOWN
            and (self.destroys or not destructive(act, show))
            and act.asked is None
            and act.call.undoes is None
            and not is_chosen_by_others(act.outside)
            and is_covered(show, self.targets)
            and all(one.address in self._people for one in act.first_contacts)
        )

    @property
    def _people(self) -> set[str]:
        """The targets, without letter case."""
        return {one.lower() for one in self.targets}

    def is_known(self, act: Act, since: float) -> bool:
        """Return True if this act has used the mandate after ``since``, the time of the ledger's oldest records."""
        return self.latest.get(act.key.hex, since) > since

    def is_left(self, act: Act, beside: Mapping[str, int], since: float) -> bool:
        """Return True if this act has used the mandate (see `is_known`) or a use is left for it. ``beside``: by
        mandate, the number of uses by other acts that are about to begin."""
        return self.is_known(act, since) or len(self.spent) + beside.get(self.id, 0) < self.most

    # ------------------------------------------------------------- as others see it

    def public(self) -> Mandate:
        """Return the mandate in its public form."""
        return Mandate(
            id=self.id,
            user=self.owner,
            agent=self.agent,
            tools=self.tools,
            targets=self.targets,
            audience=self.audience,
            max_acts=self.most,
            expires_at=self.until,
            used=len(self.spent),
            account=self.account,
            allow_destructive=self.destroys,
            approval=self.approval,
        )

    def facts(self) -> OfMandate:
        """Return the fields for audit rows, without the targets."""
        return OfMandate(tenant=self.tenant, user=self.user, agent=self.agent, mandate_id=self.id)


Change: TypeAlias = tuple[MandateRecord, Event | None]
"""A mandate after a transition, and its audit event."""


# ----------------------------------------------------------------- what is reached


def destructive(act: Act, show: Preview) -> bool:
    """Return True if text or data may be lost, by the preview or by the tool's effect."""
    return show.destroys or Effect.DESTRUCTIVE in act.effect


def is_covered(show: Preview, targets: Collection[str]) -> bool:
    """Return True if ``targets`` contain everybody and everything that the preview reaches.

    People match in any letter case, places exactly. A domain covers the addresses at it, but not those at its
    subdomains.
    """
    people = {one.lower() for one in targets}
    places = show.reached[len(show.people) :]
    named = all(_domain_of(one) in people or (one in people and not re.fullmatch(_DOMAIN, one)) for one in show.people)
    return bool(show.reached) and named and all(key in targets for key in places)


def target_digests(targets: Iterable[str], digest: Callable[[str], str]) -> list[str]:
    """Return two digests of each target of a mandate, as a person and as a place, for the audit."""
    return [f"{digest(f'person {one.lower()}')}|{digest(f'place {one}')}" for one in targets]


def reached_digests(show: Preview, digest: Callable[[str], str]) -> list[str]:
    """Return digests of all mandate targets that would cover a person or a place of the preview: see `is_covered`."""
    people = [
        "|".join(digest(f"person {one}") for one in (person, _domain_of(person)) if one)
        for person in (one.lower() for one in show.people)
    ]
    return [*people, *(digest(f"place {one}") for one in show.reached[len(show.people) :])]


def _domain_of(person: str) -> str | None:
    """Return ``@acme.example`` for an address at that domain, or None for text that is not a plain address."""
    found = re.fullmatch(_ADDRESS, person)
    return found[1] if found and re.fullmatch(_DOMAIN, found[1]) else None


# ----------------------------------------------------------------- what may be given


def checked_offer(offer: MandateOffer, now: float) -> MandateOffer:
    """Return the offer with its time as a float. Raises `InvalidInput` if no mandate can have these limits."""
    if not isinstance(offer, MandateOffer):
        raise TypeError(f"A mandate is offered by a MandateOffer, not a value of type {type(offer).__name__}.")
    most, until = offer.max_acts, offer.expires_at
    if type(most) is not int or not 1 <= most <= MAX_ACTS:
        raise _invalid(f"A mandate is for 1 to {MAX_ACTS} acts, not {most!r}.")
    if type(until) not in (int, float) or not now < until <= now + MAX_MANDATE_SECONDS:
        raise _invalid("A mandate must expire in the future, within 90 days.", "expires_at is in Unix seconds.")
    return MandateOffer(most, float(until))


def checked_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the targets sorted, without duplicates. Raises `InvalidInput` that names an invalid target."""
    found = sorted({targets} if isinstance(targets, str) else set(targets))
    for one in found:
        if not isinstance(one, str) or not one or one.strip() != one:
            raise _invalid(f"A mandate's target is an address, an id, a domain or a place, not {one!r}.")
        if not re.search(r"\w", one) or ("*" in one and "@" in one):
            raise _invalid(f"The target {one!r} names nobody: a mandate has no placeholders.", _TARGETS)
        if one.startswith("@") and one not in _EVERYBODY_THERE and not re.fullmatch(_DOMAIN, one):
            raise _invalid(f"The target {one!r} is not a domain with a dot, so it would cover nobody.", _TARGETS)
    if not 0 < len(found) <= MAX_TARGETS:
        raise _invalid(f"A mandate names 1 to {MAX_TARGETS} targets.", "No mandate covers everybody.")
    return tuple(found)


def checked_audience(audience: Audience) -> Audience:
    """Return the audience. Raises `InvalidInput` for ``UNKNOWN``, which no mandate covers."""
    if not isinstance(audience, Audience) or audience is Audience.UNKNOWN:
        known = ", ".join(f"Audience.{one.name}" for one in Audience if one is not Audience.UNKNOWN)
        raise _invalid(f"No mandate covers the audience {audience!r}.", f"There are: {known}.")
    return audience


def _invalid(message: str, hint: str = "") -> InvalidInput:
    return InvalidInput(message, hint=hint, fix_by="operator")
