"""Damaged policy files, and acts of a model that wants past one."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import DeputizeError, SettingsError, Verdict
from deputize.core.policy.cedar import ATTRIBUTES, CedarRules, context_of
from deputize.core.policy.policy_file import refuse_cut_file
from deputize.core.policy.policy_tests import facts_of, read_case
from deputize.core.policy.predicates import domain_of, elements_at, fits_pattern, loose, one_in
from deputize.core.policy.rules import RuleSet, parse_rules
from tests.core.policy.policy_cases import EXAMPLE, MAIL, ROWS, TWIN
from tests.core.policy.test_policy_tests import find_tool

TEXT = EXAMPLE.read_text(encoding="utf-8").partition("[[tests]]")[0] + "# end"
RULES = parse_rules(TEXT)
DENIED = [content for content, verdict, _ in ROWS if verdict == "deny"]


def verdict(rules: RuleSet, content: Mapping[str, Any]) -> Verdict:
    case = read_case(content, find_tool, "a case")
    return rules.decide(facts_of(case.act, case.at)).verdict


@st.composite
def cut(draw: st.DrawFn) -> str:
    """Return the file without its end, as a writer leaves it that dies or whose disk is full."""
    return TEXT[: draw(st.integers(0, len(TEXT) - 1))]


@st.composite
def mistyped(draw: st.DrawFn) -> str:
    """Return the file with one letter of a key, a predicate or a value doubled."""
    words = [n for n, sign in enumerate(TEXT) if sign.isalpha() and _is_key(n)]
    at = draw(st.sampled_from(words))
    return TEXT[:at] + TEXT[at] + TEXT[at:]


def _is_key(at: int) -> bool:
    """Return True inside a name before ``=``: a key of the format, or a set."""
    line = TEXT[TEXT.rfind("\n", 0, at) + 1 : TEXT.find("\n", at)]
    column = at - TEXT.rfind("\n", 0, at) - 1
    before, after = line[:column], line[column:]
    return not line.startswith("#") and before.count('"') % 2 == 0 and "=" in after and "[[" not in line


def loaded(text: str) -> RuleSet:
    """Return the rules as a file with this text gives them."""
    refuse_cut_file(text, "policy.toml")
    return parse_rules(text)


@settings(max_examples=150, deadline=None)
@given(cut())
def test_cut_file_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        loaded(text)


@settings(max_examples=150, deadline=None)
@given(mistyped())
def test_file_with_a_mistyped_key_is_refused_or_lets_nothing_more_through(text: str) -> None:
    """A mistyped key of the format is refused. The names of arguments are the tool's: a wrong one cannot be told."""
    try:
        rules = loaded(text)
    except SettingsError:
        return
    for content, before, _ in ROWS:
        order = ["allow", "ask", "deny"]
        assert order.index(verdict(rules, content)) >= order.index(before)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
def test_changed_character_never_crashes_the_reader(at: int, sign: str) -> None:
    try:
        rules = parse_rules(TEXT[:at] + sign + TEXT[at + 1 :])
    except SettingsError:
        return
    for content in DENIED[:3]:
        verdict(rules, content)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.lists(st.text(max_size=30), max_size=3))
def test_recipient_outside_the_company_never_passes(name: str, more: list[str]) -> None:
    hostile = [name, *more, "eve@evil.example"]
    content = {**ROWS[0][0], "recipient": hostile}
    assert verdict(RULES, content) is Verdict.DENY


HOSTILE = ["eve@evil.example", "bob@acme.example.evil.example", "bob@acme-example.com"]
DISGUISES: list[Callable[[str], str]] = [
    lambda text: text.upper(),
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: text.replace("e", "\u0435"),
    lambda text: "\u200b".join(text),
    lambda text: f"bob@acme.example <{text}>",
    lambda text: f"{text}, bob@acme.example",
    lambda text: f"bob@acme.example\n{text}",
    lambda text: f"bob@acme.example\x00{text}",
    lambda text: text[::-1],
    lambda text: f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?=",
    lambda text: f"https://acme.example@{text.partition('@')[2]}/",
    lambda text: f"https://acme.example\\@{text.partition('@')[2]}/",
]


def test_disguised_recipient_never_passes(subtests: pytest.Subtests) -> None:
    for text in HOSTILE:
        for disguise in DISGUISES:
            with subtests.test(text=disguise(text)):
                content = {**ROWS[0][0], "recipient": ["bob@acme.example", disguise(text)]}
                assert verdict(RULES, content) is Verdict.DENY


ARGUMENTS = """version = 1
default = "allow"
[[rules]]
id = "no-prod"
when = { tool = "acme_do", args = { %s } }
then = "deny"
"""


@pytest.mark.parametrize(
    "given_",
    [
        *({}, {"other": "prod"}, {"target": None}, {"target": {"name": "prod"}}, {"target": [None]}, {"target": 7.5j}),
        *(
            {"target": "prod"},
            {"target": "PROD"},
            {"target": "p%72od"},
            {"target": "%2570rod"},
            {"target": "prod\u200b"},
        ),
        *({"target": "\uff50rod"}, {"target": "pr\u043ed"}, {"target": ["dev", "prod"]}, {"target": " prod "}),
        *({"target": [["prod"]]}, {"target": {"prod": 1}}, {"target": b"prod"}, {"target": "x" * 50_000}),
    ],
    ids=repr,
)
def test_left_out_disguised_or_nested_argument_is_denied(given_: dict[str, Any]) -> None:
    rules = parse_rules(ARGUMENTS % 'target = { in = ["prod"] }')
    assert verdict(rules, {"tool": "acme_do", "args": given_}) is Verdict.DENY


@pytest.mark.parametrize(
    "value", ["9", "+50000", "5e4", "50,000", "0x5000", "\u0665\u0660", float("inf"), float("nan")]
)
def test_number_in_another_form_does_not_pass_a_limit(value: Any) -> None:
    rules = parse_rules(ARGUMENTS % '"a.amount" = { above = 8 }')
    assert verdict(rules, {"tool": "acme_do", "args": {"a": {"amount": value}}}) is Verdict.DENY


@pytest.mark.parametrize(
    "arguments",
    [
        {"fields": '{"Amount": 20000}'},
        {"fields": "Amount=20000"},
        {"fields": [["Amount", 20_000]]},
        {"fields": [[{"Amount": 20_000}]]},
        {"fields": [{}, "Amount=20000"]},
        {"Fields": {"Amount": 20_000}},
        {"fields": {}, "FIELDS": {"Amount": 20_000}},
        {"fields": {"AMOUNT": 20_000}},
    ],
)
def test_value_inside_of_another_form_does_not_pass_as_absent(arguments: dict[str, Any]) -> None:
    rules = parse_rules(ARGUMENTS % '"fields.Amount" = { absent = false, above = 10000 }')
    assert verdict(rules, {"tool": "acme_do", "args": arguments}) is Verdict.DENY
    absents: list[dict[str, Any]] = [{}, {"fields": {}}, {"fields": None}, {"fields": []}, {"fields": {"Amount": None}}]
    for absent in absents:
        assert verdict(rules, {"tool": "acme_do", "args": absent}) is Verdict.ALLOW


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers() | st.floats(),
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=2), one, max_size=3),
        max_leaves=8,
    )
)
def test_policy_tests_accept_any_argument_without_an_error(value: Any) -> None:
    for test in (one_in(["a", 1]), fits_pattern(["a*b"])):
        for one in elements_at({"a": value}, ["a", "b"]) or [value]:
            test(one)
    domain_of(value)
    assert isinstance(loose(str(value)), str)


UNLESS = """version = 1
default = "ask"
[[rules]]
id = "mail"
when = { tool = "gmail_send_email" }
unless = { args = { subject = { matches = ["secret*"] } } }
then = "%s"
# end"""


@pytest.mark.parametrize(
    ("subject", "allowing", "denying"),
    [
        ("Lunch", Verdict.ALLOW, Verdict.DENY),
        ("secret plan", Verdict.ASK, Verdict.ASK),
        ("x" * 30_000, Verdict.ASK, Verdict.DENY),  # too long to compare: nobody can tell
    ],
)
def test_exception_of_a_rule_that_cannot_be_told_never_allows(
    subject: str, allowing: Verdict, denying: Verdict
) -> None:
    to = ["bob@acme.example"]
    mail = {**MAIL, "args": {"to": to, "subject": subject, "body": "b"}, "recipient": to}
    assert verdict(parse_rules(UNLESS % "allow"), mail) is allowing
    assert verdict(parse_rules(UNLESS % "deny"), mail) is denying


def test_read_destroys_nothing() -> None:
    rules = parse_rules(
        'version = 1\ndefault = "allow"\n[[rules]]\nid = "a"\nwhen = { destroys = true }\nthen = "deny"\n# end'
    )
    assert verdict(rules, {"tool": "gmail_search_emails", "args": {"query": "x"}}) is Verdict.ALLOW


def test_parts_of_a_pattern_do_not_share_characters() -> None:
    test = fits_pattern(["ab*ba"])
    assert [test(one).name for one in ("aba", "abba", "ab-ba")] == ["NO", "YES", "YES"]


def test_hostile_pattern_and_text_take_no_time() -> None:
    test = fits_pattern(["*a" * 50 + "b"])
    assert test("a" * 15_000).name == "NO"


def test_other_errors_than_settings_errors_are_not_raised_by_cases() -> None:
    with pytest.raises(DeputizeError):
        read_case({"tool": "gmail_send_email", "args": {"to": 1}}, find_tool, "a case")


# ----------------------------------------------------------------- Cedar

CEDAR_TEXT = TWIN.read_text().rstrip()
CEDAR_ACTS = [(read_case(content, find_tool, "a case"), verdict) for content, verdict, _ in ROWS]
ORDER = ["allow", "ask", "deny"]


def cedar(text: str) -> CedarRules:
    """Return the rules as a Cedar file with this text gives them."""
    refuse_cut_file(text, "policy.cedar")
    return CedarRules(text, "policy.cedar")


def more_open(rules: CedarRules) -> list[Any]:
    """Return the acts of the table that the rules let further than the table says."""
    found = [(case, rules.decide(facts_of(case.act, case.at)).verdict, then) for case, then in CEDAR_ACTS]
    return [case for case, now, then in found if ORDER.index(now) < ORDER.index(then)]


def cedar_names() -> list[int]:
    """Return where the twin has a letter outside of strings and comments."""
    hidden = [range(*one.span()) for one in re.finditer(r'"[^"]*"|//[^\n]*', CEDAR_TEXT)]
    return [n for n, sign in enumerate(CEDAR_TEXT) if sign.isalpha() and not any(n in one for one in hidden)]


def mistyped_cedar(at: int, how: str) -> str:
    """Return the twin with one letter doubled, left out or changed."""
    letter = {"doubled": CEDAR_TEXT[at] * 2, "left out": "", "changed": "q" if CEDAR_TEXT[at] != "q" else "z"}[how]
    return CEDAR_TEXT[:at] + letter + CEDAR_TEXT[at + 1 :]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(CEDAR_TEXT) - 1))
def test_cut_cedar_file_is_refused(at: int) -> None:
    with pytest.raises(SettingsError):
        cedar(CEDAR_TEXT[:at])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(cedar_names()), st.sampled_from(["doubled", "left out", "changed"]))
def test_cedar_file_with_a_mistyped_name_is_refused_or_lets_nothing_more_through(at: int, how: str) -> None:
    try:
        rules = cedar(mistyped_cedar(at, how))
    except SettingsError:
        return
    assert more_open(rules) == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(CEDAR_TEXT) - 1), st.characters(codec="utf-8"))
def test_changed_character_never_crashes_the_reader_of_cedar(at: int, sign: str) -> None:
    with contextlib.suppress(SettingsError):
        CedarRules(CEDAR_TEXT[:at] + sign + CEDAR_TEXT[at + 1 :], "policy.cedar")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('principal in Roles::"interns"', "'Roles', which no request has"),
        ("principal is Person", "'Person', which no request has"),
        ("context has recipient && true", "'recipient', which no request has"),
        ('context["acount"] == "x"', "'acount', which no request has"),
        ('principal.name == "x"', "'name', which no request has"),
        ("resource.tenant == context.tenant", "'tenant', which no request has"),
        (f"{'!(' * 3000}true{')' * 3000}", "nested too deeply"),
        (f"{'!(' * 90}true{')' * 90}", ""),
        ("&&".join(["true"] * 20_000), "nested too deeply"),
        ("&&".join(["true"] * 1_500), "nested too deeply"),
        ('context.input.recipient == {type: context.agent, id: 1, "has": 2, ".": 3}', ""),  # of a tool, and of a record
    ],
)
def test_cedar_condition_that_would_never_match_or_is_too_deep_is_refused(condition: str, said: str) -> None:
    text = f'@id("r") forbid (principal, action, resource) when {{ {condition} }};'
    with pytest.raises(SettingsError, match=said) if said else contextlib.nullcontext():
        CedarRules(text, "policy.cedar")


def test_cedar_knows_each_attribute_of_a_request() -> None:
    """A request has no attribute that a file may not name, and the page lists the same."""
    contexts = [context_of(facts_of(case.act, case.at)) for case, _ in CEDAR_ACTS]
    assert {name for one in contexts for name in one} <= set(ATTRIBUTES["context"])
    page = (EXAMPLE.parents[2] / "docs" / "policy.md").read_text()
    documented = [line for line in page.splitlines() if line.startswith("| context, ")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(documented))) == sorted(ATTRIBUTES["context"])
