"""``deputize sandbox``: simulated providers on a port, for programs that are not Python tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from deputize.cli import show

PLAYED: Final = ("google", "slack", "github", "linear", "salesforce")
LOCAL: Final = "http://127.0.0.1:8736"


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8737,
    pages: Annotated[
        list[str] | None, typer.Option(help=f"Where your deputize pages are reached. Repeat it. Default: {LOCAL}.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="A file that keeps everything. Default: all is forgotten.")] = None,
) -> None:
    """Serve the sandbox, which simulates Google, Slack, GitHub, Linear and Salesforce, until Ctrl-C.

    Prints the variables that connect a program to it. Its users are fictional: alice, bob and a decoy @example.test.
    """
    from deputize.core import SettingsError
    from deputize.core.background_loop import portal
    from deputize.core.paths import usable_path
    from deputize.core.web.local.server import require_host, serve
    from deputize.sandbox import Sandbox
    from deputize.sandbox.deputies import register_pages

    try:
        played = Sandbox(state=usable_path(state) if state else None)
        register_pages(played, *(page.rstrip("/") for page in pages or [LOCAL]))
    except (OSError, ValueError) as unfit:
        raise SettingsError(f"The state cannot be kept: {unfit}", hint="Name another file with --state.") from None
    app = require_host(played.app, {"127.0.0.1", "localhost"})
    try:
        base = portal().run(portal().enter(serve(app, port)))
    except SettingsError as taken:
        raise SettingsError(taken.message, hint="Choose another port: --port 0 takes a free one.") from None
    show.note("Set these for your program, with a DEPUTIZE_HOME of its own: grants of real providers stay apart.")
    for name, value in _variables(base).items():
        print(f"export {name}={value}", flush=True)
    show.note("Consent pages offer alice@example.test, bob@example.test and decoy@example.test. Ctrl-C ends it.")
    while True:
        time.sleep(3600)


def _variables(base: str) -> dict[str, str]:
    """Return the variables for a sandbox at ``base``: its address, and an OAuth client at each provider."""
    from deputize.sandbox.deputies import apps

    found = {"DEPUTIZE_SANDBOX_URL": base}
    for app in apps():
        if app.name in PLAYED:
            place = f"DEPUTIZE_APPS__{app.name.upper()}__"
            found[f"{place}CLIENT_ID"] = app.client_id
            found |= {f"{place}CLIENT_SECRET": app.client_secret.reveal()} if app.client_secret else {}
            found |= {f"{place}PKCE": "true"} if app.pkce else {}
    return found
