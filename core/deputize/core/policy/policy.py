"""The policy: your application's function that decides if an act may happen. It runs for every act."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from deputize.core.errors import PolicyDenied
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.decision import Decision as Decision
from deputize.core.tools.decision import Verdict as Verdict
from deputize.core.tools.preview import Audience
from deputize.core.tools.tool import Effect
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.user import User

log = logging.getLogger("deputize.core.acts")


Policy = Callable[[Act], Verdict | Decision | Awaitable[Verdict | Decision]]
"""Sync or async function of an act. If it raises or returns anything else, the act is denied.

For a tool with previews it is called twice: before anything is read, with ``act.show`` None, where only a denial
counts; and with the preview, where its verdict is final. If it asks, and the user's own message names the act, it is
called once more, with ``act.named_by_user`` True. It may be called any number of times for one act, so it must not have
side effects such as counters.
"""

Policies: TypeAlias = Policy | Sequence[Policy]
"""A policy, or several, of which the gravest decision counts: deny, ask another person, ask, allow."""


@frozen
class Room(Frozen):
    """The room of one budget for acts that it counts together. ``key``: of the record that counts them. ``left``,
    ``most``: acts. ``ends``: when the period ends, in Unix seconds; ``seconds``: its usual length. ``over``: the
    decision beyond it."""

    key: str
    rule: str
    left: int
    most: int
    ends: float
    seconds: float
    over: Decision


class StoredPolicy:
    """A policy that a file describes, and that can count acts."""

    def __call__(self, act: Act) -> Decision | Awaitable[Decision]:
        """Return the decision about an act."""
        raise NotImplementedError

    @property
    def needs_account(self) -> bool:
        """True if it asks which account acts, so that it is called again after the grant was found."""
        return False

    @property
    def needs_time(self) -> bool:
        """True if its decisions depend on the time of day or the day of the week."""
        return False

    async def rooms(self, act: Act) -> Sequence[Room]:
        """Return the room of each budget that counts this act."""
        return ()

    def bind(self, services: Services) -> None:
        """Use the vault, the audit and the clock of these services."""

    async def spend(self, act: Act) -> Sequence[Any] | None:
        """Count an act that begins. Return what was counted, or None if there is no room for it."""
        return ()

    async def release(self, act: Act, spent: Sequence[Any]) -> None:
        """Take back what `spend` has counted, because the act did nothing."""


Counted: TypeAlias = list[tuple[StoredPolicy, Sequence[Any]]]
"""What the budgets of each policy have counted for one act."""

_LINKS: Final = re.compile("ur[il]|link|href|host|domain|site|page")
"""Names of arguments that take a link."""
_SEEN_BY_OTHERS = (Effect.SENDS | Effect.DESTRUCTIVE).value


def ask_before_sending(act: Act) -> Verdict:
    """Require approval for acts that others will see, that destroy data or are dangerous, or whose target untrusted
    content has named in this conversation. Allow all other acts. This is the default policy.

    A read needs approval only if it is given a link to a host that untrusted content has named, because it may carry
    the user's data there."""
    if act.outside and any(one.by_others for one in act.outside):
        return Verdict.ASK if act.effect is not Effect.READS or is_given_link(act) else Verdict.ALLOW
    if act.show is not None:
        grave = act.show.destroys or act.show.dangers
        return Verdict.ASK if act.show.audience > Audience.SELF or grave else Verdict.ALLOW
    seen = act.effect is not Effect.READS and act.effect.value & _SEEN_BY_OTHERS
    return Verdict.ASK if seen else Verdict.ALLOW


def ask_unless_user_named(act: Act) -> Verdict:
    """Like `ask_before_sending`, but allow acts that are aimed only at, and say only, what the user's own message names
    (`Call.user_message`)."""
    return Verdict.ALLOW if act.named_by_user else ask_before_sending(act)


def is_given_link(act: Act) -> bool:
    """Return True if an argument is a link: it has a scheme, or its name says so."""
    found: list[tuple[str, Any]] = [*act.arguments.items()]
    for name, value in found:  # the list grows by nested values
        if isinstance(value, str):
            if "://" in value or (value and _LINKS.search(name.lower())):
                return True
        elif isinstance(value, Mapping):
            found += [(f"{name} {inner}", one) for inner, one in value.items()]
        elif isinstance(value, list | tuple):
            found += [(name, one) for one in value]
    return False


def allow_all(act: Act) -> Verdict:
    """Allow every act, for tests and for applications that ask their users themselves."""
    return Verdict.ALLOW


def read_only(act: Act) -> Verdict:
    """Allow only acts that change nothing."""
    return Verdict.ALLOW if act.effect is Effect.READS else Verdict.DENY


BUILT_IN: Final[Mapping[str, Policy]] = {
    one.__name__: one for one in (ask_before_sending, ask_unless_user_named, read_only, allow_all)
}
"""The policies that settings may name without a module."""


class Judge:
    """Calls the policies, which can be replaced while the deputy lives."""

    def __init__(
        self,
        policy: Policies,
        services: Services | None = None,
        roles: Callable[[User], Awaitable[frozenset[str]]] | None = None,
    ) -> None:
        """``roles``: returns the roles of a user. It is called only for acts whose roles a policy reads."""
        self._services, self._roles = services, roles
        self.policy = policy

    @property
    def policy(self) -> Policies:
        """The policy, or all of them."""
        return self._given

    @policy.setter
    def policy(self, policy: Policies) -> None:
        given = tuple(policy) if isinstance(policy, Sequence) else (policy,)
        if not given or not all(callable(one) for one in given):
            raise TypeError("A policy is a function of one act, or a list of such functions.")
        callables: list[object] = list(given)
        self._stored = [one for one in callables if isinstance(one, StoredPolicy)]
        if self._services is not None:
            for one in self._stored:
                one.bind(self._services)
        self._given, self._policies = policy, given

    @property
    def needs_account(self) -> bool:
        """True if a policy must be asked again when it is known which account acts."""
        for one in self._stored:  # for each act, so without a generator
            if one.needs_account:
                return True
        return False

    async def decide(self, act: Act) -> Decision:
        """Return the decision of the policies. Raises `PolicyDenied` if they deny the act.

        If a policy raises an error, the act is denied and the error is logged, because a denial alone looks intended.
        If one reads the roles before they are loaded, all are called again with them: the first answers are ignored.
        """
        decision = await self._decide_all(act)
        if act.wants_roles and self._roles is not None:
            act.add_roles(await self._roles(act.user))
            decision = await self._decide_all(act)
        if decision.verdict is Verdict.DENY:
            raise denial(act, decision)
        return decision

    async def _decide_all(self, act: Act) -> Decision:
        decision = await _decide(self._policies[0], act)
        for one in self._policies[1:]:
            decision = graver(decision, await _decide(one, act))
        return decision

    async def spend(self, act: Act) -> Counted | None:
        """Count an act that begins in the budgets of all policies. Return what was counted, or None if one of them has
        no room, with nothing counted."""
        spent: Counted = []
        for one in self._stored:
            if (counted := await one.spend(act)) is None:
                await self.release(act, spent)
                return None
            spent.append((one, counted))
        return spent

    @property
    def needs_time(self) -> bool:
        """True if a policy of a file depends on the time of day or the day of the week."""
        return any(one.needs_time for one in self._stored)

    async def rooms(self, act: Act) -> list[Room]:
        """Return the room of each budget that counts this act."""
        return [room for one in self._stored for room in await one.rooms(act)]

    async def release(self, act: Act, spent: Counted) -> None:
        """Take an act back out of the budgets, because it did nothing."""
        for one, counted in spent:
            await one.release(act, counted)


async def _decide(policy: Policy, act: Act) -> Decision:
    """Return the decision of one policy. Whatever is not a decision is a denial."""
    try:
        found = policy(act)
        if not isinstance(found, Verdict | Decision) and inspect.isawaitable(found):
            found = await found
    except PolicyDenied:
        found = Verdict.DENY
    except Exception as e:
        if not act.wants_roles:  # else it is called again
            log.error("The policy raised %s, so %s is denied.", type(e).__name__, act.tool.name)
        found = Verdict.DENY
    if isinstance(found, Decision):
        return found
    if isinstance(found, Verdict):
        return PLAIN[found]
    log.error("The policy returned %s, not a Verdict, so %s is denied.", type(found).__name__, act.tool.name)
    return PLAIN[Verdict.DENY]


def graver(one: Decision | None, other: Decision) -> Decision:
    """Return the graver decision. Two that ask different roles are a denial, because one approval cannot serve both. If
    both are equally grave, a budget that has no room decides, because no mandate answers for it."""
    if one is None or other.gravity > one.gravity:
        return other
    if one.approvers and other.approvers and other.gravity == one.gravity and one.approvers != other.approvers:
        both = f"{one.rule} and {other.rule}"
        return Decision(Verdict.DENY, one.rule, f"The rules {both} ask people of different roles.")
    return other if other.over_budget and other.gravity == one.gravity else one


PLAIN: Final[Mapping[Verdict, Decision]] = {one: Decision(one) for one in Verdict}
"""The decision of a policy that gives only a verdict."""


def denial(act: Act, decision: Decision) -> PolicyDenied:
    """Return the error about an act that the policy denies, with the rule and the operator's reason."""
    why = f": {decision.reason_line}" if decision.reason else "."
    hint = f"Rule {decision.rule} of the policy denies it. Continue without it." if decision.rule else ""
    return PolicyDenied(f"{act.tool.name} is not allowed here{why}", hint=hint, rule=decision.rule)
