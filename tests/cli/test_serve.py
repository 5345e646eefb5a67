"""``deputize serve``: callers are identified by the issuer, over HTTP and on the pages, and others are not served."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from deputize.adapters.mcp import DeputyServer
from deputize.cli.http_app import application, clients_of
from deputize.cli.mcp_config import Client as McpClient
from deputize.cli.mcp_config import config_for
from deputize.core import User
from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from tests.cli.conftest import Command
from tests.cli.serving_world import KEY, Around, Person, around
from tests.cli.terminal import CLI, environment, run
from tests.support.login_issuer import SECRET
from tests.support.mcp_clients import client
from tests.support.ports import free_port
from tests.support.sandbox_deputy import build

MAIL = {"to": ["bob@example.test"], "subject": "Hello", "body": "Hello Bob"}


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Around]:
    """Return the application for these settings, in this process."""
    async with around(home) as world:
        app = await asyncio.to_thread(application, world.settings())
        async with app.router.lifespan_context(app), serve(app, world.port):
            yield world
        await portal().hop(app.state.deputy.http.close)  # what exchanges of codes have left open there


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def text_of(result: Any) -> str:
    """Return what a model reads of a result."""
    return " ".join(one.text for one in result.content)


@pytest.mark.processes
async def test_request_without_token_is_refused_with_the_metadata_url(home: Path) -> None:
    async with served(home) as world, httpx.AsyncClient() as http:
        refused = await http.post(f"{world.base}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        place = f"{world.base}/.well-known/oauth-protected-resource/mcp"
        assert refused.status_code == 401 and f'resource_metadata="{place}"' in refused.headers["www-authenticate"]
        shown = (await http.get(place)).json()
        assert (shown["resource"], shown["authorization_servers"]) == (f"{world.base}/mcp", [world.issuer.url])
        assert (await http.get(f"{world.base}/healthz")).text == "ok"
        pages = await http.get(f"{world.base}/connections")
        assert pages.headers["location"] == "/sign-in?next=%2Fconnections"
        foreign = await http.get(f"{world.base}/mcp", headers=bearer(world.issuer.token("alice", aud="x")))
        assert foreign.status_code == 401


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["signed", "opaque"])
async def test_C1_C3_call_belongs_to_its_user_who_alone_opens_its_links(home: Path, kind: str) -> None:
    async with served(home) as world:
        make = world.issuer.token if kind == "signed" else world.issuer.opaque_token
        tokens = {name: make(name) for name in ("alice", "bob")}
        alice, bob = Person("alice"), Person("bob")

        async def stolen(ctx: Any, asked: Any) -> types.ElicitResult:
            refused = await bob.open(asked.url)
            assert refused.status == 403 and "This link cannot be used" in refused.text
            return types.ElicitResult(action="decline")

        async with client(f"{world.base}/mcp", tokens["alice"], elicitation_callback=stolen) as mcp:
            assert (await mcp.call_tool("gmail_send_email", MAIL)).is_error
        async with client(f"{world.base}/mcp", tokens["alice"], elicitation_callback=alice.answers) as mcp:
            sent = await mcp.call_tool("gmail_send_email", MAIL)
            assert not sent.is_error, text_of(sent)
        assert len(world.sandbox.sent("alice@example.test")) == 1 and len(alice.seen) == 2
        async with client(f"{world.base}/mcp", tokens["bob"]) as mcp:
            asked = await mcp.call_tool("gmail_search_emails", {"query": "from:bob"})
            assert asked.is_error and f"{world.base}/connections" in text_of(asked)
        page = await alice.open(f"{world.base}/connections")
        assert f"{world.issuer.url}#alice" in page.text and "alice@example.test" in page.text
        assert "alice@example.test" not in (await bob.open(f"{world.base}/connections")).text
        left = b"".join(world.told)
        assert b"/messages/send" in left
        assert not [name for name, token in tokens.items() if token.encode() in left], "a client's token was passed on"
        shown = [one for one in world.issuer.told if any(token.encode() in one for token in tokens.values())]
        assert bool(shown) == (kind == "opaque") and all(b"/introspect" in one for one in shown)


@pytest.mark.parametrize(
    ("change", "forms"), [({}, True), ({"forms": False}, False), ({"step_up_seconds": 300}, False)]
)
async def test_forms_setting_or_step_up_decides_if_client_forms_count(
    change: dict[str, Any], forms: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[DeputyServer] = []

    def watched(*args: Any, **more: Any) -> DeputyServer:
        made.append(DeputyServer(*args, **more))
        return made[-1]

    monkeypatch.setattr("deputize.cli.http_app.DeputyServer", watched)
    async with around(home) as world:
        settings = world.settings()
        said = settings.serve.model_copy(update=change)
        app = await asyncio.to_thread(application, settings.model_copy(update={"serve": said}))
        async with app.router.lifespan_context(app):
            assert [one.performing.forms for one in made] == [forms]


async def test_missing_setting_is_reported_before_anything_is_opened(cli: Command, home: Path) -> None:
    wanted = {"DEPUTIZE_BASE_URL": "https://agents.example.com"}
    for words, env, said in (
        (["--http", ":8000"], {}, "DEPUTIZE_BASE_URL"),
        (["--http", ":8000"], wanted, "DEPUTIZE_SERVE__ISSUER"),
        (["--http", ":8000", "--issuer", "https://login.example.com"], wanted, "DEPUTIZE_SERVE__CLIENT_ID"),
        (
            ["--http", ":8000", "--issuer", "http://login.example.com", "--client-id", "x"],
            wanted,
            "not an https",
        ),
        (
            ["--http", ":8000", "--issuer", "http://127.0.0.1:9", "--client-id", "x"],
            wanted,
            "http://127.0.0.1:9, but base_url is https://agents.",
        ),
        (["--http", ":8000", "--issuer", "https://[::1]:9", "--client-id", "x"], wanted, "on their own machine"),
    ):
        done = cli("serve", *words, **{"DEPUTIZE_KEY": KEY} | env)
        assert done.exit_code == 1 and said in done.stderr, done.stderr
    for words in (
        [],
        ["--stdio", "--http", ":1"],
        ["--http", "x:y:z"],
        ["--http", ":99999"],
        ["--stdio", "--issuer", "x"],
    ):
        assert cli("serve", *words).exit_code == 2


def test_taken_port_is_an_error_and_not_a_silent_end(cli: Command, taken_port: int) -> None:
    words = ["serve", "gmail", "--http", f":{taken_port}", "--base-url", f"http://127.0.0.1:{taken_port}"]
    who = ["--issuer", "http://127.0.0.1:9", "--client-id", "x"]
    done = cli(*words, *who, DEPUTIZE_KEY=KEY, DEPUTIZE_SERVE__CLIENT_SECRET="x")
    assert done.exit_code == 1 and f"Port {taken_port} on 127.0.0.1 is taken." in done.stderr, done.stderr
    assert "--http" in done.stderr


@pytest.mark.processes
async def test_doctor_reports_whether_users_can_be_served(home: Path) -> None:
    async with around(home) as world:

        def looked(**env: str) -> dict[str, str]:
            done = run("doctor", "--json", home=home, **world.environment | env)
            [found] = [one for one in map(json.loads, done.stdout.splitlines()) if one["what"] == "serve"]
            return dict(found)

        good = await asyncio.to_thread(looked)
        assert good["state"] == "ok" and "MCP clients: 5 by a client id that you register" in good["found"]
        shut = await asyncio.to_thread(looked, DEPUTIZE_SERVE__ISSUER="http://127.0.0.1:1")
        assert shut["state"] == "bad" and "127.0.0.1" in shut["found"]
        nobody = await asyncio.to_thread(looked, DEPUTIZE_SERVE__CLIENT_ID="")
        assert nobody["state"] == "bad" and "DEPUTIZE_SERVE__CLIENT_ID" in nobody["todo"]


def test_start_lists_which_clients_can_sign_in() -> None:
    all_of_it = {
        "client_id_metadata_document_supported": True,
        "token_endpoint_auth_methods_supported": ["none"],
        "registration_endpoint": "https://login.example.com/register",
    }
    ways = clients_of(all_of_it)
    assert "document" in ways["Codex"] and ways["Cursor"] == "by registration"
    assert set(clients_of(all_of_it | {"token_endpoint_auth_methods_supported": []}).values()) == {"by registration"}
    assert set(clients_of({}).values()) == {"by a client id that you register at the issuer"}


@pytest.mark.parametrize("which", list(McpClient))
def test_generated_client_configuration_is_valid(
    which: McpClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))
    read = tomllib.loads if which is McpClient.CODEX else json.loads
    tables = {"vscode": "servers", "codex": "mcp_servers", "zed": "context_servers"}
    table = tables.get(which.value, "mcpServers")
    local = read(config_for(which, tools=["gmail", 'a"b\\']))[table]["deputize"]
    assert local["args"][-4:] == ["serve", "--stdio", "gmail", 'a"b\\'] and local["env"] == {
        "DEPUTIZE_HOME": str(tmp_path)
    }
    assert Path(local["command"]).is_absolute()
    if which is McpClient.CLAUDE_DESKTOP:
        return
    remote = read(config_for(which, url="https://agents.example.com/mcp", client_id="the-id", tools=[]))[table][
        "deputize"
    ]
    field = {"gemini": "httpUrl", "windsurf": "serverUrl"}.get(which.value, "url")
    assert remote[field] == "https://agents.example.com/mcp"
    assert remote.get("type") == ("http" if which.value in ("claude", "vscode") else None)
    own = {"cursor": ("auth", "CLIENT_ID"), "codex": ("oauth", "client_id")}
    table, name = own.get(which.value, ("oauth", "clientId"))
    assert remote.get(table) == (None if which.value in ("windsurf", "zed") else {name: "the-id"})


def test_config_command_names_the_file_and_keeps_secrets_out(cli: Command) -> None:
    done = cli("mcp", "config", "cursor", "gmail", DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET="hidden")
    assert done.exit_code == 0 and json.loads(done.stdout)["mcpServers"]["deputize"]["args"][-1] == "gmail"
    assert ".cursor/mcp.json" in done.stderr and "deputize.toml" in done.stderr and "hidden" not in done.output
    assert cli("mcp", "config", "vscode", "gmail", "--url", "https://a.example/mcp").exit_code == 2
    assert cli("mcp", "config", "vscode", "--client-id", "x").exit_code == 2


def test_config_and_start_name_a_missing_app(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deputize.adapters.mcp.DeputyServer.stdio", lambda *_: asyncio.sleep(0))
    todo = (
        "No app is registered for 'google'. Register an OAuth app at Google. Then set DEPUTIZE_APPS__GOOGLE__CLIENT_ID"
    )
    app = {"DEPUTIZE_APPS__GOOGLE__CLIENT_ID": "id", "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": "secret"}
    for words in (("mcp", "config", "claude", "gmail", "calendar"), ("serve", "gmail", "--stdio")):
        without, with_app = cli(*words), cli(*words, **app)
        assert without.exit_code == with_app.exit_code == 0
        assert without.stderr.count(todo) == 1 and "deputize sandbox" in without.stderr
        assert "No app" not in with_app.stderr and "No app" not in without.stdout
    everything = cli("mcp", "config", "claude", **app).stderr
    assert "No app is registered for 'github', 'linear', 'salesforce', 'slack'. Register" in everything


def test_start_names_app_whose_grants_need_session_tokens(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deputize.adapters.mcp.DeputyServer.stdio", lambda *_: asyncio.sleep(0))
    app = {"CLIENT_ID": "id", "CLIENT_SECRET": "secret", "SOURCE__KIND": "exchange"}
    settings = {f"DEPUTIZE_APPS__GOOGLE__{name}": value for name, value in app.items()}
    said = cli("serve", "gmail", "--stdio", **settings)
    assert said.exit_code == 0 and "The app 'google' gets its grants from session tokens" in said.stderr, said.output
    assert "session tokens" not in cli("serve", "github", "--stdio", **settings).stderr


async def test_call_without_app_tells_model_and_log_what_to_set(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deputize.adapters.operator_warnings._logged", set())
    async with (
        await build(apps=[]) as deputy,
        Client(DeputyServer(deputy, ["gmail"]).sdk_server(lambda ctx: User("a"))) as mcp,
    ):
        for _ in range(2):
            answer = await mcp.call_tool("gmail_whoami", {})
            assert answer.is_error and "Then set DEPUTIZE_APPS__GOOGLE__CLIENT_ID and __CLIENT_SECRET" in text_of(
                answer
            )
    assert caplog.text.count("DEPUTIZE_APPS__GOOGLE__CLIENT_ID") == 1


def test_unknown_tool_is_reported_before_the_configuration_is_printed(cli: Command) -> None:
    done = cli("mcp", "config", "claude", "gmial")
    assert done.exit_code == 1 and not done.stdout and "Did you mean gmail?" in done.stderr


def test_config_accepts_tools_of_a_foreign_server(cli: Command, home: Path) -> None:
    (home / "deputize").mkdir(mode=0o700)
    (home / "deputize" / "deputize.toml").write_text('[mcp.tracker]\nurl = "https://mcp.example/mcp"\n')
    (home / "deputize" / "deputize.toml").chmod(0o600)
    assert cli("mcp", "config", "claude", "tracker", "gmail").exit_code == 0
    assert cli("mcp", "config", "claude", "tracker_create_issue").exit_code == 0


@pytest.mark.processes
@pytest.mark.parametrize("which", list(McpClient))
async def test_client_started_from_its_configuration_has_the_tools(
    which: McpClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started as each client does: without a shell's environment, and with stdout for the protocol only."""
    monkeypatch.setenv("DEPUTIZE_HOME", str(home / "deputize"))
    monkeypatch.setenv("DEPUTIZE_USER", "alice")
    read = tomllib.loads if which is McpClient.CODEX else json.loads
    [server] = next(iter(read(config_for(which, tools=["gmail"])).values())).values()
    started = StdioServerParameters(command=server["command"], args=server["args"], env=server["env"], cwd=home)
    async with Client(stdio_client(started)) as mcp:
        assert "gmail_send_email" in [tool.name for tool in (await mcp.list_tools()).tools]
        asked = await mcp.call_tool("gmail_search_emails", {"query": "x"})
        assert asked.is_error and "google" in text_of(asked).lower()


@pytest.mark.processes
async def test_two_workers_and_two_users_never_mix(home: Path) -> None:
    """They share keys and store only: a person begins at one and returns at the other."""
    async with around(home) as world:
        ports = [world.port, free_port()]
        async with worker(world, ports[0]), worker(world, ports[1]):
            people = {name: Person(name) for name in ("alice", "bob")}
            tokens = {name: world.issuer.token(name) for name in people}
            for name, person in people.items():
                async with client(f"{world.base}/mcp", tokens[name], elicitation_callback=person.answers) as mcp:
                    assert not (await mcp.call_tool("gmail_search_emails", {"query": "from:bob"})).is_error
                other = person.browser.cookies.header(httpx.URL(f"http://127.0.0.1:{ports[1]}/connections"))
                async with httpx.AsyncClient(headers={"cookie": other}) as http:
                    shown = await http.get(f"http://127.0.0.1:{ports[1]}/connections")
                    assert f"{world.issuer.url}#{name}" in shown.text, "the session is good at each worker"

            async def calls(name: str, port: int) -> None:
                async with client(f"http://127.0.0.1:{port}/mcp", tokens[name]) as mcp:
                    for _ in range(5):
                        found = await mcp.call_tool("gmail_whoami", {})
                        assert f"{name}@example.test" in text_of(found)

            await asyncio.gather(*(calls(name, port) for name in people for port in ports))


@asynccontextmanager
async def worker(world: Around, port: int) -> AsyncIterator[None]:
    """Run ``deputize serve`` in its own process."""
    env = environment(world.home) | world.environment
    words = [*CLI, "serve", "gmail", "--http", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(*words, env=env, cwd=world.home, stderr=asyncio.subprocess.PIPE)
    try:
        await asyncio.wait_for(up(f"http://127.0.0.1:{port}/healthz", process), 30)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        said = (await asyncio.wait_for(process.communicate(), 20))[1].decode()
    assert "Tokens and sign-ins of" in said and "Cursor: by a client id" in said and SECRET not in said


async def up(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient() as http:
        while process.returncode is None:
            try:
                if (await http.get(url)).text == "ok":
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError("it has ended")
