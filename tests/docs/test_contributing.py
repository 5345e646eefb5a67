"""Every snippet of CONTRIBUTING.md runs: what its instructions add is there afterwards."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from deputize.cli import commands as cli_commands
from deputize.cli.app import app as cli
from deputize.cli.commands import GROUP as COMMANDS
from deputize.core import (
    Account,
    ActKey,
    ApiRules,
    App,
    ApprovalRequired,
    Consent,
    ConsentRequired,
    Deputy,
    Identity,
    OAuthEndpoints,
    PolicyDenied,
    Provider,
    Run,
    Secret,
    Toolkit,
    User,
)
from deputize.core.audit.common_fields import OfGrant
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.failures import Kind, classify
from deputize.core.providers import PLUGINS as PROVIDERS
from deputize.core.tools.plugins import PLUGINS as TOOLKITS
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.kms import PLUGINS as KMS
from deputize.core.vault.stores import PLUGINS as STORES
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.pages import texts
from deputize.sandbox import Sandbox
from deputize.sandbox.store_contract import StoreContract
from tests.docs.blocks import ROOT, block, blocks, run, text
from tests.support import acme_store
from tests.support.sandbox_deputy import build, consent, new_vault

PROVIDER: Final = block("CONTRIBUTING.md", "ACME = Provider(")
RULES: Final = block("CONTRIBUTING.md", "ACME_RULES = replace(")
TOOLKIT: Final = block("CONTRIBUTING.md", "TOOLKIT = Toolkit(")
PAGE: Final = block("CONTRIBUTING.md", "PAGES: Final = (")
STORE: Final = block("CONTRIBUTING.md", "STORE = StoreType(")
POLICY: Final = block("CONTRIBUTING.md", "def trial(act")
COMMAND: Final = block("CONTRIBUTING.md", "def count(user")
EVENT: Final = block("CONTRIBUTING.md", "class RequestsSpent(Event)")


def test_every_python_block_is_executed_here() -> None:
    assert blocks("CONTRIBUTING.md", "python") == [
        PROVIDER,
        RULES,
        TOOLKIT,
        POLICY,
        PAGE,
        STORE,
        EVENT,
        COMMAND,
    ]
    assert set(re.findall(r"^```(\w+)$", text("CONTRIBUTING.md"), re.MULTILINE)) <= {"python", "bash"}


def places() -> list[list[str]]:
    """Return the table of what is added where."""
    table = text("CONTRIBUTING.md").partition("| to add |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("row", places(), ids=lambda row: row[0])
def test_each_extension_point_has_a_place_a_section_and_tests(row: list[str]) -> None:
    what, where, _, tests = row
    files = re.findall(r"`((?:[\w.]+/)+[\w.]*)`", where) or re.findall(r"^(the provider's file)", where)
    assert files and all(one.startswith("the ") or (ROOT / one).exists() for one in files)
    named = re.findall(r"`([\w/]+\.py)`", tests)
    assert named and all("def test_" in (ROOT / one).read_text() for one in named)
    for anchor in re.findall(r"\(#([\w-]+)\)", what):
        assert f"\n## {anchor.replace('-', ' ').capitalize()}\n" in text("CONTRIBUTING.md")


def test_each_documented_entry_point_group_is_read_by_the_code() -> None:
    named = {group for *_, package, _ in places() for group in re.findall(r"`(deputize\.\w+)`", package)}
    assert named == {TOOLKITS.group, PROVIDERS.group, STORES.group, KMS.group, COMMANDS}


class Acme:
    """A simulated Acme: its token endpoint, its account, its tasks; and every request it received."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        match request.method, f"{request.url.host}{request.url.path}":
            case "POST", "acme.example/oauth/token":
                granted = "tasks:read tasks:write"
                return httpx.Response(
                    200, json={"access_token": "acme-token", "token_type": "Bearer", "scope": granted}
                )
            case "GET", "api.acme.example/v1/me":
                return httpx.Response(200, json={"id": 7, "email": "alice@example.test"})
            case "GET", "api.acme.example/v1/tasks":
                return httpx.Response(200, json={"items": [{"id": 1, "title": "Water the plants", "owner": 7}]})
            case "POST", "api.acme.example/v1/tasks":
                return httpx.Response(201, json={"id": 2, **json.loads(request.content)})
        return httpx.Response(404)

    @property
    def tasks(self) -> list[httpx.Request]:
        """Return the requests for tasks."""
        return [request for request in self.seen if request.url.path.endswith("/tasks")]


@pytest.fixture
async def contributed() -> dict[str, Any]:
    """Return the names that both examples of CONTRIBUTING.md define."""
    names = await run(PROVIDER, {one.__name__: one for one in (ApiRules, Identity, OAuthEndpoints, Provider)})
    return await run(TOOLKIT, names)


async def grant(deputy: Deputy, consent: Consent) -> dict[str, str]:
    """Allow access at Acme as the user; return the parameters of the authorization request."""
    started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    asked = {name: values[0] for name, values in parse_qs(urlsplit(started.url).query).items()}
    back = {"code": "acme-code", "state": asked["state"]}
    await deputy.consents.finish(consent.app, back, AnyLocalUser(), started.nonce.reveal())
    return asked


async def test_contributed_toolkit_acts_at_the_contributed_provider(contributed: dict[str, Any]) -> None:
    acme, provider = Acme(), contributed["ACME"]
    deputy = Deputy(
        await new_vault(),
        [App("acme", "client", Secret("client-secret"))],
        pages="http://127.0.0.1:8736",
        providers={provider.name: provider},
        toolkits=[contributed["TOOLKIT"]],
        transport=httpx.MockTransport(acme),
    )
    async with deputy:
        with pytest.raises(ConsentRequired) as missing:
            await deputy.act("tasks_list_tasks", {}, user="alice")
        consent = missing.value.consent
        assert (consent.scopes, consent.scope_descriptions) == (("tasks:read",), ("read your tasks",))
        assert (await grant(deputy, consent))["scope"] == "tasks:read"
        assert (await deputy.connections("alice"))[0].account == "alice@example.test"
        found = await deputy.act("tasks_list_tasks", {"query": "water"}, user="alice")
        assert found == [{"id": 1, "title": "Water the plants"}]
        assert await deputy.act("tasks_create_task", {"title": "Rest"}, user="alice") == {"id": 2}
    listed, created = acme.tasks
    assert (listed.url.params["q"], created.headers["authorization"]) == ("water", "Bearer acme-token")
    assert json.loads(created.content).keys() == {"title", "client_id"}


@pytest.mark.parametrize(
    ("status", "problem", "kind"),
    [
        (400, {"code": "task_exists"}, Kind.CONFLICT),
        (400, {"message": "Please slow down."}, Kind.RATE_LIMITED),
        (404, {"code": "brand_new"}, Kind.HIDDEN_OR_NOT_FOUND),
    ],
)
async def test_contributed_rules_classify_answers(status: int, problem: dict[str, str], kind: Kind) -> None:
    rules = (await run(RULES, {}))["ACME_RULES"]
    body = {"problem": problem, "message": problem.get("message")}
    assert classify(rules, "write", status, {}, json.dumps(body).encode()).kind is kind


async def test_contributed_tools_are_driven_without_a_mock(contributed: dict[str, Any]) -> None:
    steps = contributed["list_tasks"]("water")
    assert (request := next(steps)).path == "/tasks" and request.params == {"q": "water"}
    with pytest.raises(StopIteration) as done:
        steps.send({"items": [{"id": 1, "title": "Water the plants"}]})
    assert done.value.value == [{"id": 1, "title": "Water the plants"}]
    key = ActKey.of("an act")
    run = Run(key, frozenset(), Account("1", "alice@example.test"), None, 0.0)
    making = contributed["create_task"]("Rest", run=run)
    assert next(making).fields == {"title": "Rest"}
    assert making.send(None).json == {"title": "Rest", "client_id": key.uuid}
    with pytest.raises(StopIteration) as made:
        making.send({"id": 2})
    assert made.value.value == {"id": 2}


def test_documented_toolkit_export_is_a_toolkit() -> None:
    for found in find_toolkits().values():
        assert isinstance(found, Toolkit)
    assert "entry-point group\n`deputize.toolkits`" in text("CONTRIBUTING.md")


async def test_contributed_page_is_shown_to_its_signed_in_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "AGENTS", "One agent acts for you.", raising=False)
    names = await run(PAGE, {})
    assert "pages=[*PAGES,\n*yours.PAGES], templates=[folder]" in text("CONTRIBUTING.md")
    (tmp_path / "agents.html").write_text("<p>{{ sentence }}</p>")
    async with Deputy(await new_vault(), [], pages="https://deputy.example.test") as deputy:
        app = pages_app(
            deputy,
            verifier=lambda request: request.headers.get("x-user"),
            pages=[*PAGES, *names["PAGES"]],
            templates=[tmp_path],
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://deputy.example.test") as web:
            assert (await web.get("/agents")).status_code == 401
            assert "One agent acts for you." in (await web.get("/agents", headers={"x-user": "alice"})).text


async def test_contributed_store_is_found_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "acme_store", acme_store)
    said = await run(STORE, {})
    assert issubclass(said["TestAcmeStore"], StoreContract) and said["STORE"].name == "acme"
    store = said["STORE"].open(f"acme://{tmp_path}/vault", True)
    assert await store.insert("test", "a", b"1") and said["STORE"].exists(f"acme://{tmp_path}/vault")
    await store.close()


async def test_contributed_audit_event_is_a_row_of_its_fields() -> None:
    event = (await run(EVENT, {}))["RequestsSpent"]
    grant = OfGrant(user="alice", provider="google", app="google", account_hash="a1", grant_gen=3)
    assert event(grant, 300).facts() == grant.facts() | {"requests": 300}


async def test_contributed_policy_limits_a_trial_tenant_to_reads() -> None:
    sandbox = Sandbox()
    mail = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}
    async with await build(sandbox, policy=(await run(POLICY, {}))["trial"]) as deputy:
        for user, error in ((User("alice", "trial"), PolicyDenied), (User("alice", "acme"), ApprovalRequired)):
            for one in await deputy.connect(user, "google", scopes=["gmail.readonly", "gmail.send"]):
                await consent(deputy, sandbox, one)
            assert (await deputy.act("gmail_search_emails", {"query": "from:bob"}, user=user))["items"]
            with pytest.raises(error):
                await deputy.act("gmail_send_email", mail, user=user)


async def test_contributed_command_is_in_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("acme_command")
    vars(module).update(await run(COMMAND, {"__name__": "acme_command"}))
    monkeypatch.setitem(sys.modules, "acme_command", module)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))
    point = EntryPoint("count", "acme_command:count", COMMANDS)
    monkeypatch.setattr(cli_commands, "entry_points", lambda group: [point])
    assert "Count the accounts" in CliRunner().invoke(cli, ["--help"]).stdout
    assert CliRunner().invoke(cli, ["count", "--user", "alice"]).stdout == "0\n"


def test_names_in_the_places_table_of_contributing_exist() -> None:
    section = text("CONTRIBUTING.md").split("## Where things are changed\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows
    for _, files, names in rows:
        code = []
        for path in re.findall("`(.+?)`", files):
            file = ROOT / path if path.startswith("adapters/") else ROOT / "core/deputize/core" / path
            code.append(file.read_text())
        for name in re.findall("`(.+?)`", names):
            *_, last = name.split(".")
            declared = re.compile(rf"^ *(?:(?:async )?def {last}\(|{last}: )", re.MULTILINE)
            assert any(map(declared.search, code)), f"{files}: {name}"
