"""The deputy: acts as a user, with what the user consented to, and answers for everything it does."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from deputize.core.act.approval import Approvals, Decision
from deputize.core.act.catalog import Catalog
from deputize.core.act.ledger import Ledger
from deputize.core.act.perform import Performer
from deputize.core.act.policy import Act, Call, Policy, Verdict, ask_before_sending, decide
from deputize.core.act.send import MissingScope, Sender, Sleep
from deputize.core.act.toolkit import Need, Tool, Toolkit, asks_of
from deputize.core.asks import Approval, Consent
from deputize.core.audit import Audit
from deputize.core.errors import (
    AccountMismatch,
    ConsentRequired,
    DeputizeError,
    PolicyDenied,
    ReconsentRequired,
)
from deputize.core.http import Http, Transport
from deputize.core.oauth.consent import Consents, FixedPages, Pages
from deputize.core.oauth.outbox import Outbox
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.providers import PROVIDERS
from deputize.core.oauth.refresh import GrantLost, Refresher
from deputize.core.oauth.registry import Registry
from deputize.core.oauth.revoke import Revoked, Revoker
from deputize.core.portal import portal
from deputize.core.vault.grant import Grant, GrantStatus, User
from deputize.core.vault.vault import Vault

if TYPE_CHECKING:
    from deputize.core.settings import Settings

T = TypeVar("T")
POLL: Final = 0.15


@dataclass(frozen=True, slots=True)
class Connection:
    """One connected account, for people: what was consented to, and whether it still holds. No token."""

    provider: str
    app: str
    account: str
    scopes: tuple[str, ...]
    words: tuple[str, ...]
    status: GrantStatus
    reason: str
    default: bool


class Lacking(Exception):
    """Between deciding and asking: an act lacks scopes, or a grant. Never leaves the deputy."""

    def __init__(self, act: Act, scopes: Sequence[str], held: Grant | None, why: str = "") -> None:
        super().__init__("lacking")
        self.act, self.scopes, self.held, self.why = act, scopes, held, why


class Deputy:
    """Acts as users. One per process is enough; it may be used from any thread and event loop.

    ``vault`` keeps grants; ``apps`` are the OAuth clients registered at providers; ``pages`` says where our own pages
    are served; ``policy`` is asked on every act; ``transport`` replaces the network, in tests. ``clock`` returns Unix
    seconds.
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
    ) -> None:
        self.vault, self.providers, self.agent, self.policy, self.clock = vault, providers, agent, policy, clock
        self.registry = Registry(apps, providers)
        self.apps = self.registry.apps
        self.pages = FixedPages(pages) if isinstance(pages, str) else pages
        self.audit = audit or Audit(None, vault.keys.audit, clock=clock)
        self.http = Http(transport)
        self.outbox = Outbox(vault, providers, self.apps, self.http, self.audit, clock)
        self.consents = Consents(
            vault, providers, self.apps, self.http, self.audit, self.pages, self.outbox, agent=agent, clock=clock
        )
        self.refresher = Refresher(vault, providers, self.apps, self.http, self.audit, self.outbox, clock)
        self.revoker = Revoker(vault, self.apps, self.audit, self.consents, self.outbox)
        self.approvals = Approvals(vault, self.audit, clock)
        self.sender = Sender(self.http, providers, self.refresher, clock, sleep)
        self.performer = Performer(Ledger(vault, clock), self.approvals, self.sender, self.refresher, self.audit)
        self._account_hash = lru_cache(maxsize=4096)(self.audit.digest)
        self.catalog = Catalog(toolkits)

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        policy: Policy = ask_before_sending,
        agent: str = "",
        transport: Transport | None = None,
    ) -> Deputy:
        """A deputy as ``DEPUTIZE_...`` variables and ``deputize.toml`` say; see `deputize.core.settings.Settings`.

        Without a ``base_url`` it works in local mode: one person, pages on loopback, keys made on the first run.
        Raises `SettingsError`, `VaultError` or `StoreUnavailable`, and then has changed nothing.
        """
        from deputize.core.settings import Settings

        settings = settings or Settings.load()
        vault = portal().run(settings.open_vault())
        audit = Audit(settings.audit_folder, vault.keys.audit, mode=settings.audit)
        pages = importlib.import_module("deputize.core.web.local").LocalPages(settings.port)
        deputy = cls(
            vault,
            settings.all_apps(),
            pages=settings.base_url or pages,
            audit=audit,
            agent=agent or settings.agent,
            policy=policy,
            providers=settings.all_providers(),
            transport=transport,
        )
        pages.deputy = deputy
        return deputy

    # ------------------------------------------------------------- acting

    async def act(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        user: User | str | None,
        account: str | None = None,
        call: Call | None = None,
        agent: str = "",
    ) -> Any:
        """One tool call as the user, from arguments to audited outcome. Returns the tool's result, plain JSON.

        ``call`` says where it came from: the same call never writes twice, whoever runs it again. Raises a
        `DeputizeError`; `ConsentRequired` and `ApprovalRequired` say what the user is to be asked.
        """
        began = time.monotonic()
        facts = self._facts(tool, user, call, agent)
        try:
            act = self._plan(tool, arguments, user, account, call, agent)
            facts |= {"provider": act.provider, "app": act.app, "effect": act.effect.words()}
            result = await self.performer.done(act) or (await self._performed(act, facts),)
        except Lacking as lacking:
            error = await self._ask([lacking])
            self.audit.write("act.result", **facts, decision=error.code, duration_ms=_since(began))
            raise error from None
        except BaseException as e:
            code = e.code if isinstance(e, DeputizeError) else "cut_off"
            self.audit.write("act.result", **facts, decision=code, duration_ms=_since(began))
            raise
        self.audit.write("act.result", **facts, decision="done", duration_ms=_since(began))
        return result[0]

    async def prepare(
        self,
        calls: Sequence[tuple[str, Mapping[str, Any], Call]],
        *,
        user: User | str | None,
        agent: str = "",
    ) -> list[DeputizeError | None]:
        """Everything that `act` does before it acts, for several calls: what stands in each one's way, or None.

        What several calls lack at one app is asked in one consent.
        """
        ways: list[DeputizeError | Lacking | None] = []
        for tool, arguments, call in calls:
            try:
                act = self._plan(tool, arguments, user, None, call, agent)
                if not await self.performer.done(act):
                    await self._permitted(act)
                ways.append(None)
            except (DeputizeError, Lacking) as e:
                ways.append(e)
        lacking = [way for way in ways if isinstance(way, Lacking)]
        answers: dict[int, DeputizeError] = {}
        for app in {one.act.app for one in lacking}:
            together = [one for one in lacking if one.act.app == app]
            answers |= await self._ask_together(together)
        return [answers[id(way)] if isinstance(way, Lacking) else way for way in ways]

    def _plan(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        user: User | str | None,
        account: str | None,
        call: Call | None,
        agent: str,
    ) -> Act:
        """The call, validated: whose, which tool, which effect, and the key that makes it this act."""
        who, what, call = User.of(user), self.catalog.tool(tool), call or Call()
        valid, app = what.validate(arguments), self.registry.app(what.provider)
        return Act(
            user=who,
            tool=what,
            arguments=valid,
            effect=what.effect_of(valid),
            call=call,
            agent=agent or self.agent,
            app=app.name,
            provider=app.provider,
            account=account,
            nonce="" if call.known else secrets.token_hex(16),
        )

    async def _permitted(self, act: Act, facts: dict[str, Any] | None = None) -> Grant:
        """Policy, then the grant, then the user's yes where the policy wants one."""
        verdict = await decide(self.policy, act)
        if verdict is Verdict.DENY:
            raise PolicyDenied(f"{act.tool.name} is not allowed here.")
        grant = await self._granted(act)
        if facts is not None:
            facts |= self._of(grant, act)
        if verdict is Verdict.ASK:
            await self.approvals.require(act, grant.account)
        return grant

    async def _granted(self, act: Act) -> Grant:
        """The user's grant with every scope that these arguments need."""
        grant = await self.vault.find(act.user, act.provider, act.app, act.account)
        if grant is None or grant.status != "active":
            raise Lacking(act, asks_of(act.needs), grant, grant.reason if grant else "")
        covered = self.providers[grant.provider].covered(grant.scopes)
        if asks := asks_of(act.needs, covered):
            raise Lacking(act, asks, grant)
        return grant

    async def _performed(self, act: Act, facts: dict[str, Any]) -> Any:
        """The act's result; what the provider says is missing is asked for, whatever the vault believed."""
        grant = await self._permitted(act, facts)
        needs = act.needs
        try:
            return await self.performer.perform(act, grant, facts)
        except GrantLost as lost:
            raise Lacking(act, asks_of(needs), lost.grant, lost.reason) from None
        except MissingScope as missing:
            asks = asks_of(needs, grant.scopes) or [n.ask for n in needs if not n.accepts.isdisjoint(missing.needed)]
            raise Lacking(act, asks or missing.needed[:1], grant, "scope_missing") from None

    # ------------------------------------------------------------- asking the user

    async def _ask_together(self, lacking: Sequence[Lacking]) -> dict[int, DeputizeError]:
        """One consent for all of them; each on its own if the user has just refused a part."""
        error = await self._ask(lacking)
        if isinstance(error, ConsentRequired) or len(lacking) == 1:
            return {id(one): error for one in lacking}
        return {id(one): (await self._ask_together([one]))[id(one)] for one in lacking}

    async def _ask(self, lacking: Sequence[Lacking]) -> DeputizeError:
        """The error that asks the user for what these acts lack, and for nothing else; or says why not to ask."""
        act, held, why = lacking[0].act, lacking[0].held, lacking[0].why
        try:
            consent = await self.consents.require(
                act.user,
                self.apps[act.app],
                [scope for one in lacking for scope in one.scopes],
                held=held if held is not None and held.status != "revoked" else None,
                account=act.account or "",
                ask=act.call.ask,
                why="" if why == "disconnected" else why,
                agent=act.agent,
            )
        except DeputizeError as refused:
            return refused
        label = self.providers[act.provider].label
        if consent.why:
            return ReconsentRequired(f"{label} must be connected again first.", consent=consent, reason=why)
        return ConsentRequired(f"The user must allow this at {label} first.", consent=consent)

    async def connect(
        self,
        user: User | str | None,
        provider: str = "",
        *,
        scopes: Iterable[str] = (),
        tools: Iterable[str] = (),
        app: str = "",
        account: str | None = None,
    ) -> list[Consent]:
        """Ask beforehand: one consent per app for these scopes and all that these tools need. Empty: all granted.

        Scopes may be given in full or by their last part (``gmail.readonly``).
        """
        who = User.of(user)
        asked: dict[str, list[Need]] = {}
        if provider or app:
            one = self.registry.app(provider, app)
            asked[one.name] = [Need(frozenset({s}), s) for s in self.registry.scopes(one.provider, scopes)]
        for name in tools:
            tool = self.catalog.tool(name)
            one = self.registry.app(tool.provider)
            asked.setdefault(one.name, []).extend(tool.usual_needs(one.provider))
        consents = []
        for name, needs in asked.items():
            one = self.apps[name]
            held = await self._held(who, one, account)
            covered = self.providers[one.provider].covered
            granted = covered(held.scopes) if held and held.status == "active" else None
            lacking = asks_of(needs, granted or frozenset())
            if lacking or granted is None:
                consents.append(
                    await self.consents.require(who, one, lacking, held=held, account=account or "", insist=True)
                )
        await self.outbox.pay()
        return consents

    async def _held(self, user: User, app: App, account: str | None) -> Grant | None:
        """The grant that a consent would widen; None for a first one, or for one more account."""
        try:
            return await self.vault.find(user, app.provider, app.name, account)
        except AccountMismatch:
            return None

    async def wait(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until each of these consents has ended, wherever that happens; how they ended, in order.

        Those that have not after ``timeout`` seconds come back as they are: pending or expired.
        """
        ids = [consent if isinstance(consent, str) else consent.id for consent in consents]
        deadline = time.monotonic() + timeout
        while True:
            found = [await self.consents.status(one) for one in ids]
            waiting = [c for c in found if c is not None and c.status == "pending"]
            if not waiting or time.monotonic() >= deadline:
                return [c for c in found if c is not None]
            await asyncio.sleep(min(POLL, max(deadline - time.monotonic(), 0)))

    async def decide(
        self, approval: Approval | str, decision: Decision, *, by: User | str | None, reason: str = ""
    ) -> Approval:
        """Record a user's answer to an approval. Raises `NotFound` for one that is not theirs."""
        one = approval if isinstance(approval, str) else approval.id
        return await self.approvals.decide(one, decision, by=User.of(by), reason=reason)

    # ------------------------------------------------------------- what is there

    async def connections(self, user: User | str | None) -> list[Connection]:
        """The user's connected accounts."""
        return [
            Connection(
                provider=grant.provider,
                app=grant.app,
                account=grant.account.name,
                scopes=_sorted(grant.scopes),
                words=tuple(self.registry.words(grant.provider, scope) for scope in _sorted(grant.scopes)),
                status=grant.status,
                reason=grant.reason,
                default=grant.default,
            )
            for grant in await self.vault.grants(User.of(user))
            if grant.status != "revoked"
        ]

    async def revoke(
        self, user: User | str | None, provider: str, *, app: str = "", account: str | None = None
    ) -> list[Revoked]:
        """Disconnect a user: here at once, at the provider as soon as it can be reached."""
        await self.outbox.pay()
        return await self.revoker.disconnect(User.of(user), self.registry.provider(provider).name, app, account)

    def tools(self, *toolkits: str) -> list[Tool]:
        """The tools of these toolkits, or of all there are."""
        return self.catalog.tools(*toolkits)

    # ------------------------------------------------------------- from sync code, and the end

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something of this deputy from code that is not async: ``deputy.run(deputy.act(...))``."""
        return portal().run(work)

    async def close(self) -> None:
        """Write out the audit, let go of files and connections. Safe to call twice."""
        await self.http.close()
        self.audit.close()
        await self.vault.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.run(self.close())

    # ------------------------------------------------------------- small things

    def _of(self, grant: Grant, act: Act) -> dict[str, Any]:
        """What an audit row says of the grant an act uses."""
        return {
            "account_hash": self._account_hash(grant.account.subject),
            "grant_gen": grant.generation,
            "scopes_required": asks_of(act.needs),
            "scopes_granted": _sorted(grant.scopes),
        }

    def _facts(self, tool: str, user: User | str | None, call: Call | None, agent: str) -> dict[str, Any]:
        """What every audit row of an act says, known before anything was checked."""
        who = user if isinstance(user, User) else User(str(user or ""))
        call = call or Call()
        return {
            "tenant": who.tenant,
            "user": who.id,
            "agent": agent or self.agent,
            "tool": str(tool)[:100],
            "thread": call.thread,
            "run": call.run,
            "call_id": call.id,
        }


@lru_cache(maxsize=4096)
def _sorted(scopes: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(scopes))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
