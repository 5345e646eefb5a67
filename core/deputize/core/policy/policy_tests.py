"""Cases of a policy file: an act in words, and what the policy must say about it.

[[tests]]
tool = "gmail_send_email"
args = { to = ["bob@acme.example"] }
recipient = ["bob@acme.example"]
verdict = "allow"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from deputize.core.errors import InvalidInput, SettingsError, instead
from deputize.core.policy.facts import AUDIENCES, EFFECTS, Facts
from deputize.core.policy.policy import Decision, Verdict
from deputize.core.policy.rules import RuleSet
from deputize.core.tools.act import Act, Call
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.preview import Audience, Danger, Preview
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.untrusted import Untrusted
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import User

FindTool = Callable[[str], Tool | None]
PREVIEWED: Final = ("recipient", "place", "channel", "repository", "audience", "destroys", "danger", "shown")
"""What only a preview tells."""
_KEYS: Final = (
    *("name", "user", "tenant", "roles", "agent", "tool", "args", "provider", "app", "account", "effect", "at"),
    *("unattended", "conversation", "untrusted", "first_contact", "named_by_user", "previewed", *PREVIEWED),
    *("verdict", "rule", "approvers"),
)
_STRINGS: Final = ("name", "user", "tenant", "agent", "tool", "provider", "app", "account", "place", "channel", "rule")


@frozen
class Case(Frozen):
    """One act, and what the policy must say. ``rule``, ``approvers``: None if they do not matter."""

    name: str
    act: Act
    at: float
    verdict: Verdict
    rule: str | None = None
    approvers: str | None = None

    def failure(self, decision: Decision) -> str:
        """Return how the decision differs from the expected one, or ""."""
        wanted = [(self.verdict.value, decision.verdict.value)]
        wanted += [(self.rule, decision.rule)] if self.rule is not None else []
        wanted += [(self.approvers, decision.approvers)] if self.approvers is not None else []
        wrong = [f"{found or 'none'} instead of {want or 'none'}" for want, found in wanted if want != found]
        return f"{', '.join(wrong)} (rule {decision.rule})" if wrong else ""


def run_cases(rules: RuleSet, cases: Sequence[Case]) -> list[tuple[Case, str]]:
    """Return each case with its failure, "" for none."""
    return [(one, one.failure(rules.decide(facts_of(one.act, one.at)))) for one in cases]


def facts_of(act: Act, at: float) -> Facts:
    """Return the facts about an act at a time, in Unix seconds."""
    return Facts(act, lambda: at)


def read_cases(content: Sequence[Mapping[str, Any]], find_tool: FindTool, name: str) -> list[Case]:
    """Return the cases of a file. Raises `SettingsError` that names the case."""
    return [read_case(one, find_tool, f"{name}, case {number}") for number, one in enumerate(content, 1)]


def read_case(content: Mapping[str, Any], find_tool: FindTool, where: str) -> Case:
    """Return one case. Raises `SettingsError` for a key or a value that it cannot have."""
    for key, value in content.items():
        if key not in _KEYS:
            raise SettingsError(f"{where}: {key!r} is not a key here.", hint=instead(key, _KEYS))
        if key in _STRINGS and not isinstance(value, str):
            raise SettingsError(f"{where}: {key} is not a string.")
    verdict = content.get("verdict", "allow")
    if verdict not in list(Verdict):
        raise SettingsError(f"{where}: the verdict is {verdict!r}.", hint="Write allow, ask or deny.")
    try:
        act, at = act_of({"account": "account@example.test", **content}, find_tool), _time(content.get("at"))
    except (InvalidInput, KeyError, TypeError, ValueError, AttributeError) as e:
        why = e.message if isinstance(e, InvalidInput) else f"{type(e).__name__}: {e}"
        raise SettingsError(f"{where}: {why}") from None
    name = content.get("name") or f"{act.tool.name} by {act.user.id}"
    return Case(name, act, at, Verdict(verdict), content.get("rule"), content.get("approvers"))


def act_of(content: Mapping[str, Any], find_tool: FindTool, *, early: bool = False) -> Act:
    """Return the act that a case describes. ``early``: True to leave its preview out, if it has one."""
    name, arguments = content["tool"], dict(content.get("args", {}))
    known = find_tool(name)
    words = [content["effect"]] if isinstance(content.get("effect"), str) else content.get("effect")
    if known is not None:
        valid = known.validate(arguments) if known.model is not None else arguments
        effect = known.effect_of(valid) if words is None else _effect(words)
    else:
        valid, effect = arguments, _effect(words or ["writes"])
    shows = known.shows if known else content.get("previewed", True)
    thread = "case" if content.get("conversation", True) else ""
    tool = known or _made_up(name, content.get("provider", ""), arguments, effect, shows)
    act = Act(
        user=User(content.get("user", "alice"), content.get("tenant", ""), unattended=content.get("unattended", False)),
        tool=tool,
        arguments=valid,
        effect=effect,
        call=Call(thread),
        agent=content.get("agent", "agent"),
        app=content.get("app", tool.provider),
        provider=content.get("provider", tool.provider),
        roles=frozenset(content.get("roles", ())),
        acting_as=content.get("account", ""),
        outside=(Untrusted("value", "a case", "named"),) if content.get("untrusted") else (),
        first_contacts=(FirstContact("value", checked=True),) if content.get("first_contact") else (),
        named_by_user=content.get("named_by_user", False),
    )
    return act.having(show=preview_of(content)) if act.shows and not early else act


def preview_of(content: Mapping[str, Any]) -> Preview:
    """Return the preview that a case describes."""
    people, targets = _list(content.get("recipient")), {name: content.get(name) for name in ("channel", "repository")}
    wide = "organisation" if any(targets.values()) or content.get("place") else "self"
    audience = content.get("audience") or ("people" if people else wide)
    if audience not in AUDIENCES:
        raise ValueError(f"the audience is {audience!r}")
    shown = content.get("shown", {})
    return Preview(
        "Do this",
        audience=Audience[audience.upper()],
        people=people,
        where=content.get("place", ""),
        pins=shown.get("pins"),
        destroys=content.get("destroys", False),
        dangers=[Danger(one) for one in _list(content.get("danger"))],
        targets=targets,
        **shown.get("fields", {}),
    )


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _effect(words: Sequence[str]) -> Effect:
    found = Effect.READS
    for word in words:
        if word not in EFFECTS:
            raise ValueError(f"the effect is {word!r}")
        found |= Effect[word.upper()]
    return found


def _time(at: Any) -> float:
    """Return the time of a case; without one, a Tuesday at noon."""
    if at is None:
        return datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError("at is not a time with its zone, such as 2026-12-01T12:00:00+01:00")
    return at.timestamp()


def _made_up(name: str, provider: str, arguments: Mapping[str, Any], effect: Effect, shows: bool) -> Tool:
    """Return a tool of this name that no catalog has."""

    def steps(**_: Any) -> Any:
        raise NotImplementedError

    return Tool(
        name=name,
        toolkit=name.partition("_")[0],
        provider=provider,
        api="",
        description="",
        model=None,
        parameters={one: one for one in arguments},
        steps=steps,
        needs=(),
        effects=effect,
        gravest=effect,
        takes_run=False,
        shows=shows,
    )
