"""The stored row of a mandate: what it is a yes to, whether an act is that, and how a person sees it.

targets   addresses or ids of people; ``@acme.example`` for everybody there; or a place in words
user      whose it is, with ``tenant``: the place of a row tells neither
spent     the keys of the acts that have used it, one for each use
latest    by key, when an act has used it last, in Unix seconds: by that a run of one of them finds itself there
ended     when the user ended it, in Unix seconds; 0.0 while it counts
expires   the same as ``until``: the row is kept as long as that, ended or not, so that no yes of before revives it
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from deputize.core.audit.common_fields import OfMandate
from deputize.core.errors import InvalidInput
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Show
from deputize.core.tools.tool import Effect
from deputize.core.tools.untrusted import is_chosen_by_others
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Account, User

MOST_ACTS: Final = 200
MOST_TARGETS: Final = 100
LONGEST: Final = 90 * 86400.0
"""Seconds that a mandate may count at most."""

_DOMAIN: Final = r"@[^\s@]+\.[^\s@]+"
_EVERYBODY_THERE: Final = frozenset({"@channel", "@everyone", "@here"})
"""Whom a message to a place may call without naming them: a `Show` has these among its people."""
_TARGETS: Final = "Write a person as an address or id, and a domain as @acme.example; each domain below it for itself."
_ADDRESS: Final = r"[^\s@\"<>(),;:\\\[\]]+(@[^\s@]+)"


@frozen
class MandateOffer(ValueObject):
    """How far a yes to one act reaches beyond it: to ``most`` more acts like it, ``until`` a time in Unix seconds."""

    most: int
    until: float


@frozen
class Mandate(ValueObject):
    """A yes of ``user`` for more than once: ``most`` acts of ``agent`` with these ``tools``, of which ``used`` are done
    or under way, ``until`` a time in Unix seconds.

    ``targets``: all that may be reached: people by address or id, everybody at a domain as ``@acme.example``, places as
    a `Show` names them. ``audience``: the widest that may see it. ``account``: the one that acts, "" for each of the
    user's. ``destroys``: whether text or data may be lost. ``approval``: the id of the one that it was given beside.
    """

    id: str
    user: User
    agent: str
    tools: tuple[str, ...]
    targets: tuple[str, ...]
    audience: Audience
    most: int
    until: float
    used: int = 0
    account: str = ""
    destroys: bool = False
    approval: str = ""


def public(user: User, content: Mapping[str, Any]) -> Mandate:
    """The mandate as a person sees it."""
    return Mandate(
        id=content["id"],
        user=user,
        agent=content["agent"],
        tools=tuple(content["tools"]),
        targets=tuple(content["targets"]),
        audience=Audience(content["audience"]),
        most=content["most"],
        until=content["until"],
        used=len(content["spent"]),
        account=content["account"],
        destroys=content["destroys"],
        approval=content["approval"],
    )


# ----------------------------------------------------------------- what is reached, and whether that is covered


def covers(content: Mapping[str, Any], act: Act, account: Account, now: float) -> bool:
    """Whether an act is one that the user said yes to beforehand, but for how many there were already.

    Never where a stranger may have chosen a value, where nobody knows who will see it, where the user changed the act,
    and for putting something back. One for each of the user's accounts is none for an organisation's.
    """
    show = act.show
    return bool(
        show is not None
        and not content["ended"]
        and now < content["until"]
        and act.agent == content["agent"]
        and act.tool.name in content["tools"]
        and (content["subject"] == account.subject or (content["subject"] is None and not act.organisation))
        and show.audience <= content["audience"] < Audience.UNKNOWN
        and (content["destroys"] or not destructive(act, show))
        and act.asked is None
        and act.call.undoes is None
        and not is_chosen_by_others(act.outside)
        and is_covered(show, content["targets"])
    )


def destructive(act: Act, show: Show) -> bool:
    """Whether text or data is lost, by what is shown or by what its tool can do."""
    return show.destroys or Effect.DESTRUCTIVE in act.effect


def is_covered(show: Show, targets: Collection[str]) -> bool:
    """Whether all that is reached is named: people in any case of letters, places to the letter. A domain stands for
    addresses at it, and for none at a part of it."""
    people = {one.lower() for one in targets}
    places = show.reached[len(show.people) :]
    named = all(_domain_of(one) in people or (one in people and not re.fullmatch(_DOMAIN, one)) for one in show.people)
    return bool(show.reached) and named and all(place in targets for place in places)


def _domain_of(person: str) -> str | None:
    """``@acme.example`` of an address there; None of what is written in any other way."""
    found = re.fullmatch(_ADDRESS, person)
    return found[1] if found and re.fullmatch(_DOMAIN, found[1]) else None


def is_known(content: Mapping[str, Any], act: Act, since: float) -> bool:
    """Whether this act has used it, by a run that the ledger may know of: it keeps what was begun after ``since``."""
    return bool(content["latest"].get(act.key.hex, since) > since)


def left(content: Mapping[str, Any], act: Act, beside: Mapping[str, int], since: float) -> bool:
    """Whether one more act may use it, or this one has; see `is_known`. ``beside``: uses by mandate that are about to
    be spent."""
    used = len(content["spent"]) + beside.get(content["id"], 0)
    return is_known(content, act, since) or bool(used < content["most"])


def with_use(content: Mapping[str, Any], act: Act, now: float) -> dict[str, Any]:
    """The row with one more use."""
    key = act.key.hex
    return {**content, "spent": [*content["spent"], key], "latest": {**content["latest"], key: now}}


def without_use(content: Mapping[str, Any], act: Act) -> dict[str, Any]:
    """The row without the act's last use."""
    spent, latest = list(content["spent"]), dict(content["latest"])
    spent.remove(act.key.hex)
    latest.pop(act.key.hex, None)
    return {**content, "spent": spent, "latest": latest}


# ----------------------------------------------------------------- what may be given


def checked(offer: MandateOffer, now: float) -> MandateOffer:
    """The offer, if such a mandate may be given. Raises `InvalidInput`."""
    most, until = offer.most, offer.until
    if type(most) is not int or not 1 <= most <= MOST_ACTS:
        raise _refused(f"A mandate is for 1 to {MOST_ACTS} acts, not {most!r}.")
    if type(until) not in (int, float) or not now < until <= now + LONGEST:
        raise _refused("A mandate counts until a time that is to come, within 90 days.", "until is in Unix seconds.")
    return MandateOffer(most, float(until))


def checked_targets(targets: Iterable[str]) -> list[str]:
    """The targets in the form in which they are compared. Raises `InvalidInput`, naming the one at fault."""
    found = sorted({targets} if isinstance(targets, str) else set(targets))
    for one in found:
        if not isinstance(one, str) or not one or one.strip() != one:
            raise _refused(f"A mandate's target is an address, an id, a domain or a place, not {one!r}.")
        if not re.search(r"\w", one) or ("*" in one and "@" in one):
            raise _refused(f"The target {one!r} names nobody: a mandate has no placeholders.", _TARGETS)
        if one.startswith("@") and one not in _EVERYBODY_THERE and not re.fullmatch(_DOMAIN, one):
            raise _refused(f"The target {one!r} is not a domain with a dot, so it would cover nobody.", _TARGETS)
    if not 0 < len(found) <= MOST_TARGETS:
        raise _refused(f"A mandate names 1 to {MOST_TARGETS} targets.", "There is none for everybody.")
    return found


def checked_audience(audience: Audience) -> int:
    """The audience as it is kept. Raises `InvalidInput` for the unknown one."""
    if not isinstance(audience, Audience) or audience is Audience.UNKNOWN:
        known = ", ".join(f"Audience.{one.name}" for one in Audience if one is not Audience.UNKNOWN)
        raise _refused(f"No mandate covers the audience {audience!r}.", f"There are: {known}.")
    return int(audience)


def _refused(message: str, hint: str = "") -> InvalidInput:
    return InvalidInput(message, hint=hint, fix_by="operator")


def facts_of(user: User, content: Mapping[str, Any]) -> OfMandate:
    """What the audit says of a mandate, from its row: whom it names, it does not say."""
    return OfMandate(tenant=user.tenant, user=user.id, agent=content["agent"], mandate_id=content["id"])
