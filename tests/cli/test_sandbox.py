"""The sandbox on a port: what it prints is all that a program needs to be led to it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from deputize.core import Deputy
from deputize.sandbox import Browser
from tests.cli.conftest import Command
from tests.cli.driving import free_port, talk
from tests.support.lanes import sample


@pytest.mark.processes
@pytest.mark.parametrize(("provider", "scope"), sample([("slack", "channels:read"), ("linear", "read")], spread=True))
async def test_a_program_with_the_printed_variables_connects_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, provider: str, scope: str
) -> None:
    port = free_port()
    with talk("sandbox", "--port", "0", "--pages", f"http://127.0.0.1:{port}/", home=home) as serving:
        serving.hear("Ctrl-C ends it")
        variables = dict(re.findall(r"export (DEPUTIZE_\w+)=(\S+)", serving.heard))
        for name, value in {**variables, "DEPUTIZE_HOME": str(home / "mine"), "DEPUTIZE_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        async with Deputy.from_settings() as deputy, httpx.AsyncHTTPTransport() as network:
            assert {"google", "slack", "github", "linear", "salesforce"} == set(deputy.apps)
            [asked] = await deputy.connect("alice", provider, scopes=[scope])
            page = await Browser(network).allow(asked.link)
            [ended] = await deputy.wait([asked], timeout=10)
            assert ended.status == "granted", page.text
            assert sorted(one.provider for one in await deputy.connections("alice")) == [provider]
        serving.press("c")
        assert serving.ends() == 130


@pytest.mark.processes
def test_it_ends_as_by_itself_where_a_service_manager_tells_it_to(home: Path) -> None:
    with talk("sandbox", "--port", "0", home=home) as serving:
        serving.hear("Ctrl-C ends it")
        serving.terminate()
        assert serving.ends(60) == 143  # what is open may take its twenty seconds to close


def test_a_taken_port_is_said_with_what_to_choose(cli: Command, taken_port: int) -> None:
    found = cli("sandbox", "--port", str(taken_port))
    assert (found.exit_code, found.stdout) == (1, "") and f"Port {taken_port}" in found.stderr
    assert "--port 0" in found.stderr and "DEPUTIZE_PORT" not in found.stderr
