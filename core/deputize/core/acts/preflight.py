"""Checks before a job runs without a person: what its calls lack, found by the code that decides in the run.

The tool, the app and the arguments are resolved, the policy is asked, and the scopes, the mandates and the budgets are
read as for a call. Nothing is requested, nothing is sent and nothing is stored. What a preview would tell comes from
the description of the job, because a preview reads at the provider.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TypeAlias

from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.job import Job, JobCall
from deputize.core.acts.missing_scopes import MissingScopes
from deputize.core.acts.preview import Previewer
from deputize.core.acts.resolve_call import CallResolver
from deputize.core.approvals.mandate_record import MAX_ACTS, MAX_MANDATE_SECONDS, destructive
from deputize.core.errors import DeputizeError, PolicyDenied, SettingsError
from deputize.core.grants.grant_end import GrantEnd, end_of, end_of_key
from deputize.core.grants.sources.service_account import account_of
from deputize.core.oauth.app import ServiceAccount
from deputize.core.policy.policy import Judge, Room, Verdict
from deputize.core.roles import UNKNOWN_ROLES, Roles
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act, Call
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.preview import Audience
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.tool import Effect
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import Account, Grant, User

State: TypeAlias = Literal["ok", "open", "bad"]
"""``ok``: there. ``open``: known only in the run. ``bad``: lacking, so that the run would fail or wait for somebody."""

THREAD: Final = "preflight"
LIMIT: Final = (
    "Connections and scopes are as stored here. No provider was asked: what somebody has reduced there since is known "
    "only in the run."
)


@frozen
class PreflightFinding(ValueObject):
    """One finding about the calls of a job with one tool, for one user. ``what``: ``tool``, ``app``, ``connection``,
    ``policy``, ``approval``, ``mandate``, ``budget`` or ``job``. ``code``: of the error that the run would raise,
    "" for none. ``todo``: the next command, or what to do. ``end``: when the connection ends, None if not known."""

    state: State
    user: str
    tool: str
    what: str
    found: str
    todo: str = ""
    code: str = ""
    end: GrantEnd | None = None


Find: TypeAlias = Callable[..., PreflightFinding]


@frozen
class Preflight(ValueObject):
    """What a job has and lacks. ``limit``: what nobody can know in advance."""

    findings: tuple[PreflightFinding, ...]
    limit: str = LIMIT

    @property
    def is_ready(self) -> bool:
        """True if nothing is lacking."""
        return all(one.state != "bad" for one in self.findings)


@frozen
class _Demand(Printed):
    """What one user's calls of the same run have used so far."""

    calls: Counter[str] = field(default_factory=Counter)
    mandates: Counter[str] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)
    later: Counter[str] = field(default_factory=Counter)


class JobChecker:
    """Checks of jobs, with the parts that run calls."""

    def __init__(
        self,
        services: Services,
        resolver: CallResolver,
        authorizer: Authorizer,
        previewer: Previewer,
        judge: Judge,
        roles: Roles,
        lag_gate: Callable[..., Awaitable[None]] | None = None,
    ) -> None:
        """``lag_gate``: raises if a collector of the audit lags so much that acts are refused."""
        self.services, self.resolver, self.authorizer, self.previewer = services, resolver, authorizer, previewer
        self.judge, self.roles, self.clock, self.lag_gate = judge, roles, services.clock, lag_gate

    async def check(self, job: Job) -> Preflight:
        """Return the findings about a job."""
        if job.until and job.until <= self.clock():
            late = PreflightFinding("bad", "", "", "job", f"it ended at {_at(job.until)}", "Correct until in the file.")
            return Preflight((late,))
        found, shared = list[PreflightFinding](), _Demand()
        for user in job.users:
            own = _Demand(now=shared.now, later=shared.later)  # budgets may count several users together
            for call in job.calls:
                found += [one async for one in self._check_call(job, user, call, own)]
            found += self._rate(user, own)
        if self.judge.needs_time:
            why = "the policy has rules about the time. They were asked about now"
            found.append(PreflightFinding("open", "", "", "policy", why, "Start the check when the job runs."))
        return Preflight(tuple(found))

    async def _check_call(
        self, job: Job, user: User, call: JobCall, demand: _Demand
    ) -> AsyncIterator[PreflightFinding]:
        find = partial(PreflightFinding, user=user.id, tool=call.tool)
        try:
            act = await self._resolve(job, user, call)
        except DeputizeError as e:
            what = "app" if isinstance(e, SettingsError) else "tool"
            yield find("bad", what=what, found=e.message, todo=e.hint, code=e.code)
            return
        if act is None:
            yield find("open", what="app", found="its MCP server is known only after the first connection to it")
            return
        if act.provider:
            demand.calls[self._label(act)] += call.times
        try:
            if self.lag_gate is not None:
                await self.lag_gate(writes=act.effect is not Effect.READS)
        except DeputizeError as e:
            yield find("bad", what="job", found=e.message, todo=e.hint, code=e.code)
        if call.arguments is None and act.tool.parameters:
            said = "the file has no args, so rules about arguments and scopes of unusual ones were not checked"
            yield find("open", what="policy", found=said, todo="Add args to the call, if they are known.")
        try:
            act, grant = await self.authorizer.find_stored(act)
            account = grant.account
            if act.provider:
                yield self._connection(job, act, grant, find)
        except MissingScopes as lacking:
            yield self._missing(job, act, lacking, find)
            account = self._account(act, lacking)
        except PolicyDenied as e:
            yield find("bad", what="policy", found=e.message, todo=e.hint, code=e.code)
            return
        except DeputizeError as e:
            yield find("bad", what="connection", found=e.message, todo=e.hint, code=e.code)
            return
        show = call.show
        if act.shows and show is None:
            said = "its preview decides whether it may run, and the file does not say what the preview will tell"
            todo = 'Add recipient, place or channel to the call, or audience = "self" if nobody else sees it.'
            yield find("bad", what="policy", found=said, todo=todo)
            return
        act = act.having(show=show) if show and act.shows else act
        try:
            permission = await self._permission(act, account, demand)
        except PolicyDenied as e:
            yield find("bad", what="policy", found=e.message, todo=e.hint, code=e.code)
            return
        if permission.doubt:
            said = f"it depends on whether {user.id} has ever written to {permission.doubt}: the run searches for that"
            yield find("open", what="policy", found=said)
        if permission.act.mandate:
            yield await self._mandates_last(job, call, permission.act, account, demand, find)
        elif permission.is_given:
            yield find("ok", what="policy", found="it runs without a question")
        else:
            yield await self._unanswered(job, call, permission.act, find)
        if lost := await self._lost_roles(job, act, account, demand, permission, find):
            yield lost
        decision = permission.act.decision
        if not (decision and decision.over_budget):
            for room in await self.judge.rooms(permission.act):
                yield self._budget(job, call, room, demand, find)

    def _rate(self, user: User, demand: _Demand) -> list[PreflightFinding]:
        """Return the providers at which the calls of one run may exceed the user's rate limit."""
        most = self.previewer.runner.transport.budgets.per_minute
        todo = "Pause between the calls, or raise requests_per_minute."
        return [
            PreflightFinding(
                "open",
                user.id,
                "",
                "job",
                f"a run makes {number} calls at {label}, of which {most:g} a minute are sent",
                todo,
                "rate_limited",
            )
            for label, number in demand.calls.items()
            if number > most
        ]

    async def _resolve(self, job: Job, user: User, call: JobCall) -> Act | None:
        """Return the act of a call, or None if its provider is created on first use. Raises the errors of a call."""
        tool, registry = await self.resolver.tool(call.tool), self.services.registry
        if (name := call.app or tool.provider) in registry.late and name not in registry.apps:
            return None
        origin, user = Call(thread=THREAD), replace(user, unattended=True)
        if call.arguments is not None:
            return await self.resolver.resolve(
                call.tool, call.arguments, user, call.account, origin, job.agent, call.app
            )
        plain = tool.plain_arguments()
        act = await self.resolver.act_of(user, tool, plain, tool.gravest, call.account, origin, job.agent, call.app)
        vars(act)["needs"] = tool.usual_needs(act.provider_base or act.provider)
        return act

    # ------------------------------------------------------------- connections

    def _connection(self, job: Job, act: Act, grant: Grant, find: Find) -> PreflightFinding:
        """Return whether a grant with all scopes works until the last run, as far as that is known."""
        now, name = self.clock(), f"{grant.account.name} at {self._label(act)}"
        end = self._end(act, grant)
        extended = end is not None and end.reason == "unused" and job.every and now + job.every < end.at
        if end and end.at <= job.last_run(now) and not extended:  # else each run extends it
            return self._ends(job, act, end, name, find)
        if grant.is_suspect:
            return find("open", what="connection", found=f"{name}: its API has refused the token lately", end=end)
        until = f", which ends at {_at(end.at)}" if end and end.reason != "unused" else ""
        return find("ok", what="connection", found=f"{name}{until}", end=end)

    def _end(self, act: Act, grant: Grant) -> GrantEnd | None:
        """Return the known end of a grant in a run without a person, who has no session that renews it."""
        app = self.services.apps[act.app]
        if app.source is None or isinstance(app.source, ServiceAccount) or not grant.expires_at:
            return end_of(grant, self.services.providers[act.provider], app)
        return GrantEnd(grant.expires_at, "no_refresh_token")

    def _ends(self, job: Job, act: Act, end: GrantEnd, name: str, find: Find) -> PreflightFinding:
        """Return the finding about a connection that ends before the last run."""
        now, last = self.clock(), job.last_run(self.clock())
        until = f"and the job runs until {_at(last)}" if end.at > now else "so the provider may refuse it now"
        said = f"{name} {'ends' if end.at > now else 'has ended'} at {_at(end.at)}, {until}"
        if end.reason == "key":
            todo = f"Replace the key, and set valid_until in [apps.{act.app}.source]."
            return find("bad", what="connection", found=said, todo=todo, end=end)
        said += self._needs_session(act)
        todo = self._connect(act, (), renew=True)
        return find("bad", what="connection", found=said, todo=todo, code="consent_required", end=end)

    def _needs_session(self, act: Act) -> str:
        if self.services.apps[act.app].source is None:
            return ""
        return f". The app {act.app!r} uses the user's session, and a run without a person has none"

    def _connect(self, act: Act, scopes: Sequence[str], *, renew: bool = False) -> str:
        """Return the command that connects the account with these scopes. ``renew``: with those that it has."""
        words = ["deputize", "connect", act.provider, *_user_options(act.user)]
        words += ["--renew"] if renew else []
        words += [part for scope in scopes for part in ("--scopes", scope)]
        words += ["--app", act.app] if act.app != act.provider else []
        words += ["--account", act.account] if act.account else []
        return shlex.join(words)

    def _missing(self, job: Job, act: Act, lacking: MissingScopes, find: Find) -> PreflightFinding:
        """Return the finding about a missing or insufficient grant."""
        app, held, label = self.services.apps[act.app], lacking.held, self._label(act)
        scopes = lacking.scopes
        if isinstance(source := app.source, ServiceAccount):
            may = self.services.providers[app.provider].implied_scopes(source.scopes)
            if not (missing := asks_of(act.needs, may)):
                if (end := end_of_key(app)) and end.at <= job.last_run(self.clock()):
                    return self._ends(job, act, end, f"the service account of {source.organisation}", find)
                return find("open", what="connection", found=f"{source.organisation}'s token is requested in the run")
            said = f"the service account of {source.organisation} may not have {', '.join(missing)}"
            return find("bad", what="connection", found=said, todo=f"Add it to scopes in [apps.{app.name}.source].")
        if held is None or held.status == "revoked":
            said = f"{act.user.id} has not connected {act.account or 'an account'} at {label}"
        elif held.status != "active" or lacking.why:
            said = f"{held.account.name} at {label} must be connected again: {lacking.why or held.reason}"
        else:
            said = f"{held.account.name} at {label} has not granted {', '.join(scopes)}"
        said += self._needs_session(act)
        return find("bad", what="connection", found=said, todo=self._connect(act, scopes), code="consent_required")

    def _account(self, act: Act, lacking: MissingScopes) -> Account:
        """Return the account that would act, as far as it is known."""
        if lacking.held is not None:
            return lacking.held.account
        app = self.services.apps[act.app]
        return account_of(app, app.source) if isinstance(app.source, ServiceAccount) else Account("", "")

    def _label(self, act: Act) -> str:
        return self.services.providers[act.provider].label

    # ------------------------------------------------------------- permissions

    async def _permission(self, act: Act, account: Account, demand: _Demand) -> _Permission:
        """Return the permission of an act, found as in a run. Raises `PolicyDenied`.

        If a first contact is not known, the run searches the user's sent mail. Here each result is tried.
        """
        if not act.shows:
            if act.decision is None:  # its grant is missing, so it was not judged
                act = await self.previewer.provenance.mark_untrusted(act)
                act = act.having(decision=await self.judge.decide(act))
            return _Permission(act, act.decision is not None and act.decision.verdict is Verdict.ALLOW)
        doubted = False
        found: list[_Permission] = []
        denial: PolicyDenied | None = None
        for answer in ("unknown to the user", "not known", "known to the user"):

            async def search(one: Act, answer: str = answer) -> tuple[FirstContact, ...] | None:
                nonlocal doubted
                doubted = True
                return None if answer == "not known" else one.first_contacts if answer.startswith("unknown") else ()

            try:
                judged, _, given = await self.previewer.find_permission(act, account, demand.mandates, search=search)
                found.append(_Permission(judged, given))
            except PolicyDenied as e:
                denial = e
            if not doubted:
                break
        if denial is not None and not found:
            raise denial
        best, results = found[-1], {(one.is_given, one.act.mandate) for one in found}
        if denial is None and len(results) == 1:
            return best
        marked = await self.previewer.mark_targets(act, account)
        return _Permission(best.act, best.is_given, ", ".join(one.address for one in marked.first_contacts))

    async def _lost_roles(
        self, job: Job, act: Act, account: Account, demand: _Demand, today: _Permission, find: Find
    ) -> PreflightFinding | None:
        """Return the finding about a call that is allowed only by roles of a sign-in that no longer count at the last
        run."""
        last = self.clock() + (job.runs(job.until, self.clock()) - 1) * job.every if job.every else 0.0
        ends = await self.roles.act_roles_expire_at(act.user)
        if ends is None or last < ends or not (today.is_given or today.act.mandate):
            return None
        bare = act.having(decision=None, mandate="")
        bare.add_roles(UNKNOWN_ROLES)
        try:
            later = await self._permission(bare, account, demand)
            if later.is_given or later.act.mandate:
                return None
            said, code = "wait for an approval", "approval_required"
        except PolicyDenied as e:
            said, code = f"are denied: {e.message}", e.code
        said = f"the roles of {act.user.id}'s last sign-in count until {_at(ends)}. Later runs {said}"
        todo = "Allow the call by user or agent in the policy, set roles_function, or raise role_max_age_seconds."
        return find("bad", what="policy", found=said, todo=todo, code=code)

    async def _unanswered(self, job: Job, call: JobCall, act: Act, find: Find) -> PreflightFinding:
        """Return the finding about an act that needs somebody's approval."""
        decision, show = act.decision, act.show
        why = f" ({decision.reason_line})" if decision and decision.reason else ""
        rule = f" by the rule {decision.rule}" if decision and decision.rule else ""
        bad = partial(find, "bad", code="approval_required")
        if act.approvers:
            said = f"somebody with the role {act.approvers} must approve it{rule}{why}. No mandate answers for them"
            return bad(what="approval", found=said, todo="Let them decide at /others, or change the rule.")
        if decision and decision.over_budget:
            todo = "Raise max, let the user approve it, or wait."
            return bad(what="budget", found=f"the budget {decision.rule} is used up{why}", todo=todo)
        if show is None:
            said = f"it needs an approval{rule}{why}, and no mandate covers a tool that makes no preview"
            return bad(what="approval", found=said, todo="Allow it in the policy, or let the user approve each call.")
        if not show.reached or show.audience is Audience.UNKNOWN:
            said = f"it needs an approval{rule}{why}, and no mandate covers a call that reaches nobody who is named"
            return bad(what="approval", found=said, todo="Add recipient or place to the call in the file.")
        return bad(what="mandate", found=await self._uncovered(act, rule + why), todo=self._give(job, call, act))

    async def _uncovered(self, act: Act, why: str) -> str:
        """Return why no mandate covers an act that needs an approval."""
        near = [one for one in await self.previewer.mandates.list_valid(act.user) if act.tool.name in one.tools]
        said = f"it needs an approval{why}, and no mandate of {act.user.id} covers it"
        if not near:
            return said
        reasons = []
        for one in near:
            if one.agent != act.agent:
                reason = f"is for the agent {one.agent!r}"
            else:
                reason = "is used up" if one.used >= one.max_acts else "has other targets, audience or account"
            reasons.append(f"{one.id} {reason}")
        return f"{said}: {', '.join(reasons)}"

    def _give(self, job: Job, call: JobCall, act: Act, most: int = 0, until: float = 0.0) -> str:
        """Return the command that gives a mandate for the calls of the job."""
        now, show = self.clock(), act.show
        ends = min(max(job.until + 3600.0, now + 86400.0), now + MAX_MANDATE_SECONDS - 60.0)
        number = min(most or call.times * job.runs(job.until or now, now), MAX_ACTS)
        words = ["deputize", "mandates", "give", *_user_options(act.user)]
        words += ["--agent", act.agent, "--tool", act.tool.name]
        words += [part for one in (show.reached if show else ()) for part in ("--target", one)]
        words += ["--max", str(number), "--until", f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%MZ}"]
        if show and show.audience > Audience.PEOPLE:
            words += ["--audience", show.audience.name.lower()]
        words += ["--allow-destructive"] if show and destructive(act, show) else []
        return shlex.join(words)

    async def _mandates_last(
        self, job: Job, call: JobCall, act: Act, account: Account, demand: _Demand, find: Find
    ) -> PreflightFinding:
        """Return whether the mandates that cover an act last for all runs. They are used in the order of a run."""
        now, done = self.clock(), 0
        needed, named = call.times * job.runs(job.until or now, now), act.mandate
        mandates = {one.id: one for one in await self.previewer.mandates.list_valid(act.user)}
        why = ""
        while named and done < needed:
            one = mandates[named]
            left = one.max_acts - one.used - demand.mandates[named]
            before_end = call.times * job.runs(one.expires_at - 1.0, now) - done
            taken = min(left, before_end, needed - done)
            done += max(taken, 0)
            why = f"{named} ends at {_at(one.expires_at)}" if taken == before_end else f"{named} has {left} uses left"
            demand.mandates[named] += taken if done == needed else left
            named = (
                ""
                if done == needed
                else await self.previewer.mandates.find_covering(act.having(mandate=""), account, demand.mandates)
            )
        if done < needed:
            said = f"mandates cover {done} of {needed} calls: {why}"
            todo = self._give(job, call, act, needed - done)
            return find("bad", what="mandate", found=said, todo=todo, code="approval_required")
        return find("ok", what="mandate", found=f"{act.mandate} covers {needed} of {needed} calls")

    # ------------------------------------------------------------- budgets

    def _budget(self, job: Job, call: JobCall, room: Room, demand: _Demand, find: Find) -> PreflightFinding:
        """Return whether a budget has room for the calls of the job, in this period and in a later one."""
        now = self.clock()
        total = job.runs(job.until or now, now)
        in_period = min(total, math.ceil(room.seconds / job.every)) if job.every else 1
        demand.now[room.key] += call.times * min(total, job.runs(room.ends - 1.0, now))
        demand.later[room.key] += call.times * in_period
        code = "approval_required" if room.over.verdict is Verdict.ASK else "policy_denied"
        short = partial(find, "bad", what="budget", code=code)
        if (needed := demand.later[room.key]) > room.most:
            said = f"the budget {room.rule} allows {room.most} calls in a period, and the job makes {needed}"
            return short(found=said, todo=f"Raise max of {room.rule} in the policy file, or make fewer calls.")
        if (needed := demand.now[room.key]) > room.left:
            said = f"the budget {room.rule} has room for {room.left} calls until {_at(room.ends)}, and the job makes "
            return short(found=f"{said}{needed}", todo=f"Raise max of {room.rule} in the policy file, or run it later.")
        return find("ok", what="budget", found=f"{room.rule} has room for {room.left} calls until {_at(room.ends)}")


@frozen
class _Permission(Printed):
    """The permission of an act. ``doubt``: the people of whom only the run can find whether the user knows
    them, so that it may need an approval after all; "" if the permission is certain."""

    act: Act
    is_given: bool
    doubt: str = ""


def _user_options(user: User) -> list[str]:
    """Return the options that name a user on the command line."""
    return ["--user", user.id, *(["--tenant", user.tenant] if user.tenant else [])]


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
