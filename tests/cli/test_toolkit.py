"""``deputize toolkit from-openapi`` at the command line: a module is written once, and existing files are not
overwritten."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.openapi.acme import ACME, acme


@pytest.fixture
def description(home: Path) -> Path:
    """Return Acme's description, in the folder in which the command runs."""
    path = home / "acme.json"
    path.write_text(json.dumps(ACME))
    return path


def words(*more: str) -> tuple[str, ...]:
    return ("toolkit", "from-openapi", "acme.json", "--provider", "acme", *more)


def test_toolkit_and_provider_modules_are_written_and_omissions_reported(
    cli: Command, description: Path, home: Path
) -> None:
    done = cli(*words("--out", "acme.py"))
    assert done.exit_code == 0 and done.stdout == ""
    assert (
        "@TOOLKIT.tool" in (home / "acme.py").read_text()
        and "ACME = Provider(" in (home / "acme_provider.py").read_text()
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "5 tools: 2 read, 3 write."
    assert "left out  PUT /tasks/{taskId}/file: its body is application/octet-stream, not JSON." in lines
    assert "left out  GET /admin: it requires an API key, not a user's OAuth token." in lines
    assert "pages     acme_list_tasks: page, per_page." in lines
    assert [line for line in lines if line.startswith("wrote")] == ["wrote     acme.py", "wrote     acme_provider.py"]


def test_toolkit_without_out_is_printed(cli: Command, description: Path) -> None:
    done = cli(*words())
    assert done.exit_code == 0 and done.stdout.startswith('"""Acme Tasks 2.4') and "--out writes" in done.stderr


def test_toolkit_json_lists_tools_and_omissions(cli: Command, description: Path) -> None:
    told = json.loads(cli(*words("--json", "--read-only")).stdout)
    assert told["tools"]["acme_list_tasks"] == {"call": "GET /tasks", "effects": []}
    assert "--read-only" in told["left_out"]["POST /tasks"] and told["module"].startswith('"""')


@pytest.mark.parametrize("there", ["acme.py", "acme_provider.py"])
def test_existing_file_is_never_overwritten(cli: Command, description: Path, home: Path, there: str) -> None:
    (home / there).write_text("mine\n")
    refused = cli(*words("--out", "acme.py"))
    assert refused.exit_code == 1 and f"{there} exists and may" in refused.stderr and "--diff" in refused.stderr
    assert (home / there).read_text() == "mine\n"
    assert len(list(home.glob("acme*.py"))) == 1


def test_toolkit_file_cannot_be_the_provider_file(cli: Command, description: Path, home: Path) -> None:
    refused = cli(*words("--out", "acme_provider.py"))
    assert refused.exit_code == 1 and "is the file of the provider definition" in refused.stderr
    assert not (home / "acme_provider.py").exists()


def test_file_behind_a_symlink_is_not_overwritten(cli: Command, description: Path, home: Path) -> None:
    (home / "acme.py").symlink_to(home / "elsewhere.py")
    refused = cli(*words("--out", "acme.py"))
    assert refused.exit_code == 1 and not (home / "elsewhere.py").exists()


def newer() -> dict[str, Any]:
    """Return Acme's next version: a task has a colour, and tasks can be archived."""
    made = copy.deepcopy(ACME)
    task = made["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    task["properties"]["colour"] = {"type": "string"}
    made["paths"] |= acme(archive_post={"operationId": "archive"})["paths"]
    made["paths"] = {**{k: v for k, v in ACME["paths"].items() if k == "/me"}, **made["paths"]}
    return made


def test_diff_shows_changes_of_a_new_description_and_writes_nothing(
    cli: Command, description: Path, home: Path
) -> None:
    cli(*words("--out", "acme.py"))
    assert cli(*words("--out", "acme.py", "--diff")).stdout == ""
    description.write_text(json.dumps(newer()))
    before = (home / "acme.py").read_text()
    shown = cli(*words("--out", "acme.py", "--diff")).stdout
    assert "+    colour: str | None = None," in shown and "+def archive(" in shown
    assert (home / "acme.py").read_text() == before


@pytest.mark.processes  # patch(1), which a bare machine may lack
def test_diff_since_a_description_is_a_patch_for_the_edited_file(cli: Command, description: Path, home: Path) -> None:
    cli(*words("--out", "acme.py"))
    edited = (home / "acme.py").read_text().replace("audience=Audience.UNKNOWN", "audience=Audience.SELF", 1)
    (home / "acme.py").write_text(edited)
    (home / "old.json").write_text(description.read_text())
    description.write_text(json.dumps(newer()))
    (home / "change.patch").write_text(cli(*words("--diff", "--since", "old.json")).stdout)
    subprocess.run(["patch", "-s", "acme.py", "change.patch"], cwd=home, check=True, timeout=30)
    now = (home / "acme.py").read_text()
    assert "colour: str | None = None" in now and "def archive(" in now and "audience=Audience.SELF" in now


def test_diff_since_a_description_compares_only_its_tools(cli: Command, description: Path, home: Path) -> None:
    (home / "old.json").write_text(description.read_text())
    description.write_text(json.dumps(newer()))
    only = ("--only", "archive", "--only", "getMe")
    assert "+def archive(" in cli(*words("--diff", "--since", "old.json", *only)).stdout


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--diff",), "--diff wants --out"),
        (("--since", "acme.json"), "--since goes with --diff"),
        (("--only", "taks"), "--only taks: no tag, operationId, call or path."),
        (("--sends", "nothing"), "--sends nothing: no operationId, and no call."),
        (("--name", "A B"), "No toolkit can be called 'A B'."),
        (("--out", "nowhere/acme.py"), "cannot be written: No such file or directory"),
    ],
)
def test_wrong_usage_error_lists_the_choices(cli: Command, description: Path, more: tuple[str, ...], said: str) -> None:
    refused = cli(*words(*more))
    assert refused.exit_code in (1, 2) and said in " ".join(refused.stderr.replace("│", "").split())


def test_configured_provider_is_used(cli: Command, description: Path, home: Path) -> None:
    (home / "deputize").mkdir(mode=0o700)
    (home / "deputize" / "deputize.toml").write_text(
        """
        [providers.acme.oauth]
        authorize_url = "https://acme.example/oauth/authorize"
        token_url = "https://acme.example/oauth/token"

        [providers.acme.apis]
        roots = { tasks = "https://api.acme.example" }
        identity = { url = "https://api.acme.example/v1/me", subject = "{id}" }
        """
    )
    done = cli(*words("--name", "tasks"))
    assert done.exit_code == 0, done.stderr
    assert 'Toolkit("tasks", provider="acme", api="tasks", shows=True)' in done.stdout and '"/v1/tasks"' in done.stdout
    assert "--out writes" not in done.stderr
