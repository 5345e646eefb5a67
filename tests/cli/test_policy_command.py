"""``deputize policy``: check, test, explain and diff."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Provider, connected

EXAMPLE = (Path(__file__).parents[2] / "examples" / "policy" / "policy.toml").read_text(encoding="utf-8")
HEAD = 'version = 1\ndefault = "allow"\n'
MAIL = json.dumps({"to": ["eve@evil.example"], "subject": "s", "body": "b"})


def written(folder: Path, text: str, name: str = "policy.toml") -> str:
    """Return the path of a file with this text."""
    path = folder / name
    path.write_text(f"{text}\n# end\n")
    path.chmod(0o600)
    return str(path)


def rule(when: str, then: str = "deny") -> str:
    return HEAD + f'[[rules]]\nid = "r1"\nwhen = {when}\nthen = "{then}"\n'


def test_example_is_correct(cli: Command, tmp_path: Path) -> None:
    done = cli("policy", "check", written(tmp_path, EXAMPLE))
    assert done.exit_code == 0 and "10 rules, 0 budgets, 4 tests: correct." in done.stdout, done.output


def test_file_with_a_fault_is_refused_with_its_line(cli: Command, tmp_path: Path) -> None:
    done = cli("policy", "check", written(tmp_path, rule('{ tol = "x" }')))
    assert done.exit_code == 1 and "policy.toml line 5: r1: 'tol' is not a condition" in done.stderr
    assert "Did you mean tool" in done.stderr


def test_check_finds_names_that_nobody_has_and_rules_that_never_match(cli: Command, tmp_path: Path) -> None:
    cases = [
        ('{ tool = "gmail_send_mail" }', "no tool is called 'gmail_send_mail'. Did you mean gmail_send_email"),
        ('{ toolkit = "gmial" }', "no toolkit is called 'gmial'. Did you mean gmail"),
        ('{ provider = "googel" }', "no provider is called 'googel'. Did you mean google"),
        ('{ tool = "gmailx_*" }', "no tool is called 'gmailx_*'"),
        ('{ toolkit = "slack", tool = "gmail_*" }', "it never matches"),
        ('{ tool = "gmail_search_emails", effect = "sends" }', "it never matches"),
        ('{ tool = "gmail_send_email", args = { recipients = { absent = true } } }', "has the argument 'recipients'"),
    ]
    for when, said in cases:
        done = cli("policy", "check", written(tmp_path, rule(when)))
        assert done.exit_code == 1 and said in done.stdout, (when, done.output)


def test_check_notes_a_wildcard_without_its_domain_and_fails_a_test(cli: Command, tmp_path: Path) -> None:
    text = rule('{ recipient = { domain_not_in = "ours" } }') + '[sets]\nours = ["*.acme.example"]\n'
    done = cli("policy", "check", written(tmp_path, text))
    assert done.exit_code == 0 and "*.acme.example does not contain acme.example itself" in done.stdout
    text += (
        '[[tests]]\ntool = "gmail_send_email"\neffect = "sends"\nrecipient = "bob@acme.example"\nverdict = "allow"\n'
    )
    text = text.replace('effect = "sends"\n', 'args = { to = ["bob@acme.example"], subject = "s", body = "b" }\n')
    done = cli("policy", "check", written(tmp_path, text))
    assert done.exit_code == 1 and "deny instead of allow (rule r1)" in done.stdout, done.output


def test_roles_are_compared_with_those_of_the_settings(cli: Command, tmp_path: Path) -> None:
    file = written(tmp_path, rule('{ role = "finanse" }'))
    assert cli("policy", "check", file).exit_code == 0
    done = cli("policy", "check", file, DEPUTIZE_ROLES='{"finance": ["groups:finance"]}')
    assert done.exit_code == 1 and "no setting gives the role 'finanse'. Did you mean finance" in done.stdout


def test_cases_of_another_file_are_tested_against_the_policy_of_the_settings(cli: Command, tmp_path: Path) -> None:
    policy = written(tmp_path, EXAMPLE.partition("[[tests]]")[0])
    cases = written(tmp_path, "[[tests]]" + EXAMPLE.partition("[[tests]]")[2], "cases.toml")
    done = cli("policy", "test", cases, DEPUTIZE_POLICY=policy)
    assert (done.exit_code, done.stdout) == (0, "4 tests: passed.\n"), done.output
    done = cli("policy", "test", cases)
    assert done.exit_code == 1 and "failed" in done.stdout


def test_explain_says_which_rule_matched_and_what_cannot_be_told(cli: Command, tmp_path: Path) -> None:
    file = written(tmp_path, EXAMPLE)
    shown = json.dumps({"recipient": ["eve@evil.example"], "account": "alice@acme.example"})
    done = cli("policy", "explain", "alice", "gmail_send_email", MAIL, "--shown", shown, "--policy", file, "--json")
    told = json.loads(done.stdout)
    assert (told["verdict"], told["rule"], told["final"]) == ("deny", "mail-stays-home", True)
    [sales] = [one for one in told["rules"] if one["rule"] == "mail-stays-home"]
    assert sales["conditions"]["recipient"] == "matched" and sales["conditions"]["unless role"] == "not matched"
    done = cli(
        *("policy", "explain", "alice", "gmail_send_email", MAIL, "--shown", shown, "--role", "sales"),
        *("--policy", file),
    )
    assert done.stdout.startswith("ask (default)") and "--role" not in done.stderr
    done = cli("policy", "explain", "alice", "gmail_send_email", MAIL, "--policy", file)
    assert (
        "so far" in done.stdout and "Pass --shown" in done.stdout and "recipient known with the preview" in done.stdout
    )
    assert "No --role is given" in done.stderr
    done = cli("policy", "explain", "alice", "gmail_send_email", "{}", "--policy", file)
    assert done.exit_code == 1 and "to" in done.stderr


def test_diff_names_changed_verdicts_and_what_the_audit_does_not_tell(
    cli: Command, home: Path, provider: Provider, tmp_path: Path
) -> None:
    settings = connected(home, provider, "gmail.readonly")
    assert cli("act", "gmail_search_emails", json.dumps({"query": "x"}), **settings).exit_code == 0
    file = written(tmp_path, rule('{ effect = "reads" }'))
    told = json.loads(cli("policy", "diff", file, "--since", "1h", "--json", **settings).stdout)
    changed = {"tool": "gmail_search_emails", "effect": "reads", "was": "allow", "would_be": "deny", "calls": 1}
    assert told == {"same": 0, "changed": [changed], "open": {}}
    file = written(tmp_path, rule('{ args = { query = "x" } }'))
    done = cli("policy", "diff", file, "--since", "1h", **settings)
    assert "gmail_search_emails: args.query not in the audit" in done.stdout
    assert "0 would change, 0 would stay, 1 depend on what is not stored." in done.stdout
    file = written(tmp_path, rule('{ toolkit = "slack" }'))
    assert "0 would change, 1 would stay" in cli("policy", "diff", file, **settings).stdout
    assert cli("policy", "diff", file, "--since", "yesterday", **settings).exit_code == 1


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ('{ toolkit = "github", effect = "reads", repository = "acme/secret" }', "a read has no repository"),
        ('{ tool = "gmail_search_emails", recipient = "*@evil.example" }', "a read has no recipient"),
        ('{ tool = "gmail_send_email", recipient = "@evil.example" }', 'domain_in = ["evil.example"]'),
        ('{ toolkit = "slack", channel = "#general" }', "no channel has the id '#general'. Write its id"),
    ],
)
def test_check_finds_values_that_are_compared_with_something_else(
    cli: Command, tmp_path: Path, when: str, told: str
) -> None:
    assert told in cli("policy", "check", written(tmp_path, rule(when))).output


def test_explain_tells_that_no_toolkit_has_the_tool(cli: Command, tmp_path: Path) -> None:
    path = written(tmp_path, rule('{ tool = "gmail_send_email" }'))
    assert (
        "No installed toolkit has a tool 'gmail_send_mail'"
        in cli("policy", "explain", "alice", "gmail_send_mail", MAIL, "--policy", path).stderr
    )


def test_check_finds_a_test_of_a_tool_that_nobody_has(cli: Command, tmp_path: Path) -> None:
    test = '[[tests]]\ntool = "gmail_send_mail"\nargs = {}\nverdict = "allow"\n'
    done = cli("policy", "check", written(tmp_path, rule('{ tool = "gmail_send_email" }') + test))
    assert done.exit_code == 1 and "no tool is called 'gmail_send_mail'" in done.stdout
