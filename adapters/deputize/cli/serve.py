"""``deputize serve``: tools for any MCP client, on stdin and stdout or over HTTP."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.common import BrowserOption, UserOption, command_user, open_deputy, tell_unusable_apps

if TYPE_CHECKING:
    from deputize.core import User
    from deputize.core.settings import Settings

_PLACE: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])?:)?(?P<port>[0-9]{1,5})")
_MAX_HEAD: Final = 2**17
_KEEP_ALIVE_SECONDS: Final = 75
"""Seconds that an idle connection is kept: longer than load balancers do (60), or they use one that is closing."""


def serve(
    tools: Annotated[list[str] | None, typer.Argument(help="Toolkits, toolsets and tools. Default: all.")] = None,
    stdio: Annotated[bool, typer.Option("--stdio", help="Serve one client, which has started this program.")] = False,
    http: Annotated[str, typer.Option(help="Serve over HTTP on HOST:PORT, behind what ends TLS.")] = "",
    base_url: Annotated[str, typer.Option(help="Where that can be reached. Default: DEPUTIZE_BASE_URL.")] = "",
    issuer: Annotated[str, typer.Option(help="Who says who callers are: an OpenID Connect issuer.")] = "",
    token_audience: Annotated[str, typer.Option(help="What access tokens must be for. Default: BASE_URL/mcp.")] = "",
    client_id: Annotated[str, typer.Option(help="Our client there, for sign-ins at our pages.")] = "",
    search: Annotated[bool, typer.Option("--search", help="List two tools that find and call the others.")] = False,
    browser: BrowserOption = True,
    user: UserOption = "",
    unattended: Annotated[
        bool, typer.Option("--unattended", help="With --stdio: nobody is there to answer, as for a scheduled client.")
    ] = False,
) -> None:
    """Serve tools to MCP clients: Claude, Cursor, VS Code, Codex, or your own.

    On this machine: deputize serve gmail --stdio (see deputize mcp config). For many users: deputize serve --http :8000
    --issuer https://login.example.com; the secret of the client comes from DEPUTIZE_SERVE__CLIENT_SECRET.
    """
    if stdio == bool(http):
        raise typer.BadParameter("Pass either --stdio or --http HOST:PORT.")
    if stdio and (base_url or issuer or token_audience or client_id):
        raise typer.BadParameter(
            "--stdio serves one person: it takes no --base-url, --issuer, --token-audience or --client-id."
        )
    if stdio:
        _stdio(tools or [], replace(command_user(user), unattended=unattended), search, browser)
        return
    if unattended:
        raise typer.BadParameter("--unattended goes with --stdio.")
    host, port = _place(http)
    if not port:
        raise typer.BadParameter("--http is HOST:PORT, or :PORT for loopback.")
    given = {
        "tools": tools,
        "issuer": issuer,
        "token_audience": token_audience,
        "client_id": client_id,
        "search": search,
    }
    _http(_settings(base_url, {name: value for name, value in given.items() if value}), host, port)


def _place(text: str) -> tuple[str, int]:
    """Return host and port, or port 0 unless the text is HOST:PORT or :PORT."""
    found = _PLACE.fullmatch(text)
    port = int(found["port"]) if found else 0
    return ((found["host"] or "127.0.0.1").strip("[]"), port) if found and port < 65536 else ("", 0)


def _stdio(tools: list[str], user: User, search: bool, browser: bool) -> None:
    """Serve on stdio. stdout belongs to the protocol, so all other output goes to stderr."""
    from deputize.adapters.mcp import DeputyServer
    from deputize.cli.local_browser import OwnBrowser
    from deputize.cli.stdin_eof import ending_stdin
    from deputize.cli.stdout_backpressure import unread_stdout

    with ending_stdin() as ended, unread_stdout(ended), open_deputy() as deputy:
        server = DeputyServer(deputy, tools, search=search, open_page=OwnBrowser(deputy, browser))
        tell_unusable_apps(deputy, server.tools.values())
        asyncio.run(server.stdio(user))


def _settings(base_url: str, given: dict[str, Any]) -> Settings:
    """Return the settings, overridden by the command line."""
    from deputize.core.settings import ServeSettings, Settings

    known = Settings.load()
    said = ServeSettings.model_validate(known.serve.model_dump() | given)
    return known.model_copy(update={"serve": said, "base_url": base_url or known.base_url})


def _http(settings: Settings, host: str, port: int) -> None:
    from deputize.core.errors import SettingsError

    try:
        import uvicorn

        from deputize.cli.admin_port import serve_admin_port
        from deputize.cli.graceful_shutdown import CALLS_TIMEOUT_SECONDS, LeavingServer
        from deputize.cli.http_app import application, numbers
        from deputize.cli.idle_timeout import BoundedConnection
    except ImportError as missing:
        raise SettingsError.without(missing, "mcp", "web") from None
    app = application(settings)
    tell_unusable_apps(app.state.deputy, app.state.deputy.tools(*settings.serve.tools))
    _tell(settings, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # URLs contain links and codes
        server_header=False,
        proxy_headers=False,
        http=BoundedConnection,  # httptools does not bound the head of a request
        ws="none",
        h11_max_incomplete_event_size=_MAX_HEAD,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CALLS_TIMEOUT_SECONDS,
    )
    server = LeavingServer(config, app.state.leaving, settings.serve.drain)

    async def served() -> None:
        async with AsyncExitStack() as ends:
            if settings.serve.metrics:
                there, at = _place(settings.serve.metrics)
                await ends.enter_async_context(serve_admin_port(numbers(app.state.deputy, there), there, at))
            await server.serve()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(served())
    if not server.started:
        raise typer.Exit(3)  # as uvicorn does, which has logged the reason


def _tell(settings: Settings, place: str) -> None:
    """Print what is served, and who can sign in."""
    from deputize.cli.http_app import clients_of, metadata_of
    from deputize.core import DeputizeError
    from deputize.core.web.signin.from_settings import ENDPOINT

    base = settings.base_url.rstrip("/")
    found = settings.sign_ins()
    endpoint = f"{base}{ENDPOINT} and " if "" in found else ""  # several issuers have an endpoint each, named below
    show.note(f"Serving {endpoint}the pages at {base}, on {place}.")
    for name, given in found.items():
        below = f"/{name}" if name else ""
        if given.uses_saml:
            show.note(f"Sign-ins by SAML, to the pages only. Register {base}/sign-in{below}/metadata there.")
            continue
        try:
            metadata = metadata_of(name, given)
        except DeputizeError as error:
            show.error(error)
            continue
        show.note(f"Tokens and sign-ins of {given.issuer}, for {given.token_audience or base + ENDPOINT + below}:")
        for client, way in clients_of(metadata).items():
            show.note(f"  {client}: {way}")
        show.note(f"Register {base}/sign-in{below}/callback and {base}/signed-out for {given.client_id} there.")
