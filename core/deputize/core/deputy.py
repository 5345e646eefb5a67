"""The deputy: acts as a user, with what the user consented to, and answers for everything it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from deputize.core.act.act import Call
from deputize.core.act.approval import Approvals, Decision, Edit
from deputize.core.act.audited import audited, facts_of_act, facts_of_call
from deputize.core.act.budget import DEFAULT, Budgets
from deputize.core.act.catalog import Catalog
from deputize.core.act.erase import erase
from deputize.core.act.files import Files
from deputize.core.act.gate import Gate
from deputize.core.act.ledger import KEPT, Ledger
from deputize.core.act.missing_scopes import Asking, MissingScopes
from deputize.core.act.perform import Performer
from deputize.core.act.plans import Planner
from deputize.core.act.policy import Judge, Policy, ask_before_sending
from deputize.core.act.request import File
from deputize.core.act.runner import Sender, Sleep
from deputize.core.act.tool import Tool
from deputize.core.act.toolkit import Toolkit
from deputize.core.act.unauthenticated import PublicSender
from deputize.core.audit import Audit
from deputize.core.consent.consents import Consents, DeviceCode
from deputize.core.consent.record import Other
from deputize.core.consent.wait import ends_of
from deputize.core.engine import Engine, FixedPages, Pages
from deputize.core.errors import (
    DeputizeError,
    InvalidInput,
)
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.connections import Connection, connections_of
from deputize.core.grants.refresh import Refresher
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.revoke import Revoked, Revoker
from deputize.core.http import Http, Transport
from deputize.core.oauth.discover import Resolve, addresses_of
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import Registry
from deputize.core.pending import Approval, Consent
from deputize.core.portal import portal
from deputize.core.providers import PROVIDERS
from deputize.core.vault.grant import User
from deputize.core.vault.sweeping import Sweeper
from deputize.core.vault.vault import Vault

if TYPE_CHECKING:
    from deputize.core.settings import Settings

T = TypeVar("T")


class Deputy:
    """Acts as users. One per process is enough; it may be used from any thread and event loop.

    Made by `from_settings` or entered with ``with``, it removes what has expired as long as it runs; else
    ``sweeper.start()`` begins that.

    ``vault`` keeps grants; ``apps`` are the OAuth clients registered at providers; ``pages`` says where our own pages
    are served; ``policy`` is asked on every act; ``transport`` replaces the network, and ``resolve`` the look-up of
    names, in tests. ``clock`` returns Unix seconds. ``requests_per_minute``: how many requests one user's agents may
    send to one provider, infinite for no limit. ``outcomes_kept``: seconds after which a call that is run again is done
    again.
    """

    def __init__(
        self,
        vault: Vault,
        apps: Iterable[App],
        *,
        pages: Pages | str,
        audit: Audit | None = None,
        agent: str = "agent",
        policy: Policy = ask_before_sending,
        providers: Mapping[str, Provider] = PROVIDERS,
        toolkits: Iterable[Toolkit] | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        resolve: Resolve = addresses_of,
        requests_per_minute: float = DEFAULT,
        outcomes_kept: float = KEPT,
    ) -> None:
        self.vault, self.providers, self.agent, self.clock = vault, providers, agent, clock
        self.sleep = sleep
        self.registry = Registry(apps, providers)
        self.apps = self.registry.apps
        self.pages = FixedPages(pages) if isinstance(pages, str) else pages
        self.audit = audit or Audit(None, vault.keys.audit, clock=clock)
        self.http, self.outside = Http(transport), PublicSender(Http(transport, keep_alive=False), resolve)
        self.engine = Engine(vault, self.registry, self.http, self.audit, self.pages, agent, clock, sleep)
        self.outbox = RevocationQueue(self.engine)
        self.consents = Consents(self.engine, self.outbox)
        self.refresher = Refresher(self.engine, self.outbox)
        self.revoker = Revoker(self.engine, self.consents, self.outbox)
        self.accounts = Accounts(self.engine)
        self.asking = Asking(self.engine, self.accounts, self.consents)
        self.approvals = Approvals(self.engine)
        self.files, budgets = Files(vault, clock), Budgets(requests_per_minute, clock)
        self.sweeper = Sweeper(vault, self.files.remove, clock)
        self.sender = Sender(self.engine, self.refresher, self.outside, self.files, budgets)
        self.judge, self.ledger = Judge(policy), Ledger(self.engine, outcomes_kept)
        self.planner = Planner(self.engine, self.judge, self.approvals, self.sender, self.refresher)
        self.performer = Performer(self.engine, self.ledger, self.approvals, self.planner, self.sender, self.refresher)
        self.gate = Gate(
            self.engine,
            Catalog(toolkits),
            self.judge,
            self.accounts,
            self.ledger,
            self.approvals,
            self.planner,
            self.refresher,
            self.outbox,
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        policy: Policy = ask_before_sending,
        agent: str = "",
        providers: Mapping[str, Provider] | Iterable[Provider] | None = None,
        toolkits: Iterable[Toolkit] | None = None,
        transport: Transport | None = None,
    ) -> Deputy:
        """A deputy as ``DEPUTIZE_...`` variables and ``deputize.toml`` say; see `deputize.core.settings.Settings`.

        Without a ``base_url`` it works in local mode: one person, pages on loopback, keys made on the first run.
        ``providers``: more of them, beside those of the settings. ``toolkits``: these, instead of all that are
        installed. Raises `SettingsError`, `VaultError` or `StoreUnavailable`, and then has changed nothing;
        `ProviderUnavailable` for a server that is named by its issuer and was never reached.
        """
        from deputize.core.start import from_settings

        return from_settings(
            settings,
            policy=policy,
            agent=agent,
            providers=providers,
            toolkits=toolkits,
            transport=transport,
            kind=cls,
        )

    # ------------------------------------------------------------- acting

    async def act(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        user: User | str | None,
        account: str | None = None,
        app: str = "",
        call: Call | None = None,
        agent: str = "",
    ) -> Any:
        """One tool call as the user, from arguments to audited outcome. Returns the tool's result, plain JSON.

        ``account``: which of several, by its name or id; else the one the user chose. ``app``: which of several ways
        to the provider. ``call`` says where it came from: the same call never writes twice, whoever runs it again.
        Raises a `DeputizeError`; `ConsentRequired` and `ApprovalRequired` say what the user is to be asked.
        """
        facts = facts_of_call(tool, user, call, agent or self.agent)
        async with audited(self.audit, self.asking, facts):
            act = await self.gate.plan(tool, arguments, user, account, call, agent, app)
            facts |= facts_of_act(act, called=tool)
            if recorded := await self.ledger.outcome(act):
                return recorded.result
            act, grant = await self.gate.permitted(act, facts)
            async with self.gate.lacking(act, grant):
                return await self.performer.perform(act, grant, facts)

    async def prepare(
        self,
        calls: Sequence[tuple[str, Mapping[str, Any], Call]],
        *,
        user: User | str | None,
        agent: str = "",
        approved: set[str] | None = None,
    ) -> list[DeputizeError | None]:
        """Everything that `act` does before it acts, for several calls: what stands in each one's way, or None.

        What several calls lack at one app is asked in one consent. ``approved``: is given the ids of the calls that may
        go on because the user said yes.
        """
        blockers: list[DeputizeError | MissingScopes | None] = []
        for tool, arguments, call in calls:
            try:
                act = await self.gate.plan(tool, arguments, user, None, call, agent)
                if await self.gate.ahead(act) and approved is not None:
                    approved.add(call.id)
                blockers.append(None)
            except (DeputizeError, MissingScopes) as e:
                blockers.append(e)
        return await self.asking.together(blockers)

    @property
    def catalog(self) -> Catalog:
        """The tools there are."""
        return self.gate.catalog

    @property
    def policy(self) -> Policy:
        """What is asked on every act. May be exchanged at any time."""
        return self.judge.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.judge.policy = policy

    # ------------------------------------------------------------- asking the user

    async def connect(
        self,
        user: User | str | None,
        provider: str = "",
        *,
        scopes: Iterable[str] = (),
        tools: Iterable[str] = (),
        app: str = "",
        account: str | None = None,
        another: bool = False,
        allow_switch: bool = False,
    ) -> list[Consent]:
        """Ask beforehand: one consent per app for these scopes and all that these tools need. Empty: all granted.

        Scopes may be given in full or by their last part (``gmail.readonly``). ``account``: the one that must come
        back. ``another``: one more account, whichever the user chooses, beside those that are connected.
        ``allow_switch``: the account that comes back acts from now on, with what the one before may do; that one stays
        connected. Without either, another account than the one that is connected is refused.
        """
        if another and allow_switch:
            raise InvalidInput("One more account, or another one instead: not both.", fix_by="operator")
        who, other = User.of(user), _other(another, allow_switch)
        chosen = [await self.gate.tool(name) for name in tools]
        wanted = await self.asking.wanted(who, provider, scopes, chosen, app, account)
        consents = await self.asking.beforehand(who, wanted, account, other)
        await self.outbox.flush()
        return consents

    async def wait(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until each of these consents has ended, wherever that happens; how they ended, one for each, in order.

        One whose scopes the user's grant has by now, by whichever link, counts as granted (``why`` is ``elsewhere``).
        Those that have not ended after ``timeout`` seconds come back as they are: pending or expired. One that was
        removed meanwhile, as with its user, counts as failed. Raises `NotFound` for an id that no consent has had.
        """
        return await ends_of(self.consents, consents, timeout)

    async def by_device(
        self, user: User | str | None, consent: Consent | str, tell: Callable[[DeviceCode], None]
    ) -> Consent:
        """Finish a consent without a browser here: ``tell`` shows a code that the user enters elsewhere. How it ended.

        For local mode only, where the person at the terminal is the user (RFC 8628 5.4). Raises `SettingsError`
        anywhere else, and `InvalidInput` where the provider gives no codes.
        """
        one = consent if isinstance(consent, str) else consent.id
        return await self.consents.by_device(one, User.of(user), tell, self.sleep)

    async def choose(self, user: User | str | None, provider: str, account: str, *, app: str = "") -> None:
        """Let this connected account (by its name or id) act for the user where none is named.

        Raises `AccountMismatch` for one that is not connected, or a name that several have.
        """
        await self.accounts.choose(User.of(user), self.registry.provider(provider).name, account, app)

    async def decide(
        self,
        approval: Approval | str,
        decision: Decision,
        *,
        by: User | str | None,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> Approval:
        """Record a user's answer to an approval: ``approve``, ``reject``, or ``edit`` with other ``arguments``.

        An edit is a yes to the act with exactly these arguments, all of them; the policy and the grant are looked at
        again when it is done. Raises `NotFound` for an approval that is not theirs, `InvalidInput` for arguments that
        the tool does not take.
        """
        one, who = approval if isinstance(approval, str) else approval.id, User.of(by)
        edit = None
        if arguments is not None:
            edit = Edit.of(await self.gate.tool(str((await self.approvals.row(one, who)).json["tool"])), arguments)
        return await self.approvals.decide(one, decision, by=who, reason=reason, edit=edit)

    # ------------------------------------------------------------- what is there

    async def connections(self, user: User | str | None) -> list[Connection]:
        """The user's connected accounts. ``default``: acts where none is named."""
        return await connections_of(User.of(user), self.engine, self.accounts)

    async def revoke(
        self,
        user: User | str | None,
        provider: str = "",
        *,
        app: str = "",
        account: str | None = None,
        leaked: bool = False,
    ) -> list[Revoked]:
        """Disconnect a user, from one provider or from all: here at once, there as soon as it can be reached.

        ``leaked``: somebody else may have the tokens. They are ended without the app's secret where the provider can do
        that (GitHub), which tells their owner; elsewhere as usual.
        """
        name = self.registry.provider(provider).name if provider else ""
        who = User.of(user)
        await self.outbox.flush(but=self.vault.place(who))
        ended = await self.revoker.disconnect(who, name, app, account, leaked=leaked)
        await self.accounts.appoint(who, {one.provider for one in ended})
        return ended

    async def revoke_all(self, *, tenant: str | None = None, leaked: bool = False) -> list[Revoked]:
        """Disconnect every user, or every user of one tenant, from all providers. ``leaked``: as in `revoke`."""
        return await self.revoker.disconnect_all(tenant, leaked=leaked)

    async def keep_file(self, user: User | str | None, name: str, mime: str, content: bytes) -> dict[str, Any]:
        """Keep a file for the user, sealed, for a day: what its handle is, ``{file, name, mime, size, expires}``.

        Raises `InvalidInput` for more than 25 MiB, or than 100 MiB or a thousand files with the user's others.
        """
        return await self.files.keep(User.of(user), File(name, mime, content))

    async def file(self, user: User | str | None, handle: str) -> File:
        """The user's file behind a handle. Raises `NotFound` for any other."""
        return await self.files.take(User.of(user), handle)

    async def erase(self, user: User | str | None) -> list[Revoked]:
        """Disconnect a user from all providers, and remove what is kept for them: files, results, approvals, consents.

        What is under way ends by itself; its row goes when it expires. The audit stays.
        """
        who = User.of(user)
        ended = await self.revoke(who)
        await erase(who, self.vault, self.files)
        self.audit.write("user.erased", tenant=who.tenant, user=who.id)
        return ended

    def tools(self, *names: str, read_only: bool = False) -> list[Tool]:
        """The tools of these toolkits (``github``), toolsets (``github:actions``, ``github:all``) and names; or all.

        ``read_only``: only those that never change anything. Raises `InvalidInput` for a name nobody has.
        """
        return self.catalog.tools(*names, read_only=read_only)

    async def ready_tools(self, user: User | str | None, *names: str, read_only: bool = False) -> list[Tool]:
        """Those of these tools that the user's grants allow already, as they are called without unusual arguments."""
        who, found = User.of(user), await asyncio.to_thread(self.tools, *names, read_only=read_only)
        return await self.gate.ready(who, found)

    # ------------------------------------------------------------- from sync code, and the end

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something of this deputy from code that is not async: ``deputy.run(deputy.act(...))``."""
        return portal().run(work)

    async def close(self) -> None:
        """Write out the audit, let go of files and connections. Safe to call twice."""
        self.planner.plans.close()
        await self.sweeper.stop()
        await self.http.close()
        await self.outside.http.close()
        await asyncio.to_thread(self.audit.close)  # it may wait for the disk
        await self.vault.close()

    async def __aenter__(self) -> Self:
        await self.sweeper.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self.run(self.sweeper.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.run(self.close())


def _other(another: bool, allow_switch: bool) -> Other:
    return "another" if another else "switch" if allow_switch else ""
