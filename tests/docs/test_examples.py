"""The examples run unchanged, from another folder, without any setup."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
LINK: Final = re.compile(r"http://127\.0\.0\.1:\d+/connect/[\w-]{43}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def environment(home: Path) -> dict[str, str]:
    """Return an environment with nothing set but the data folders."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DEPUTIZE_")}
    return clean | {"DEPUTIZE_HOME": str(home), "DEPUTIZE_PORT": "0"}


def run(home: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run one example as a newcomer does."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *options]
    return subprocess.run(
        command, env=environment(home), cwd=home.parent, capture_output=True, text=True, timeout=180, check=False
    )


def killed_at_its_link(home: Path, said: str = "") -> str:
    """Return the ticket that the chatbot shows, killed as soon as it does."""
    command = [sys.executable, "-u", str(EXAMPLES / "langgraph_chatbot.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(home), stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(said)
        process.stdin.flush()
        shown = next((found for line in process.stdout if (found := LINK.search(line))), None)
        process.kill()
    assert shown, "it never asked"
    return shown[0].rpartition("/")[2]


@pytest.mark.processes
def test_own_toolkit_example_is_found_connected_and_used(home: Path) -> None:
    done = run(home, "own_toolkit.py", "--auto")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(LINK.findall(done.stdout)) == 1
    shelf = re.search(r"^added: (\{'id': '\w+', 'name': 'Read later'\})$", done.stdout, re.MULTILINE)
    assert shelf and f"shelves: [{shelf[1]}]" in done.stdout
    assert done.stdout.endswith("conversations on it: 0\non one that is not there: None\n")
    assert not home.exists()


@pytest.mark.processes
def test_chatbot_example_asks_one_consent_per_scope_and_one_approval(home: Path) -> None:
    done = run(home, "langgraph_chatbot.py", "--auto")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    first, second = done.stdout.split("you> ")[1:]
    assert len(LINK.findall(first)) == 1 and "Bob Brown wrote" in first and "Do this?" not in first
    assert len(LINK.findall(second)) == 1 and second.count("Do this?") == 1
    assert second.rstrip().endswith("to Bob Brown <bob@example.test>.")
    assert not home.exists()


@pytest.mark.processes
def test_create_agent_example_asks_once_per_scope_and_mail(home: Path) -> None:
    done = run(home, "create_agent.py", "--auto")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("you> ")[1:]
    assert len(LINK.findall(first)) == 1 and "Bob Brown wrote" in first and "Do this?" not in first
    assert len(LINK.findall(second)) == 1 and second.count("Do this?") == 1
    assert second.rstrip().endswith("to Bob Brown <bob@example.test>.")
    assert not home.exists()


@pytest.mark.processes
def test_entrypoint_example_pauses_in_the_act_node_and_continues(home: Path) -> None:
    done = run(home, "functional_api.py", "--auto")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(LINK.findall(done.stdout)) == 1 and "Bob Brown wrote" in done.stdout
    assert not home.exists()


@pytest.mark.processes
def test_llamaindex_example_continues_its_pause_in_another_process(home: Path) -> None:
    done = run(home, "llamaindex_agent.py", "--auto")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    first, second = done.stdout.split("Another process resumes it.")
    assert "It waits for you, to send email as you." in first and not LINK.search(first)
    assert len(LINK.findall(second)) == 1 and second.count("Send this?") == 1 and '"summary":"Sent."' in second
    assert not home.exists()


@pytest.mark.processes
def test_killed_chatbot_example_continues_with_the_same_ticket(home: Path) -> None:
    ticket = killed_at_its_link(home, "anything from Bob this week?\n")
    kept = home / "chatbot"
    assert {"vault.sqlite", "checkpoints.sqlite", "sandbox.json", "key"} <= {file.name for file in kept.iterdir()}
    assert kept.stat().st_mode & 0o777 == 0o700
    assert killed_at_its_link(home) == ticket


def test_every_example_is_listed_with_its_command() -> None:
    """A program by its file, a folder by one of the programs in it, and a folder of files to copy by its link."""
    page = (EXAMPLES / "README.md").read_text()
    listed = [Path(command) for command in re.findall(r"`python examples/([\w/]+\.py)`", page)]
    assert [command for command in listed if not (EXAMPLES / command).is_file()] == []
    listed += [Path(folder) for folder in re.findall(r"no program: \[\w+\]\((\w+)\)", page)]
    entries = {file.relative_to(EXAMPLES).parts[0] for file in EXAMPLES.rglob("*.py")}
    assert {command.parts[0] for command in listed} == entries and len(listed) == len(entries)
