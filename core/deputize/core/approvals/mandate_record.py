"""A mandate as a typed record: what it is a yes to, whether an act is that, how it changes, and how a person sees it.

counts -> counts, with one use more or less
counts -> ended
ended  -> ended, with one use less
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
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
LONGEST: Final = 90 * 86400.0
"""Seconds that a mandate may count at most."""

_DOMAIN: Final = r"@[^\s@]+\.[^\s@]+"
_EVERYBODY_THERE: Final = frozenset({"@channel", "@everyone", "@here"})
"""Whom a message to a place may call without naming them: a `Preview` has these among its people."""
_TARGETS: Final = "Write a person as an address or id, and a domain as @acme.example; each domain below it for itself."
_ADDRESS: Final = r"[^\s@\"<>(),;:\\\[\]]+(@[^\s@]+)"


@frozen
class MandateOffer(ValueObject):
    """How far a yes to one act reaches beyond it: to ``max_acts`` more acts like it, ``expires_at`` a time in Unix
    seconds."""

    max_acts: int
    expires_at: float


@frozen
class Mandate(ValueObject):
    """A yes of ``user`` for more than once: ``max_acts`` acts of ``agent`` with these ``tools``, of which ``used`` are
    done or under way, ``expires_at`` a time in Unix seconds.

    ``targets``: all that may be reached: people by address or id, everybody at a domain as ``@acme.example``, places as
    a `Preview` names them. ``audience``: the widest that may see it. ``account``: the one that acts, "" for each of the
    user's. ``allow_destructive``: whether text or data may be lost. ``approval``: the id of the one that it was given
    beside.
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
    """A mandate as the vault has it. Times are in Unix seconds.

    ``user``: whose it is, with ``tenant``: the place of a row tells neither. ``targets``: addresses or ids of people;
    ``@acme.example`` for everybody there; or a place in words. ``subject``: of the account that acts, None for each of
    the user's. ``spent``: the keys of the acts that have used it, one for each use; ``latest``: by key, when an act has
    used it last: by that a run of one of them finds itself there. ``ended``: when the user ended it, 0.0 while it
    counts. ``expires``: the same as ``until``: the row is kept as long as that, ended or not, so that no yes of before
    revives it.
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

    def use(self, act: Act, now: float) -> Change:
        """One more act begins under it."""
        if self.ended or len(self.spent) >= self.most:
            raise RuntimeError("A mandate that has ended or is used up has no more uses.")
        key, digest = act.key.hex, act.show.digest if act.show else ""
        used = self.copy_with(spent=(*self.spent, key), latest={**self.latest, key: now})
        return used, MandateUsed(self.facts(), act.tool.name, act.call.thread, act.call.id, digest)

    def release(self, act: Act) -> Change:
        """The act that used it last did nothing."""
        key, spent = act.key.hex, list(self.spent)
        if key not in spent:
            raise RuntimeError("This act has not used this mandate.")
        spent.remove(key)
        latest = {one: when for one, when in self.latest.items() if one != key}
        return self.copy_with(spent=tuple(spent), latest=latest), None

    def end(self, now: float) -> Change:
        """The user ended it."""
        if self.ended:
            raise RuntimeError("A mandate ends once.")
        return self.copy_with(ended=now), MandateEnded(self.facts())

    # ------------------------------------------------------------- judging

    @property
    def owner(self) -> User:
        """Whose it is."""
        return User(self.user, self.tenant)

    def counts(self, now: float) -> bool:
        """Whether it has neither ended nor expired."""
        return not self.ended and self.until > now

    def covers(self, act: Act, account: Account, now: float) -> bool:
        """Whether an act is one that the user said yes to beforehand, but for how many there were already.

        Never where a stranger may have chosen a value, where nobody knows who will see it, where the user changed the
        act, and for putting something back. One for each of the user's accounts is none for an organisation's.
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
        )

    def is_known(self, act: Act, since: float) -> bool:
        """Whether this act has used it, by a run that the ledger may know of: it keeps what was begun after
        ``since``."""
        return self.latest.get(act.key.hex, since) > since

    def is_left(self, act: Act, beside: Mapping[str, int], since: float) -> bool:
        """Whether one more act may use it, or this one has; see `is_known`. ``beside``: uses by mandate that are about
        to be spent."""
        return self.is_known(act, since) or len(self.spent) + beside.get(self.id, 0) < self.most

    # ------------------------------------------------------------- as others see it

    def public(self) -> Mandate:
        """As a person sees it."""
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
        """What audit rows say of it: not whom it names."""
        return OfMandate(tenant=self.tenant, user=self.user, agent=self.agent, mandate_id=self.id)


Change: TypeAlias = tuple[MandateRecord, Event | None]
"""A mandate after a transition, and its audit event."""


# ----------------------------------------------------------------- what is reached


def destructive(act: Act, show: Preview) -> bool:
    """Whether text or data is lost, by what is shown or by what its tool can do."""
    return show.destroys or Effect.DESTRUCTIVE in act.effect


def is_covered(show: Preview, targets: Collection[str]) -> bool:
    """Whether all that is reached is named: people in any case of letters, places to the letter. A domain stands for
    addresses at it, and for none at a part of it."""
    people = {one.lower() for one in targets}
    places = show.reached[len(show.people) :]
    named = all(_domain_of(one) in people or (one in people and not re.fullmatch(_DOMAIN, one)) for one in show.people)
    return bool(show.reached) and named and all(key in targets for key in places)


def _domain_of(person: str) -> str | None:
    """``@acme.example`` of an address there; None of what is written in any other way."""
    found = re.fullmatch(_ADDRESS, person)
    return found[1] if found and re.fullmatch(_DOMAIN, found[1]) else None


# ----------------------------------------------------------------- what may be given


def checked(offer: MandateOffer, now: float) -> MandateOffer:
    """The offer, if such a mandate may be given. Raises `InvalidInput`."""
    most, until = offer.max_acts, offer.expires_at
    if type(most) is not int or not 1 <= most <= MAX_ACTS:
        raise _refused(f"A mandate is for 1 to {MAX_ACTS} acts, not {most!r}.")
    if type(until) not in (int, float) or not now < until <= now + LONGEST:
        raise _refused("A mandate counts until a time that is to come, within 90 days.", "until is in Unix seconds.")
    return MandateOffer(most, float(until))


def checked_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """The targets in the form in which they are compared. Raises `InvalidInput`, naming the one at fault."""
    found = sorted({targets} if isinstance(targets, str) else set(targets))
    for one in found:
        if not isinstance(one, str) or not one or one.strip() != one:
            raise _refused(f"A mandate's target is an address, an id, a domain or a place, not {one!r}.")
        if not re.search(r"\w", one) or ("*" in one and "@" in one):
            raise _refused(f"The target {one!r} names nobody: a mandate has no placeholders.", _TARGETS)
        if one.startswith("@") and one not in _EVERYBODY_THERE and not re.fullmatch(_DOMAIN, one):
            raise _refused(f"The target {one!r} is not a domain with a dot, so it would cover nobody.", _TARGETS)
    if not 0 < len(found) <= MAX_TARGETS:
        raise _refused(f"A mandate names 1 to {MAX_TARGETS} targets.", "There is none for everybody.")
    return tuple(found)


def checked_audience(audience: Audience) -> Audience:
    """The audience, if a mandate may be for it. Raises `InvalidInput` for the unknown one."""
    if not isinstance(audience, Audience) or audience is Audience.UNKNOWN:
        known = ", ".join(f"Audience.{one.name}" for one in Audience if one is not Audience.UNKNOWN)
        raise _refused(f"No mandate covers the audience {audience!r}.", f"There are: {known}.")
    return audience


def _refused(message: str, hint: str = "") -> InvalidInput:
    return InvalidInput(message, hint=hint, fix_by="operator")
