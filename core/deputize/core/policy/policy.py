"""Whether an act may happen: the host's own rule, asked on every call, outside of the model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeGuard

from deputize.core.errors import PolicyDenied, SettingsError, instead
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience
from deputize.core.tools.tool import Effect

log = logging.getLogger("deputize.core.acts")


class Verdict(StrEnum):
    """What a policy says."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


Policy = Callable[[Act], Verdict | Awaitable[Verdict]]
"""Sync or async. A policy that raises, or returns anything else, is a denial.

Of a tool that shows it is asked twice: before anything is read, with ``act.show`` None, where only a denial counts; and
with what is about to happen, where its word is final. It may be asked about one act any number of times, so it must
not count, or spend, anything.
"""

_SEEN_BY_OTHERS = (Effect.SENDS | Effect.DESTRUCTIVE).value


def ask_before_sending(act: Act) -> Verdict:
    """The default: what others will see, what destroys, and what has for a target what a stranger has named in this
    conversation, waits for the user's yes; the rest may happen."""
    if act.outside and any(one.by_others for one in act.outside):
        return Verdict.ASK
    if act.show is not None:
        return Verdict.ASK if act.show.audience > Audience.SELF or act.show.destroys else Verdict.ALLOW
    seen = act.effect is not Effect.READS and act.effect.value & _SEEN_BY_OTHERS
    return Verdict.ASK if seen else Verdict.ALLOW


def allow_all(act: Act) -> Verdict:
    """No questions: for tests, and where the host asks its users in its own way."""
    return Verdict.ALLOW


def read_only(act: Act) -> Verdict:
    """Only acts that change nothing."""
    return Verdict.ALLOW if act.effect is Effect.READS else Verdict.DENY


BUILT_IN: Final[Mapping[str, Policy]] = {one.__name__: one for one in (ask_before_sending, read_only, allow_all)}
"""The policies that settings may call by their bare name."""


def find_policy(name: str) -> Policy:
    """The built-in policy of this name, or the function that ``package.module:function`` leads to.

    Raises `SettingsError`, naming it, for one that is not there, cannot be imported, or does not take an act: that one
    would deny everything.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    hint = f"{instead(name, BUILT_IN)} Or one of yours, as package.module:function."
    if ":" not in name:
        raise SettingsError(f"No policy is called {name!r}.", hint=hint)
    from pkgutil import resolve_name  # only where settings name one

    try:
        policy = resolve_name(name)
    except (Exception, SystemExit) as e:  # whatever a module does when it is imported
        raise SettingsError(f"The policy {name!r} cannot be loaded: {type(e).__name__}.", hint=hint) from e
    if not _takes_an_act(policy):
        raise SettingsError(f"The policy {name!r} is no function of one act.", hint=hint)
    return policy


def _takes_an_act(policy: Any) -> TypeGuard[Policy]:
    try:
        inspect.signature(policy).bind(None)
    except (TypeError, ValueError):
        return False
    return not inspect.isclass(policy)


class Judge:
    """Asks the policy. It is the one part of a deputy that may be exchanged while that lives."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def verdict(self, act: Act) -> Verdict:
        """What the policy says, if it does not say no. Raises `PolicyDenied`."""
        verdict = await decide(self.policy, act)
        if verdict is Verdict.DENY:
            raise PolicyDenied(f"{act.tool.name} is not allowed here.")
        return verdict


async def decide(policy: Policy, act: Act) -> Verdict:
    """The policy's verdict; a failure of the policy is a denial, and logged: a denial alone looks meant."""
    try:
        verdict = policy(act)
        if not isinstance(verdict, Verdict) and inspect.isawaitable(verdict):
            verdict = await verdict
    except PolicyDenied:
        return Verdict.DENY
    except Exception as e:
        log.error("The policy raised %s, so %s is denied.", type(e).__name__, act.tool.name)
        return Verdict.DENY
    if isinstance(verdict, Verdict):
        return verdict
    log.error("The policy returned %s, no Verdict, so %s is denied.", type(verdict).__name__, act.tool.name)
    return Verdict.DENY
