"""What a tool is: a typed function that yields requests and is sent the answers. No client, no user, no token.

    gmail = Toolkit("gmail", provider="google", shows=True)

    @gmail.tool(needs=[any_of(SEND, COMPOSE, MODIFY, method="messages.send")], effect=Effect.SENDS)
    def send_email(to: list[str], subject: str, body: str, *, run: Run) -> Steps:
        '''Send a new email from the user's own address.'''
        yield Preview("Send this email", audience=Audience.PEOPLE, people=to, to=to, subject=subject, text=body)
        sent = yield Request("POST", "/users/me/messages/send", json={"raw": ...})
        return {"id": sent["id"]}

Positional parameters are the tool's arguments and its schema. A keyword-only parameter ``run: Run`` is filled in by the
runtime, and no schema shows it. ``yield [Request, Request]`` runs requests at the same time and is
sent a list. A provider's refusal is raised at the ``yield`` as a `DeputizeError`. `Step` lists what else may be
yielded: a request without credentials, a note, a pause, a file to keep or to take.

A tool that can write reads, yields one `Preview` of what it is about to do, and then writes just that. What it shows is
what the policy judges and the user says yes to; where it goes on, nothing is looked up again. Before it a tool may read
and take files; a write, a note or a kept file before it, or a second one, is the tool's fault.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from deputize.core.errors import SettingsError
from deputize.core.tools.act_key import ActKey
from deputize.core.tools.continuation import Continuation
from deputize.core.tools.needs import Need, any_of, asks_of, wanted_of
from deputize.core.tools.run import Run
from deputize.core.tools.schema import signature
from deputize.core.tools.steps import (
    HEADERS,
    MAX_BYTES,
    MIB,
    Answer,
    File,
    Keep,
    ParseFile,
    PublicRequest,
    Repeat,
    Request,
    ResolvePerson,
    SaveNote,
    Step,
    Steps,
    Take,
    TimeZone,
    Try,
    Wait,
)
from deputize.core.tools.tool import Alias, Arguments, Effect, Effects, Needs, Tool
from deputize.core.tools.trusted_authors import Screen as Screen
from deputize.core.tools.user_time import UserTime

__all__ = [
    "HEADERS",
    "MAX_BYTES",
    "MIB",
    "ActKey",
    "Alias",
    "Answer",
    "Arguments",
    "Continuation",
    "Effect",
    "Effects",
    "File",
    "Keep",
    "Need",
    "Needs",
    "ParseFile",
    "PublicRequest",
    "Repeat",
    "Request",
    "ResolvePerson",
    "Run",
    "SaveNote",
    "Screen",
    "Step",
    "Steps",
    "Take",
    "TimeZone",
    "Tool",
    "Toolkit",
    "Try",
    "UserTime",
    "Wait",
    "any_of",
    "asks_of",
    "wanted_of",
]


READERS: Final = "reads people"
"""The toolset of what `Toolkit.people` declares; no list has it."""


@dataclass(eq=False)
class Toolkit:
    """The tools of one product. ``api`` names the provider's API root they live below (default: the name).

    ``provider`` "": they need none, and no grant: what they work on is the user's already, such as kept files.

    ``accepts``: other spellings of arguments, ``{theirs: ours}``: no schema shows them, and they mean something only
    where a tool has an argument of our name and none of theirs. ``remark``: what to know before relying on it.
    ``cuts``: its tools cut long texts and say with a `Continuation` how to go on; one more tool, ``read_more``, does
    so. ``screens``: by a word of the operator's, what withholds others' texts; see
    `deputize.core.tools.trusted_authors`. ``words``: what else people call the product or what is in it, for
    `deputize.core.tools.search`. ``facts``: fields of results in words of the provider or of the call, never in words
    that somebody chose (``id``). ``writers``: fields that say who wrote a row; the first that is there counts. A
    toolkit that declares neither is believed about nothing: all that its results mark ``untrusted`` is one text of
    strangers. ``shows``: every tool of it that can change something yields a `Preview` before its first write.
    ``reads_people``: the tool that `people` declares, which no list has.
    """

    name: str
    provider: str
    api: str = ""
    accepts: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    cuts: bool = False
    words: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    writers: tuple[str, ...] = ()
    shows: bool = False
    tools: dict[str, Tool] = field(default_factory=dict)
    screens: dict[str, Screen] = field(default_factory=dict)
    reads_people: Tool | None = None

    @cached_property
    def offered(self) -> Mapping[str, Tool]:
        """Its tools by name; behind them, where it cuts texts, the core's own ``..._read_more``."""
        if not self.cuts:
            return self.tools
        from deputize.core.tools.continuation_tool import read_more  # it imports pydantic, as does the first tool

        own = Toolkit(self.name, self.provider, self.api)
        own.tool()(read_more)
        return self.tools | {name: replace(tool, follows=True) for name, tool in own.tools.items()}

    def tool(
        self,
        *,
        needs: Needs = (),
        effect: Effects = Effect.READS,
        gravest: Effect | None = None,
        aliases: Iterable[str | Alias] = (),
        toolset: str = "core",
        shows: bool | None = None,
    ) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare a tool. Where ``effect`` is a function of the arguments, ``gravest`` says how far it can go.

        ``toolset``: the part of the toolkit it is chosen with, besides by its name; "core" is chosen first. ``shows``:
        True if the tool yields a `Preview` before its first write; default: what the toolkit declares. If a tool that
        can change something does not show, the policy decides by its effect before the first request, the user is asked
        about the arguments, and no mandate covers it. If a tool that shows sends only GETs and ends without a
        `Preview`, it had nothing to do: nobody is asked.

        A tool that was given more than 32 KiB goes on in another thread, so it keeps nothing in thread-local variables.
        """
        if gravest is None and not isinstance(effect, Effect):
            raise SettingsError(f"A tool of {self.name} whose effect depends on its arguments must name its gravest.")
        worst = gravest if gravest is not None else effect

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            name = f"{self.name}_{steps.__name__}"
            model, parameters, takes_run = signature(name, steps)
            self.tools[name] = Tool(
                name=name,
                toolkit=self.name,
                provider=self.provider,
                api=self.api or self.name,
                description=inspect.getdoc(steps) or "",
                model=model,
                parameters=parameters,
                steps=steps,
                needs=needs,
                effects=effect,
                gravest=worst,  # type: ignore[arg-type]
                takes_run=takes_run,
                aliases=tuple(Alias(a) if isinstance(a, str) else a for a in aliases),
                toolset=toolset,
                accepts=self.accepts,
                remark=self.remark,
                words=self.words,
                facts=self.facts,
                writers=self.writers,
                shows=worst is not Effect.READS and self.shows if shows is None else shows,
            )
            return steps

        return declare

    def people(self, *, needs: Needs) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare how this product's people are read, so that every toolkit finds them (`ResolvePerson`,
        `find_people`).

        It is a tool that only reads, with the one argument ``who``: a name, an address of mail, a handle or an id. It
        returns ``{"people": [...]}``, each as `deputize.core.tools.people.PersonRow` says; ``"whole": False`` where
        there are more than it looked at, and ``"not_looked": {part: why}``. It is called only where its needs are met.
        """

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            self.tool(needs=needs, toolset=READERS)(steps)
            self.reads_people = self.tools.pop(f"{self.name}_{steps.__name__}")
            return steps

        return declare
