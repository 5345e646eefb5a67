"""``deputize mcp install``: only our entry changes, nothing is written unseen, and everything else stays as it was."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deputize.cli.mcp_config import Client, user_file
from deputize.cli.mcp_install import changed_text
from deputize.core.errors import InvalidInput
from tests.cli.conftest import Command

TABLES = {"vscode": "servers", "codex": "mcp_servers", "zed": "context_servers"}


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder without the variables that move a client's settings."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def read(client: Client, path: Path) -> Any:
    text = path.read_text()
    return (tomllib.loads if client is Client.CODEX else json.loads)(text)[TABLES.get(client.value, "mcpServers")]


@pytest.mark.parametrize("client", list(Client))
def test_install_and_undo_keep_everything_else(client: Client, cli: Command) -> None:
    path, toml = user_file(client), client is Client.CODEX
    path.parent.mkdir(parents=True, exist_ok=True)
    table = TABLES.get(client.value, "mcpServers")
    other = f'model = "o"\n\n[{table}.other]\ncommand = "x"\n' if toml else json.dumps(
        {"theme": "dark", table: {"other": {"command": "x"}}}, indent=2
    ) + "\n"  # fmt: skip
    path.write_text(other)
    path.chmod(0o640)
    done = cli("mcp", "install", client.value, "gmail", "--yes")
    assert done.exit_code == 0 and "serve" in done.stdout and "Restart" in done.stderr, done.output
    assert read(client, path)["deputize"]["args"][-3:] == ["serve", "--stdio", "gmail"]
    assert cli("mcp", "install", client.value, "calendar", "--yes").exit_code == 0
    assert read(client, path)["deputize"]["args"][-1] == "calendar"
    assert cli("mcp", "install", client.value, "--undo", "--yes").exit_code == 0
    assert read(client, path) == {"other": {"command": "x"}} and path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().rstrip() == other.rstrip()
    assert "nothing to change" in cli("mcp", "install", client.value, "--undo", "--yes").stdout


def test_nothing_is_written_before_the_person_agrees(cli: Command) -> None:
    done = cli("mcp", "install", "cursor", "gmail")
    assert done.exit_code == 1 and '"deputize": {' in done.stdout and not user_file(Client.CURSOR).exists()


def test_new_file_is_private_and_a_link_stays_one(cli: Command, tmp_path: Path) -> None:
    assert cli("mcp", "install", "claude-desktop", "gmail", "--yes").exit_code == 0
    path = user_file(Client.CLAUDE_DESKTOP)
    assert path.stat().st_mode & 0o777 == 0o600
    real = tmp_path / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    assert cli("mcp", "install", "claude-desktop", "calendar", "--yes").exit_code == 0
    assert path.is_symlink() and "calendar" in real.read_text()


@pytest.mark.parametrize(
    "text",
    [
        '// mine\n{"mcpServers": {}}',
        '{"mcpServers": {"a": {}, "a": {}}}',
        '{"mcpServers": []}',
        "[]",
        '{"a": 1,}',
        b"\xff",
        "[" * 100_000,
    ],
)
def test_file_that_cannot_be_changed_without_loss_is_left_alone(text: str | bytes, cli: Command) -> None:
    path = user_file(Client.CURSOR)
    path.parent.mkdir(parents=True)
    before = text.encode() if isinstance(text, str) else text
    path.write_bytes(before)
    done = cli("mcp", "install", "cursor", "gmail", "--yes")
    assert done.exit_code == 1 and "left alone" in done.stderr and "Traceback" not in done.output
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { deputize = { command = "x" } }\n',
        '[mcp_servers]\ndeputize = { command = "x" }\n',
        '[mcp_servers]\ndeputize.command = "x"\n',
        '[mcp_servers."deputize"]\ncommand = "x"\n',
    ],
)
def test_toml_entry_of_another_form_is_left_alone(text: str) -> None:
    for entry in ({"command": "y"}, None):
        with pytest.raises(InvalidInput, match=r"another form|not plain TOML"):
            changed_text(text, "mcp_servers", entry, toml=True)


def test_toml_text_that_looks_like_a_header_is_not_cut() -> None:
    text = '[other]\nnote = """\n[mcp_servers.deputize]\nkeep\n"""\n'
    with pytest.raises(InvalidInput):
        changed_text(text + '[mcp_servers.deputize]\ncommand = "x"\n', "mcp_servers", None, toml=True)
    made = tomllib.loads(changed_text("a = 1", "mcp_servers", {"command": "x"}, toml=True))
    assert made == {"a": 1, "mcp_servers": {"deputize": {"command": "x"}}}


def test_change_by_another_program_is_not_lost(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    path = user_file(Client.CLAUDE)
    path.write_text('{"history": 1}')

    def meanwhile(*args: Any, **more: Any) -> bool:
        path.write_text('{"history": 2}')
        return True

    monkeypatch.setattr("typer.confirm", meanwhile)
    done = cli("mcp", "install", "claude", "gmail")
    assert done.exit_code == 1 and "another program" in done.stderr and path.read_text() == '{"history": 2}'
    assert [one.name for one in path.parent.iterdir() if one.name.endswith(".new")] == []


def test_options_that_a_client_has_no_field_for_are_refused(cli: Command) -> None:
    url = ("--url", "https://agents.example/mcp")
    assert cli("mcp", "install", "claude-desktop", *url).exit_code == 2
    assert cli("mcp", "install", "windsurf", *url, "--client-id", "x").exit_code == 2
    assert cli("mcp", "install", "cursor", "gmail", "--undo").exit_code == 2
    assert cli("mcp", "install", "cursor", "gmial", "--yes").exit_code == 1
    assert cli("mcp", "install", "windsurf", *url, "--yes").exit_code == 0
    assert read(Client.WINDSURF, user_file(Client.WINDSURF))["deputize"] == {"serverUrl": url[1]}
