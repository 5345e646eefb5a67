"""Creation of a running deputy from settings, with its pages. No other module imports both settings and web.

    settings -> vault, opened with its keys -> providers, audit -> deputy, local pages -> checks for a restored backup
                                                                                       -> removal of expired records

If a step fails, everything that was opened is closed again.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from deputize.core.audit import Audit
from deputize.core.audit.anchors import ANCHOR_INTERVAL_SECONDS, AnchorFile
from deputize.core.audit.trail import is_there
from deputize.core.background_loop import portal
from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.http import Transport
from deputize.core.oauth.discover import KnownIssuers, discover
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.plugins import find_function
from deputize.core.policy.find_policy import find_policy
from deputize.core.policy.policy import Policies
from deputize.core.roles import RoleMap, RolesOf
from deputize.core.settings import AppSettings, Settings
from deputize.core.tools.toolkit import Toolkit
from deputize.core.vault.chain_heads import ChainHeads
from deputize.core.vault.failover import follow_failovers
from deputize.core.vault.grant import Grant
from deputize.core.vault.missing_vault import refuse_new
from deputize.core.vault.restore import take_into_use
from deputize.core.vault.retention import Retention
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.pages.brand import Brand

log = logging.getLogger("deputize")

D = TypeVar("D", bound=BaseDeputy)

MoreProviders = Mapping[str, Provider] | Iterable[Provider]
"""Providers besides those of the settings. Of a mapping only the values are used, each under its own name."""


def from_settings(
    kind: type[D],
    settings: Settings | None = None,
    *,
    policy: Policies | None = None,
    roles: RolesOf | None = None,
    agent: str = "",
    providers: MoreProviders | None = None,
    toolkits: Iterable[Toolkit] | None = None,
    transport: Transport | None = None,
) -> D:
    """Return a running deputy of this class. See `Deputy.from_settings`."""
    settings = settings or Settings.load()
    rule = find_policy(settings.policy, settings.own_file().parent) if policy is None else policy
    brand = _brand(settings)
    if roles is None and settings.roles_function:
        roles = find_function("roles_function", settings.roles_function, "takes a user and returns the roles")
    on_question = None
    if settings.on_question:
        on_question = find_function("on_question", settings.on_question, "takes one QuestionChange")
    with ExitStack() as undo:
        vault = portal().run(open_vault(settings))
        undo.callback(lambda: portal().run(vault.close()))
        if settings.key_ttl_seconds:
            portal().run(_limit_keys(settings, vault))
        rows = portal().run(find_providers(settings, vault, transport, more=providers))
        portal().run(_warn_of_lost_audit(settings, vault))
        audit = open_audit(settings, vault)
        undo.callback(audit.close)
        portal().run(ChainHeads(vault).fold(audit, time.time()))
        deputy = kind(
            vault,
            settings.all_apps(),
            pages=settings.base_url or partial(LocalPages, port=settings.port, brand=brand),
            audit=audit,
            agent=agent or settings.agent,
            policy=rule,
            providers=rows,
            toolkits=toolkits,
            transport=transport,
            requests_per_minute=settings.requests_per_minute,
            outcome_retention_seconds=settings.outcome_retention_seconds,
            file_retention_seconds=settings.file_retention_seconds,
            time_zone=settings.zone,
            trusted_authors=settings.trusted_authors,
            roles=roles,
            role_max_age_seconds=settings.role_max_age_seconds,
            role_map=RoleMap.of(settings.roles),
            unattended_approval_seconds=settings.unattended_approval_seconds,
        )
        if on_question:
            deputy.on_question(on_question)
        for server in settings.mcp_servers():
            portal().run(deputy.add_mcp(server))
        portal().run(take_into_use(vault, audit, settings.audit_trail, deputy.revocation_queue.enqueue_in))
        portal().run(follow_failovers(vault, audit, settings.audit_trail, deputy.revocation_queue.enqueue_in))
        if isinstance(trail := settings.audit_trail, Path):
            retention = Retention(vault, audit, trail, settings.audit_retention_days)
            deputy.sweeper.jobs += [retention.turn, retention.compress]
        if settings.audit_export:
            portal().run(_begin_shipping(deputy, settings))
        portal().run(deputy.sweeper.start())
        undo.pop_all()  # from here on the deputy closes them
    return deputy


async def _begin_shipping(deputy: BaseDeputy, settings: Settings) -> None:
    """Start to ship the audit to its collectors, and refuse acts if the settings say so. Raises `SettingsError`."""
    from deputize.core.vault.audit_shipping import LagGate, Shipper, Shipping, exports_of

    vault, trail = deputy.vault, settings.audit_trail
    exports = await asyncio.to_thread(exports_of, settings.audit_export)
    deputy.shipping = Shipping([Shipper(vault, trail, export, deputy.clock) for export in exports])
    if any(export.max_lag for export in exports):
        deputy.lag_gate = LagGate(vault, trail, exports, deputy.clock).check
    await deputy.shipping.start()


async def _limit_keys(settings: Settings, vault: Vault) -> None:
    """Enforce the time limit of the root keys. Raises `SettingsError` if no KMS could unwrap them again."""
    if not settings.kms:
        raise SettingsError("key_ttl_seconds is set, but no KMS.", hint="Add a section [kms.NAME], or remove it.")
    from deputize.core.vault.key_limit import limit_keys

    await limit_keys(vault, settings.key_ttl_seconds)


def _brand(settings: Settings) -> Brand | None:
    """Return the branding of the local pages. Raises `SettingsError` if a web application serves the pages."""
    names = sorted(name for name in settings.model_fields_set if name.startswith("brand_"))
    if not names:
        return None
    if not settings.local:
        raise SettingsError(
            f"{names[0]} is for local mode, and base_url is set.", hint="Give it in code: pages_app(brand=Brand(...))."
        )
    s = settings
    return Brand(s.brand_name, s.brand_logo, s.brand_colour, support=s.brand_support, privacy=s.brand_privacy)


async def open_vault(settings: Settings) -> Vault:
    """Open the vault with its keys. Creates a vault only if there never was one.

    Raises `VaultError` if the vault or its first record is gone although there is an audit of it.
    Raises `SettingsError` if there is no key, or if a sandbox is set and the vault has grants of real providers.
    """
    store, sealer, begun = await asyncio.to_thread(_store_and_keys, settings)
    try:
        vault = await Vault.open(store, sealer, begin=not begun)
        if settings.sandbox_url:
            await _refuse_real_grants(vault)
        return vault
    except BaseException:
        await store.close()
        raise


def _store_and_keys(settings: Settings) -> tuple[Store, Sealer, bool]:
    """Return the store, the sealer, and True if there ever was a vault. Blocks, because it reads files."""
    begun = settings.has_begun()  # read before the vault: a starting process creates the vault first
    if new := settings.new_vault():  # read once: a vault that is moved away later must not be created again
        refuse_new(settings.vault_url, begun=begun)
    sealer = Sealer(settings.keys(), settings.key_source)
    return open_store(settings.vault_url, create=new), sealer, begun


async def _refuse_real_grants(vault: Vault) -> None:
    """Raise `SettingsError` if the vault has grants of real providers: it must not be used with a sandbox."""
    async for records, _ in vault.pages("grant"):
        for grant in (Grant.unpack(record.plain, record.generation) for record in records):
            if grant.status != "revoked" and not (grant.origin and grant.origin.is_simulated):
                raise SettingsError(
                    f"A sandbox is set, but this vault holds grants of real providers: {grant.provider}.",
                    hint="Use another DEPUTIZE_HOME with the sandbox, or take DEPUTIZE_SANDBOX_URL away.",
                )


async def _warn_of_lost_audit(settings: Settings, vault: Vault) -> None:
    if not await asyncio.to_thread(is_there, settings.audit_trail) and await ChainHeads(vault).load():
        log.warning("The audit of this vault is gone: deputize audit verify says which chains it had.")


def open_audit(settings: Settings, vault: Vault) -> Audit:
    """Open the audit with its newest key, close chains signed with older keys, and store their heads in the vault.

    Raises `SettingsError` if `audit_anchor_file` is not an anchor file.
    """
    heads, file = ChainHeads(vault), AnchorFile.open(settings.audit_anchor_file) if settings.audit_anchor_file else None
    vault.before_close.append(heads.settled)

    def anchor(line: str) -> None:
        heads(line)
        if file:
            file(line)

    keys = vault.keys
    audit = Audit(
        settings.audit_trail,
        keys.audit,
        old_keys=keys.old_audit,
        mode=settings.audit,
        anchor=anchor,
        anchor_every=ANCHOR_INTERVAL_SECONDS,
    )
    atexit.register(_close_audit, weakref.ref(audit))  # before the portal, which writes its head to the vault
    return audit


def _close_audit(audit: weakref.ref[Audit]) -> None:
    if (still := audit()) is not None:
        with suppress(StoreUnavailable):  # reported by the audit itself, which retries once
            still.close()


async def find_providers(
    settings: Settings, vault: Vault, transport: Transport | None = None, *, more: MoreProviders | None = None
) -> Mapping[str, Provider]:
    """Return all providers: the built-in ones, ``more``, and those configured by their issuer.

    The metadata of the last kind comes from the issuer, or from the vault while the issuer is down. Raises
    `SettingsError` for a server that cannot be used and for a name that two providers have. Raises
    `ProviderUnavailable` for an issuer that is down and has never been reached.
    """
    rows, known = dict(await asyncio.to_thread(settings.all_providers)), KnownIssuers(vault)  # reads installed packages
    issuers = await asyncio.to_thread(settings.issuers)
    for row in more.values() if isinstance(more, Mapping) else more or ():
        if row.name in rows or row.name in issuers:
            raise SettingsError(
                f"Two providers are called {row.name!r}.", hint="Give yours another name: grants are kept under it."
            )
        rows[row.name] = row.moved_to(settings.sandbox_url.rstrip("/")) if settings.sandbox_url else row
    for name, app in issuers.items():
        rows[name] = await from_issuer(name, app, transport, known)
        check_addresses(rows[name], rows.values())
    return rows


async def from_issuer(
    name: str, app: AppSettings, transport: Transport | None = None, known: KnownIssuers | None = None
) -> Provider:
    """Return the provider of an app that is configured by an issuer. Raises the errors of `discover`."""
    return await discover(
        app.issuer,
        name=name,
        label=app.label,
        api=app.api,
        resource=app.resource,
        allow_private_network=app.allow_private_network,
        trusted_origins=app.trusted_origins,
        par=app.par,
        dpop=app.dpop,
        assertion_audience=app.assertion_audience,
        transport=transport,
        known=known,
    )
