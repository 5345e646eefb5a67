"""Findings about a policy file that is valid: names that nobody has, rules that never match, and acts of the past.

What a rule names and no tool is called is a rule that protects nothing, so these findings are errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final

from deputize.core.errors import instead
from deputize.core.policy.facts import Facts, Values
from deputize.core.policy.policy import Decision, Verdict
from deputize.core.policy.policy_tests import act_of
from deputize.core.policy.predicates import LATER, NO, YES, Match
from deputize.core.policy.rules import Budget, Rule, RuleSet
from deputize.core.tools.tool import Effect, Tool
from deputize.core.value_object import ValueObject, frozen

_NONE_OF_READS: Final = ("recipient", "place", "channel", "repository", "audience", "danger")
_DENIES: Final = Decision(Verdict.DENY)
_NAMED: Final = {"tool": "name", "toolkit": "toolkit", "provider": "provider"}


@frozen
class Finding(ValueObject):
    """One finding. ``rule``: the id of the rule or the set. ``grave``: True if the file should not be used so."""

    rule: str
    what: str
    hint: str = ""
    line: int = 0
    grave: bool = True


def check(
    rules: RuleSet, tools: Sequence[Tool], foreign: Iterable[str] = (), roles: Iterable[str] = ()
) -> list[Finding]:
    """Return the findings about these rules. ``tools``: the catalog. ``foreign``: toolkits that are not in it, such as
    those of foreign MCP servers. ``roles``: the roles of the settings; none: they are not compared."""
    found = [*_wildcards(rules)]
    given: list[Rule | Budget] = [*rules.rules, *rules.budgets]
    contents = [*rules.content.get("rules", ()), *rules.content.get("budgets", ())]
    known_roles, kits = set(roles), set(foreign)
    for rule, content in zip(given, contents, strict=True):
        for part in ("when", "unless"):
            found += _unknown_names(rule, content.get(part, {}), tools, kits)
            found += _unknown_roles(rule, content.get(part, {}), known_roles)
            found += _looks_alike(rule, content.get(part, {}))
        if known_roles and (role := content.get("approvers")) and role not in known_roles:
            found.append(Finding(rule.id, f"no setting gives the role {role!r}", instead(role, known_roles), rule.line))
        if not any(one.rule == rule.id for one in found) and not _is_foreign(content.get("when", {}), kits):
            found += _never(rule, content.get("when", {}), tools)
    for number, case in enumerate(rules.tests, 1):
        found += _unknown_names(Rule(f"test {number}", _DENIES, (), None), {"tool": case.get("tool", [])}, tools, kits)
    return found


def _wildcards(rules: RuleSet) -> Iterable[Finding]:
    for name, values in rules.content.get("sets", {}).items():
        for one in values:
            if isinstance(one, str) and one.startswith("*.") and one[2:] not in values:
                why = f"{one} does not contain {one[2:]} itself"
                yield Finding(name, why, f"Add {one[2:]!r} to the set if it belongs there.", grave=False)


def _names(when: Mapping[str, Any], key: str) -> list[str]:
    value = when.get(key, [])
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _unknown_names(
    rule: Rule | Budget, when: Mapping[str, Any], tools: Sequence[Tool], foreign: set[str]
) -> Iterable[Finding]:
    for key, attribute in _NAMED.items():
        known = {str(getattr(one, attribute)) for one in tools}
        for name in _names(when, key):
            begin = name.partition("*")[0]
            if name in known or ("*" in name and any(one.startswith(begin) for one in known)):
                continue
            if any(name == one or (key == "tool" and name.startswith(one + "_")) for one in foreign):
                continue
            yield Finding(rule.id, f"no {key} is called {name!r}", instead(name, known, every=False), rule.line)


def _is_foreign(when: Mapping[str, Any], foreign: set[str]) -> bool:
    return any(
        one.startswith(kit) for kit in foreign for key in ("tool", "toolkit", "provider") for one in _names(when, key)
    )


def _unknown_roles(rule: Rule | Budget, when: Mapping[str, Any], roles: set[str]) -> Iterable[Finding]:
    for name in _names(when, "role"):
        if roles and name not in roles:
            yield Finding(rule.id, f"no setting gives the role {name!r}", instead(name, roles), rule.line)


def _never(rule: Rule | Budget, when: Mapping[str, Any], tools: Sequence[Tool]) -> Iterable[Finding]:
    """Find conditions that no tool can fulfil together, and arguments that no such tool has."""
    shown = [key for key in _NONE_OF_READS if key in when and not _may_be_empty(when[key])]
    fitting = [
        one for one in tools if any(_is_possible(rule, one, effect) for effect in _effects(one) if effect or not shown)
    ]
    if not fitting and shown:
        what = f"it never matches: no call that changes something fulfils it, and a read has no {shown[0]}"
        yield Finding(rule.id, what, "A rule about reads can use args.", rule.line)
        return
    if not fitting:
        yield Finding(rule.id, "it never matches: no tool fulfils these conditions", "", rule.line)
        return
    for path in when.get("args", {}):
        first = path.partition(".")[0]
        known = {name for one in fitting for name in one.parameters}
        if first not in known:
            what = f"none of its {len(fitting)} tools has the argument {first!r}"
            yield Finding(rule.id, what, instead(first, known, every=False), rule.line)


def _may_be_empty(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint({"absent", "items_below"})


def _looks_alike(rule: Rule | Budget, when: Mapping[str, Any]) -> Iterable[Finding]:
    """Find values that look right and are compared with something else."""
    for one in _names(when, "recipient"):
        if isinstance(one, str) and one.startswith("@") and "." in one and "*" not in one:
            hint = f'For a domain write: recipient = {{ domain_in = ["{one[1:]}"] }}.'
            yield Finding(rule.id, f"{one!r} is compared with whole addresses", hint, rule.line, grave=False)
    for one in _names(when, "channel"):
        if isinstance(one, str) and one.startswith("#"):
            hint = "Write its id, or use place for the name."
            yield Finding(rule.id, f"no channel has the id {one!r}", hint, rule.line)


def _effects(tool: Tool) -> list[Effect]:
    """Return the effects that a call of this tool can have."""
    flags = [one for one in Effect if one in tool.gravest]
    if not callable(tool.effects):
        return [tool.effects]
    found = []
    for some in product((False, True), repeat=len(flags)):
        effect = Effect.READS
        for wanted, flag in zip(some, flags, strict=True):
            effect |= flag if wanted else Effect.READS
        found.append(effect)
    return found


def _is_possible(rule: Rule | Budget, tool: Tool, effect: Effect) -> bool:
    act = act_of({"tool": tool.name, "provider": tool.provider}, lambda name: None)
    facts = Facts(type(act)(**{**vars(act), "tool": tool, "effect": effect, "arguments": {}}), lambda: 0.0)
    return all(one.tells(facts) is not NO for one in rule.when if one.is_static)


# ----------------------------------------------------------------- acts of the past


class PastFacts(Facts):
    """What the audit tells about an act: no argument, no preview, no role."""

    @property
    def is_early(self) -> bool:
        """True, because the preview is not in the audit."""
        return True

    def _shown(self, read: Any) -> Values:
        return () if self.act.effect is Effect.READS else LATER

    @property
    def roles(self) -> Match:
        """Not in the audit."""
        return LATER

    @property
    def arguments(self) -> Any:
        """Not in the audit."""
        return LATER

    @property
    def shown(self) -> Match:
        """Not in the audit."""
        return LATER

    @property
    def account(self) -> Match:
        """In the audit as a pseudonym only."""
        return LATER

    @property
    def gives_link(self) -> Match:
        """Not in the audit."""
        return LATER

    @property
    def has_conversation(self) -> Match:
        """Not in the audit."""
        return LATER

    @property
    def is_unattended(self) -> Match:
        """Not in the audit."""
        return LATER


def recorded_verdict(row: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict that led to this result of a call, or None if the audit does not tell."""
    decision, by = row.get("decision"), str(row.get("answered_by", ""))
    if decision == "policy_denied":
        return Verdict.DENY
    if decision in ("approval_required", "declined"):
        return Verdict.ASK
    if by and by not in ("policy", "user_message"):
        return Verdict.ASK
    return Verdict.ALLOW if decision == "done" else None


def past_facts(row: Mapping[str, Any]) -> PastFacts:
    """Return the facts about a call that the audit recorded."""
    words = [str(row.get("effect", "reads"))]
    content = {
        "tool": str(row.get("tool", "")),
        "effect": ["writes", *words] if words == ["destructive"] or words == ["sends"] else words,
        "user": str(row.get("user", "")) or "unknown",
        "tenant": str(row.get("tenant", "")),
        "agent": str(row.get("agent", "")),
        "provider": str(row.get("provider", "")),
        "app": str(row.get("app", "")),
    }
    at = row["ts"] / 1e9
    return PastFacts(act_of(content, lambda name: None, early=True), lambda: at)


def verdict_then(rules: RuleSet, facts: PastFacts) -> tuple[Verdict | None, list[str]]:
    """Return the verdict about an act of the past, or None if it depends on what the audit does not contain. Also
    return the conditions that cannot be told."""
    certain: Decision | None = None
    open_: list[tuple[Rule, list[str]]] = []
    for rule, applies, told in rules.explain(facts):
        if applies is YES and (certain is None or rule.decision.gravity > certain.gravity):
            certain = rule.decision
        elif applies is LATER or (
            rule.allows and any(one is LATER for _, one in told) and NO not in [m for _, m in told]
        ):
            open_.append((rule, [key for key, one in told if one is LATER]))
    if certain is None and isinstance(rules.default, Decision):
        certain = rules.default
        wider = [keys for _, keys in open_]
    else:
        wider = [keys for rule, keys in open_ if certain is None or rule.decision.gravity > certain.gravity]
    unknown = sorted({key for keys in wider for key in keys})
    return (None if unknown or certain is None else certain.verdict), unknown
