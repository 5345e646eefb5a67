"""``deputize doctor``: checks that find problems early, one finding a line, each with a remedy. Changes nothing."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deputize.cli.demo.folder import is_free
from deputize.cli.doctor_acts import acts
from deputize.cli.doctor_apps import apps as apps_of
from deputize.cli.doctor_findings import Finding
from deputize.cli.doctor_findings import bad as _bad
from deputize.cli.doctor_foreign import foreign
from deputize.cli.doctor_servers import reached, servers
from deputize.cli.show import counted, end_words
from deputize.cli.store_check import key_lines, record_lines
from deputize.core import App, DeputizeError, Deputy, Provider
from deputize.core.audit.collectors import BatchRefused, Collector
from deputize.core.audit.trail import is_there
from deputize.core.background_loop import portal
from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.from_settings import open_vault
from deputize.core.grants.connections import grants_ending_soon
from deputize.core.grants.grant_end import end_of_key
from deputize.core.grants.token_families import describe_families, families
from deputize.core.plugins import Plugins
from deputize.core.policy.find_policy import find_policy
from deputize.core.providers import PLUGINS as PROVIDERS
from deputize.core.settings import Settings
from deputize.core.tools.plugins import PLUGINS as TOOLKITS
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.chain_heads import verify_audit
from deputize.core.vault.check_records import try_all
from deputize.core.vault.grant import NO_USER
from deputize.core.vault.key_source import ChangeableKeySource
from deputize.core.vault.key_sources.keyring import KeyringEntry
from deputize.core.vault.kms import PLUGINS as KMS
from deputize.core.vault.missing_vault import refuse_new
from deputize.core.vault.private_files import check_private
from deputize.core.vault.rollback import find_rolled_back, find_unaudited, grant_states
from deputize.core.vault.rotation import key_uses
from deputize.core.vault.stores import PLUGINS as STORES
from deputize.core.vault.stores import shown_url, store_type
from deputize.core.vault.tenants import tenants_being_erased
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import same_vault

MAX_ENDING: int = 10
"""Grants that end soon, and are named one by one."""
OVERDUE: int = 30
"""Days after the retention period within which old audit rows should be gone: whole files and chains go at once."""


LATE_SECONDS: float = 120.0
"""The lag from which a collector is late, if the settings give none."""


def examine(*, reach: bool = True) -> Iterator[Finding]:
    """Yield all findings, the most important first. ``reach``: also connect to the providers, the pages and the
    collectors of the audit."""
    try:
        settings = Settings.load()
    except DeputizeError as e:
        yield _bad("settings", e)
        return
    yield Finding("settings", "ok", f"home {settings.home}; {_mode(settings)}")
    if settings.unread_file():
        yield Finding(
            "settings", "open", "./deputize.toml is not read", "Name it with DEPUTIZE_CONFIG, if it is yours."
        )
    yield _policy(settings)
    yield _home(settings.home)
    with _opened(settings) as (vault, findings):
        yield from findings
        yield from apps_of(settings)
        if vault:
            yield from _held(vault)
            yield from _ending(settings, vault)
            yield _audit(settings, vault)
        yield from _exports(settings, vault, reach=reach)
        if vault:
            yield from _rollback(settings, vault)
            yield from acts(settings, vault)
        yield from _check_surroundings(settings, vault, reach=reach)
    yield from _toolkits()
    yield from _plugins(TOOLKITS, PROVIDERS, STORES, KMS)
    yield _extras()


def _mode(settings: Settings) -> str:
    return f"pages at {settings.base_url}" if settings.base_url else f"local mode, pages on port {settings.port}"


def _policy(settings: Settings) -> Finding:
    try:
        find_policy(settings.policy, settings.own_file().parent)
    except DeputizeError as e:
        return _bad("policy", e)
    return Finding("policy", "ok", settings.policy)


def _home(home: Path) -> Finding:
    if not home.exists():
        return Finding("home", "ok", "not there yet: made when first needed")
    try:
        check_private(home, home.stat())
    except DeputizeError as e:
        return _bad("home", e)
    return Finding("home", "ok", "yours alone")


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Vault | None, list[Finding]]]:
    """Open the vault if it exists, and yield it with the findings on the way. Creates nothing."""
    vault, findings = None, []
    try:
        begun, new = settings.has_begun(), settings.new_vault()
        if new:
            refuse_new(settings.vault_url, begun=begun)
    except DeputizeError as e:  # from this check, or from the package of its store
        yield None, [_shut(settings, "vault", e)]
        return
    if new:
        findings = [_key_of_new_vault(settings), Finding("vault", "ok", "none yet: made when first needed")]
    else:
        try:
            findings += _wrapped_keys(settings)
            found = f"{len(settings.keys())} found"
            findings.append(Finding("key", "ok", found))
            vault = portal().run(open_vault(settings))
            found_records = portal().run(try_all(vault))
            opens = f"opens; {counted(found_records.opened['grant'], 'grant')} in {shown_url(settings.vault_url)}"
            findings.append(Finding("vault", "ok", opens))
            findings += _risks(settings)
            lines = record_lines(found_records)
            findings += [
                Finding("records" if fine else "damaged", "ok" if fine else "bad", *line) for fine, *line in lines
            ]
        except DeputizeError as e:
            findings.append(_shut(settings, "vault" if findings else "key", e))
    try:
        yield vault, findings
    finally:
        if vault:
            portal().run(vault.close())


def _wrapped_keys(settings: Settings) -> Iterator[Finding]:
    """Yield findings about root keys that a KMS has wrapped, and about those that none has."""
    lines = key_lines(settings)
    for fine, what, todo in lines:
        yield Finding("key", "ok" if fine else "bad", what, todo)
    plain = settings.plain_key_source
    if any(fine for fine, _, _ in lines) and not isinstance(plain, KeyringEntry) and plain.exists():
        todo = "Move them to a safe place that no program reads, or delete them."
        yield Finding("key", "open", f"root keys that are not wrapped are still in {plain.name}", todo)


def _shut(settings: Settings, what: str, e: DeputizeError) -> Finding:
    """Return the finding for an error. It names the vault's address if the vault cannot be reached."""
    where = f"{shown_url(settings.vault_url)}: " if isinstance(e, StoreUnavailable) else ""
    return Finding(what, "bad", where + e.message, e.hint)


def _risks(settings: Settings) -> list[Finding]:
    """Return findings about possible data loss from the way in which the database is run."""
    found = store_type(settings.vault_url).risks
    return [Finding("database", "open", what, todo) for what, todo in (found(settings.vault_url) if found else ())]


def _key_of_new_vault(settings: Settings) -> Finding:
    source = settings.key_source
    if isinstance(source, ChangeableKeySource) and settings.local and not source.exists():
        return Finding("key", "ok", "none yet: made with the vault, and announced")
    try:
        return Finding("key", "ok", f"{len(settings.keys())} found")
    except DeputizeError as e:
        return _bad("key", e)


async def _queued(vault: Vault) -> dict[str, tuple[int, float]]:
    """Return the number of tokens to revoke at each provider and the time of the oldest, without waiting tokens."""
    found = dict[str, tuple[int, float]]()
    async for records, _ in vault.pages("outbox", strict=True):
        for note in (record.json for record in records if not record.json.get("held")):
            number, since = found.get(note["provider"], (0, note["since"]))
            found[note["provider"]] = number + 1, min(since, note["since"])
    return found


def _held(vault: Vault) -> Iterator[Finding]:
    """Yield findings about live grants and queued revocations: together, every token that may be valid."""
    try:
        status = portal().run(grant_states(vault))
        queued = portal().run(_queued(vault))
        uses, given = portal().run(key_uses(vault)), vault.sealer.ids
        living = describe_families(portal().run(families(vault)))
        closed = portal().run(tenants_being_erased(vault))
    except DeputizeError as e:
        yield _bad("grants", e)
        return
    lost, ended = status["needs_reauth"], status["revoked"]
    yield Finding("grants", "ok", f"{status['active']} live, {lost} lost, {ended} disconnected")
    yield Finding("token families", "ok", living)
    if vault.keys.copied_at:
        words = f"the vault is a restored backup of {_at(vault.keys.copied_at)}"
        yield Finding("backup", "open", words, "At the next start its grants are marked: each is confirmed before use.")
    if older := sum(count for id, count in uses.items() if id != given[0]):
        yield Finding("sealing", "open", f"{counted(older, 'record')} sealed with an older key", "deputize key reseal")
    for tenant in closed:
        todo = f"Unless it is in progress, repeat it: {shlex.join(['deputize', 'erase-tenant', tenant])}"
        yield Finding("erasure", "open", f"the tenant {tenant} is closed, and not erased to the end", todo)
    for provider, (tokens, since) in queued.items():
        words = f"{tokens} tokens are still to be revoked there (RFC 7009), the oldest since {_at(since)}"
        yield Finding(f"revocations queued for {provider}", "open", words, "deputize revoke --queued")


def _ending(settings: Settings, vault: Vault) -> Iterator[Finding]:
    """Yield findings about grants and keys of service accounts that end within three days."""
    now = time.time()
    try:
        apps = {app.name: app for app in settings.all_apps()}
        grants = portal().run(grants_ending_soon(vault, settings.all_providers(), apps, now))
    except DeputizeError:  # said already
        return
    for app in apps.values():
        if (end := end_of_key(app)) and end.is_near(now):
            todo = f"Replace the key, and set valid_until in [apps.{app.name}.source]."
            yield Finding(f"app {app.name}", "bad" if end.at <= now else "open", f"its key {end_words(end)}", todo)
    people = [(grant, end) for grant, end in grants if end.reason != "key"]
    for grant, end in people[:MAX_ENDING]:
        words = ["deputize", "connect", grant.provider, "--user", grant.user.id, "--app", grant.app, "--renew"]
        words += ["--tenant", grant.user.tenant] if grant.user.tenant else []
        words += [] if grant.default else ["--account", grant.account.name]
        found = f"{grant.account.name} at {grant.provider} of {grant.user.id} {end_words(end)}"
        yield Finding("grant", "open", found, shlex.join(words))
    if (more := len(people) - MAX_ENDING) > 0:
        yield Finding("grants", "open", f"{more} more end within three days")


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}Z"


def _rollback(settings: Settings, vault: Vault) -> Iterator[Finding]:
    """Yield findings that compare the vault with the audit."""
    if not is_there(settings.audit_trail) or vault.keys.copied_at:
        return
    try:
        older = portal().run(find_rolled_back(vault, settings.audit_trail))
        newer = portal().run(find_unaudited(vault, settings.audit_trail))
    except DeputizeError as e:
        yield _bad("rollback", e)
        return
    for one in older:
        of = f"the app {one.app}" if one.user.id.startswith(NO_USER) else one.user.id
        whose = f"{one.provider} {one.account or '(an account)'} of {of}"
        there = f"generation {one.generation}" if one.generation else "nothing"
        todo = "Somebody put an older vault or row back. Find out who; then disconnect and connect again."
        yield Finding("rollback", "bad", f"{whose}: the vault has {there}, the audit saw {one.audited}", todo)
    if not older:
        words = f"no grant is older than the audit saw it; {len(newer)} changed without a row (a crash in between)"
        yield Finding("rollback", "ok", words if newer else "no grant is older than the audit saw it")


def _audit(settings: Settings, vault: Vault) -> Finding:
    try:
        report = portal().run(verify_audit(vault, settings.audit_trail))
    except StoreUnavailable as e:
        return _bad("audit", e) if is_there(settings.audit_trail) else Finding("audit", "ok", "none yet")
    if not report.ok:
        faults = [] if report.whole else [f"not whole: {len(report.findings)} findings"]
        faults += [f"acts without a permission: {len(report.misuses)}"] if report.misuses else []
        return Finding("audit", "bad", "; ".join(faults), "deputize audit verify")
    days = settings.audit_retention_days
    found = f"whole: {counted(report.rows, 'row')}, kept {counted(days, 'day') if days else 'for ever'}"
    if days and report.since and report.since / 1e9 < time.time() - (days + OVERDUE) * 86400:
        found += f"; the oldest is of {datetime.fromtimestamp(report.since / 1e9, UTC):%Y-%m-%d}"
        in_files = isinstance(settings.audit_trail, Path)
        todo = "Run a program that stays up: it drops them once a day." if in_files else "deputize store prune-audit"
        return Finding("audit", "open", found, todo)
    return Finding("audit", "ok", found)


def _exports(settings: Settings, vault: Vault | None, *, reach: bool) -> Iterator[Finding]:
    """Yield a finding for each collector of the audit: whether it can be used, and how far it is behind."""
    from deputize.core.vault.audit_shipping import ExportState, read_state

    for name, export in settings.audit_export.items():
        what = f"audit export {name}"
        try:
            collector, state = export.collector(name), ExportState(name)
            state = portal().run(read_state(vault, name, settings.audit_trail)) if vault else state
        except DeputizeError as e:
            yield _bad(what, e)
            continue
        late = state.lag(time.time()) >= (export.max_lag_seconds or LATE_SECONDS)
        has = f"{collector.place} has {'the rows' if late else 'every row'} up to {_at(state.until)}"
        if error := state.error or (portal().run(_send_nothing(collector)) if reach else ""):
            found = f"{has}. {error}" if state.at else f"Nothing was shipped yet. {error}"
            todo = f"Check the collector, and [audit_export.{name}]."
            yield Finding(what, "bad" if late else "open", found, todo)
        elif state.at and not late:
            yield Finding(what, "ok", has)
        else:
            found = has if state.at else f"{collector.place}: nothing was shipped yet"
            yield Finding(what, "open", found, "Run a program that stays up, or deputize audit ship.")


async def _send_nothing(collector: Collector) -> str:
    """Return why the collector takes no rows, or "" if it answers. An empty batch shows the connection, the
    certificates and the credential."""
    try:
        await collector.send(())
    except BatchRefused:
        return ""  # it refuses the empty batch
    except DeputizeError as e:
        return e.message
    finally:
        await collector.close()
    return ""


def _todo_where_away(settings: Settings) -> str:
    """Return the remedy for a provider that does not answer. A sandbox is a program of this machine."""
    if settings.sandbox_url:
        return f"Start the sandbox at the port of {settings.sandbox_url}: deputize sandbox --port PORT."
    return "Check the network, the proxy and the firewall."


def _check_surroundings(settings: Settings, vault: Vault | None, *, reach: bool) -> Iterator[Finding]:
    """Yield findings about deputize's pages and the providers."""
    apps: list[App] = []
    with suppress(DeputizeError):  # said already
        apps = [app for app in settings.all_apps() if app.provider in settings.all_providers()]
    if settings.local:
        yield _port(settings, vault, apps)
    elif reach:
        todo = "Start deputize serve --http, or the web application that serves them."
        yield reached("pages", f"{settings.base_url.rstrip('/')}/health", todo)
    for name in dict.fromkeys(app.provider for app in apps if reach):
        provider: Provider = settings.all_providers()[name]
        yield reached(provider.label, provider.oauth.token_url, _todo_where_away(settings))
    with suppress(DeputizeError):  # said already
        yield from servers(settings) if reach else ()
    yield from foreign(settings, vault, reach=reach)
    if reach:
        yield from _serving(settings)


def _port(settings: Settings, vault: Vault | None, apps: list[App]) -> Finding:
    if settings.port == 0 or is_free(settings.port):
        return Finding("pages", "ok", f"port {settings.port or '(any)'} is free")
    if vault:
        deputy = Deputy(vault, apps, pages="http://127.0.0.1", providers=settings.all_providers())
        if portal().run(same_vault(deputy, settings.port)):
            return Finding("pages", "ok", f"port {settings.port} serves this vault's pages now")
    todo = "End the program that has it, or set DEPUTIZE_PORT to a free port."
    return Finding("pages", "bad", f"port {settings.port} is taken by something else", todo)


def _serving(settings: Settings) -> Iterator[Finding]:
    """Yield findings whether users and MCP clients can sign in at each issuer, and how."""
    try:
        if not settings.sign_ins():
            return
        from deputize.cli.http_app import findings
    except ImportError as missing:
        yield _bad("serve", SettingsError.without(missing, "mcp", "web"))
    except SettingsError as e:  # the adapter reports it itself
        yield _bad("serve", e)
    else:
        yield from findings(settings)


def _toolkits() -> Iterator[Finding]:
    for name, kit in find_toolkits().items():
        yield Finding(f"toolkit {name}", "ok", counted(len(kit.tools), "tool"))


def _plugins(*groups: Plugins[Any]) -> Iterator[Finding]:
    """Yield findings for unusable plugins of other packages."""
    for one in [one for group in groups for one in group.skipped()]:
        todo = f"Mend or uninstall {one.distribution.partition(' ')[0]}."
        yield Finding(f"{one.noun} {one.name}", "bad", f"of {one.distribution}: {one.reason}", todo)


def _extras() -> Finding:
    modules = {
        "fast": "aiohttp",
        "google-adk": "google.adk",
        "langchain": "langchain_core",
        "langgraph": "langgraph",
        "llamaindex": "llama_index",
        "openai-agents": "agents",
        "pydantic-ai": "pydantic_ai",
        "keyring": "keyring",
        "aws-kms": "boto3",
        "gcp-kms": "google_crc32c",
        "azure-key-vault": "azure.identity",
        "postgres": "psycopg",
        "saml": "signxml",
        "files": "pypdf",
    }
    missing = [
        extra for extra, module in modules.items() if not (find_spec(module.partition(".")[0]) and find_spec(module))
    ]
    if not missing:
        return Finding("extras", "ok", "all are installed")
    return Finding(
        "extras", "ok", f"not installed: {', '.join(missing)}", f'Where needed: pip install "deputize[{missing[0]}]"'
    )
