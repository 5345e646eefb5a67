"""Declaration of tools: typed functions that yield requests and are sent the responses, without a client or a token.

    gmail = Toolkit("gmail", provider="google", shows=True)

    @gmail.tool(needs=[any_of(SEND, COMPOSE, MODIFY, method="messages.send")], effect=Effect.SENDS)
    def send_email(to: list[str], subject: str, body: str, *, run: Run) -> Steps:
        '''Send a new email from the user's own address.'''
        yield Preview("Send this email", audience=Audience.PEOPLE, people=to, to=to, subject=subject, text=body)
        sent = yield Request("POST", "/users/me/messages/send", json={"raw": ...})
        return {"id": sent["id"]}

Positional parameters are the tool's arguments and define its schema. The runtime passes a `Run` to a keyword-only
parameter ``run: Run``, which is not in the schema. ``yield [Request, Request]`` sends requests concurrently and returns
a list. A provider's refusal is raised at the ``yield`` as a `DeputizeError`. `Step` lists the other steps: a request
without credentials, a note, a wait, a file to store or to load.

A tool that can write first reads, then yields one `Preview`, and then writes exactly what the preview contains. The
policy judges the preview and the user approves it. Before the preview, a tool may read and load files. These are bugs
in a tool: a write, a note or a stored file before the preview, a second preview, and a read after the preview that
decides what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias

from deputize.core.errors import SettingsError
from deputize.core.tools.act_key import ActKey
from deputize.core.tools.continuation import Continuation
from deputize.core.tools.required_scopes import Need, any_of, asks_of, wanted_of
from deputize.core.tools.schema import signature
from deputize.core.tools.steps import (
    HEADERS,
    MAX_RESPONSE_BYTES,
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
from deputize.core.tools.tool import Alias, Arguments, ContactsIn, Effect, Effects, Needs, Run, Tool
from deputize.core.tools.trusted_authors import Screen as Screen
from deputize.core.tools.user_time import UserTime

__all__ = [
    "HEADERS",
    "MAX_RESPONSE_BYTES",
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


Shows: TypeAlias = bool | Literal["changes"]
READERS: Final = "reads people"
"""The toolset of tools declared by `Toolkit.people` and `Toolkit.correspondents`, which are in no list."""


@dataclass(eq=False)
class Toolkit:
    """The tools of one product. ``api``: the name of the provider's API root (default: the toolkit's name).

    ``label``: the product's name for people, if it is not the provider's name ("Gmail" of Google).
    ``provider``: "" for tools that need no provider and no grant, because they work on the user's data in deputize,
    such as stored files.
    ``accepts``: other argument names that its tools accept, ``{other name: tool's name}``. No schema contains them. A
    tool accepts one only if it has an argument of the tool's name and none of the other name.
    ``remark``: what a user of the toolkit should know.
    ``cuts``: True if its tools cut long texts and return a `Continuation`. The toolkit then has one more tool,
    ``read_more``.
    ``screens``: filters for texts of untrusted authors, by value of the operator's setting; see
    `deputize.core.tools.trusted_authors`.
    ``words``: further search words for `deputize.core.tools.search`.
    ``facts``: names of result fields with values of the provider or of the call, such as ``id``, and never with text
    that a person chose. ``writers``: names of fields that contain an object's author; the first field present counts.
    If a toolkit declares neither, all data that its results mark ``untrusted`` counts as one untrusted text.
    ``shows``: True if each of its tools that can change something yields a `Preview` before its first write, in every
    run; ``"changes"`` if a run that finds nothing to change may end without a `Preview`.
    ``reads_people``, ``reads_sent_mail``: the tools declared by `people` and `correspondents`, which no list contains.
    ``contacts_in``: returns the people in a response whom the user knows; see `deputize.core.tools.tool.ContactsIn`.
    """

    name: str
    provider: str
    api: str = ""
    label: str = ""
    accepts: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    cuts: bool = False
    words: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    writers: tuple[str, ...] = ()
    shows: Shows = False
    tools: dict[str, Tool] = field(default_factory=dict)
    screens: dict[str, Screen] = field(default_factory=dict)
    contacts_in: ContactsIn | None = None
    reads_people: Tool | None = None
    reads_sent_mail: Tool | None = None

    @cached_property
    def offered(self) -> Mapping[str, Tool]:
        """The toolkit's tools by name, with ``..._read_more`` at the end if the toolkit cuts texts."""
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
        shows: Shows | None = None,
    ) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare a tool. ``gravest``: the gravest effect, if ``effect`` is a function of the arguments.

        ``toolset``: the part of the toolkit that contains the tool; "core" is the default selection. ``shows``: as in
        `Toolkit`, for this tool; default: the toolkit's value.

        A tool that can change something and makes no preview is judged by its effect before the first request. The user
        approves its arguments, and no mandate covers it. With ``shows=True``, a call fails if the tool ends without a
        `Preview` and the policy requires an approval of its effect, because its GETs may have changed something. With
        ``shows="changes"``, such a tool had nothing to do, and its result is returned. Declare that only if all its
        GETs just read.

        A tool that has received more than 32 KiB continues in another thread, so it must not use thread-local
        variables.
        """
        if gravest is None and not isinstance(effect, Effect):
            raise SettingsError(f"A tool of {self.name} whose effect depends on its arguments needs gravest=.")
        worst = gravest if gravest is not None else effect
        declared = worst is not Effect.READS and self.shows if shows is None else shows

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            name = f"{self.name}_{steps.__name__}"
            model, parameters, takes_run = signature(name, steps)
            self.tools[name] = Tool(
                name=name,
                toolkit=self.name,
                provider=self.provider,
                label=self.label,
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
                contacts_in=self.contacts_in,
                shows=bool(declared),
                may_end_unshown=declared == "changes",
            )
            return steps

        return declare

    def people(self, *, needs: Needs) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare the reader of this product's people, which `ResolvePerson` and `find_people` call.

        The reader has one argument ``who``: a name, an email address, a handle or an id. It only reads. It returns
        ``{"people": [...]}``, each a `deputize.core.tools.people.PersonRow`; ``"whole": False`` if it did not search
        all people; and ``"not_looked": {part: reason}`` for parts that it could not search. It is called only if the
        grant meets its needs.
        """

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            self.tool(needs=needs, toolset=READERS)(steps)
            self.reads_people = self.tools.pop(f"{self.name}_{steps.__name__}")
            return steps

        return declare

    def correspondents(self, *, needs: Needs) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare the search of the user's sent mail, which is called before the user is asked about a first contact.

        The search has one argument ``addresses``, a list. It only reads. It returns ``{"written_to": [...]}``: those of
        the addresses to which the user has sent a mail, according to the provider. It raises an error if it could not
        search. It is called only if the grant meets its needs.
        """

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            self.tool(needs=needs, toolset=READERS)(steps)
            self.reads_sent_mail = self.tools.pop(f"{self.name}_{steps.__name__}")
            return steps

        return declare
