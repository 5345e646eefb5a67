"""Cedar policies, for those who write them already. The request and its context: docs/policy.md.

Cedar knows permit and forbid. A permit with ``@decision("ask")`` asks, with ``@approvers("finance")`` people of that
role; ``@reason("...")`` is what the user reads. Cedar skips a policy whose evaluation fails, a forbid too. So an act is
denied if any policy fails. A mistyped type or attribute would match nothing, so that a forbid would never apply: a file
with one is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from deputize.core.errors import SettingsError

try:
    import cedarpy
except ImportError as missing:
    raise SettingsError.without(missing, "cedar") from None
from deputize.core.policy.facts import EFFECTS, Facts
from deputize.core.policy.policy import Decision, Verdict, graver
from deputize.core.policy.policy_file import FilePolicy
from deputize.core.policy.predicates import Match, domain_of
from deputize.core.policy.rules import DEFAULT, RuleSet
from deputize.core.tools.tool import Effect

MAX_INTEGER: Final = 2**63
MAX_NESTING: Final = 100
MAX_OPERATORS: Final = 2000
"""Nested brackets, and operators of one policy. Far more end the whole process: cedarpy's reader has no limit."""
_NO_CODE: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*')
_OPERATORS: Final = re.compile(r"&&|\|\||[-+*.!]|\bif\b")
_ANNOTATIONS: Final = ("id", "decision", "approvers", "reason")
_TYPES: Final = ("User", "Role", "Tenant", "Action", "Account")
_WITH_THE_PREVIEW: Final = (
    *("recipients", "domains", "place", "channel", "repository", "audience", "dangers", "destroys", "previewed"),
    *("untrusted", "first_contact", "named_by_user"),
)
"""Attributes of the context that an act has no earlier than with its preview."""
ATTRIBUTES: Final[Mapping[str, Sequence[str]]] = {
    "principal": (),
    "action": (),
    "resource": ("provider", "app"),
    "context": (
        *("input", "tenant", "agent", "toolkit", "provider", "app", "effects", "roles", "unattended", "gives_link"),
        *("hour", "minute", "weekday", "account", *_WITH_THE_PREVIEW),
    ),
}
"""The attributes of each variable. Those of ``context.input`` are the arguments of tools."""
_DEFAULT_DENY: Final = Decision(Verdict.DENY, DEFAULT)
_LATER: Final = Decision(Verdict.ASK)


class CedarPolicy(FilePolicy):
    """The policies of one Cedar file."""

    def compile(self, text: str) -> CedarRules:
        """Return the policies of this text. Raises `SettingsError`."""
        return CedarRules(text, self.path.name)


class CedarRules(RuleSet):
    """All policies of one file."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(name, (), (), _DEFAULT_DENY, (), {})
        self.needs_account = True
        _refuse_deep(text, name)
        try:
            found: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(text))
            self._policies = cedarpy.PolicySet.from_str(text)
        except ValueError as e:
            why = " ".join(str(e).split())[:300]
            raise SettingsError(f"{name} is not Cedar: {why}.", hint="See docs.cedarpolicy.com.") from None
        except RecursionError:
            raise _too_deep(name) from None
        if found.get("templateLinks") or found.get("templates"):
            raise SettingsError(f"{name} has policy templates.", hint="Write each policy in full.")
        policies: dict[str, Any] = found.get("staticPolicies", {})
        self.decisions = {key: self._decision(key, one) for key, one in policies.items()}
        self._reads = {key: _reads(one) for key, one in policies.items()}
        self._context = frozenset[str]().union(*self._reads.values())
        if len({one.rule for one in self.decisions.values()}) < len(self.decisions):
            raise SettingsError(f"{name}: two policies have the same @id.", hint="Give each its own.")

    def _decision(self, key: str, policy: Mapping[str, Any]) -> Decision:
        """Return the decision of a policy that applies."""
        notes, permits = policy.get("annotations", {}), policy["effect"] == "permit"
        name = notes.get("id") or key
        if unknown := notes.keys() - set(_ANNOTATIONS):
            raise SettingsError(f"{self.name}: {name} has @{min(unknown)}.", hint=f"There are: {_ANNOTATIONS}.")
        kinds = [(kind, _TYPES) for kind in _types(policy)]
        for word, known in [*kinds, *((word, ATTRIBUTES[of]) for of, word in _accesses(policy) if word)]:
            if word not in known:
                near = get_close_matches(word, known, 1) or known
                hint = f"Did you mean {near[0]!r}?" if near else "It has no attributes."
                raise SettingsError(f"{self.name}: {name} has {word!r}, which no request has.", hint=hint)
        then, role = notes.get("decision", "allow" if permits else "deny"), notes.get("approvers") or ""
        if then not in (("allow", "ask") if permits else ("deny",)) or (role and then != "ask"):
            hint = 'A permit has @decision("ask") or none. @approvers goes with it.'
            raise SettingsError(f"{self.name}: {name} has @decision({then!r}).", hint=hint)
        return Decision(Verdict(then), name, notes.get("reason") or "", role)

    def decide(self, facts: Facts) -> Decision:
        """Return the decision about an act."""
        if not facts.act.roles and facts.act.wants_roles:  # the policy is asked again with them, so save the time
            return Decision(Verdict.DENY, DEFAULT, "The roles are not loaded.")
        found = cedarpy.is_authorized(request_of(facts, self._context), self._policies, entities_of(facts))
        later = {"account"} if facts.account is Match.LATER and facts.act.provider else set[str]()
        later |= {*_WITH_THE_PREVIEW} if facts.is_early else set()
        applying = [one for one in found.diagnostics.reasons if one in self.decisions]
        if found.decision is not cedarpy.Decision.Allow and applying:
            # a forbid applies, whatever others need to know, unless it needs something that comes later
            now = [one for one in applying if not later & self._reads[one]]
            return self.decisions[now[0]] if now else _LATER
        if later:
            return _LATER
        reasons = [self.decisions[one] for one in applying]
        if found.diagnostics.errors:
            why = "A policy could not be evaluated for this act."
            return Decision(Verdict.DENY, DEFAULT, why)
        decision: Decision | None = None
        for one in reasons if found.decision is cedarpy.Decision.Allow else ():
            decision = graver(decision, one)
        return decision or _DEFAULT_DENY


def _refuse_deep(text: str, name: str) -> None:
    """Raise `SettingsError` if an expression is nested too deeply or is too long."""
    code, depth = _NO_CODE.sub("", text), 0
    for bracket in re.findall(r"[][(){}]", code):
        depth += 1 if bracket in "[({" else -1
        if depth > MAX_NESTING:
            raise _too_deep(name)
    if any(len(_OPERATORS.findall(policy)) > MAX_OPERATORS for policy in code.split(";")):
        raise _too_deep(name)


def _too_deep(name: str) -> SettingsError:
    return SettingsError(f"{name} has a policy that is nested too deeply.", hint="Write several policies.")


def _parts(policy: Any) -> Iterator[Any]:
    return iter(policy.values() if isinstance(policy, Mapping) else policy if isinstance(policy, list) else ())


def _types(policy: Any) -> Iterator[str]:
    """Yield each entity type in a policy."""
    for one in _parts(policy):
        yield from _types(one)
    if isinstance(policy, Mapping):
        kinds = policy.get("entity_type"), policy.get("type") if isinstance(policy.get("id"), str) else None
        yield from (kind for kind in kinds if isinstance(kind, str))


def _accesses(policy: Any) -> Iterator[tuple[str, str]]:
    """Yield each variable in a policy with the attribute that is read, "" if all of it is."""
    if isinstance(policy, Mapping):
        if isinstance(policy.get("Var"), str):
            yield policy["Var"], ""
            return
        for access in (policy.get("."), policy.get("has")):
            if isinstance(access, Mapping) and "attr" in access and (variable := access["left"].get("Var")):
                yield variable, access["attr"]
                return
    for one in _parts(policy):
        yield from _accesses(one)


def _reads(policy: Mapping[str, Any]) -> set[str]:
    """Return the attributes of the context that a policy reads. Its resource is the account."""
    found = [*_accesses(policy), ("resource", "" if policy["resource"]["op"] != "All" else "app")]
    account = {"account"} if ("resource", "") in found else set[str]()
    everything = {*ATTRIBUTES["context"]} if ("context", "") in found else set[str]()
    return account | everything | {word for of, word in found if of == "context"}


def request_of(facts: Facts, reads: frozenset[str]) -> dict[str, Any]:
    """Return the Cedar request about an act. ``reads``: what policies read of its context. The rest would cost time."""
    act = facts.act
    return {
        "principal": _uid("User", act.user.id),
        "action": _uid("Action", act.tool.name),
        "resource": _uid("Account", act.acting_as),
        "context": {name: value for name, value in context_of(facts).items() if name in reads},
    }


def context_of(facts: Facts) -> dict[str, Any]:
    """Return the context of a request. What is not known is left out, so that a policy that needs it fails."""
    act, show, now = facts.act, facts.act.show, facts.now
    context: dict[str, Any] = {
        "input": _cedar(act.tool.named(act.arguments)),
        "tenant": act.user.tenant,
        "agent": act.agent,
        "toolkit": act.tool.toolkit,
        "provider": act.provider,
        "app": act.app,
        "effects": sorted(facts.effects),
        "roles": sorted(act.roles),
        "unattended": act.user.unattended,
        "gives_link": facts.gives_link,
        "hour": now.hour,
        "minute": now.hour * 60 + now.minute,
        "weekday": now.isoweekday(),
    }
    optional: dict[str, Any] = {
        "account": facts.account,
        "place": facts.place,
        "channel": facts.target("channel"),
        "repository": facts.target("repository"),
        "audience": facts.audience,
    }
    for name, values in optional.items():
        if not isinstance(values, Match) and len(values) == 1 and isinstance(values[0], str):
            context[name] = values[0]
    for name, flag in (
        ("untrusted", facts.is_untrusted),
        ("first_contact", facts.is_first_contact),
        ("named_by_user", facts.is_named_by_user),
        ("previewed", facts.is_previewed),
        ("destroys", facts.destroys),
    ):
        if isinstance(flag, bool):
            context[name] = flag
    people = facts.recipients
    if not isinstance(people, Match) and None not in people:
        context["recipients"] = list(people)
        domains = [domain_of(one) for one in people]
        if None not in domains:
            context["domains"] = sorted({one for one in domains if one})
    if show is not None or act.effect is Effect.READS:
        context["dangers"] = [str(one) for one in show.dangers] if show else []
    return context


def entities_of(facts: Facts) -> list[dict[str, Any]]:
    """Return the entities of a request: the user with roles and tenant, the action with its toolkit and effects."""
    act = facts.act
    roles = [_uid("Role", one) for one in sorted(act.roles)]
    tenant = [_uid("Tenant", act.user.tenant)] if act.user.tenant else []
    kinds = [_uid("Action", one) for one in EFFECTS if one in facts.effects]
    kit = [_uid("Action", f"toolkit:{act.tool.toolkit}")]
    account = {"provider": act.provider, "app": act.app}
    return [
        {"uid": _uid("User", act.user.id), "attrs": {}, "parents": [*roles, *tenant]},
        {"uid": _uid("Action", act.tool.name), "attrs": {}, "parents": [*kinds, *kit]},
        {"uid": _uid("Account", act.acting_as), "attrs": account, "parents": []},
        *({"uid": one, "attrs": {}, "parents": []} for one in [*roles, *tenant, *kinds, *kit]),
    ]


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _cedar(value: Any) -> Any:
    """Return a value as Cedar has it. None and fractions, which Cedar does not know, are left out."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        found = {str(name): _cedar(one) for name, one in value.items()}
        return {name: one for name, one in found.items() if one is not None and not name.startswith("__")}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        elements = [_cedar(one) for one in value]
        return None if None in elements else elements
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -MAX_INTEGER <= value < MAX_INTEGER else None
