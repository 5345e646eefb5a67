"""The pytest fixtures for other projects: the documented example runs, local fixtures win, and nothing loads early."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deputize.core import Call, ConsentRequired, ReconsentRequired, allow_all
from deputize.core.vault.grant import User
from deputize.sandbox import Sandbox
from deputize.sandbox.accounts import account_of
from deputize.sandbox.deputies import CLIENTS, close, give_grant, new_browser, new_deputy
from tests.sandbox.connected_users import SCOPES, visitor
from tests.sandbox.registered_app import ALICE, BOB

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
HEAVY = ("httpx", "pydantic", "cryptography", "authlib", "anyio", "deputize.core", "deputize.sandbox.sandbox")


def run_pytest(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one module in its own interpreter, with the plugin, and warnings as errors."""
    (folder / "test_it.py").write_text(module)
    plugins = ["-p", "deputize.sandbox.pytest_plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, "test_it.py"]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def passed(done: subprocess.CompletedProcess[str], count: int) -> bool:
    """Return True if this many tests passed and nothing else happened."""
    return done.returncode == 0 and f"{count} passed in" in done.stdout


def documented_examples() -> list[str]:
    """Return the examples of the user's page. Those that need a checkout are run by its own tests."""
    found = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return [textwrap.dedent(one) for one in found if "from tests." not in one]


@pytest.mark.processes
def test_documented_examples_pass_in_one_module(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "\n\n".join(documented_examples()))
    assert passed(done, 9), done.stdout + done.stderr


@pytest.mark.processes
def test_first_documented_example_prints_what_the_page_says(tmp_path: Path) -> None:
    told = re.search(r"pytest prints `(\d+) passed`", DOCS.read_text())
    done = run_pytest(tmp_path, documented_examples()[0])
    assert told and passed(done, int(told[1])), done.stdout + done.stderr


@pytest.mark.processes
def test_failed_test_shows_the_line_of_the_broken_tool(tmp_path: Path) -> None:
    module = """
        from deputize.core import Request, Steps, Toolkit, any_of

        TOOLKIT = Toolkit("shop", provider="github", api="github")

        @TOOLKIT.tool(needs=[any_of("repo")])
        def look() -> Steps:
            "Look."
            found = yield Request("GET", "/user")
            return found["no such field"]

        def test_it(deputy, grant):
            grant("alice", "repo", provider="github")
            deputy.catalog.add(TOOLKIT)
            deputy.run(deputy.act("shop_look", {}, user="alice"))
    """
    done = run_pytest(tmp_path, textwrap.dedent(module))
    assert done.returncode == 1 and "ProviderUnavailable: shop_look" in done.stdout, done.stdout
    assert '>       return found["no such field"]' in done.stdout and "test_it.py:10: KeyError" in done.stdout


@pytest.mark.processes
def test_fixtures_work_in_async_tests_and_local_ones_override(tmp_path: Path) -> None:
    module = """
        import pytest

        async def test_async(deputy, grant, sandbox):
            held = grant("alice", "chat:write", "channels:read")
            assert held.provider == "slack" and not sandbox.requests
            found = await deputy.connections("alice")
            assert [one.account for one in found] == ["@alice in Acme"]

        class TestMine:
            @pytest.fixture
            def sandbox(self):
                return "mine"

            @pytest.fixture
            def grant(self, sandbox):
                return sandbox

            def test_local(self, grant):
                assert grant == "mine"
    """
    done = run_pytest(tmp_path, textwrap.dedent(module).replace("async def", "@pytest.mark.asyncio\nasync def"))
    assert passed(done, 2), done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("module", ["deputize.sandbox.pytest_plugin", "deputize.sandbox"])
def test_import_loads_nothing_heavy(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set(json.loads(done.stdout)).isdisjoint(HEAVY)


def test_public_names_are_complete() -> None:
    import deputize.sandbox as package

    assert {getattr(package, name).__name__ for name in package.__all__} == set(package.__all__)
    with pytest.raises(AttributeError):
        _ = package.Nothing


@pytest.mark.parametrize("provider", SCOPES)
async def test_granted_account_equals_a_consented_one(sandbox: Sandbox, provider: str) -> None:
    async with visitor(sandbox) as people:
        await people.connect(provider)
        real = await people.grant(provider)
        short = [scope.rpartition("/")[2] for scope in SCOPES[provider]]
        given = give_grant(sandbox, people.deputy, "bob", short, provider=provider, email=BOB)
        assert given.account == account_of(provider, BOB) and given.scopes == real.scopes
        assert (given.expires_at, bool(given.refresh_token)) == (real.expires_at, bool(real.refresh_token))
        assert given.extra.keys() <= real.extra.keys()


async def test_granted_account_acts_refreshes_and_steps_up(sandbox: Sandbox) -> None:
    deputy = new_deputy(sandbox)
    give_grant(sandbox, deputy, "alice", ["gmail.readonly"], provider="", email=ALICE)
    assert (await deputy.act("gmail_search_emails", {}, user="alice"))["items"]
    sandbox.expire_access_tokens()
    assert (await deputy.act("gmail_search_emails", {}, user="alice"))["items"]
    mail = {"to": [BOB], "subject": "x", "body": "y"}
    deputy.policy = allow_all
    with pytest.raises(ConsentRequired):
        await deputy.act("gmail_send_email", mail, user="alice", call=Call(id="1"))
    held = give_grant(sandbox, deputy, "alice", ["gmail.send"], provider="google", email=ALICE)
    assert len(held.scopes) == 4
    await deputy.act("gmail_send_email", mail, user="alice", call=Call(id="1"))
    assert len(sandbox.sent(ALICE)) == 1
    sandbox.reset()
    with pytest.raises((ConsentRequired, ReconsentRequired)):
        await deputy.act("gmail_search_emails", {}, user="alice")
    assert await deputy.vault.find_grant(User("bob"), "google", "google") is None
    close(deputy)


@pytest.mark.parametrize(
    ("scopes", "provider", "email"),
    [
        (["unheard.of"], "", ALICE),
        (["openid"], "", ALICE),
        (["gmail.readonly"], "slack", ALICE),
        (["gmail.readonly"], "myspace", ALICE),
        (["gmail.readonly"], "", "eve@example.test"),
    ],
)
def test_ambiguous_grant_is_refused(sandbox: Sandbox, scopes: list[str], provider: str, email: str) -> None:
    deputy = new_deputy(sandbox)
    with pytest.raises(LookupError):
        give_grant(sandbox, deputy, "alice", scopes, provider=provider, email=email)
    close(deputy)


@pytest.mark.parametrize("provider", CLIENTS)
async def test_consent_completes_on_the_pages_of_every_provider(sandbox: Sandbox, provider: str) -> None:
    deputy = new_deputy(sandbox)
    [asked] = await deputy.connect("alice", provider, scopes=SCOPES[provider])
    page = await new_browser(sandbox, deputy).allow(asked.link, as_=ALICE)
    [ended] = await deputy.wait_for_consents([asked])
    assert (page.status, ended.status) == (200, "granted"), page.text
    close(deputy)
