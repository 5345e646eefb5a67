"""What the rules of a policy file can ask about an act, computed only if a rule asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TypeAlias

from deputize.core.policy.policy import is_given_link
from deputize.core.policy.predicates import LATER, UNKNOWN, UNSURE, Match
from deputize.core.roles import UNKNOWN_ROLES
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Preview
from deputize.core.tools.tool import Effect

Values: TypeAlias = Sequence[Any] | Match
"""The elements of a value, or `LATER`."""

EFFECTS: Final = ("reads", "writes", "sends", "destructive")
AUDIENCES: Final = tuple(one.name.lower() for one in Audience)
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Facts:
    """The facts about one act. Those that only its preview tells are `LATER` until there is one; if the tool makes no
    preview, they are unknown, or none for a read, which changes nothing and reaches nobody."""

    def __init__(self, act: Act, clock: Callable[[], float]) -> None:
        self.act, self._clock = act, clock

    @property
    def is_early(self) -> bool:
        """True if the act has no preview yet, and will have one."""
        return self.act.show is None and self.act.shows

    def _shown(self, read: Callable[[Preview], Sequence[Any]]) -> Values:
        show = self.act.show
        if show is not None:
            return read(show)
        return LATER if self.act.shows else () if self.act.effect is Effect.READS else UNKNOWN

    @property
    def roles(self) -> Values:
        """The user's roles. If nobody knows them, a rule about them cannot be told."""
        return UNSURE if self.act.roles is UNKNOWN_ROLES else tuple(self.act.roles)

    @property
    def is_unattended(self) -> bool | Match:
        """True if nobody is there to answer."""
        return self.act.user.unattended

    @property
    def arguments(self) -> Mapping[str, Any] | Match:
        """The validated arguments under their public names."""
        return self.act.tool.named(self.act.arguments)

    @property
    def account(self) -> Values:
        """The name of the account that acts. Known after the grant was found."""
        return (self.act.acting_as,) if self.act.acting_as else LATER if self.act.provider else UNKNOWN

    @cached_property
    def effects(self) -> frozenset[str]:
        """The effects of the act as words."""
        effect = self.act.effect
        found = [word for word in EFFECTS[1:] if effect & Effect[word.upper()]]
        return frozenset(found or ("reads",))

    @property
    def recipients(self) -> Values:
        """The people whom the act reaches, and an unknown one if others than those see it."""
        return self._shown(_recipients_of)

    @property
    def place(self) -> Values:
        """The place of the act, in the words of the preview."""
        return self._shown(lambda show: (show.where or None,))

    def target(self, kind: str) -> Values:
        """What the act changes, such as its repository, as the provider names it now."""
        return self._shown(lambda show: _elements(show.targets.get(kind)))

    @property
    def audience(self) -> Values:
        """Who will see the result."""
        return self._shown(lambda show: (show.audience.name.lower(),))

    @property
    def dangers(self) -> Values:
        """What is dangerous about the act."""
        return self._shown(lambda show: [str(one) for one in show.dangers])

    @property
    def destroys(self) -> bool | Match | None:
        """True if text or data will be lost; None if that is not known."""
        found = self._shown(lambda show: (show.destroys,))
        return found if isinstance(found, Match) else found[0] if found else False

    @property
    def shown(self) -> Mapping[str, Any] | Match | None:
        """The preview's fields and pins, for dotted paths; None if there is none."""
        show = self.act.show
        return LATER if self.is_early else {"fields": show.fields, "pins": show.pins} if show else None

    @property
    def has_conversation(self) -> bool | Match:
        """True if the call names its conversation, so that deputize knows what was read in it."""
        return bool(self.act.call.thread)

    @property
    def is_untrusted(self) -> bool | Match | None:
        """True if untrusted content has named a target of the act; None if it is not known what was read before. An
        undo takes its targets from the act that it undoes."""
        call = self.act.call
        if self.is_early:
            return LATER
        if any(one.by_others for one in self.act.outside):
            return True
        return False if call.thread or call.undoes else None

    @property
    def is_first_contact(self) -> bool | Match | None:
        """True if the act reaches somebody to whom the user has never written; None if that is not known."""
        found = self.act.first_contacts
        if self.is_early:
            return LATER
        if self.act.show is None and self.act.effect is not Effect.READS:
            return None
        known = self.act.first_contacts_known and not found
        return True if any(one.checked for one in found) else False if known else None

    @property
    def is_named_by_user(self) -> bool | Match | None:
        """True if the user's own message names the act."""
        return LATER if self.is_early else self.act.named_by_user

    @property
    def is_previewed(self) -> bool | Match | None:
        """True if the act has shown what it will do."""
        return LATER if self.is_early else self.act.show is not None

    @property
    def gives_link(self) -> bool | Match:
        """True if an argument is a link."""
        return is_given_link(self.act)

    @cached_property
    def now(self) -> datetime:
        """The time of the decision."""
        return datetime.fromtimestamp(self._clock(), UTC)


def _recipients_of(show: Preview) -> Sequence[Any]:
    if show.audience is Audience.SELF or (show.people and show.audience is Audience.PEOPLE):
        return show.people
    return (*show.people, None)


def _elements(value: Any) -> Sequence[Any]:
    return UNKNOWN if value in (None, "", []) else value if isinstance(value, list) else (value,)
