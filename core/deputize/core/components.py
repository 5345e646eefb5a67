"""Construction of the parts of a deputy in the order of their dependencies: grants, consents, acts."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import UTC
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.call_dedup import CallRecognizer
from deputize.core.acts.check_calls import CallChecker
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.execute import Executor
from deputize.core.acts.find_grant import GrantFinder
from deputize.core.acts.missing_scopes import Asking
from deputize.core.acts.offboard import resume_offboardings
from deputize.core.acts.preview import Previewer
from deputize.core.acts.provider_requests import ProviderTransport
from deputize.core.acts.public_requests import PublicSender
from deputize.core.acts.rate_limit import DEFAULT_REQUESTS_PER_MINUTE, Budgets
from deputize.core.acts.read_ahead import ActReads
from deputize.core.acts.resolve_call import CallResolver
from deputize.core.acts.runner import Runner
from deputize.core.acts.step_handlers import handlers_of
from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.record import UNATTENDED_APPROVAL_TTL
from deputize.core.approvals.service import Approvals
from deputize.core.audit import Audit
from deputize.core.background_loop import portal
from deputize.core.consent.consents import Consents
from deputize.core.ended_questions import EndedQuestions
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.mass_revocation import MassRevocation
from deputize.core.grants.refresh import Refresher
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.revoke import Revoker
from deputize.core.http import Http, Transport
from deputize.core.idempotency.ledger import OUTCOME_TTL, Ledger
from deputize.core.idempotency.undo import Undoing
from deputize.core.oauth.discover import Resolve, addresses_of
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import Registry
from deputize.core.policy.policy import Judge, Policies, ask_before_sending
from deputize.core.provenance.contacts import KnownContacts
from deputize.core.provenance.store import UntrustedRecord
from deputize.core.providers import known_providers
from deputize.core.roles import ROLE_MAX_AGE_SECONDS, RoleMap, Roles, RolesOf
from deputize.core.shared_services import FixedPages, Pages, Services
from deputize.core.time_zones import Zone, Zones
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.steps import AskUser, Heard, ResolvePerson
from deputize.core.tools.stored_files import FILE_TTL, Files
from deputize.core.tools.toolkit import Toolkit
from deputize.core.tools.trusted_authors import TrustedAuthors
from deputize.core.user_requests import Approval, Consent
from deputize.core.vault.grant import Secret
from deputize.core.vault.rotation import continue_reseal
from deputize.core.vault.sweeper import Sweeper
from deputize.core.vault.vault import Vault

if TYPE_CHECKING:
    from deputize.core.acts.first_contacts import FirstContactSearch
    from deputize.core.acts.people_search import PeopleSearch
    from deputize.core.mcp_client.remote_servers import McpServers
    from deputize.core.mcp_client.server_config import McpServer
    from deputize.core.vault.audit_shipping import Shipping

T = TypeVar("T")


class Components:
    """The parts of a deputy: their creation and their end. `BaseDeputy` has the methods for users.

    ``vault`` stores grants. ``apps``: the OAuth clients registered at providers. ``pages``: the URL of deputize's
    pages, or a function that creates their server for a deputy. ``policy`` decides about every act; if there are
    several policies, the gravest decision counts. ``providers``: by name; default: the built-in ones and those of
    installed packages. ``transport`` replaces the network in tests, and ``resolve`` the look-up of host names.
    ``clock`` returns Unix seconds. ``requests_per_minute``: limit for one user's agents at one provider, infinite for
    no limit. ``outcome_retention_seconds``: how long a repeated call returns its stored outcome.
    ``file_retention_seconds``: how long a file is stored. ``time_zone``: the zone of users whose provider reports no
    zone, or a function that returns the zone of a user; None for the machine's zone. ``trusted_authors``: by toolkit,
    the authors whose content a model may read (``{"github": "push"}``). ``roles``: a sync or async function that
    returns a user's roles; if None, roles come from claims (`deputize.core.roles`). ``role_max_age_seconds``: how long
    the claims of a sign-in give roles. ``role_map``: the mapping of the settings; roles of another one do not count.
    ``unattended_approval_seconds``: how long the approvals of runs that nobody watches wait (`User.unattended`).
    """

    def __init__(
        self,
        vault: Vault,
        apps: Iterable[App],
        *,
        pages: Pages | str | Callable[[Self], Pages],
        audit: Audit | None = None,
        agent: str = "agent",
        policy: Policies = ask_before_sending,
        providers: Mapping[str, Provider] | None = None,
        toolkits: Iterable[Toolkit] | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        resolve: Resolve = addresses_of,
        requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE,
        outcome_retention_seconds: float = OUTCOME_TTL,
        file_retention_seconds: float = FILE_TTL,
        time_zone: Zone = UTC,
        trusted_authors: Mapping[str, str] | None = None,
        roles: RolesOf | None = None,
        role_max_age_seconds: float = ROLE_MAX_AGE_SECONDS,
        role_map: RoleMap | None = None,
        unattended_approval_seconds: float = UNATTENDED_APPROVAL_TTL,
    ) -> None:
        self.vault, self.agent, self.clock, self.sleep = vault, agent, clock, sleep
        self.registry = Registry(apps, known_providers() if providers is None else providers)
        self.providers, self.apps = self.registry.providers, self.registry.apps
        served = FixedPages(pages) if isinstance(pages, str) else pages
        self.pages: Pages = served(self) if callable(served) else served
        self.audit = audit or Audit(None, vault.keys.audit, clock=clock)
        self.http, self.outside = Http(transport), PublicSender(Http(transport, keep_alive=False), resolve)
        zones = Zones(vault, time_zone, clock)
        parts = vault, self.registry, self.http, self.audit, self.pages, zones
        self.services = Services(*parts, outcome_retention_seconds, agent, clock, sleep)
        self.roles = Roles(vault, clock, roles, role_max_age_seconds, role_map)
        self._ways, self._unattended_life = (transport, resolve), unattended_approval_seconds
        self._grants()
        self._acts(
            toolkits,
            policy,
            trusted_authors or {},
            requests_per_minute,
            file_retention_seconds,
        )

    def _grants(self) -> None:
        """Create the parts that obtain, refresh and end grants."""
        services = self.services
        self.revocation_queue, self.accounts = RevocationQueue(services), Accounts(services)
        self.refresher = Refresher(services, self.revocation_queue)
        self.sources = self.refresher.sources
        self.consents = Consents(services, self.revocation_queue)
        self.asking = Asking(services, self.accounts, self.consents)

    def _acts(
        self,
        toolkits: Iterable[Toolkit] | None,
        policy: Policies,
        trusted_authors: Mapping[str, str],
        per_minute: float,
        file_retention_seconds: float,
    ) -> None:
        """Create the parts that run acts with these grants, and the parts that end grants and mandates."""
        services, refresher = self.services, self.refresher
        self.catalog, self.files = Catalog(toolkits), Files(services.vault, services.clock, life=file_retention_seconds)
        self.provenance, self.contacts = UntrustedRecord(services), KnownContacts(services)
        self.judge = Judge(policy, services, self.roles.of_act)
        self.ledger = Ledger(services)
        self.approvals = Approvals(services, self.roles, self._unattended_life)
        self._mandates, self.questions = Mandates(services, self.approvals), Questions(services, self.approvals)
        self._ended = EndedQuestions(services, self.consents, self.approvals)
        self.resolver, grants = CallResolver(services, self.catalog, self.accounts), GrantFinder(services, refresher)
        self.authorizer = Authorizer(self.catalog, self.judge, grants, self.approvals, self.provenance)
        budgets = Budgets(per_minute, services.clock)
        transport = ProviderTransport(services, refresher, self.outside, budgets, self.provenance)
        handlers = handlers_of(services, self.files) | dict.fromkeys((AskUser, Heard), self.questions.handle_step)
        handlers[ResolvePerson] = lambda run, step: self._people.handle_step(run, step)
        authors = TrustedAuthors.of(trusted_authors, self.catalog.toolkit)
        self.runner = Runner(transport, authors, handlers, self.contacts)
        self.previewer = Previewer(
            *(self.judge, self.approvals, self._mandates, self.runner, self.provenance, self.contacts),
            search=lambda act: self._first_contacts.find(act),
        )
        self.act_reads = ActReads(services, self.ledger, self.approvals, self._mandates, self.provenance, self.contacts)
        self.executor = Executor(services, self.ledger, self.previewer, self.questions, refresher, self.act_reads)
        self.checker = CallChecker(
            self.resolver, self.authorizer, self.previewer, self.ledger, self.questions, self.act_reads
        )
        self.undoing, self.recognizing = Undoing(self.ledger), CallRecognizer(services, self.resolver)
        many = MassRevocation(services, self.consents, self.revocation_queue, self._mandates.end_all)
        self.revoker = Revoker(services, self.accounts, self.consents, self.revocation_queue, many)
        self.sweeper = Sweeper(
            services.vault,
            self.files.remove,
            services.clock,
            recover=self.consents.recover,
            jobs=[
                many.follow,
                partial(continue_reseal, services.vault, services.audit),
                self.ledger.unsaved.settle_all,
                self.resume_offboardings,
                self.report_expired,
            ],
        )

    async def resume_offboardings(self) -> None:
        """Complete the offboardings of processes that died."""
        await resume_offboardings(self.services, self.approvals, self._mandates, self.revoker.disconnect)

    shipping: Shipping | None = None
    """The shipping of audit rows to collectors, if the settings name one."""
    lag_gate: Callable[..., Awaitable[None]] | None = None
    """Refuses acts while a collector lags too much: see `deputize.core.vault.audit_shipping.LagGate`."""

    @property
    def policy(self) -> Policies:
        """The policy that decides about every act, or several. It may be replaced at any time."""
        return self.judge.policy

    @policy.setter
    def policy(self, policy: Policies) -> None:
        self.judge.policy = policy

    async def add_mcp(self, server: McpServer | str, url: str = "") -> Toolkit:
        """Add a foreign MCP server, or its name and URL, and return the toolkit of its pinned tools.

        The server gets no request before its first act. ``mcp`` lists its tools and pins them. Raises `SettingsError`
        for a name that is taken or an invalid URL.
        """
        return await self.mcp.add(server, url)

    @cached_property
    def mcp(self) -> McpServers:
        """The foreign MCP servers: their tools and the pinned definitions."""
        from deputize.core.mcp_client.remote_servers import servers_of  # imported only if there are some

        return servers_of(self.services, self.catalog, self.authorizer, self.executor, self.asking, *self._ways)

    @cached_property
    def _people(self) -> PeopleSearch:
        """The search that resolves a name to a person."""
        from deputize.core.acts.people_search import PeopleSearch  # imported only if a tool resolves a person

        return PeopleSearch(self.services, self.catalog, self.authorizer, self.executor, self.asking)

    @cached_property
    def _first_contacts(self) -> FirstContactSearch:
        """The search for people in the user's sent mail."""
        from deputize.core.acts.first_contacts import FirstContactSearch  # imported only if an act needs it

        return FirstContactSearch(self._people, self.contacts)

    async def report_expired(self) -> None:
        """Report the questions of this process that expired without a decision to `on_question`."""
        for one in self.services.question_feed.take_expired(self.clock()):
            if isinstance(one.question, Consent):
                now: Consent | Approval | None = await self.consents.status(one.question.id)
            else:
                now = await self.approvals.get(one.question.id, by=one.user)
                now = now if now is None or now.id == one.question.id else None  # asked again by another process
            if now is None or now.status in ("pending", "expired"):
                self.services.question_feed.tell("expired", one.user, now or one.question)

    def dashboard_url(self) -> str:
        """Return the URL of the page where users see their connections and pending requests; "" in local mode. The URL
        is the same for all users and grants nothing, so a model may see it. Local mode uses
        `deputize.core.web.pages.local_links` instead."""
        return f"{self.services.home}/connections" if self.services.home else ""

    def derive_key(self, purpose: str) -> Secret:
        """Return a secret key for this purpose, the same in every process of one vault."""
        return Secret(
            hmac.digest(self.vault.keys.index, ("for " + purpose).encode(errors="surrogatepass"), "sha256").hex()
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this deputy from code that is not async: ``deputy.run(deputy.act(...))``."""
        return portal().run(work)

    async def close(self) -> None:
        """Write out the audit and close files and connections. Safe to call twice."""
        self.previewer.plans.close()
        self._ended.close()
        await self.sweeper.stop()
        if self.shipping:
            await self.shipping.stop()
        await self.outside.http.close()
        await self.services.close()

    async def __aenter__(self) -> Self:
        await self.sweeper.start()
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self.run(self.sweeper.start())
        return self

    def __exit__(self, *ended: object) -> None:
        self.run(self.close())
