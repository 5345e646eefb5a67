"""The steps that a tool may yield, such as requests, files, notes, waits and questions, and the replies to them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, Literal

from deputize.core.tools.preview import Preview
from deputize.core.value_object import ValueObject, frozen

Repeat = Literal["read", "idem", "write"]

MIB: Final = 2**20
MAX_RESPONSE_BYTES: Final = 50 * MIB
"""Maximum bytes of any response."""
RESUME_TIMEOUT_SECONDS: Final = 30.0
"""Seconds for which the rest of a stream is requested, including pauses."""


@frozen
class Request(ValueObject):
    """One request to the provider's API. The ``yield`` returns the response's data to the tool.

    ``path``: path below the root ``api`` (default: the toolkit's). Each ``{name}`` in it is filled from ``at`` as one
    validated segment, so that no argument can change the path.
    ``headers``: headers listed in `HEADERS`, and the provider's own.
    ``repeat``: what a second sending does: nothing ("read"), the same as the first ("idem"), or a second change
    ("write"). None means "read" for GET and HEAD, else "write".
    ``prepares``: True for a write that only the user can see yet, such as a draft. If a later request is refused, the
    act counts as refused.
    ``raw``: return the response's bytes. ``whole``: return an `Answer`, even for a redirect, which is never followed,
    and for a JSON-RPC error that says that nothing was done.
    ``max_bytes``: the maximum size of the response, up to 50 MiB. ``idle_timeout``: seconds without a message in the
    response after which it is given up, for a server that reports progress; 0 for the usual limit on the total. It may
    take an hour in all, and is not repeated because it is slow.
    ``resumes``: if a stream ends early, request the rest of it: `deputize.core.acts.sse_resume`.
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
    idle_timeout: float = 0.0
    resumes: bool = False

    @property
    def call(self) -> Repeat:
        """The effective ``repeat``, which decides how an error or a lost response is treated."""
        return self.repeat or _REPEATS.get(self.method, "write")


@frozen
class PublicRequest(ValueObject):
    """A request without any credentials: a signed download, an upload address, a one-click unsubscribe.

    ``url``: https, of a host whose addresses are all public. The same applies to each redirect; only a read follows
    redirects, at most three. The ``yield`` returns an `Answer` whose ``data`` is the bytes. For a write, the `Answer`
    may be a redirect. Any other status is raised as a typed error. ``headers``: for a write, the headers that its
    address was signed with (``cache-control``, ``x-goog-...``). A header that identifies somebody or controls the
    connection is not allowed.
    ``repeat``, ``prepares`` and ``max_bytes``: as in `Request`.
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
        """The effective ``repeat``, which decides how an error or a lost response is treated."""
        return self.repeat or _REPEATS.get(self.method, "write")


_REPEATS: Final[Mapping[str, Repeat]] = {"GET": "read", "HEAD": "read"}
"""Methods that change nothing. Any other method writes."""
HEADERS: Final = frozenset(("accept", "if-match", "if-none-match", "if-unmodified-since", "prefer"))
"""Headers that a request to any provider may set; see `ApiRules.request_headers` for those of one provider."""


@frozen
class Answer(ValueObject):
    """A response with its status and headers. ``headers``: names in lower case, without cookies."""

    status: int
    headers: Mapping[str, str]
    data: Any


@frozen
class File(ValueObject):
    """A file that a tool receives or sends. No model sees its content. ``name``: the name that the sender chose."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@frozen
class Keep(ValueObject):
    """Store a file for the user, encrypted, for a day. The ``yield`` returns its handle, see
    `deputize.core.tools.stored_files`."""

    file: File


@frozen
class Take(ValueObject):
    """Load the user's file with this handle. The ``yield`` returns the `File`, or raises `NotFound`."""

    handle: str


@frozen
class ParseFile(ValueObject):
    """Parse untrusted bytes in a separate process; see `deputize.core.tools.parser_sandbox`.

    ``module``: its ``parse(question, content)`` is called in that process. The ``yield`` returns the answer, plain
    JSON. Raises `InvalidInput` with the reason ``too_complex`` if parsing takes too much time or memory, or the answer
    is too long.
    """

    module: str
    question: Mapping[str, Any]
    content: bytes = field(repr=False)


@frozen
class Wait(ValueObject):
    """Wait for some seconds, at most 10 at once and 30 in one act. A tool that waits longer has a bug."""

    seconds: float


@frozen
class TimeZone(ValueObject):
    """The user's time zone, as the provider reports it. ``name``: a name of the IANA database, such as
    ``Europe/Berlin``.

    The zone is stored for all toolkits: see `deputize.core.time_zones`. Yield this step whenever a response contains
    the zone. The ``yield`` returns a ``tzinfo``, or None if the name is unknown.

    ``argument``: name of an argument with a day or an hour that depends on the zone. Set it if ``run.zone_known`` is
    False; ``name`` is then "" if the provider does not report a zone. If no zone is known, the ``yield`` raises
    `InvalidInput` in a tool that writes. In a tool that reads, it returns UTC, and the result names UTC.
    """

    name: str
    argument: str = ""


@frozen
class Try(ValueObject):
    """At most ten reads that may be refused, sent concurrently. The ``yield`` returns a list of responses, with None
    for each refused read, even if a scope is missing."""

    requests: Sequence[Request]


@frozen
class SaveNote(ValueObject):
    """Store a note, encrypted and durable, before the next request is sent. Example: the id of a draft to be sent.

    If the process dies after that, the tool runs again with ``noted`` set to ``data``.
    """

    data: Mapping[str, Any]


@frozen
class ForOperator(ValueObject):
    """A note for the operator without secrets, which `deputize doctor` prints. It replaces the note at ``place``.
    ``said``: plain JSON, stored encrypted; empty deletes the note."""

    place: str
    said: Mapping[str, Any]


@frozen
class Undo(ValueObject):
    """The call that undoes this act, yielded once, after the last write.

    ``tool`` and ``arguments``: as a model would call the tool. ``holds``: the values that must still be there when the
    act is undone. They are compared with the undoing call's preview, by field name: with the ``before`` of a `Change`,
    or with the value of a field or a pin. If a value differs, somebody has changed it since, and nothing is undone.
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
    """Find the person whom a name means, in all accounts that the user has connected: see `deputize.core.tools.people`.

    Yield this step for a name that is not an address or id, before the `Preview`, which must contain the answer.
    ``field``: name of the argument that contains ``who``. ``wanted``: the kind of answer, an email address or the id
    that a toolkit's arguments take. The ``yield`` returns that address or id. It raises `InvalidInput` with the
    possible matches unless exactly one person matches.
    """

    who: str
    field: str
    wanted: str = ADDRESS


@frozen
class AskUser(ValueObject):
    """A question of the provider to the user. The run ends, and a page of deputize asks the user. A later run of the
    same act starts again and receives the reply by `Heard`.

    ``show``: the part that programs and models may see, without addresses and OAuth state. ``kept``: plain JSON that
    the page and the later run need, stored encrypted. ``seconds``: how long the provider waits.
    """

    show: Preview
    kept: Mapping[str, Any]
    seconds: float


@frozen
class Heard(ValueObject):
    """Read the user's reply to a question that an earlier run of this act asked. Yield it once, after the `Preview` and
    before the first write. The ``yield`` returns a `UserSaid`, or None if there was no question."""


@frozen
class UserSaid(ValueObject):
    """A reply to a question. ``reply``: ``late`` if the user did not reply before the provider stopped waiting.
    ``kept``: the data stored with the question. ``content``: the content of an ``accept``."""

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
"""What a tool is: a generator of steps. It receives the answer to each step, and returns the result of the call."""
