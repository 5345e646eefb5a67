"""Details of the terminal: mistyped names, names to copy, and singular forms."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from deputize.cli.show import counted
from deputize.core import App, InvalidInput, Secret, SettingsError
from deputize.core.errors import instead
from deputize.core.oauth.registry import Registry
from deputize.core.providers import PROVIDERS
from deputize.core.tools.catalog import Catalog
from tests.cli.conftest import Command

APP = {"DEPUTIZE_APPS__GOOGLE__CLIENT_ID": "id", "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": "secret", "DEPUTIZE_PORT": "0"}


def test_version_is_that_of_the_distribution(cli: Command) -> None:
    assert cli("--version").stdout == f"deputize {version('deputize')}\n"
    assert "--version" in cli("--help").stdout and "deputize demo" in cli("--help").stdout


@pytest.mark.parametrize("command", ["import", "serve"])
def test_help_lines_use_the_terminal_width(cli: Command, command: str) -> None:
    paragraphs = re.split(r"\n\s*\n", cli(command, "--help", COLUMNS="80").stdout.partition("╭")[0])[2:]
    lines = [line for paragraph in paragraphs for line in paragraph.rstrip().split("\n")[:-1]]
    assert lines
    assert [line for line in lines if len(line.rstrip()) < 60] == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("connect", "gogle"), "Did you mean google?"),
        (("revoke", "Slak"), "Did you mean slack?"),
        (("tools", "gmial"), "Did you mean gmail?"),
        (("tools", "github:action"), "Did you mean actions?"),
        (("tools", "gmail_send_emial"), "gmail_send_email"),
        (("act", "gmail_send_mail"), "Did you mean gmail_send_email"),
        (("connect", "google", "--scopes", "gmail.readnly"), "Did you mean gmail.readonly"),
    ],
)
def test_mistyped_name_gets_a_suggestion(cli: Command, words: tuple[str, ...], meant: str) -> None:
    found = cli(*words, **APP)
    assert found.exit_code == 1 and meant in found.stderr, found.stderr


def test_unrelated_name_gets_no_suggestion(cli: Command) -> None:
    found = cli("act", "nope", **APP)
    assert "github_compare" not in found.stderr and "deputize tools" in found.stderr
    listed = cli("connect", "google", "--scopes", "foo", **APP).stderr
    assert "gmail.readonly" in listed and ", ," not in listed and "https://mail.google.com/" in listed


def test_wrong_names_in_settings_get_the_same_suggestions() -> None:
    registry = Registry([App("google", "id", Secret("s"), "google")], PROVIDERS)
    with pytest.raises(SettingsError) as caught:
        registry.apps_for("gogle")
    assert caught.value.message.startswith("Unknown provider 'gogle'; known: google, slack, ")
    assert caught.value.hint.startswith("Did you mean google? Install its package, or register it under")
    with pytest.raises(InvalidInput) as unknown:
        registry.app("google", "gooogle")
    assert unknown.value.hint == "Did you mean google? There are: google."
    with pytest.raises(SettingsError) as nobody:
        Registry([App("slak", "id", Secret("s"), "slak")], PROVIDERS)
    assert "App 'slak': Unknown provider 'slak'" in nobody.value.message and "mean slack?" in nobody.value.hint
    with pytest.raises(InvalidInput) as mistyped:
        Catalog().tools("gmial")
    assert "Did you mean gmail?" in mistyped.value.hint
    assert instead("x" * 100_000, ["a"]) == "There are: a." and instead("x", []) == ""


def test_tool_list_keeps_names_unbroken_with_core_first(cli: Command) -> None:
    listed = [line.split()[0] for line in cli("tools", COLUMNS="80").stdout.splitlines() if line[:1].isalpha()]
    names = [tool.name for tool in Catalog().tools(*("calendar", "gmail", "slack", "salesforce"))]
    assert set(names) <= set(listed)
    gmail = [name for name in listed if name.startswith("gmail_")]
    sets = [Catalog().tool(name).toolset for name in gmail]
    assert sets == sorted(sets, key=lambda one: one != "core") and len(set(sets)) == 2


@pytest.mark.parametrize(("number", "said"), [(0, "0 records"), (1, "1 record"), (2, "2 records")])
def test_singular_is_used_for_one(number: int, said: str) -> None:
    assert counted(number, "record") == said
