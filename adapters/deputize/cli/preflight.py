"""``deputize preflight``: what a job without a person lacks, before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption

if TYPE_CHECKING:
    from deputize.core import Deputy


def preflight(
    file: Annotated[Path, typer.Argument(help="A TOML file: users, calls, how often and until when.")],
    as_json: JsonOption = False,
) -> None:
    """Say what a job without a person lacks: connections, scopes, mandates, budgets. Exits 1 if it lacks any.

    No provider is asked and nothing is stored.
    """
    from deputize.core.acts.job import read_job

    job = read_job(file)
    with _at_rest() as deputy:
        found = deputy.run(deputy.preflight(job))
    if as_json:
        show.data({"ready": found.is_ready, "limit": found.limit, "findings": [asdict(one) for one in found.findings]})
    else:
        for one in found.findings:
            whose = " ".join(filter(None, (one.user, one.tool, one.what)))
            show.finding(one.state, whose, one.found, one.todo)
        show.out.print(f"{'Ready' if found.is_ready else 'Not ready'}. {found.limit}", soft_wrap=True)
    raise typer.Exit(0 if found.is_ready else 1)


@contextmanager
def _at_rest() -> Iterator[Deputy]:
    """Yield a deputy of the settings that has no network, writes no audit and removes nothing. Without a vault, it has
    an empty one in memory."""
    import os

    import httpx

    from deputize.core import Deputy
    from deputize.core.background_loop import portal
    from deputize.core.from_settings import find_providers, open_vault
    from deputize.core.plugins import find_function
    from deputize.core.policy.find_policy import find_policy
    from deputize.core.roles import RoleMap
    from deputize.core.settings import Settings
    from deputize.core.vault.missing_vault import refuse_new
    from deputize.core.vault.stores.memory import MemoryStore
    from deputize.core.vault.vault import Vault

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("preflight sends no request")

    roles = None
    settings, network = Settings.load(), httpx.MockTransport(refuse)
    if settings.roles_function:
        roles = find_function("roles_function", settings.roles_function, "takes a user and returns the roles")
    if settings.new_vault():
        refuse_new(settings.vault_url, begun=settings.has_begun())
        vault = portal().run(Vault.open(MemoryStore(), [os.urandom(32)]))
    else:
        vault = portal().run(open_vault(settings))
    try:
        deputy = Deputy(
            vault,
            settings.all_apps(),
            pages=settings.base_url or "http://127.0.0.1",
            agent=settings.agent,
            policy=find_policy(settings.policy, settings.own_file().parent),
            providers=portal().run(find_providers(settings, vault, network)),
            transport=network,
            time_zone=settings.zone,
            roles=roles,
            role_max_age_seconds=settings.role_max_age_seconds,
            role_map=RoleMap.of(settings.roles),
        )
        for server in settings.mcp_servers():
            portal().run(deputy.add_mcp(server))
        yield deputy
    finally:
        portal().run(vault.close())
