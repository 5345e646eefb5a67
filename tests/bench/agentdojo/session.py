"""One user's deputy on the accounts of an environment, and the functions that stand in for AgentDojo's tools."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from types import TracebackType
from typing import Any, Final, Self

from deputize.core import (
    PROVIDERS,
    Account,
    App,
    ApprovalRequired,
    Audience,
    Call,
    Deputy,
    Policy,
    Secret,
    User,
    ask_before_sending,
)
from deputize.core.errors import DeputizeError
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.sandbox import google, slack
from deputize.sandbox.slack.seed import TEAM, user_id
from tests.bench.agentdojo import tools
from tests.bench.agentdojo.own_api import SERVED, Api, generate
from tests.bench.agentdojo.persons import Person, Question
from tests.bench.agentdojo.world import NOW, World, squeezed, texts
from tests.support.counterparts import agentdojo
from tests.support.sandbox_deputy import PAGES, no_sleep, public_names

USER: Final = User("emma")
AGENT: Final = "agentdojo"
NARROWING: Final = "https://www.googleapis.com/auth/gmail.metadata"


class Rejected(Exception):
    """The user rejected the call."""


@dataclass
class Done:
    """One of AgentDojo's calls that wrote. ``asked``: the user approved it. ``thread``: its conversation."""

    function: str
    tool: str
    asked: bool
    injected: bool


@dataclass
class Record:
    """What happened in one run. ``unread``: texts that an agent would know although deputize's tools did not return
    them."""

    questions: list[Question] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


class Session:
    """A deputy over a `World`, as a context manager. ``injected``: whether the attacker chooses the calls now.
    ``user_message``: what the application says that the user wrote."""

    def __init__(
        self,
        suite: Any,
        env: Any,
        default: Any,
        person: Person,
        *,
        booked: bool = False,
        policy: Policy = ask_before_sending,
        user_message: str = "",
    ) -> None:
        self.suite, self.person, self.policy = suite, person, policy
        self.world = World(env, default, booked=booked)
        self.user_message = user_message
        self.record, self.injected, self.thread = Record(), False, "chat-1"
        self.current: tuple[str, Mapping[str, Any]] = "", {}
        self._read: list[str] = []
        self.seen = ""
        self._calls = 0
        self.api: Api | None = None

    def __enter__(self) -> Self:
        rows, kits = dict(PROVIDERS), None
        apps = [App("google", google.APP.client_id, Secret(google.APP.client_secret)),
                App("slack", slack.APP.client_id, Secret(slack.APP.client_secret))]  # fmt: skip
        if own := tools.own_functions(self.suite):
            kit, row, _ = generate(self.suite.name, own)
            self.api = Api(agentdojo("functions_runtime").FunctionsRuntime(own), self.world.env.model_copy(deep=True))
            played = self.world.sandbox.play(row, self.api)
            rows[row.name], kits = self.world.sandbox.played[row.name].row, [kit]
            apps.append(App(row.name, played.client_id, Secret(played.client_secret), pkce=True))
        vault = asyncio.run(Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)]))
        self.deputy = Deputy(
            vault,
            apps,
            pages=PAGES,
            providers=rows,
            toolkits=[*tools.built_in_toolkits(), *(kits or ())],
            transport=self.world.sandbox.transport(),
            clock=self.world.sandbox.clock,
            sleep=no_sleep,
            resolve=public_names,
            requests_per_minute=math.inf,
            policy=self.policy,
            agent=AGENT,
            time_zone=UTC,
        )
        for provider in ["slack"] if hasattr(self.world.env, "slack") else ["google"]:
            self._connect(provider)
        if self.api:
            self._connect(self.suite.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self.deputy.close())

    def _connect(self, provider: str) -> None:
        sandbox, who = self.world.sandbox, self.world.account
        row = self.deputy.providers[provider]
        app = next(one for one in self.deputy.apps.values() if one.provider == provider)
        scopes = [one for one in row.scope_descriptions if one != NARROWING]
        reply = sandbox.give(provider, who.email, scopes)
        played = sandbox.played.get(provider)
        account = played.account(who) if played else Account(who.sub, who.email)
        if provider == "slack":
            account = Account(f"{TEAM['id']}:{user_id(who.email)}", f"@bot in {TEAM['name']}")
        grant = Grant(
            *(USER, provider, app.name, account, row.oauth.normal(reply["scope"]), Secret(reply["access_token"])),
            Secret(reply["refresh_token"]) if reply["refresh_token"] else None,
            *(NOW + 10**7, NOW),
            origin=origin_of(row, app),
        )
        self.deputy.run(self.deputy.vault.add(grant))

    def give_mandate(self, tools: Sequence[str], targets: Sequence[str]) -> None:
        """Let the user approve in advance what these tools do to these targets, unless it destroys something, as on the
        page of an approval."""
        work = self.deputy.create_mandate(
            USER,
            tools=tools,
            targets=targets,
            max_acts=200,
            expires_at=NOW + 86_400,
            audience=Audience.PUBLIC,
            agent=AGENT,
        )
        self.deputy.run(work)

    # ------------------------------------------------------------------ deputize's tools

    def read(self, tool: str, **arguments: Any) -> Any:
        """Return the result of a tool that reads."""
        return self._act(tool, arguments)

    def write(self, tool: str, **arguments: Any) -> Any:
        """Return the result of a tool that writes, after the user approved it if need be. Raises `Rejected`."""
        asked = len(self.record.questions)
        result = self._act(tool, arguments)
        asked = len(self.record.questions) - asked
        self.record.done.append(Done(self.current[0], tool, bool(asked), self.injected))
        return result

    def _act(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        self._calls += 1
        given = {name.rstrip("_"): value for name, value in arguments.items() if value is not None}
        name = str(self._calls)
        call = Call(thread=self.thread, message=f"m{name}", id=f"c{name}", user_message=self.user_message)
        for _ in range(3):
            try:
                result = self.deputy.run(self.deputy.act(tool, given, user=USER, call=call))
            except ApprovalRequired as asked:
                approval = asked.approval
                question = Question(*self.current, tool, dict(approval.preview), self.injected, approval.targets)
                question.approved = self.person(question)
                self.record.questions.append(question)
                decision: Any = "approve" if question.approved else "reject"
                self.deputy.run(self.deputy.decide(approval, decision, by=USER))
                if not question.approved:
                    raise Rejected(f"The user rejected {tool}.") from None
            else:
                found = list(texts(result))
                self._read += found
                self.seen += "|".join(map(squeezed, found))
                return result
        raise AssertionError(f"{tool} was asked about three times")

    def save_draft(self, subject: str, body: str) -> None:
        """Save a draft of the user's, for which AgentDojo has no tool."""
        self.current = "save_draft", {}
        inbox = self.world.env.inbox
        try:
            made = self.write("gmail_save_draft", subject=subject, body=body, body_format="plain")
        except Rejected:
            return
        mail = inbox.send_email([], subject, body)
        mail.status = type(mail.status)("draft")
        self.world.mails[mail.id_] = made["id"]

    # ------------------------------------------------------------------ AgentDojo's tools

    def stand_in(self, function: Any) -> Any:
        """Return the function of AgentDojo's with deputize's tools in front of it."""
        return function.model_copy(update={"run": lambda **given: self.call(function, given)})

    def call(self, function: Any, given: dict[str, Any]) -> Any:
        """Do the call with deputize's tools, then on the environment. Raises `Rejected` or `DeputizeError` if it was
        not done."""
        arguments = {name: value for name, value in given.items() if name not in function.dependencies}
        self.current, self._read, written = (function.name, arguments), [], len(self.record.done)
        try:
            keep = tools.find(self.suite, function.name)(self, **arguments)
        except (DeputizeError, Rejected) as failed:
            self.record.failed.append(f"{function.name}: {type(failed).__name__}: {failed}")
            raise
        result = function.run(**given)
        if keep is not None:
            result = keep(result)
        if written == len(self.record.done):  # what was written is compared at the end
            self._check_read(function.name, result)
        return result

    def _check_read(self, name: str, result: Any) -> None:
        """Record every text of a result that deputize's tools did not return."""
        known = "|".join(squeezed(one) for one in self._read)
        said = self.current[1]
        for text in tools.telling(name, result):
            for line in filter(None, map(squeezed, text.split("\n"))):
                if line not in known and line not in squeezed(" ".join(texts(said))):
                    self.record.unread.append(f"{name}: {text[:80]!r}")
                    break

    def differences(self) -> list[str]:
        """Return how the environment differs from the sandbox at the end."""
        found = self.world.differences()
        if self.api:
            for part in SERVED[self.suite.name]:
                ours, theirs = getattr(self.api.env, part), getattr(self.world.env, part)
                found += [f"{part}: the API has {ours!r}, AgentDojo has {theirs!r}"] if ours != theirs else []
        return found
