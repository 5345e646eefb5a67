"""The methods of a deputy that act for users."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from deputize.core.acts.audit_record import AuditedCall, CallRow
from deputize.core.acts.erase import erase
from deputize.core.acts.missing_scopes import MissingScopes, other_account
from deputize.core.acts.offboard import Offboarded, offboard
from deputize.core.approvals.mandate_record import Mandate, MandateOffer
from deputize.core.approvals.record import Edit
from deputize.core.approvals.service import Decision
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import OperatorDisconnects, TenantErased
from deputize.core.audit.pseudonyms import Person
from deputize.core.components import Components
from deputize.core.consent.consents import DeviceCode
from deputize.core.consent.waiter import wait_for_ends
from deputize.core.ended_questions import OnEndedQuestion, handle_each
from deputize.core.errors import DeputizeError, InvalidInput, PolicyDenied, StoreUnavailable
from deputize.core.grants.connections import Connection, TenantConnection, connections_in_tenant, connections_of
from deputize.core.grants.revoke import Revoked
from deputize.core.idempotency.ledger import no_longer_permitted
from deputize.core.idempotency.undo import Undoable
from deputize.core.question_feed import OnQuestion, QuestionChange
from deputize.core.roles import Role
from deputize.core.tools.act import Call, ToolCall
from deputize.core.tools.app_binding import bind_to_app
from deputize.core.tools.preview import Audience
from deputize.core.tools.search import DEFAULT_RESULTS, ToolIndex
from deputize.core.tools.steps import File
from deputize.core.tools.tool import Effect, Tool
from deputize.core.user_requests import Approval, Consent, id_of
from deputize.core.vault.data_keys import ERASURE_WAIT_SECONDS
from deputize.core.vault.grant import AnyUser, User
from deputize.core.vault.tenants import delete_rows, users_by_prefix
from deputize.core.vault.user import NO_USER
from deputize.core.visible_text import visible

if TYPE_CHECKING:
    from deputize.core.acts.job import Job
    from deputize.core.acts.preflight import Preflight

MAX_REASON_CHARACTERS: Final = 300
"""Characters of an operator's reason in the audit."""


class BaseDeputy(Components):
    """The methods of `Deputy`, without the constructor that reads settings. `Components` holds the parts. The pages use
    this class, because they are created before the deputy is complete."""

    def __deepcopy__(self, memo: Any) -> Self:
        """Return this deputy: a framework that copies a run or an agent copies its tools, but not the vault behind
        them."""
        return self

    async def act(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        user: AnyUser,
        account: str | None = None,
        app: str = "",
        call: Call | None = None,
        agent: str = "",
    ) -> Any:
        """Run one tool call as the user and return the tool's result as plain JSON.

        The result is ``Any``, because each tool has its own form, also tools of foreign servers and generated ones.
        ``account``: name or id; default: the user's default account. ``app``: the app to use if several serve the
        provider. ``call``: identifies the call in its run. The same call never writes twice, even if another process
        repeats it. Raises a `DeputizeError`; `ConsentRequired` and `ApprovalRequired` carry the request for the user.
        """
        row = CallRow.start(tool, user, call, agent or self.agent)
        async with AuditedCall(self.audit, self.asking, row):
            act = await self.resolver.resolve(tool, arguments, user, account, call, agent, app)
            row.record_act(act, tool, self.ledger.act_id(act))
            if self.lag_gate is not None:
                await self.lag_gate(writes=act.effect is not Effect.READS)
            async with self.act_reads.read_before_lock(act):
                if recorded := await self.ledger.outcome(act):
                    return recorded.result
                try:
                    act, grant, _ = await self.authorizer.authorize(act, row)
                except PolicyDenied:
                    if await self.ledger.has_begun(act):
                        raise no_longer_permitted(act) from None
                    raise
                return await self.executor.execute(act, grant, row)

    async def undo(self, user: AnyUser, act: str, *, agent: str = "") -> Any:
        """Undo an act by running its inverse as a new act, and return the result. ``act``: an id from `undoable`.

        An act is undone at most once. Raises the errors of `act`. Raises `Conflict` if somebody has changed the values
        that the act wrote (``stale``) or the act cannot be undone (``not_undoable``). Raises `NotFound` if the act is
        unknown or too old.
        """
        back = await self.undoing.inverse(User.of(user), act)
        return await self.act(
            back.tool, back.arguments, user=user, account=back.account, app=back.app, call=back.call, agent=agent
        )

    async def undoable(self, user: AnyUser) -> list[Undoable]:
        """Return the user's acts that can be undone now, newest first."""
        return await self.undoing.undoable(User.of(user))

    async def check_calls(
        self,
        calls: Iterable[ToolCall],
        *,
        user: AnyUser,
        app: str = "",
        agent: str = "",
        approved: set[str] | None = None,
        beside: Iterable[ToolCall] = (),
    ) -> list[DeputizeError | None]:
        """Return one entry per call: the error that `act` would raise now (consent, approval, policy, scopes), or None.
        Writes nothing at a provider. If several calls need scopes of one app, they share one consent. ``approved``: a
        set to which the ids of the calls that the user approved are added. ``beside``: other calls of the same message,
        which are checked elsewhere. The consent also lists the scopes that they lack, so that all checks of a message
        request the same consent. Read only if a consent is needed."""
        found = await self.checker.blockers(calls, user, agent, approved, app)
        needed = any(isinstance(one, MissingScopes) for one in found)
        others = await self.checker.missing_scopes(beside, user, agent, app) if needed else []
        return await self.asking.errors_for(found, others)

    async def preflight(self, job: Job | Mapping[str, Any]) -> Preflight:
        """Return what a job without a person lacks, before it runs. ``job``: from `read_job`, or the content of such a
        file as a mapping. Sends nothing and stores nothing. Raises `SettingsError` for a job that is not valid."""
        from deputize.core.acts.job import Job, parse_job
        from deputize.core.acts.preflight import JobChecker  # imported only if it is used

        core = self.services, self.resolver, self.authorizer, self.previewer, self.judge
        return await JobChecker(*core, self.roles, self.lag_gate).check(job if isinstance(job, Job) else parse_job(job))

    async def resolve_call(
        self, tool: str, arguments: Mapping[str, Any], *, user: AnyUser, app: str = "", thread: str
    ) -> Call:
        """Return a stable `Call` for a request, for protocols that send no call ids. Until `mark_delivered`, equal
        requests of the user in this ``thread`` get the same call in every process. Raises `InvalidInput` as `act` does.
        """
        return await self.recognizing.call(tool, arguments, User.of(user), thread, app)

    async def mark_delivered(self, call: Call, *, user: AnyUser) -> None:
        """Record that the caller received the outcome of this call. An equal request afterwards is a new call."""
        await self.recognizing.conclude(call, User.of(user))

    # ------------------------------------------------------------- consents and approvals

    async def connect(
        self,
        user: AnyUser,
        provider: str = "",
        *,
        scopes: Iterable[str] = (),
        tools: Iterable[str] = (),
        app: str = "",
        account: str | None = None,
        add_account: bool = False,
        switch_account: bool = False,
        renew: bool = False,
    ) -> list[Consent]:
        """Request consent in advance, and return one consent per app that is missing some of these scopes and tools.

        ``scopes``: in full or by their last part (``gmail.readonly``). ``account``: the account that must consent.
        ``add_account``: connect one more account, which the user picks. ``switch_account``: the account that consents
        becomes the default and gets the scopes of the previous default, which stays connected. If neither is set, only
        the connected account is accepted. ``renew``: also request the scopes that the account has, so that it is
        connected anew before it ends (`Connection.end`).
        """
        who, other = User.of(user), other_account(add_account, switch_account)
        await self.consents.recover(who)
        chosen = [await self.resolver.tool(name) for name in tools]
        wanted = await self.asking.needs_by_app(who, provider, scopes, chosen, app, account)
        return await self.asking.request_consents(who, wanted, account, other, renew=renew)

    def on_question(self, function: OnQuestion) -> None:
        """Call this function with each new consent and approval, and when it is decided, expires or is superseded.

        It runs in the background, for what this process does: see `QuestionChange`. Several functions are possible.
        Raises `InvalidInput` for anything else than a function.
        """
        if not callable(function):
            raise InvalidInput(
                f"on_question takes a function, not {type(function).__name__}.",
                hint="Pass a sync or async function of one QuestionChange.",
                fix_by="operator",
            )
        self.services.question_feed.functions.append(function)

    def ended_questions(self, *, name: str = "") -> AsyncGenerator[QuestionChange]:
        """Yield each question for which a conversation waited and which has ended, of all users and in any process:
        first those that ended earlier and are still stored, then each as it ends.

        Resume `QuestionChange.thread` as `QuestionChange.user`, after a look whether it still waits: each start yields
        the ended questions of the last day again. A question that ends for several conversations is yielded for each.
        ``decided``: see the question's ``status``. ``expired``: a resumed run asks again. ``superseded``: the act began
        without this question. A consent that expired may be decided later. A question that was replaced by another is
        not yielded, because its conversation waits for the other one.

        One process at a time receives the questions. When it ends, another one continues. ``name``: a second
        application with the same vault needs a name of its own, and then receives all questions too. The stream ends
        when the deputy is closed.
        """
        return self._ended.stream(name)

    async def handle_ended_questions(
        self, function: OnEndedQuestion, *, name: str = "", max_concurrent: int = 8
    ) -> None:
        """Call this async function with each item of `ended_questions`, until cancelled or the deputy is closed.

        At most ``max_concurrent`` calls run at the same time, and one for each conversation. If the function raises, it
        is called again after a minute, then after twice as long, an hour at most, for a day. Raises `InvalidInput` if
        the arguments are invalid.
        """
        if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
            raise InvalidInput(
                f"handle_ended_questions takes an async function, not {type(function).__name__}.",
                hint="Pass an async function of one QuestionChange.",
                fix_by="operator",
            )
        if type(max_concurrent) is not int or max_concurrent < 1:
            raise InvalidInput("max_concurrent must be a whole number above 0.", fix_by="operator")
        await handle_each(self.ended_questions(name=name), function, max_concurrent)

    async def pending(self, user: AnyUser) -> list[Consent | Approval]:
        """Return all consents and approvals that wait for the user, from every run, consents first."""
        return [*await self.consents.list_pending(User.of(user)), *await self.approvals.list_pending(User.of(user))]

    async def pending_of_others(self, user: AnyUser) -> list[Approval]:
        """Return pending approvals of other users in the tenant that this user may decide by one of the user's roles.
        The oldest come first. Returns at least 20 if there are as many, but not always all."""
        return (await self.approvals.list_for_approver(User.of(user)))[0]

    async def get_consent(self, consent: Consent | str) -> Consent | None:
        """Return the current state of a consent, even of a closed one. None if it is unknown or was deleted."""
        return await self.consents.status(id_of(consent))

    async def get_approval(self, approval: Approval | str, *, by: AnyUser, timeout: float = 0.0) -> Approval | None:
        """Return the current state of an approval, or None if it belongs to another user or was deleted. Waits at most
        ``timeout`` seconds for a decision, or for the approval to change. If it has changed since it was shown under
        this id, the returned approval has another id, and ``changed_fields`` names what changed."""
        return await self.approvals.wait_for_decision(id_of(approval), User.of(by), timeout)

    async def wait_for_consents(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until all these consents have ended, in any process, and return them in the same order.

        If the user granted the scopes through another link, the consent is ``granted`` with ``reason_code``
        ``elsewhere``. Consents that have not ended after ``timeout`` seconds are returned as pending or expired. A
        consent that is deleted during the wait is ``failed``. Raises `NotFound` for an id that never existed.
        """
        return await wait_for_ends(self.consents, consents, timeout)

    async def connect_by_device_code(
        self, user: AnyUser, consent: Consent | str, tell: Callable[[DeviceCode], None]
    ) -> Consent:
        """Complete a consent by device code, without a browser on this machine, and return it.

        ``tell`` receives the code for the user. Raises `SettingsError` outside local mode (RFC 8628 5.4), and
        `InvalidInput` if the provider issues no device codes.
        """
        return await self.consents.connect_by_device_code(id_of(consent), User.of(user), tell, self.sleep)

    async def set_default_account(self, user: AnyUser, provider: str, account: str, *, app: str = "") -> None:
        """Make this connected account (name or id) the default, used by calls that name no account."""
        await self.registry.wait_until_loaded(provider)
        await self.accounts.choose(User.of(user), self.registry.provider(provider).name, account, app)

    async def decide(
        self,
        approval: Approval | str,
        decision: Decision,
        *,
        by: AnyUser,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
        mandate: MandateOffer | None = None,
    ) -> Approval:
        """Record a user's decision on an approval: ``approve``, ``reject``, or ``edit`` with other ``arguments``.

        ``by``: the user whose act it is. If the policy asks a role instead (`Approval.approvers`), another user of the
        tenant who has the role (`deputize.core.roles`). That person can approve or reject, but not edit. The user whose
        act it is can then only reject.
        ``arguments``: all arguments of the act, for an edit, which approves the act with exactly these. Policy and
        grant are checked again when the act runs. ``mandate``: also approves further acts like this one, only with
        ``approve``. A later rejection ends that mandate.

        Raises `NotFound` if this person may not decide the approval, and `InvalidInput` if the arguments or the mandate
        are invalid. Raises `Conflict` if the decision comes too late; the message says how the act ended. Raises
        `Conflict` with ``reason`` "changed", and decides nothing, if the approval has changed since it was shown under
        this id; `get_approval` returns it as it is now. A rejection counts all the same.
        """
        approval_id, user = id_of(approval), User.of(by)
        if mandate is not None:
            return await self._mandates.approve(approval_id, decision, mandate, by=user, reason=reason)
        edit = None
        if arguments is not None:
            record = await self.approvals.load_decidable(approval_id, user)
            edit = Edit.of(await self.resolver.tool(record.tool), arguments)
        if decision == "reject":
            return await self._mandates.reject(approval_id, by=user, reason=reason, edit=edit)
        return await self.approvals.decide(approval_id, decision, by=user, reason=reason, edit=edit)

    async def create_mandate(
        self,
        user: AnyUser,
        *,
        tools: Iterable[str],
        targets: Iterable[str],
        max_acts: int,
        expires_at: float,
        audience: Audience = Audience.PEOPLE,
        agent: str = "",
        allow_destructive: bool = False,
    ) -> Mandate:
        """Approve ``max_acts`` acts of ``agent`` in advance, at the user's request, until ``expires_at`` (Unix
        seconds).

        ``targets``: ids or addresses of people, ``@acme.example`` for everybody in that domain, or a place as a
        `Preview` names it. A mandate replaces approvals. It does not override a denial by the policy. Raises
        `InvalidInput` that says which of these acts a mandate cannot cover.
        """
        chosen, offer = [await self.resolver.tool(name) for name in tools], MandateOffer(max_acts, expires_at)
        return await self._mandates.give(User.of(user), chosen, [*targets], audience, offer, agent, allow_destructive)

    async def mandates(self, user: AnyUser) -> list[Mandate]:
        """Return the user's valid mandates with their use counts, ordered by expiry."""
        return await self._mandates.list_valid(User.of(user))

    async def revoke_mandate(self, user: AnyUser, mandate: Mandate | str) -> None:
        """End a mandate, so that no further act starts under it. Raises `NotFound` if the mandate has ended or belongs
        to another user."""
        await self._mandates.end(User.of(user), id_of(mandate))

    async def dismiss_approval(self, approval: Approval | str, *, by: AnyUser) -> None:
        """Record that the user closed a pending approval without a decision. It is asked again under a new id, which
        `get_approval` returns; a decision with the old one still counts. Does nothing for another user's approval."""
        await self.approvals.dismiss(id_of(approval), User.of(by))

    # ------------------------------------------------------------- connections, files and tools

    async def connections(self, user: AnyUser) -> list[Connection]:
        """Return the user's connected accounts. ``default``: True for the account of calls that name none."""
        return await connections_of(User.of(user), self.services, self.accounts)

    async def revoke(
        self, user: AnyUser, provider: str = "", *, app: str = "", account: str | None = None, leaked: bool = False
    ) -> list[Revoked]:
        """Disconnect a user from one provider, or from all, and end the mandates that depend on it.

        The user is disconnected in deputize at once, and at the provider as soon as it can be reached. ``account``:
        disconnect only this account, given by its name, its id at the provider or its connection's id. ``leaked``: set
        it if others may have the tokens. A provider that supports this (GitHub) then revokes them without the app's
        secret and notifies their owner. Raises `InvalidInput` for a provider that is in neither the settings nor the
        user's grants.
        """
        ended = await self.revoker.disconnect(User.of(user), provider, app, account, leaked=leaked)
        await self._mandates.end_for_accounts(User.of(user), {grant.account for grant in ended} if provider else None)
        return ended

    async def disconnect_for(
        self,
        operator: AnyUser,
        user: str,
        provider: str = "",
        *,
        reason: str,
        app: str = "",
        account: str | None = None,
    ) -> list[Revoked]:
        """Disconnect another user of the operator's tenant, like `revoke`. The audit records the operator, the user and
        the reason.

        Raises `PolicyDenied` unless the operator has the role ``operator`` now, and `InvalidInput` without a reason.
        """
        who = User.of(operator)
        if Role.OPERATOR not in await self.roles.of_person(who):
            raise PolicyDenied(
                "Only an operator disconnects other users.", hint="The role operator comes from the setting roles."
            )
        if not (why := " ".join(str.split(reason))):
            raise InvalidInput("A reason is required: the audit names it.", fix_by="user", reason="no_reason")
        whom = User.of(User(user, who.tenant))
        of_user = OfUser(tenant=whom.tenant, user=whom.id)
        event = OperatorDisconnects(of_user, Person(who.id), visible(why)[:MAX_REASON_CHARACTERS], provider, app)
        await self.audit.record(event)
        return await self.revoke(whom, provider, app=app, account=account)

    async def connections_in_tenant(self, operator: AnyUser, *, after: str = "") -> tuple[list[TenantConnection], str]:
        """Return one page of the connected accounts of all users of the operator's tenant, and the ``after`` for the
        next page, "" on the last one. Raises `PolicyDenied` unless the operator has the role ``operator`` now."""
        who = User.of(operator)
        if Role.OPERATOR not in await self.roles.of_person(who):
            raise PolicyDenied(
                "Only an operator sees who is connected.", hint="The role operator comes from the setting roles."
            )
        return await connections_in_tenant(self.vault, who.tenant, after)

    async def revoke_all(self, *, tenant: str | None = None, leaked: bool = False) -> list[Revoked]:
        """End all grants and mandates of all users, or of one tenant's users. They end in deputize at once, with one
        write. Then they are revoked at the providers, page by page. An interrupted revocation is continued.
        ``leaked``: as in `revoke`."""
        return await self.revoker.disconnect_all(tenant, leaked=leaked)

    async def store_file(self, user: AnyUser, name: str, mime: str, content: bytes) -> dict[str, Any]:
        """Store a file for the user, encrypted and for a limited time. Return ``{file, name, mime, size, expires}``,
        where ``file`` is its handle. Raises `InvalidInput` above 25 MiB, or if the user would have more than 100 MiB or
        a thousand files."""
        return await self.files.keep(User.of(user), File(name, mime, content))

    async def get_file(self, user: AnyUser, handle: str) -> File:
        """Return the user's file with this handle. Raises `NotFound` for an unknown handle or another user's."""
        return await self.files.take(User.of(user), handle)

    async def offboard(self, user: AnyUser, reason: str) -> Offboarded:
        """End a user's access: sessions, mandates, open approvals, consents and grants. They end in deputize at once,
        and at the providers as soon as those can be reached. The user's data stays: see `erase`. ``reason``: for the
        audit, 200 characters at most. May be repeated. Your application can still call as this user afterwards."""
        user = User.of(user)
        revoke = partial(self.revoke, user)
        return await offboard(user, reason, self.services, self.approvals, self._mandates, revoke)

    async def erase(self, user: AnyUser) -> list[Revoked]:
        """Disconnect a user from all providers and delete the user's files, results, approvals, mandates and consents.
        Acts in progress finish; their records are deleted when they expire. The audit is not deleted."""
        user = User.of(user)
        ended = await self.revoke(user)
        await self.ledger.unsaved.settle_all()  # else it would be stored again as an outcome
        caches = (self.provenance, self.contacts, self._first_contacts, self.act_reads)
        await erase(user, self.services, self.consents, self.files, *caches)
        return ended

    async def erase_tenant(self, tenant: str) -> list[Revoked]:
        """Disconnect all users of a tenant from all providers, delete their data, and erase the tenant's data key. Then
        no copy of a record can be decrypted without a copy of the data key.

        If the tenant has a data key, this waits for `ERASURE_WAIT_SECONDS`, in which other processes stop writing for
        it. If it is interrupted, the tenant stays closed until you repeat it. Repeat it also if an older backup was put
        in the vault's place. The audit is not deleted. Raises `InvalidInput` without a tenant, and `StoreUnavailable`
        if another process is erasing the tenant.
        """
        tenant = User.from_values(None, tenant, by="The application").tenant
        if not tenant:
            raise InvalidInput("A tenant is required.", hint="Erase a user without a tenant by `erase`.")
        data_keys = self.vault.data_keys
        async with AsyncExitStack() as alone:
            try:
                await alone.enter_async_context(self.vault.store.lock(f"erasure {data_keys.place(tenant)}", 0.0))
            except TimeoutError:
                raise StoreUnavailable("Another process is erasing this tenant.", hint="Wait until it ends.") from None
            return await self._erase_tenant(tenant)

    async def _erase_tenant(self, tenant: str) -> list[Revoked]:
        data_keys = self.vault.data_keys
        if await data_keys.close(tenant):
            await self.services.sleep(ERASURE_WAIT_SECONDS)
        await delete_rows(self.vault, tenant, {}, only_erased=True)  # they would stop what follows
        ended = await self.revoke_all(tenant=tenant)
        known = await users_by_prefix(self.vault)
        users = [user for user in known.values() if user.tenant == tenant and not user.id.startswith(NO_USER)]
        for user in users:
            ended += await self.erase(user)
        await self.audit.record(TenantErased(tenant, users=len(users)))
        await data_keys.erase(tenant, self.clock())
        await delete_rows(self.vault, tenant, known)
        await data_keys.reopen(tenant)
        return ended

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        """Return the tools of these toolkits (``github``), toolsets (``github:actions``) and names; see
        `Catalog.tools`. ``app``: describe the tools for this app. Raises `InvalidInput` if the app serves another
        provider."""
        return bind_to_app(self.catalog.tools(*names, read_only=read_only), self.registry, app)

    def search_tools(
        self, query: str, *names: str, limit: int = DEFAULT_RESULTS, read_only: bool = False
    ) -> list[Tool]:
        """Return the tools that match a query, best first; see `ToolIndex.search` and `Deputy.tools`."""
        return ToolIndex(self.tools(*names, read_only=read_only)).search(query, limit)

    async def authorized_tools(self, user: AnyUser, *names: str, read_only: bool = False) -> list[Tool]:
        """Return the named tools that the user's grants already allow, judged by a call with default arguments."""
        tools = await asyncio.to_thread(self.tools, *names, read_only=read_only)
        return await self.resolver.ready(User.of(user), tools)
