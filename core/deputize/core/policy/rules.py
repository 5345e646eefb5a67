"""The rules of a policy file: read from TOML, compiled, and asked about each act.

Every rule is asked about every act, and their order means nothing. Of the rules that apply, the gravest decides: deny,
then ask another person, then ask, then allow. If none applies, the default decides.

    rule that allows            applies if its conditions match for certain, for every value
    rule that asks or denies    applies if its conditions match or cannot be told, for any value
    unless                      the other way round: it excuses only for certain

So nobody passes a rule by leaving an argument out, by adding a second recipient or by writing a name in another way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import time, tzinfo
from functools import partial
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deputize.core.errors import SettingsError, instead
from deputize.core.policy import predicates as p
from deputize.core.policy.facts import AUDIENCES, EFFECTS, WEEKDAYS, Facts, Values
from deputize.core.policy.policy import BUILT_IN, Decision, Policy, Verdict, graver
from deputize.core.policy.predicates import LATER, NO, UNSURE, YES, Match
from deputize.core.roles import check_role
from deputize.core.toml_reader import TomlReader
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Danger
from deputize.core.value_object import Frozen, frozen

VERSION: Final = 1
MAX_RULES: Final = 1000
MAX_CACHED_KINDS: Final = 2000
MAX_BUDGET: Final = 2000
"""Acts that a budget may count in one period. The record of a period names each of them."""
DEFAULT: Final = "default"
"""The rule that the audit names if no rule of the file decides."""
PERIODS: Final = {"hour": 3600, "day": 86400, "week": 604800}
PER: Final = ("user", "agent", "tool", "tenant")

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_TOP: Final = ("version", "default", "zone", "sets", "rules", "budgets", "tests")
_RULE: Final = ("id", "when", "unless", "then", "approvers", "reason")
_BUDGET: Final = ("id", "when", "unless", "per", "every", "max", "then", "approvers", "reason")

Check = Callable[[Facts], Match]


@frozen
class Condition(Frozen):
    """One key of ``when`` or ``unless``. ``tells``: a function of the facts. ``is_static``: True if it depends only on
    the tool, its provider and the effect."""

    key: str
    tells: Check
    is_static: bool = False


@frozen
class Rule(Frozen):
    """One rule. ``unless``: None if the rule has none."""

    id: str
    decision: Decision
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...] | None
    line: int = 0

    @property
    def allows(self) -> bool:
        """True if the rule allows, so that it applies only for certain."""
        return self.decision.verdict is Verdict.ALLOW

    def applies(self, facts: Facts) -> Match:
        """Return `YES` if the rule applies, `LATER` if that depends on the preview, else `NO`."""
        found = conjunction(self.when, facts)
        if found is NO or (found is UNSURE and self.allows):
            return NO
        if self.unless is not None:
            excused = conjunction(self.unless, facts)
            if excused is YES or (excused is UNSURE and self.allows):
                return NO
            found = LATER if excused is LATER else found
        return LATER if found is LATER else YES


@frozen
class Budget(Frozen):
    """A limit of acts in a period. ``per``: the parts of an act that are counted apart. ``over``: the decision about an
    act beyond the limit."""

    id: str
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...] | None
    per: tuple[str, ...]
    every: str
    max: int
    over: Decision
    zone: tzinfo
    line: int = 0

    def counts(self, facts: Facts) -> bool:
        """Return True if the budget counts this act, also if that cannot be told."""
        if facts.effects == _READS or conjunction(self.when, facts) is NO:
            return False
        return self.unless is None or conjunction(self.unless, facts) is not YES


_READS: Final = frozenset({"reads"})


def conjunction(conditions: Sequence[Condition], facts: Facts) -> Match:
    """Return whether all conditions match."""
    found = YES
    for one in conditions:
        now = one.tells(facts)
        if now is NO:
            return NO
        if now is LATER or (now is UNSURE and found is YES):
            found = now
    return found


class RuleSet:
    """All rules of one file. ``name``: the file, for messages. ``tests``: its own test cases, as in the file."""

    def __init__(
        self,
        name: str,
        rules: Sequence[Rule],
        budgets: Sequence[Budget],
        default: Decision | Policy,
        tests: Sequence[Mapping[str, Any]],
        content: Mapping[str, Any],
    ) -> None:
        self.name, self.rules, self.budgets, self.default = name, tuple(rules), tuple(budgets), default
        self.tests, self.content = tuple(tests), content
        given: list[Rule | Budget] = [*rules, *budgets]
        parts = [one for some in given for one in (*some.when, *(some.unless or ()))]
        self.needs_account = any(one.key == "account" for one in parts)
        self.needs_time = any(one.key in ("hours", "weekdays") for one in parts)
        self._by_kind: dict[tuple[str, str, str, int], tuple[Rule, ...]] = {}

    def decide(self, facts: Facts) -> Decision:
        """Return the decision about an act, without the budgets."""
        gravest: Decision | None = None
        early = False
        for rule in self._rules_for(facts):
            applies = rule.applies(facts) if rule.when or rule.unless is not None else YES
            if applies is YES:
                gravest = graver(gravest, rule.decision)
            elif applies is LATER and not rule.allows:
                early = True
        if gravest is None:
            gravest = self._by_default(facts.act)
        return _LATER if early and gravest.verdict is Verdict.ALLOW else gravest

    def _rules_for(self, facts: Facts) -> tuple[Rule, ...]:
        """Return the rules that can apply to acts of this kind, without the conditions that all such acts fulfil."""
        act = facts.act
        kind = act.tool.name, act.tool.toolkit, act.provider, act.effect._value_  # the property takes a microsecond
        if (found := self._by_kind.get(kind)) is None:
            found = tuple(rule for rule in map(partial(_specialize, facts), self.rules) if rule is not None)
            if len(self._by_kind) >= MAX_CACHED_KINDS:
                self._by_kind.clear()
            self._by_kind[kind] = found
        return found

    def _by_default(self, act: Act) -> Decision:
        if isinstance(self.default, Decision):
            return self.default
        verdict = self.default(act)
        return _BY_DEFAULT[verdict] if isinstance(verdict, Verdict) else _BY_DEFAULT[Verdict.DENY]

    def explain(self, facts: Facts) -> list[tuple[Rule, Match, list[tuple[str, Match]]]]:
        """Return for each rule whether it applies, and what each of its conditions tells."""
        found = []
        for rule in self.rules:
            told = [(one.key, one.tells(facts)) for one in rule.when]
            told += [(f"unless {one.key}", one.tells(facts)) for one in rule.unless or ()]
            found.append((rule, rule.applies(facts), told))
        return found


_BY_DEFAULT: Final = {one: Decision(one, DEFAULT) for one in Verdict}
_LATER: Final = Decision(Verdict.ASK)
"""The decision before the preview, if the preview may lead to a question or a denial."""


def _specialize(facts: Facts, rule: Rule) -> Rule | None:
    fixed = [one.tells(facts) for one in rule.when if one.is_static]
    if NO in fixed:
        return None
    return Rule(rule.id, rule.decision, tuple(one for one in rule.when if not one.is_static), rule.unless, rule.line)


# ----------------------------------------------------------------- reading the file


def parse_rules(text: str, name: str = "policy.toml") -> RuleSet:
    """Return the rules of a policy file. Raises `SettingsError` that names the line and what to write instead."""
    try:
        return _Reader(text, name).read()
    except ValueError:  # from Python itself, which does not convert numbers of thousands of digits
        raise SettingsError(f"{name} has a number with too many digits.", hint="Write a shorter one.") from None


class _Reader(TomlReader):
    """Reads one file."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, name)
        self.sets: dict[str, list[Any]] = {}
        self.zone: tzinfo = ZoneInfo("UTC")
        self.ids = dict[str, int]()

    def read(self) -> RuleSet:
        content = self.content()
        self.check_keys(content, _TOP)
        if content.get("version") != VERSION or isinstance(content.get("version"), bool):
            self.refuse("", "version", f"version is {content.get('version')!r}", f"Write: version = {VERSION}")
        self.zone = self._zone(content.get("zone", "UTC"), self.line("", "zone"))
        self._read_sets(content.get("sets", {}))
        default = self._default(content.get("default"))
        rules = [self._rule(n, one) for n, one in enumerate(self.tables(content, "rules", MAX_RULES))]
        budgets = [self._budget(n, one) for n, one in enumerate(self.tables(content, "budgets", MAX_RULES))]
        return RuleSet(self.name, rules, budgets, default, self.tables(content, "tests", MAX_RULES), content)

    # ------------------------------------------------------------- parts of the file

    def _zone(self, name: Any, line: int) -> tzinfo:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            self.refuse_at(line, f"{name!r} is not a time zone", "Write one like Europe/Berlin.")

    def _read_sets(self, sets: Any) -> None:
        if not isinstance(sets, dict):
            self.refuse("sets", "", "sets is not a table", "Write: [sets] and below it name = [...].")
        for name, values in sets.items():
            if not isinstance(values, list) or not all(_is_scalar(one) for one in values):
                self.refuse("sets", name, f"the set {name!r} is not a list of strings or numbers")
            self.sets[name] = values

    def _default(self, name: Any) -> Decision | Policy:
        known = ("allow", "ask", "deny", *BUILT_IN)
        if not isinstance(name, str) or name not in known:
            problem = "there is no default" if name is None else f"the default is {name!r}"
            self.refuse("", "default", problem, f"What no rule decides is one of: {', '.join(known)}.")
        return BUILT_IN[name] if name in BUILT_IN else _BY_DEFAULT[Verdict(name)]

    def _name(self, table: str, content: Mapping[str, Any], number: int) -> str:
        name = content.get("id")
        if not isinstance(name, str) or not _ID.fullmatch(name) or name == DEFAULT:
            self.refuse(table, "id", f"the id of a rule is {name!r}", "Use letters, digits, '.', '_' and '-'.", number)
        line = self.line(table, "id", number)
        if name in self.ids:
            self.refuse_at(line, f"the id {name!r} is used in line {self.ids[name]} already", "Give it another id.")
        self.ids[name] = line
        return name

    def _decision(
        self, table: str, name: str, content: Mapping[str, Any], number: int, known: Sequence[str]
    ) -> Decision:
        then, reason, approvers = content.get("then"), content.get("reason", ""), content.get("approvers", "")
        if not isinstance(then, str) or then not in known:
            self.refuse(table, "then", f"{name}: then is {then!r}", f"Write one of: {', '.join(known)}.", number)
        if not isinstance(reason, str):
            self.refuse(table, "reason", f"{name}: the reason is not a string", "", number)
        if not isinstance(approvers, str) or (approvers and then != "ask"):
            self.refuse(table, "approvers", f'{name}: approvers needs then = "ask" and one role', "", number)
        if "approvers" in content:
            self._role(table, approvers, number)
        return Decision(Verdict(then), name, reason, approvers)

    def _role(self, table: str, role: str, number: int) -> str:
        try:
            return check_role(role)
        except SettingsError as e:
            self.refuse(table, role or "role", e.message.rstrip("."), e.hint, number)

    def _rule(self, number: int, content: Mapping[str, Any]) -> Rule:
        name = self._name("rules", content, number)
        self.check_keys(content, _RULE, "rules", number)
        decision = self._decision("rules", name, content, number, ("allow", "ask", "deny"))
        when, unless = self._conditions("rules", name, content, number, decision.verdict is Verdict.ALLOW)
        return Rule(name, decision, when, unless, self.ids[name])

    def _budget(self, number: int, content: Mapping[str, Any]) -> Budget:
        name = self._name("budgets", content, number)
        self.check_keys(content, _BUDGET, "budgets", number)
        over = self._decision("budgets", name, {"then": "deny", **content}, number, ("ask", "deny"))
        when, unless = self._conditions("budgets", name, {"when": {}, **content}, number, allows=False)
        per, every, most = content.get("per", ["user"]), content.get("every", "day"), content.get("max")
        per = [per] if isinstance(per, str) else per
        if not isinstance(per, list) or not per or not all(one in PER for one in per):
            self.refuse("budgets", "per", f"{name}: per is {per!r}", f"Write some of: {', '.join(PER)}.", number)
        if not isinstance(every, str) or every not in PERIODS:
            hint = f"Write one of: {', '.join(PERIODS)}."
            self.refuse("budgets", "every", f"{name}: every is {every!r}", hint, number)
        if type(most) is not int or not 0 <= most <= MAX_BUDGET:
            self.refuse("budgets", "max", f"{name}: max is {most!r}", f"Write a number up to {MAX_BUDGET}.", number)
        return Budget(name, when, unless, tuple(sorted(set(per))), every, most, over, self.zone, self.ids[name])

    def _conditions(
        self, table: str, name: str, content: Mapping[str, Any], number: int, allows: bool
    ) -> tuple[tuple[Condition, ...], tuple[Condition, ...] | None]:
        found: list[tuple[Condition, ...] | None] = []
        for part in ("when", "unless"):
            wanted = content.get(part)
            if wanted is None and part == "unless":
                found.append(None)
                continue
            if not isinstance(wanted, dict) or (not wanted and table == "rules") or (not wanted and part == "unless"):
                hint = 'Say to which acts it applies: when = { effect = ["sends"] }.'
                self.refuse(table, part, f"{name}: {part} is missing or empty", hint, number)
            every = allows if part == "when" else not allows
            made = [self._condition(table, name, number, key, value, every) for key, value in wanted.items()]
            found.append(tuple(sorted((one for some in made for one in some), key=lambda one: not one.is_static)))
        when, unless = found
        return when or (), unless

    def _condition(self, table: str, name: str, number: int, key: str, value: Any, every: bool) -> list[Condition]:
        at = _At(self, table, name, number, key, every)
        if key not in KEYS:
            self.refuse(table, key, f"{name}: {key!r} is not a condition", instead(key, KEYS), number)
        return KEYS[key](at, value)


class _At:
    """The place of a condition in the file, and how it judges lists: ``every`` value must match, or any."""

    def __init__(self, reader: _Reader, table: str, rule: str, number: int, key: str, every: bool) -> None:
        self.reader, self.table, self.rule, self.number, self.key, self.every = reader, table, rule, number, key, every

    def refuse(self, problem: str, hint: str = "", key: str = "") -> NoReturn:
        self.reader.refuse(self.table, key or self.key, f"{self.rule}: {problem}", hint, self.number)

    def whole(self, test: p.Test) -> p.Whole:
        """Return the test for all values of a list or for any, as the rule needs it."""
        return p.all_of(test) if self.every else p.any_of(test)

    def texts(self, value: Any, known: Sequence[str] = ()) -> list[str]:
        """Return a string, a list of strings, or the name of a set as a list."""
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not found or not all(isinstance(one, str) and one for one in found):
            self.refuse(f"{self.key} is {value!r}", "Write a string or a list of strings.")
        for one in found:
            if known and one not in known:
                self.refuse(f"{self.key} is {one!r}", instead(one, known))
        return found

    def values(self, value: Any, predicate: str, *, strings: bool) -> list[Any]:
        """Return the list that a predicate compares with: as written, or the set of this name."""
        if isinstance(value, str):
            if value not in self.reader.sets:
                hint = instead(value, self.reader.sets) or "Write a list, or add the set below [sets]."
                self.refuse(f"there is no set {value!r}", hint, predicate)
            value = self.reader.sets[value]
        kinds = str if strings else (str, int, float)
        if not isinstance(value, list) or not all(isinstance(one, kinds) for one in value):
            self.refuse(f"{predicate} is {value!r}", "Write a list, or the name of a set.", predicate)
        return value

    def tests(self, value: Any) -> list[tuple[str, p.Whole]]:
        """Return the tests of a value: a table of predicates, or strings with ``*``."""
        if not isinstance(value, dict):
            return [("", self.whole(p.fits_pattern(self.texts(value))))]
        if not value:
            self.refuse(f"{self.key} has no predicate", f"There are: {', '.join(PREDICATES)}.")
        found = []
        for predicate, operand in value.items():
            if predicate not in PREDICATES:
                self.refuse(f"{predicate!r} is not a predicate", instead(predicate, PREDICATES), predicate)
            found.append((predicate, PREDICATES[predicate](self, predicate, operand)))
        return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _listed(make: Callable[[list[Any]], p.Test], *, opposite: bool = False, strings: bool = False) -> Any:
    def build(at: _At, predicate: str, operand: Any) -> p.Whole:
        test = make(at.values(operand, predicate, strings=strings))
        return at.whole(p.negate(test) if opposite else test)

    return build


def _domains(*, opposite: bool = False) -> Any:
    def build(at: _At, predicate: str, operand: Any) -> p.Whole:
        domains = at.values(operand, predicate, strings=True)
        for one in domains:
            if not p.checked_domain(one):
                at.refuse(
                    f"{one!r} is not a domain", "Write acme.example, or *.acme.example for subdomains.", predicate
                )
        test = p.domain_in(domains)
        return at.whole(p.negate(test) if opposite else test)

    return build


def _limit(at: _At, predicate: str, operand: Any) -> float:
    if not _is_scalar(operand) or isinstance(operand, str) or not abs(operand) < 1e30:
        at.refuse(f"{predicate} is {operand!r}", "Write a number.", predicate)
    return float(operand)


def _number(make: Callable[[float], p.Test]) -> Any:
    return lambda at, predicate, operand: at.whole(make(_limit(at, predicate, operand)))


def _count(make: Callable[[float], p.Whole]) -> Any:
    return lambda at, predicate, operand: make(_limit(at, predicate, operand))


def _absent(at: _At, predicate: str, operand: Any) -> p.Whole:
    if not isinstance(operand, bool):
        at.refuse(f"{predicate} is {operand!r}", "Write true or false.", predicate)
    test = at.whole(p.is_absent(operand))
    return lambda elements: test(elements or p.UNKNOWN)  # an empty list is absent


PREDICATES: Final[Mapping[str, Callable[[_At, str, Any], p.Whole]]] = {
    "in": _listed(p.one_in),
    "not_in": _listed(p.one_in, opposite=True),
    "matches": _listed(p.fits_pattern, strings=True),
    "not_matches": _listed(p.fits_pattern, opposite=True, strings=True),
    "domain_in": _domains(),
    "domain_not_in": _domains(opposite=True),
    "above": _number(p.above),
    "below": _number(p.below),
    "items_above": _count(p.count_above),
    "items_below": _count(p.count_below),
    "absent": _absent,
}
"""The predicates of a value."""


# ----------------------------------------------------------------- conditions

Key = Callable[[_At, Any], list[Condition]]


def _named(get: Callable[[Facts], str], *, static: bool = False) -> Key:
    """A condition about one name, which the model does not write."""

    def build(at: _At, value: Any) -> list[Condition]:
        if isinstance(value, dict):
            tests = at.tests(value)
            return [Condition(at.key, partial(_on_value, test, lambda f: (get(f),)), static) for _, test in tests]
        test = p.has_name(at.texts(value))
        return [Condition(at.key, lambda facts: test(get(facts)), static)]

    return build


def _on_value(test: p.Whole, get: Callable[[Facts], Values], facts: Facts) -> Match:
    elements = get(facts)
    return elements if isinstance(elements, Match) else test(elements)


def _valued(get: Callable[[Facts], Values]) -> Key:
    """A condition about values that the model can write or that the provider names."""

    def build(at: _At, value: Any) -> list[Condition]:
        return [Condition(at.key, partial(_on_value, test, get)) for _, test in at.tests(value)]

    return build


def _listed_names(get: Callable[[Facts], Values], known: Sequence[str]) -> Key:
    """A condition about words that deputize knows."""

    def build(at: _At, value: Any) -> list[Condition]:
        test = at.whole(p.has_name(at.texts(value, known)))
        return [Condition(at.key, partial(_on_value, test, get))]

    return build


def _flag(get: Callable[[Facts], bool | Match | None]) -> Key:
    """A condition that is true or false."""

    def build(at: _At, value: Any) -> list[Condition]:
        if not isinstance(value, bool):
            at.refuse(f"{at.key} is {value!r}", "Write true or false.")

        def tells(facts: Facts) -> Match:
            found = get(facts)
            return found if isinstance(found, Match) else UNSURE if found is None else YES if found is value else NO

        return [Condition(at.key, tells)]

    return build


def _effect(at: _At, value: Any) -> list[Condition]:
    """The effects of the act. In a rule that asks or denies, ``writes`` means every act that changes something: a mail
    only sends, and who denies what writes means the mail too."""
    test = at.whole(p.has_name(at.texts(value, EFFECTS)))

    def tells(facts: Facts) -> Match:
        found = facts.effects
        return test(tuple(found if at.every or found == _READS else found | {"writes"}))

    return [Condition(at.key, tells, is_static=True)]


def _role(at: _At, value: Any) -> list[Condition]:
    roles = frozenset(at.reader._role(at.table, one, at.number) for one in at.texts(value))

    def tells(facts: Facts) -> Match:
        found = facts.roles
        return found if isinstance(found, Match) else NO if roles.isdisjoint(found) else YES

    return [Condition(at.key, tells)]


def _paths(get: Callable[[Facts], Mapping[str, Any] | Match | None]) -> Key:
    """Conditions about values at dotted paths."""

    def build(at: _At, value: Any) -> list[Condition]:
        if not isinstance(value, dict) or not value:
            at.refuse(f"{at.key} is {value!r}", f'Write: {at.key} = {{ "path" = {{ in = [...] }} }}.')
        found = []
        for path, wanted in value.items():
            parts = path.split(".")
            if not all(parts):
                at.refuse(f"{path!r} is not a dotted path", "Write names with a dot between them.", path)
            for _, test in at.tests(wanted):
                found.append(Condition(f"{at.key}.{path}", partial(_on_path, test, get, parts)))
        return found

    return build


def _on_path(
    test: p.Whole, get: Callable[[Facts], Mapping[str, Any] | Match | None], path: Sequence[str], facts: Facts
) -> Match:
    content = get(facts)
    if isinstance(content, Match):
        return content
    return test(p.UNKNOWN if content is None else p.elements_at(content, path))


def _hours(at: _At, value: Any) -> list[Condition]:
    wanted = {"inside": value} if isinstance(value, str) else value
    if not isinstance(wanted, dict) or len(wanted.keys() & {"inside", "outside"}) != 1 or wanted.keys() - _HOUR_KEYS:
        at.refuse(f"hours is {value!r}", 'Write: hours = { outside = "06:00-22:00", zone = "Europe/Berlin" }.')
    [side] = wanted.keys() & {"inside", "outside"}
    found = _HOURS.fullmatch(wanted[side]) if isinstance(wanted[side], str) else None
    if not found or found[1] + found[2] == found[3] + found[4] or (found[3] == "24" and found[4] != "00"):
        at.refuse(f"{wanted[side]!r} are not hours", "Write them like 06:00-22:00.")
    zone = at.reader._zone(wanted["zone"], at.reader.line(at.table, "zone", at.number)) if "zone" in wanted else None
    begin = time(int(found[1]), int(found[2]))
    end = time(0) if found[3] == "24" else time(int(found[3]), int(found[4]))

    def tells(facts: Facts) -> Match:
        now = facts.now.astimezone(zone or at.reader.zone).time()
        inside = begin <= now < end if begin < end else now >= begin or now < end
        return YES if inside is (side == "inside") else NO

    return [Condition(at.key, tells)]


_HOUR_KEYS: Final = frozenset({"inside", "outside", "zone"})


def _weekdays(at: _At, value: Any) -> list[Condition]:
    days = frozenset(WEEKDAYS.index(one) for one in at.texts(value, WEEKDAYS))
    return [Condition(at.key, lambda facts: YES if facts.now.astimezone(at.reader.zone).weekday() in days else NO)]


KEYS: Final[Mapping[str, Key]] = {
    "user": _named(lambda f: f.act.user.id),
    "tenant": _named(lambda f: f.act.user.tenant),
    "role": _role,
    "agent": _named(lambda f: f.act.agent),
    "tool": _named(lambda f: f.act.tool.name, static=True),
    "toolkit": _named(lambda f: f.act.tool.toolkit, static=True),
    "effect": _effect,
    "provider": _named(lambda f: f.act.provider, static=True),
    "app": _named(lambda f: f.act.app),
    "account": _valued(lambda f: f.account),
    "recipient": _valued(lambda f: f.recipients),
    "place": _valued(lambda f: f.place),
    "channel": _valued(lambda f: f.target("channel")),
    "repository": _valued(lambda f: f.target("repository")),
    "args": _paths(lambda f: f.arguments),
    "shown": _paths(lambda f: f.shown),
    "audience": _listed_names(lambda f: f.audience, AUDIENCES),
    "danger": _listed_names(lambda f: f.dangers, ("*", *Danger)),
    "destroys": _flag(lambda f: f.destroys),
    "previewed": _flag(lambda f: f.is_previewed),
    "conversation": _flag(lambda f: f.has_conversation),
    "untrusted": _flag(lambda f: f.is_untrusted),
    "first_contact": _flag(lambda f: f.is_first_contact),
    "named_by_user": _flag(lambda f: f.is_named_by_user),
    "gives_link": _flag(lambda f: f.gives_link),
    "unattended": _flag(lambda f: f.is_unattended),
    "hours": _hours,
    "weekdays": _weekdays,
}
"""The conditions of a rule."""
