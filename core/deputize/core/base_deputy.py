"""What a deputy does for users: it acts as them, with what they consented to, and answers for everything it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deputize.core.acts.audit_record import AuditedCall, CallRow
from deputize.core.acts.erase import erase
from deputize.core.acts.missing_scopes import other_account, report_missing_scopes
from deputize.core.approvals.mandate_record import Mandate, MandateOffer
from deputize.core.approvals.record import Edit
from deputize.core.approvals.service import Decision
from deputize.core.consent.consents import DeviceCode
from deputize.core.consent.waiter import ends_of
from deputize.core.errors import DeputizeError
from deputize.core.grants.connections import Connection, connections_of
from deputize.core.grants.revoke import Revoked
from deputize.core.idempotency.undo import Undoable
from deputize.core.tools.act import Call, ToolCall
from deputize.core.tools.app_binding import through
from deputize.core.tools.preview import Audience
from deputize.core.tools.search import LIMIT, ToolIndex
from deputize.core.tools.steps import File
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Approval, Consent, id_of
from deputize.core.vault.grant import AnyUser, User
from deputize.core.wiring import Components


class BaseDeputy(Components):
    """All methods of `Deputy`, except that it is not made from settings: the pages work with it, and these are made
    when a deputy is made from settings. What it is made of is in `Components`."""

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
        """One tool call as the user, from arguments to audited outcome. Returns the tool's result, plain JSON.

        ``account``: which of several, by its name or id; else the one the user chose. ``app``: which of several ways
        to the provider. ``call`` says where it came from: the same call never writes twice, whoever runs it again.
        Raises a `DeputizeError`; `ConsentRequired` and `ApprovalRequired` say what the user is to be asked.
        """
        row = CallRow.begun(tool, user, call, agent or self.agent)
        async with AuditedCall(self.audit, self.asking, row):
            act = await self.resolver.resolve(tool, arguments, user, account, call, agent, app)
            row.validated(act, tool, self.ledger.act_id(act))
            if recorded := await self.ledger.outcome(act):
                return recorded.result
            act, grant, _ = await self.authorizer.authorize(act, row)
            with report_missing_scopes(self.providers, act, grant):
                return await self.executor.execute(act, grant, row)

    async def undo(self, user: AnyUser, act: str, *, agent: str = "") -> Any:
        """Put back what an act has done, as one more act of the user: its result. ``act``: an id of `undoable`.

        Once, however often it is asked for. Raises as `act` does; `Conflict` for what somebody has changed since
        (``stale``) or what cannot be put back (``not_undoable``), `NotFound` for what is not known, or not any more.
        """
        back = await self.undoing.inverse(User.of(user), act)
        return await self.act(
            back.tool, back.arguments, user=user, account=back.account, app=back.app, call=back.call, agent=agent
        )

    async def undoable(self, user: AnyUser) -> list[Undoable]:
        """What of the user's acts can be put back now, newest first."""
        return await self.undoing.undoable(User.of(user))

    async def check_calls(
        self,
        calls: Iterable[ToolCall],
        *,
        user: AnyUser,
        app: str = "",
        agent: str = "",
        approved: set[str] | None = None,
    ) -> list[DeputizeError | None]:
        """For each call, the error that `act` would raise now (consent, approval, policy, scopes), or None; nothing is
        written at a provider. What several calls lack at one app is asked in one consent. ``approved``: is given the
        ids of the calls that may go on because the user said yes."""
        return await self.asking.together(await self.checker.blockers(calls, user, agent, approved, app))

    async def resolve_call(
        self, tool: str, arguments: Mapping[str, Any], *, user: AnyUser, app: str = "", thread: str
    ) -> Call:
        """The call that this is, where its protocol gives it no id: the same one, in every process, whenever the user
        asks for the same in this ``thread``, until it was concluded. Raises `InvalidInput` as `act` does."""
        return await self.recognizing.call(tool, arguments, User.of(user), thread, app)

    async def mark_delivered(self, call: Call, *, user: AnyUser) -> None:
        """The outcome of a recognized call was handed over: what looks the same is another call from now on."""
        await self.recognizing.conclude(call, User.of(user))

    # ------------------------------------------------------------- asking the user

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
    ) -> list[Consent]:
        """Ask beforehand: one consent per app for these scopes and all that these tools need. Empty: all granted.

        Scopes may be given in full or by their last part (``gmail.readonly``). ``account``: the one that must come
        back. ``add_account``: one more account, whichever the user chooses, beside those that are connected.
        ``switch_account``: the account that comes back acts from now on, with what the one before may do; that one
        stays connected. Without either, another account than the one that is connected is refused.
        """
        who, other = User.of(user), other_account(add_account, switch_account)
        await self.consents.recover(who)
        chosen = [await self.resolver.tool(name) for name in tools]
        wanted = await self.asking.wanted(who, provider, scopes, chosen, app, account)
        return await self.asking.beforehand(who, wanted, account, other)

    async def pending(self, user: AnyUser) -> list[Consent | Approval]:
        """What the user is being asked now, by whichever run: consents first."""
        return [*await self.consents.waiting(User.of(user)), *await self.approvals.waiting(User.of(user))]

    async def get_consent(self, consent: Consent | str) -> Consent | None:
        """This consent as it stands now, or ended; None if there never was one, or it is long gone."""
        return await self.consents.status(id_of(consent))

    async def get_approval(self, approval: Approval | str, *, by: AnyUser, timeout: float = 0.0) -> Approval | None:
        """This approval as it stands: once it is decided, anywhere, or so many seconds have passed. None if it is not
        this user's, or long gone."""
        return await self.approvals.decided(id_of(approval), User.of(by), timeout)

    async def wait_for_consents(self, consents: Iterable[Consent | str], *, timeout: float = 600.0) -> list[Consent]:
        """Wait until each of these consents has ended, wherever that happens; how they ended, one for each, in order.

        One that the user's grant meets by now, by whichever link, is ``granted``; its ``why`` is ``elsewhere``.
        Those that have not ended after ``timeout`` seconds come back as they are: pending or expired. One that was
        removed meanwhile, as with its user, counts as failed. Raises `NotFound` for an id that no consent has had.
        """
        return await ends_of(self.consents, consents, timeout)

    async def connect_by_device_code(
        self, user: AnyUser, consent: Consent | str, tell: Callable[[DeviceCode], None]
    ) -> Consent:
        """Finish a consent without a browser here: ``tell`` shows a code that the user enters elsewhere. How it ended.

        Raises `SettingsError` but in local mode (RFC 8628 5.4), `InvalidInput` where the provider gives no codes.
        """
        return await self.consents.connect_by_device_code(id_of(consent), User.of(user), tell, self.sleep)

    async def set_default_account(self, user: AnyUser, provider: str, account: str, *, app: str = "") -> None:
        """Let this connected account (by its name or id) act for the user where none is named.

        Raises `AccountMismatch` for one that is not connected, or a name that several have.
        """
        await self.registry.arrived(provider)
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
        """Record a user's answer to an approval: ``approve``, ``reject``, or ``edit`` with other ``arguments``.

        An edit is a yes to the act with exactly these arguments, all of them; policy and grant are looked at again when
        it is done. ``mandate``, with ``approve``: a yes to that many more acts like this one, too; a no ends it.
        Raises `NotFound` for an approval that is not theirs, `InvalidInput` for arguments or a mandate that are wrong,
        `Conflict` for an answer that comes too late, which says what became of the act.
        """
        one, who = id_of(approval), User.of(by)
        if mandate is not None:
            return await self._mandates.approve(one, decision, mandate, by=who, reason=reason)
        edit = None
        if arguments is not None:
            edit = Edit.of(await self.resolver.tool((await self.approvals.row(one, who)).tool), arguments)
        if decision == "reject":
            return await self._mandates.reject(one, by=who, reason=reason, edit=edit)
        return await self.approvals.decide(one, decision, by=who, reason=reason, edit=edit)

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
        """A yes for more than once, at the user's own order: ``max_acts`` acts of ``agent`` until a time (Unix
        seconds).

        ``targets``: addresses or ids of people, ``@acme.example`` for everybody there, or a place as a `Preview` names
        it. It answers where the policy asks, never where it denies. Raises `InvalidInput`, saying what cannot be given.
        """
        chosen, offer = [await self.resolver.tool(name) for name in tools], MandateOffer(max_acts, expires_at)
        return await self._mandates.give(User.of(user), chosen, [*targets], audience, offer, agent, allow_destructive)

    async def mandates(self, user: AnyUser) -> list[Mandate]:
        """The user's mandates that count now, with how often each was used; the one that ends first comes first."""
        return await self._mandates.all_of(User.of(user))

    async def revoke_mandate(self, user: AnyUser, mandate: Mandate | str) -> None:
        """No act begins under it any more. Raises `NotFound` for one that is not this user's, or has ended."""
        await self._mandates.end(User.of(user), mandate if isinstance(mandate, str) else mandate.id)

    async def refresh_approval_ids(self, approvals: Iterable[Approval | str], *, user: AnyUser) -> None:
        """Give this user's approvals that still wait new ids, so that an answer somebody else gave fits none."""
        await self.approvals.renew(map(id_of, approvals), User.of(user))

    # ------------------------------------------------------------- what is there

    async def connections(self, user: AnyUser) -> list[Connection]:
        """The user's connected accounts. ``default``: acts where none is named. ``id``: names one in `revoke`."""
        return await connections_of(User.of(user), self.engine, self.accounts)

    async def revoke(
        self, user: AnyUser, provider: str = "", *, app: str = "", account: str | None = None, leaked: bool = False
    ) -> list[Revoked]:
        """Disconnect a user, from one provider or from all: here at once, there as soon as it can be reached. Mandates
        for what is disconnected end; from all providers, every one.

        ``account``: only this one, by its name, its id at the provider or its connection's. ``leaked``: others may have
        the tokens; they are ended without the app's secret where the provider can (GitHub), which tells their owner.
        Raises `InvalidInput` for a provider that neither the settings know nor the user has a grant of.
        """
        ended = await self.revoker.disconnect(User.of(user), provider, app, account, leaked=leaked)
        await self._mandates.end_of(User.of(user), {one.account for one in ended} if provider else None)
        return ended

    async def revoke_all(self, *, tenant: str | None = None, leaked: bool = False) -> list[Revoked]:
        """End all grants and mandates, of every user or of every user of one tenant: here with one write, at once, then
        at the providers by pages; cut off, that goes on in the background. ``leaked``: as in `revoke`."""
        return await self.revoker.disconnect_all(tenant, leaked=leaked)

    async def store_file(self, user: AnyUser, name: str, mime: str, content: bytes) -> dict[str, Any]:
        """Keep a file for the user, sealed, for a while: what its handle is, ``{file, name, mime, size, expires}``.
        Raises `InvalidInput` for more than 25 MiB, or than 100 MiB or a thousand files with the user's others."""
        return await self.files.keep(User.of(user), File(name, mime, content))

    async def get_file(self, user: AnyUser, handle: str) -> File:
        """The user's file behind a handle. Raises `NotFound` for any other."""
        return await self.files.take(User.of(user), handle)

    async def erase(self, user: AnyUser) -> list[Revoked]:
        """Disconnect a user from all providers, and remove what is kept: files, results, approvals, mandates, consents.
        What is under way ends by itself; its row goes when it expires. The audit stays."""
        who = User.of(user)
        ended = await self.revoke(who)
        await self.ledger.unsaved.settle_all()  # else its row comes back as an outcome
        await erase(who, self.engine, self.consents, self.files, self.provenance)
        return ended

    def tools(self, *names: str, read_only: bool = False, app: str = "") -> list[Tool]:
        """The tools of these toolkits (``github``), toolsets (``github:actions``) and names: see `Catalog.tools`.
        ``app``: described as they act through it. Raises `InvalidInput` for one that is no way to their provider."""
        return through(self.catalog.tools(*names, read_only=read_only), self.registry, app)

    def search_tools(self, query: str, *names: str, limit: int = LIMIT, read_only: bool = False) -> list[Tool]:
        """Those of these tools that fit a question best, best first; see `ToolIndex.search`, `Deputy.tools`."""
        return ToolIndex(self.tools(*names, read_only=read_only)).search(query, limit)

    async def authorized_tools(self, user: AnyUser, *names: str, read_only: bool = False) -> list[Tool]:
        """Those of these tools that the user's grants allow already, as they are called without unusual arguments."""
        tools = await asyncio.to_thread(self.tools, *names, read_only=read_only)
        return await self.resolver.ready(User.of(user), tools)
