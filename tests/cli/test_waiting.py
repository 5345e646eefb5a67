"""Commands that wait for a person, at a terminal or in a pipe, with the pages used over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Provider
from tests.cli.terminal import CLI, LINK, PATIENCE, click, environment, run, talk


@pytest.mark.processes
def test_connect_shows_one_link_waits_and_prints_the_scopes(home: Path, provider: Provider) -> None:
    words = ["connect", "google", "--scopes", "gmail.readonly"]
    with talk(*words, home=home, terminal=False, env=provider.settings()) as connecting:
        link = connecting.hear(LINK)[1]
        connecting.hear("Waiting for you")
        click(link)
        assert connecting.ends() == 0, connecting.heard
    assert "read your email" in connecting.heard and "alice@example.test" in connecting.heard
    assert "Made a new key" in connecting.heard
    assert connecting.heard.count("/connect/") == 1


@pytest.mark.processes
def test_act_requests_missing_consent_and_continues(home: Path, provider: Provider) -> None:
    words = ["act", "gmail_search_emails", '{"query": "from:bob"}']
    with subprocess.Popen(
        [*CLI, *words],
        env=environment(home, **provider.settings()),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as acting:
        assert acting.stderr and acting.stdout
        click(next(match[1] for line in acting.stderr if (match := re.search(LINK, line))))
        result = acting.stdout.read()
        assert acting.wait(PATIENCE) == 0
    assert json.loads(result)["items"]


@pytest.mark.processes
def test_denial_at_the_provider_ends_the_command_with_a_message(home: Path, provider: Provider) -> None:
    with talk("connect", "google", home=home, terminal=False, env=provider.settings()) as connecting:
        click(connecting.hear(LINK)[1], deny=True)
        assert connecting.ends() == 1
    assert "[declined]" in connecting.heard and "Traceback" not in connecting.heard


@pytest.mark.processes
def test_partial_consent_is_not_enough(home: Path, provider: Provider) -> None:
    words = ["connect", "google", "--scopes", "gmail.readonly gmail.send"]
    with talk(*words, home=home, terminal=False, env=provider.settings()) as connecting:
        click(connecting.hear(LINK)[1], untick=["gmail.send"])
        assert connecting.ends() == 1
    assert "[scope_not_granted]" in connecting.heard


@pytest.mark.processes
def test_ctrl_c_while_waiting_exits_without_traceback(home: Path, provider: Provider) -> None:
    with talk("connect", "google", home=home, env=provider.settings()) as connecting:
        connecting.hear("Waiting for you.*Waiting for you")
        connecting.press("c")
        assert connecting.ends() == 130
    assert "Traceback" not in connecting.heard


@pytest.mark.processes
def test_audit_can_be_followed(home: Path, settings: dict[str, str]) -> None:
    with talk("audit", "--follow", home=home, env=settings) as following:
        following.hear("consent.granted")
        run("act", "gmail_search_emails", "{}", home=home, **settings)
        following.hear("gmail_search_emails")
        following.press("c")
        assert following.ends() == 130
    assert "Traceback" not in following.heard


@pytest.mark.processes
def test_connections_command_serves_the_users_page_until_stopped(home: Path, settings: dict[str, str]) -> None:
    with talk("open", home=home, env=settings) as serving:
        page = click(serving.hear(r"(http://127\.0\.0\.1:\d+/me/\S+)")[1])
        assert page.status == 200 and "alice@example.test" in page.text
        serving.press("c")
        assert serving.ends() == 130


@pytest.mark.processes
def test_killed_process_leaves_a_vault_that_opens(home: Path, provider: Provider) -> None:
    with talk("connect", "google", home=home, terminal=False, env=provider.settings()) as connecting:
        connecting.hear(LINK)
        connecting.kill()
    assert run("accounts", home=home, **provider.settings()).returncode == 0
