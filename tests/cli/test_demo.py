"""The demo as a user sees it: at a terminal or in a pipe, killed and restarted."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from deputize.cli.demo.conversation import Chat, Turn
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.demo.model import ScriptedChatModel
from deputize.cli.demo.runtime import demo_stage
from deputize.core.background_loop import portal
from deputize.sandbox import Sandbox
from deputize.sandbox.google.gmail.letters import BOBS_SECRET
from tests.cli.conftest import Command, Provider
from tests.cli.terminal import LINK, Talk, click, run, talk
from tests.support.ports import free_port

ALICE = "alice@example.test"
pytestmark = pytest.mark.every(2)


def state(home: Path) -> Path:
    return home / "deputize" / "demo"


def sent(home: Path) -> list[str]:
    """Return the subjects of the sent mails, from the sandbox."""
    return [mail.subject for mail in Sandbox(state=state(home) / "sandbox.json").sent(ALICE)]


def live_tokens(home: Path) -> int:
    return Sandbox(state=state(home) / "sandbox.json").live_tokens()[ALICE]


@contextmanager
def demo(home: Path, *words: str, terminal: bool = False) -> Iterator[Talk]:
    """A demo on its own ports, since a real one may be running on this machine."""
    ports = state(home) / "ports.json"
    if not ports.exists():
        ports.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ports.parent.parent.chmod(0o700)
        ports.write_text(json.dumps({"pages": free_port(), "sandbox": free_port()}))
        ports.chmod(0o600)
    with talk("demo", "--no-browser", *words, home=home, terminal=terminal) as person:
        yield person


@pytest.mark.processes
@pytest.mark.parametrize(
    "terminal",
    [pytest.param(True, id="at a terminal", marks=pytest.mark.processes), pytest.param(False, id="in a pipe")],
)
def test_demo_conversation_completes(home: Path, terminal: bool) -> None:
    with demo(home, terminal=terminal) as person:
        person.hear("small script.*you> ")
        person.say("anything from Bob this week?")
        asked = person.hear("needs your consent at Google.*" + LINK)
        assert "gmail.readonly" in asked[0] and "gmail.send" not in asked[0]
        click(asked[1])
        assert "Lantern" in person.hear("Bob Brown wrote.*you> ")[0]
        person.say("Answer him yes")
        asked = person.hear("needs your consent at Google.*" + LINK)
        assert "gmail.send" in asked[0] and "gmail.readonly" not in asked[0]
        click(asked[1])
        draft = person.hear(r"gmail_reply_email as alice@example\.test.*\[y/n\] ")[0]
        assert "to: Bob Brown <bob@example.test>" in draft and "subject: Re: Dinner on" in draft and "Yes." in draft
        assert sent(home) == []
        person.say("perhaps")
        person.hear(r"\[y/n\] ")
        person.say("y")
        person.hear("Sent: “Re: Dinner on .*you> ")
        assert len(sent(home)) == 1
        person.say("/quit")
        assert person.ends() == 0
    assert "Traceback" not in person.heard and BOBS_SECRET not in person.heard
    assert person.heard.count("/connect/") == 2


@pytest.mark.processes
def test_killed_demo_continues_at_the_same_pause_with_the_same_link(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob this week?")
        link = person.hear(LINK)[1]
        person.kill()
    with demo(home) as person:
        person.hear("Picking up where we stopped: “anything from Bob this week\\?”")
        assert person.hear(LINK)[1] == link
        click(link)
        person.hear("Lantern")
        person.say("Answer him yes")
        second = person.hear(LINK)[1]
        assert second != link
        person.kill()
    with demo(home) as person:
        assert person.hear(LINK)[1] == second
        click(second)
        person.hear(r"\[y/n\] ")
        person.kill()
    assert sent(home) == []
    with demo(home) as person:
        person.hear(r"Picking up.*to: Bob Brown.*\[y/n\] ")
        person.say("y")
        person.hear("Sent: ")
        person.kill()
    with demo(home) as person:
        person.hear("you> ")
        person.say("/quit")
        assert person.ends() == 0
    assert "Picking up" not in person.heard
    assert len(sent(home)) == 1


@pytest.mark.processes
def test_consent_granted_while_the_demo_was_down_is_found(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob this week?")
        link = person.hear(LINK)[1]
        person.kill()
    folder = DemoFolder(state(home))
    with folder.held(), demo_stage(folder, ScriptedChatModel()) as stage:
        assert click(link).status == 200
        assert [one.status for one in stage.deputy.run(stage.deputy.connections("alice"))] == ["active"]
    portal().close()
    with demo(home) as person:
        assert "/connect/" not in person.hear("Picking up.*Lantern.*you> ")[0]


@pytest.mark.processes
def test_demo_denial_counts_and_can_be_withdrawn(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob this week?")
        click(person.hear(LINK)[1], deny=True)
        person.hear("I go on without that. The user declined to connect Google.*you> ")
        person.say("anything from Bob this week?")
        click(person.hear(LINK)[1])
        person.hear("Lantern")


@pytest.mark.processes
def test_demo_rejected_draft_is_not_sent(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("you> ")
        person.say("answer him no, I am away")
        click(person.hear(LINK)[1])
        person.hear(r"No, I am away\..*\[y/n\] ")
        person.say("n")
        person.hear("I go on without that. The user declined")
    assert sent(home) == []


@pytest.mark.processes
def test_demo_chat_commands_work(home: Path) -> None:
    with demo(home) as person:
        person.say("/who")
        person.hear("you: alice.*accounts: none connected")
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("Lantern")
        person.say("/grants")
        person.hear("alice@example.test.*read your email")
        assert live_tokens(home) > 0
        person.say("/revoke gogle")
        person.hear(r"Unknown provider 'gogle'.*\[invalid_input\]")
        person.say("/revoke google")
        person.hear("Disconnected alice@example.test. Google ended its tokens too.")
        assert live_tokens(home) == 0
        person.say("/grants")
        person.hear("Nothing is connected.")
        person.say("/audit")
        person.hear("consent.granted.*gmail_get_email.*grant.revoked")
        person.say("/dance")
        person.hear("The command /dance does not exist")
        person.say("/help")
        person.hear("/revoke google")
        person.say("anything from Bob?")
        person.hear(LINK)


@pytest.mark.processes
def test_demo_own_page_link_uses_the_chosen_port(
    home: Path,
) -> None:
    port = free_port()
    with talk("demo", "--no-browser", home=home, terminal=False, env={"DEPUTIZE_PORT": str(port)}) as person:
        person.hear("Google, Slack, GitHub and Linear: played on this machine")
        for command in ("/who", "/pages"):
            person.say(command)
            link = person.hear(rf"(http://127\.0\.0\.1:{port}/me/\S+)")[1]
            page = httpx.get(link, follow_redirects=True)
            assert page.status_code == 200 and "connect" in page.text.lower()
        person.say("/quit")
        person.hear("To prove that nobody has changed.*deputize audit verify")
        assert person.ends() == 0


@pytest.mark.processes
def test_demo_refuses_a_taken_chosen_port(home: Path, cli: Command, taken_port: int) -> None:
    found = cli("demo", "--no-browser", DEPUTIZE_PORT=str(taken_port))
    assert found.exit_code == 1 and f"port {taken_port}" in found.stderr and "DEPUTIZE_PORT" in found.stderr


@pytest.mark.processes
def test_demo_input_line_can_be_edited_and_recalled(home: Path) -> None:
    with demo(home, terminal=True) as person:
        person.hear("you> ")
        person.strike("/grantz\x7fs\r")
        person.hear("Nothing is connected.*you> ")
        person.strike("\x1b[A\r")
        person.hear("Nothing is connected.*you> ")
        person.press("d")
        assert person.ends() == 0


@pytest.mark.processes
def test_demo_ends_politely_at_end_of_input(home: Path) -> None:
    with demo(home) as person:
        person.say("hello")
        person.hear("anything from Bob this week")
        person.hang_up()
        assert person.ends() == 0
    assert "The conversation is kept" in person.heard and "Traceback" not in person.heard


@pytest.mark.processes
def test_demo_end_of_input_at_a_draft_keeps_it_pending(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("you> ")
        person.say("answer him yes")
        click(person.hear(LINK)[1])
        person.hear(r"\[y/n\] ")
        person.hang_up()
        assert person.ends() == 0
    assert "The conversation is kept" in person.heard and "That failed" not in person.heard
    with demo(home) as person:
        person.hear(r"Picking up.*to: Bob Brown.*\[y/n\] ")
    assert sent(home) == []


@pytest.mark.processes
@pytest.mark.parametrize("key", ["c", "d"])
def test_demo_ends_politely_at_ctrl_c_and_ctrl_d(key: str, home: Path) -> None:
    with demo(home, terminal=True) as person:
        person.hear("you> ")
        time.sleep(0.5)  # readline, which has printed that, sees no Ctrl-C that comes before it waits for keys
        person.press(key)
        assert person.ends() == 0
    assert "The conversation is kept" in person.heard and "Traceback" not in person.heard


@pytest.mark.processes
def test_demo_ctrl_c_at_a_pause_keeps_the_pause(home: Path) -> None:
    with demo(home, terminal=True) as person:
        person.hear("you> ")
        person.say("anything from Bob?")
        link = person.hear(LINK)[1]
        person.hear("Waiting until.*Waiting until")
        person.press("c")
        assert person.ends() == 0
    assert "The conversation is kept" in person.heard and "Traceback" not in person.heard
    with demo(home, terminal=True) as person:
        assert person.hear(LINK)[1] == link


@pytest.mark.processes
def test_demo_fresh_restarts_and_keeps_other_files(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        link = person.hear(LINK)[1]
        person.kill()
    (state(home) / "notes.txt").write_text("mine")
    with demo(home, "--fresh") as person:
        person.hear("Made a new key.*you> ")
        person.say("anything from Bob?")
        assert person.hear(LINK)[1] != link
    assert (state(home) / "notes.txt").read_text() == "mine"


@pytest.mark.processes
def test_demo_replaces_and_remembers_taken_ports(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        person.hear(LINK)
        person.kill()
    ports = json.loads((state(home) / "ports.json").read_text())
    with socket.socket() as first, socket.socket() as second:
        for taken, port in ((first, ports["pages"]), (second, ports["sandbox"])):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
        with demo(home) as person:
            moved = person.hear(LINK)[1]
            assert f":{ports['pages']}/" not in moved
            person.kill()
    with demo(home) as person:
        assert person.hear(LINK)[1] == moved
        click(moved)
        person.hear("Lantern")


@pytest.mark.processes
def test_demo_creates_a_home_that_other_commands_can_use(home: Path) -> None:
    with talk("demo", "--no-browser", home=home, terminal=False) as person:
        person.say("/quit")
        assert person.ends() == 0, person.heard
    assert run("accounts", home=home).returncode == 0


@pytest.mark.processes
def test_demo_folder_cannot_be_shared_by_two_demos(home: Path, cli: Command) -> None:
    with demo(home) as person:
        person.hear("you> ")
        second = cli("demo", "--no-browser")
    assert second.exit_code == 1
    assert "already running" in second.stderr and "--folder" in second.stderr


def test_demo_leaves_a_foreign_folder_unchanged(home: Path, cli: Command) -> None:
    folder = home / "photos"
    folder.mkdir(mode=0o700)
    (folder / "key").write_text("not a demo's")
    found = cli("demo", "--fresh", "--folder", str(folder))
    assert found.exit_code == 1 and "something other than a demo" in found.stderr
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_demo_with_a_broken_ports_file_says_how_to_start_over(home: Path, cli: Command) -> None:
    folder = home / "demo"
    folder.mkdir(mode=0o700)
    (folder / "ports.json").write_text("{")
    found = cli("demo", "--folder", str(folder))
    assert found.exit_code == 1 and "--fresh" in found.stderr


@pytest.mark.processes
def test_demo_files_are_private(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("Lantern")
        modes = {path.name: path.stat().st_mode & 0o077 for path in state(home).rglob("*")}
    assert state(home).stat().st_mode & 0o077 == 0
    assert {"vault.sqlite", "key", "checkpoints.sqlite", "sandbox.json", "audit"} <= set(modes)
    assert not {name for name, mode in modes.items() if mode}


@pytest.mark.processes
def test_demo_folder_is_a_home_for_other_commands(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("Lantern.*you> ")
        person.say("/quit")
        assert person.ends() == 0
    there = {"DEPUTIZE_HOME": str(state(home)), "DEPUTIZE_USER": "alice"}
    assert run("audit", "verify", home=home, **there).returncode == 0
    assert "read your email" in run("accounts", home=home, **there).stdout


@pytest.mark.processes
def test_demo_finishes_an_interrupted_step_at_the_next_start(home: Path) -> None:
    with demo(home) as person:
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("Lantern")
        person.kill()
    with closing(sqlite3.connect(state(home) / "checkpoints.sqlite")) as kept:  # as if the last step was never saved
        kept.execute("delete from checkpoints where checkpoint_id = (select max(checkpoint_id) from checkpoints)")
        kept.commit()
    with demo(home) as person:
        person.hear("Picking up where we stopped: “anything from Bob\\?”.*Lantern.*you> ")


# ------------------------------------------------------------- other models, real providers


def test_demo_reports_a_model_of_an_unknown_provider(cli: Command) -> None:
    found = cli("demo", "--model", "nosuch:model")
    assert found.exit_code == 1 and "'nosuch:model'" in found.stderr and "PROVIDER:NAME" in found.stderr


def test_demo_names_a_missing_model_package(cli: Command) -> None:
    found = cli("demo", "--model", "mistralai:mistral-small")
    assert found.exit_code == 1 and "langchain-mistralai" in found.stderr, found.stderr


@pytest.mark.processes
def test_demo_uses_a_given_model(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def init(name: str) -> ScriptedChatModel:
        chosen.append(name)
        return ScriptedChatModel()

    monkeypatch.setattr("langchain.chat_models.init_chat_model", init)
    found = cli("demo", "--no-browser", "--model", "ollama:tiny", stdin="hello\n/who\n")
    portal().close()
    assert (found.exit_code, chosen) == (0, ["ollama:tiny"]), found.output
    assert "model: ollama:tiny" in found.stdout and "small script that" not in found.stdout


@pytest.mark.processes
def test_demo_continues_after_a_failed_turn_without_its_text(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(chat: Chat, text: str) -> Turn:
        raise RuntimeError("http://127.0.0.1/callback?code=hush-hush")

    monkeypatch.setattr(Chat, "ask", broken)
    found = cli("demo", "--no-browser", stdin="hello\n/who\n")
    portal().close()
    assert found.exit_code == 0 and "That failed: RuntimeError at test_demo.py:" in found.stderr
    assert "you: alice" in found.stdout and "hush" not in found.output


def test_demo_reports_missing_langchain(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    found = cli("demo", "--model", "openai:gpt")
    assert found.exit_code == 1 and "pip install langchain" in found.stderr


@pytest.mark.processes
def test_demo_live_uses_configured_apps_and_vault(home: Path, provider: Provider) -> None:
    settings = provider.settings()
    with talk("demo", "--live", "--no-browser", home=home, terminal=False, env=settings) as person:
        person.hear("Google: the real ones")
        person.say("anything from Bob?")
        click(person.hear(LINK)[1])
        person.hear("Lantern.*you> ")
        person.say("/quit")
        assert person.ends() == 0
    assert provider.sandbox.requests
    assert "read your email" in run("accounts", home=home, **settings).stdout


def test_demo_live_without_an_app_names_the_missing_setting(cli: Command) -> None:
    found = cli("demo", "--live")
    assert found.exit_code == 1 and "DEPUTIZE_APPS__GOOGLE__CLIENT_ID" in found.stderr
