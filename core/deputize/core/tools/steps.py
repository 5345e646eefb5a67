"""The steps that a tool may yield: requests, files, notes, waits, questions; and the values that it is sent for
them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, Literal

from deputize.core.tools.preview import Preview
from deputize.core.value_object import ValueObject, frozen

Repeat = Literal["read", "idem", "write"]

MIB: Final = 2**20
MAX_BYTES: Final = 50 * MIB
"""Maximum bytes of any response."""
SECONDS_TO_RESUME: Final = 30.0
"""Seconds for which the rest of a stream is requested, including pauses."""


@frozen
class Request(ValueObject):
    """One request to the provider's API. The tool is sent the response's data.

    ``path``: below the root of ``api`` (default: the toolkit's). Each ``{name}`` in it is filled from ``at`` as one
    validated segment, so that no argument can change the path. ``headers``: of `HEADERS` and the provider's own.
    ``repeat``: the effect of a second sending: none (read), none beyond the first (idem), another one (write); None
    means read for GET and HEAD, else write. ``prepares``: a write that only the user can see yet, such as a draft; a
    refusal after it is a plain refusal. ``raw``: the tool is sent the response's bytes. ``whole``: it is sent an
    `Answer`, even for a redirect, which is never followed, and for a JSON-RPC error that says that nothing was done.
    ``max_bytes``: of the response, up to 50 MiB. ``slow``: the request may take a minute. ``resumes``: the rest of a
    stream that ends before its response is requested: `deputize.core.acts.sse_resume`.
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
        """The kind of request, by which a response or its loss is judged."""
        return self.repeat or _REPEATS.get(self.method, "write")


@frozen
class PublicRequest(ValueObject):
    """A request without any credentials: a signed download, an upload address, a one-click unsubscribe.

    ``url``: https, of a host whose addresses are all public. The same holds for each of at most three redirects, which
    only a read follows. The tool is sent an `Answer` whose ``data`` is the bytes; for a write it may be a redirect. Any
    other status is raised as a typed error. ``headers``: for a write, those that its address was signed with
    (``cache-control``, ``x-goog-...``), but none that identifies somebody or controls the connection. ``repeat``,
    ``prepares`` and ``max_bytes``: as in `Request`.
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
        """The kind of request, by which a response or its loss is judged."""
        return self.repeat or _REPEATS.get(self.method, "write")


_REPEATS: Final[Mapping[str, Repeat]] = {"GET": "read", "HEAD": "read"}
"""Methods that change nothing. Any other method writes."""
HEADERS: Final = frozenset(("accept", "if-match", "if-none-match", "if-unmodified-since", "prefer"))
"""Headers that a request to any provider may set; see `ApiRules.request_headers` for those of one provider."""


@frozen
class Answer(ValueObject):
    """A response with its status and headers. ``headers``: in lower case, without cookies."""

    status: int
    headers: Mapping[str, str]
    data: Any


@frozen
class File(ValueObject):
    """A file that a tool receives or sends. No model sees its content. ``name``: as the sender named it."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@frozen
class Keep(ValueObject):
    """Store a file for the user, encrypted, for a day. The tool is sent its handle: see `deputize.core.tools.files`."""

    file: File


@frozen
class Take(ValueObject):
    """Load the user's file by its handle. The tool is sent the `File`, or `NotFound` is raised."""

    handle: str


@frozen
class ParseFile(ValueObject):
    """Parse untrusted bytes in a separate process; see `deputize.core.tools.parser_sandbox`.

    ``module``: the module whose ``parse(question, content)`` is called there. The tool is sent its answer, plain JSON.
    Raises `InvalidInput` with the reason ``too_complex`` if it takes too much time or memory, or its answer is too
    long.
    """

    module: str
    question: Mapping[str, Any]
    content: bytes = field(repr=False)


@frozen
class Wait(ValueObject):
    """Wait for some seconds: at most 10 at once, and 30 in one act. More is a bug in the tool."""

    seconds: float


@frozen
class TimeZone(ValueObject):
    """The user's time zone, as the provider reports it. ``name``: in the IANA database, ``Europe/Berlin``.

    It is stored for all toolkits: see `deputize.core.zones`. Yield it if a response contains the zone anyway. The tool
    is sent a ``tzinfo``, or None if the name is unknown.

    ``argument``: the argument that names a day or an hour and depends on the zone, if ``run.zone_known`` is False.
    ``name`` is then "" if the provider does not report a zone. If no zone is known, a tool that writes is refused with
    `InvalidInput`. A tool that reads is sent UTC, and its result names it.
    """

    name: str
    argument: str = ""


@frozen
class Try(ValueObject):
    """At most ten reads that may be refused, sent concurrently. The tool is sent a list with each response, or None for
    a refused read, even if a scope is missing."""

    requests: Sequence[Request]


@frozen
class SaveNote(ValueObject):
    """A note to store, durable and encrypted, before the next request is sent: the id of a draft about to be sent.

    If the process dies after it, the tool runs again with ``noted`` set to ``data``.
    """

    data: Mapping[str, Any]


@frozen
class ForOperator(ValueObject):
    """A note for the operator, without secrets, stored encrypted under ``place`` in place of the old one. `deputize
    doctor` prints it. ``said``: plain JSON; empty deletes the note."""

    place: str
    said: Mapping[str, Any]


@frozen
class Undo(ValueObject):
    """The call that undoes this act, yielded once, after the last write.

    ``tool`` and ``arguments``: as a model would call it. ``holds``: the values that must be unchanged when it is
    undone, by the names in that call's preview: for a `Change` its ``before``, for a field or a pin its value. Another
    value means that somebody has changed it since, and nothing is undone.
    """

    tool: str
    arguments: Mapping[str, Any]
    holds: Mapping[str, Any] = field(default_factory=dict)


ADDRESS: Final = "address"
"""Wanted: an email address. Otherwise: the name of a toolkit, whose id for the person is wanted."""
EVERYBODY: Final = "everybody"
"""Wanted: all near matches, for `deputize.core.tools.find_people`."""


@frozen
class ResolvePerson(ValueObject):
    """Find the person that a name means, in all accounts that the user has connected: see `deputize.core.tools.people`.

    Yield it for a name that is not an address or id, before the `Preview`, which must show the answer. ``field``: the
    argument that contains ``who``. ``wanted``: an email address, or the id that a toolkit's arguments take. The tool is
    sent that text. Raises `InvalidInput` with the possible matches unless it is exactly one person's.
    """

    who: str
    field: str
    wanted: str = ADDRESS


@frozen
class AskUser(ValueObject):
    """A question of the provider to the user. The run ends here, and our page asks the user. A later run of the same
    act starts again and receives the reply by `Heard`.

    ``show``: the part that programs and models may see, without addresses and state. ``kept``: plain JSON that the page
    and the later run need, stored encrypted. ``seconds``: how long the provider waits.
    """

    show: Preview
    kept: Mapping[str, Any]
    seconds: float


@frozen
class Heard(ValueObject):
    """Read the user's reply to the question of an earlier run of this act. The tool is sent a `UserSaid`, or None if
    nothing was asked. Yield it once, after the `Preview` and before the first write."""


@frozen
class UserSaid(ValueObject):
    """A reply to a question. ``reply``: ``late`` if there is none and the provider no longer waits. ``kept``: the data
    stored with the question. ``content``: the content of an accept."""

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
