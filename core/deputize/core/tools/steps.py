"""What a tool may yield: requests, files to keep or to take, notes, pauses; and what it is sent for them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, Literal

from deputize.core.tools.preview import Preview
from deputize.core.value_object import ValueObject, frozen

Repeat = Literal["read", "idem", "write"]

MIB: Final = 2**20
MAX_BYTES: Final = 50 * MIB
"""The longest answer that any request may take."""
SECONDS_TO_RESUME: Final = 30.0
"""For which the rest of a stream is asked for, pauses among them."""


@frozen
class Request(ValueObject):
    """One call to the provider's API.

    ``path`` lies below the API root called ``api`` (default: the toolkit's); ``{name}`` in it is filled from ``at``,
    one validated segment each, so that no argument can leave its place. ``headers``: of `HEADERS`, and of those the
    provider has of its own. ``repeat`` says what a second sending does: nothing (read), nothing more (idem), or act
    twice (write); None means read for GET and HEAD, else write. ``prepares``: a write that nobody but the user can see
    yet, such as a draft; a refusal after it is a plain refusal. ``raw``: the answer's bytes are wanted as they are.
    ``whole``: an `Answer` is wanted, a redirect among them, which is never followed, and an error of JSON-RPC that says
    that nothing was done. ``max_bytes``: the longest answer to take, up to 50 MiB. ``slow``: it may take a minute.
    ``resumes``: of a stream that ends before its response the rest is asked for: `deputize.core.acts.sse_resume`.
    """

    method: str
    path: str
    at: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    json: Any = None
    content: bytes | None = None
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    api: str = ""
    repeat: Repeat | None = None
    prepares: bool = False
    raw: bool = False
    whole: bool = False
    max_bytes: int = 10 * MIB
    slow: bool = False
    resumes: bool = False

    @property
    def call(self) -> Repeat:
        """How the answer, or its loss, is to be judged."""
        return self.repeat or _REPEATS.get(self.method, "write")


@frozen
class PublicRequest(ValueObject):
    """A request that leaves without any credential: a signed download, an upload address, a one-click unsubscribe.

    ``url``: https, of a host whose addresses are all public; so is each of at most three redirects, which only a read
    follows. The tool is sent an `Answer` whose ``data`` are the bytes; of a write, it may be a redirect. Any other
    status is raised as a typed error. ``headers``: of a write, what its address was signed with (``cache-control``,
    ``x-goog-...``); none that names somebody or steers the connection. ``repeat``, ``prepares`` and ``max_bytes``: as
    in `Request`.
    """

    url: str
    method: Literal["GET", "POST", "PUT"] = "GET"
    content: bytes | None = None
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat | None = None
    prepares: bool = False
    max_bytes: int = 10 * MIB

    @property
    def call(self) -> Repeat:
        """How the answer, or its loss, is to be judged."""
        return self.repeat or _REPEATS.get(self.method, "write")


_REPEATS: Final[Mapping[str, Repeat]] = {"GET": "read", "HEAD": "read"}
"""Of methods that change nothing; any other writes."""
HEADERS: Final = frozenset(("accept", "if-match", "if-none-match", "if-unmodified-since", "prefer"))
"""The headers that a request to any provider may set; see `ApiRules.request_headers` for those of one."""


@frozen
class Answer(ValueObject):
    """What came back, where more than its data matters. ``headers``: in lower case, without cookies."""

    status: int
    headers: Mapping[str, str]
    data: Any


@frozen
class File(ValueObject):
    """What comes in or goes out as bytes; no model ever sees them. ``name``: as the sender called it."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@frozen
class Keep(ValueObject):
    """Put a file aside for the user, sealed, for a day. The tool is sent its handle: see
    `deputize.core.tools.files`."""

    file: File


@frozen
class Take(ValueObject):
    """The user's file behind a handle. The tool is sent the `File`, or `NotFound` is raised."""

    handle: str


@frozen
class ParseFile(ValueObject):
    """Have bytes that strangers made read in a process of its own; see `deputize.core.tools.parser_sandbox`.

    ``module``: whose ``parse(question, content)`` is called there. The tool is sent what it answers, plain JSON.
    Raises `InvalidInput` with the reason ``too_complex`` where it takes too much time, memory or room.
    """

    module: str
    question: Mapping[str, Any]
    content: bytes = field(repr=False)


@frozen
class Wait(ValueObject):
    """A moment, in seconds, before looking again; at most 10, and 30 in one act. More is the tool's fault."""

    seconds: float


@frozen
class TimeZone(ValueObject):
    """What the provider says of the user's time zone: ``name`` in the IANA database, ``Europe/Berlin``.

    It is kept for all toolkits: see `deputize.core.zones`. To be yielded where an answer holds it anyway. The tool is
    sent the zone, a ``tzinfo``, or None where none has this name.

    ``argument``: which argument names a day or an hour and so depends on the zone, if ``run.zone_known`` is False.
    ``name`` is then "" if the provider does not tell. A tool that writes is refused with `InvalidInput` if nobody
    knows the zone. A tool that reads is sent UTC, and its result names it.
    """

    name: str
    argument: str = ""


@frozen
class Try(ValueObject):
    """Reads that may be refused, at most ten, at once. The tool is sent a list: of each its answer, or None where it
    was refused for whatever reason, a scope that the grant lacks among them."""

    requests: Sequence[Request]


@frozen
class SaveNote(ValueObject):
    """Something to keep, durably and sealed, before the next request leaves: the id of a draft about to be sent.

    If the process dies after it, the tool is run again with ``noted`` set to ``data``.
    """

    data: Mapping[str, Any]


@frozen
class ForOperator(ValueObject):
    """Something that whoever runs this should look at, nothing secret: kept sealed below ``place`` in place of what was
    there, for `deputize doctor`. ``said``: plain JSON; empty where there is nothing any more."""

    place: str
    said: Mapping[str, Any]


@frozen
class Undo(ValueObject):
    """The call that puts back what this act has changed: yielded once, after the last write.

    ``tool`` and ``arguments``: as a model would call it. ``holds``: what must still be so when it is done, by the names
    of what that call shows: of a `Change` what is there before it, of a field or a pin its value. Another value means
    that somebody has changed it since, and nothing is undone.
    """

    tool: str
    arguments: Mapping[str, Any]
    holds: Mapping[str, Any] = field(default_factory=dict)


ADDRESS: Final = "address"
"""What is wanted of a person: an address of mail. Else the name of a toolkit, whose id for them is wanted."""
EVERYBODY: Final = "everybody"
"""All who come near are wanted, whoever they are: what `deputize.core.tools.find_people` asks for."""


@frozen
class ResolvePerson(ValueObject):
    """Who is meant by a name, in all accounts that the user has connected: see `deputize.core.tools.people`.

    To be yielded for what is no address or id, before the `Preview`, which has to show the answer. ``field``: the
    argument that says ``who``. ``wanted``: an address of mail, or what the arguments of a toolkit take. The tool is
    sent that text; `InvalidInput`, with those who may be meant, is raised where it is not exactly one person's.
    """

    who: str
    field: str
    wanted: str = ADDRESS


@frozen
class AskUser(ValueObject):
    """What the provider wants of the user before it goes on. The run ends here, and the call waits for the user, whom
    our page asks; a later run of the same act begins again and is handed the answer by `Heard`.

    ``show``: what may be told of it to programs and models, so no address and no state. ``kept``: all that the page and
    that run need, plain JSON, sealed. ``seconds``: how long the provider waits.
    """

    show: Preview
    kept: Mapping[str, Any]
    seconds: float


@frozen
class Heard(ValueObject):
    """What the user has said to what an earlier run of this act asked: the tool is sent a `UserSaid`, or None where
    nothing was asked. To be yielded once, after the `Preview` and before the first write."""


@frozen
class UserSaid(ValueObject):
    """An answer. ``reply``: also ``late``, where there is none and the provider waits no longer. ``kept``: what was
    kept with the question; ``content``: what an accept brought."""

    reply: Literal["accept", "decline", "cancel", "late"]
    kept: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)


Step = (
    Request
    | list[Request]
    | Try
    | PublicRequest
    | SaveNote
    | ForOperator
    | Keep
    | Take
    | ParseFile
    | TimeZone
    | Wait
    | ResolvePerson
    | Preview
    | Undo
    | AskUser
    | Heard
)
Steps = Generator[Step, Any, Any]
