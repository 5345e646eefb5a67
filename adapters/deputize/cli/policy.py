"""``deputize policy``: check a policy file, explain and test its decisions, and compare it with the past."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption

if TYPE_CHECKING:
    from deputize.core.policy.policy_file import FilePolicy
    from deputize.core.policy.policy_tests import Case
    from deputize.core.policy.rules import RuleSet
    from deputize.core.settings import Settings
    from deputize.core.tools.catalog import Catalog

UNITS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 604800}

policy_app = typer.Typer(help="The policy: which acts are allowed, asked about or denied.", no_args_is_help=True)

PolicyOption = Annotated[Path | None, typer.Option("--policy", help="The file. Default: that of the settings.")]


@policy_app.command()
def check(file: Annotated[Path, typer.Argument(help="A policy file.")]) -> None:
    """Check a policy file: its syntax, its names, rules that never match, and its own tests. Exits 1 if it finds any.

    It warns of a set with *.acme.example that does not contain acme.example.
    """
    from deputize.core.policy.check import check as findings
    from deputize.core.settings import Settings

    settings, policy = Settings.load(), _open(file)
    catalog = _catalog()
    found = findings(policy.rules, catalog.tools(), _foreign(settings), settings.roles)
    for one in found:
        at = f" line {one.line}" if one.line else ""
        word = "" if one.grave else "note: "
        show.out.print(show.plain(f"{word}{file.name}{at}: {one.rule}: {one.what}. {one.hint}".strip()), soft_wrap=True)
    failed = _run(policy.rules, _cases(policy.rules.tests, catalog, file.name))
    grave = sum(one.grave for one in found) + failed
    counts = f"{show.counted(len(policy.rules.rules), 'rule')}, {show.counted(len(policy.rules.budgets), 'budget')}, "
    counts += show.counted(len(policy.rules.tests), "test")
    show.out.print(f"{counts}: {'correct' if not grave else f'{grave} wrong'}.")
    raise typer.Exit(1 if grave else 0)


@policy_app.command(name="test")
def run_tests(
    cases: Annotated[Path, typer.Argument(help="A TOML file with [[tests]].")], policy: PolicyOption = None
) -> None:
    """Run the cases of a file against the policy. Exits 1 if one fails."""
    import tomllib

    from deputize.core.errors import SettingsError
    from deputize.core.policy.policy_file import read_policy

    try:
        content = tomllib.loads(read_policy(cases)[0]).get("tests", [])
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"{cases.name} is not TOML: {e}.") from None
    found = _cases(content, _catalog(), cases.name)
    failed = _run(_in_force(policy).rules, found)
    show.out.print(f"{show.counted(len(found), 'test')}: {'passed' if not failed else f'{failed} failed'}.")
    raise typer.Exit(1 if failed or not found else 0)


@policy_app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments as JSON.")] = "{}",
    role: Annotated[list[str] | None, typer.Option(help="A role of the user. Repeat it for more.")] = None,
    shown: Annotated[
        str, typer.Option(help='What the preview tells, as JSON: {"recipient": ["bob@acme.example"]}.')
    ] = "",
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain what the policy says about a call: the verdict, and for each rule whether it matched, and why.

    Nothing is read or sent. What only the preview tells is open unless --shown gives it. --shown takes the keys of a
    test case, also account, tenant, agent, untrusted and at.
    """
    from deputize.core.policy.policy_tests import PREVIEWED, act_of, facts_of, read_case

    content = {"user": user, "tool": tool, "args": _json(arguments), "roles": role or [], **_json(shown or "{}")}
    catalog, rules = _catalog(), _in_force(policy).rules
    find = _finder(catalog)
    if find(tool) is None:
        show.note(
            f"No installed toolkit has a tool {tool!r}. Its effect is taken as writes, unless --shown has effect."
        )
    case = read_case(content, find, "this call")
    early = not any(name in content for name in PREVIEWED)
    act = act_of(content, find, early=early)
    facts = facts_of(act, case.at)
    decision = rules.decide(facts)
    explained = list(rules.explain(facts))
    told: list[dict[str, Any]] = [
        {
            "rule": one.id,
            "then": one.decision.verdict.value,
            "applies": applies.value,
            "conditions": {key: found.value for key, found in conditions},
        }
        for one, applies, conditions in explained
    ]
    final = not facts.is_early
    if not content["roles"] and any(key.endswith("role") for _, _, conditions in explained for key, _ in conditions):
        show.note("No --role is given, so this is the answer for a user without roles.")
    if as_json:
        show.data({"verdict": decision.verdict.value, "rule": decision.rule, "final": final, "rules": told})
        return
    who = f", by {decision.approvers}" if decision.approvers else ""
    is_open = not final and decision.verdict.value != "deny"
    until = " so far" if is_open else ""
    why = f": {decision.reason_line}" if decision.reason else ""
    show.out.print(show.plain(f"{decision.verdict}{who}{until} ({decision.rule or 'no rule'}){why}", "bold"))
    if is_open:
        show.out.print("The preview may change this. Pass --shown to decide with it.")
    for one in told:
        conditions = ", ".join(f"{key} {found}" for key, found in one["conditions"].items())
        show.out.print(show.plain(f"  {one['rule']} ({one['then']}) {one['applies']}: {conditions}"), soft_wrap=True)


@policy_app.command()
def diff(
    file: Annotated[Path, typer.Argument(help="A policy file.")],
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d, 2w.")] = "7d",
    as_json: JsonOption = False,
) -> None:
    """Compare a policy file with the past: which calls in the audit it would have decided in another way.

    The audit contains no arguments, previews or roles. If a verdict depends on them, the call is counted as open.
    """
    from deputize.core.audit import read
    from deputize.core.policy.check import past_facts, recorded_verdict, verdict_then
    from deputize.core.settings import Settings

    settings, rules = Settings.load(), _open(file).rules
    begins = (time.time() - _seconds(since)) * 1e9
    people = _resolver(settings)
    changes: Counter[tuple[str, str, str, str]] = Counter()
    opens: Counter[str] = Counter()
    same = 0
    for row in read(settings.audit_trail):
        if row["event"] != "act.result" or row["ts"] < begins or (was := recorded_verdict(row)) is None:
            continue
        now, unknown = verdict_then(rules, past_facts(people(row)))
        if now is None:
            opens[f"{row['tool']}: {', '.join(unknown) or 'the built-in default'}"] += 1
        elif now is was:
            same += 1
        else:
            changes[row["tool"], str(row.get("effect", "reads")), was.value, now.value] += 1
    if as_json:
        keys = "tool", "effect", "was", "would_be", "calls"
        listed = [dict(zip(keys, (*one, number), strict=True)) for one, number in changes.items()]
        show.data({"same": same, "changed": listed, "open": dict(opens)})
        return
    for (tool, effect, before, after), number in changes.most_common():
        show.out.print(show.plain(f"{tool} ({effect}): {before}, would be {after}, {show.counted(number, 'call')}"))
    for what, number in opens.most_common():
        show.out.print(show.plain(f"open, {show.counted(number, 'call')}: {what} not in the audit", "dim"))
    show.out.print(
        f"{sum(changes.values())} would change, {same} would stay, {sum(opens.values())} depend on what is not stored."
    )


# ----------------------------------------------------------------- parts


def _open(file: Path) -> FilePolicy:
    from deputize.core.errors import SettingsError
    from deputize.core.policy.find_policy import policy_file
    from deputize.core.policy.policy_file import FilePolicy

    found = policy_file(file)
    if not isinstance(found, FilePolicy):
        raise SettingsError(f"{file.name} is not a policy file.")
    return found


def _in_force(file: Path | None) -> FilePolicy:
    """Return the named file, that of the settings, or the default policy as a file."""
    from deputize.core.errors import SettingsError
    from deputize.core.policy.policy_file import DEFAULT_FILE
    from deputize.core.settings import Settings

    if file is not None:
        return _open(file)
    settings = Settings.load()
    if settings.policy == "ask_before_sending":
        return _open(DEFAULT_FILE)
    if not settings.policy.endswith((".toml", ".cedar")):
        raise SettingsError(f"The policy {settings.policy!r} is a function.", hint="Name a file with --policy.")
    return _open(settings.own_file().parent / settings.policy)


def _catalog() -> Catalog:
    from deputize.core.tools.catalog import Catalog

    return Catalog(None)


def _finder(catalog: Catalog) -> Any:
    from deputize.core.errors import DeputizeError

    def find(name: str) -> Any:
        try:
            return catalog.tool(name)
        except DeputizeError:
            return None

    return find


def _cases(content: Any, catalog: Catalog, name: str) -> list[Case]:
    from deputize.core.policy.policy_tests import read_cases

    return read_cases(content, _finder(catalog), name)


def _run(rules: RuleSet, cases: list[Case]) -> int:
    """Print each case that fails. Return their number."""
    from deputize.core.policy.policy_tests import run_cases

    failed = [(case, failure) for case, failure in run_cases(rules, cases) if failure]
    for case, failure in failed:
        show.out.print(show.plain(f"failed  {case.name}: {failure}", "red"), soft_wrap=True)
    return len(failed)


def _foreign(settings: Settings) -> list[str]:
    """Return the toolkits of foreign MCP servers, whose tools are known only after a connection."""
    return list(settings.mcp)


def _json(text: str) -> dict[str, Any]:
    from deputize.core.errors import InvalidInput

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(f"This is not a JSON object: {text[:80]}", fix_by="operator")
    return found


def _seconds(text: str) -> float:
    from deputize.core.errors import InvalidInput

    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isascii() or not number.isdigit():
        raise InvalidInput(f"{text!r} is not a duration.", hint="Write 12h, 7d or 2w.", fix_by="operator")
    return float(number) * UNITS[unit]


def _resolver(settings: Settings) -> Any:
    """Return a function that replaces the pseudonyms of users in a row by their ids, while the vault knows them."""
    from deputize.core.background_loop import portal
    from deputize.core.from_settings import open_vault
    from deputize.core.vault.pseudonyms import People

    async def load() -> People:
        vault = await open_vault(settings)
        try:
            return await People.of(vault)
        finally:
            await vault.close()

    return (lambda row: row) if settings.new_vault() else portal().run(load()).resolve_row
