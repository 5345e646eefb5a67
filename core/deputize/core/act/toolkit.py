"""What a tool is: a typed function that yields requests and is sent the answers. No client, no user, no token.

    gmail = Toolkit("gmail", provider="google")

    @gmail.tool(needs=[any_of(SEND, COMPOSE, MODIFY, method="messages.send")], effect=Effect.SENDS)
    def send_email(to: list[str], subject: str, body: str, *, key: ActKey) -> Steps:
        '''Send a new email from the user's own address.'''
        sent = yield Request("POST", "/users/me/messages/send", json={"raw": ...})
        return {"id": sent["id"]}

Positional parameters are the tool's arguments and its schema. Keyword-only parameters are filled in by the runtime
and no schema shows them; `INJECTED` lists them. ``yield [Request, Request]`` runs requests at the same time and is
sent a list. A provider's refusal is raised at the ``yield`` as a `DeputizeError`. `Step` lists what else may be
yielded: a request without credentials, a note, a pause, a file to keep or to take.

A tool declared with ``shows`` reads, yields one `Show` of what it is about to do, and then writes just that. What it
shows is what the policy judges and the user says yes to; where it goes on, nothing is looked up again. Before it a tool
may read and take files; a write, a note or a kept file before it, or a second one, is the tool's fault.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from functools import cache, cached_property
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from deputize.core.act.show import Show
from deputize.core.errors import InvalidInput, SettingsError, instead

if TYPE_CHECKING:  # pydantic is imported when the first tool is declared: a third of what the core would cost to import
    from pydantic import BaseModel, ValidationError

Repeat = Literal["read", "idem", "write"]

MIB: Final = 2**20
MOST_BYTES: Final = 50 * MIB
"""The longest answer that any request may take."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call to the provider's API.

    ``path`` lies below the API root called ``api`` (default: the toolkit's); ``{name}`` in it is filled from ``at``,
    one validated segment each, so that no argument can leave its place. ``headers``: of `HEADERS` only. ``repeat`` says
    what a second sending does: nothing (read), nothing more (idem), or act twice (write); None means read for GET and
    HEAD, else write. ``prepares``: a write that nobody but the user can see yet, such as a draft; a refusal after it is
    a plain refusal. ``raw``: the answer's bytes are wanted as they are. ``whole``: an `Answer` is wanted, a redirect
    among them, which is never followed. ``max_bytes``: the longest answer to take, up to 50 MiB.
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

    @property
    def call(self) -> Repeat:
        """How the answer, or its loss, is to be judged."""
        return self.repeat or _call(self.method)


@dataclass(frozen=True, slots=True)
class PublicRequest:
    """A request that leaves without any credential: a signed download, an upload address, a one-click unsubscribe.

    ``url``: https, of a host whose addresses are all public; so is each of at most three redirects, which only a read
    follows. The tool is sent an `Answer` whose ``data`` are the bytes; of a write, it may be a redirect. Any other
    status is raised as a typed error. ``repeat``, ``prepares`` and ``max_bytes``: as in `Request`.
    """

    url: str
    method: Literal["GET", "POST", "PUT"] = "GET"
    content: bytes | None = None
    content_type: str = ""
    repeat: Repeat | None = None
    prepares: bool = False
    max_bytes: int = 10 * MIB

    @property
    def call(self) -> Repeat:
        """How the answer, or its loss, is to be judged."""
        return self.repeat or _call(self.method)


def _call(method: str) -> Repeat:
    return "read" if method in ("GET", "HEAD") else "write"


HEADERS: Final = frozenset(
    "accept if-match if-none-match if-unmodified-since prefer sforce-duplicate-rule-header x-github-api-version".split()
)
"""The headers that a request may set."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, where more than its data matters. ``headers``: in lower case, without cookies."""

    status: int
    headers: Mapping[str, str]
    data: Any


@dataclass(frozen=True, slots=True)
class File:
    """What comes in or goes out as bytes; no model ever sees them. ``name``: as the sender called it."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keep:
    """Put a file aside for the user, sealed, for a day. The tool is sent its handle: see `deputize.core.act.files`."""

    file: File


@dataclass(frozen=True, slots=True)
class Take:
    """The user's file behind a handle. The tool is sent the `File`, or `NotFound` is raised."""

    handle: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A moment, in seconds, before looking again; at most 10, and 30 in one act. More is the tool's fault."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something to keep, durably and sealed, before the next request leaves: the id of a draft about to be sent.

    If the process dies after it, the tool is run again with ``noted`` set to ``data``.
    """

    data: Mapping[str, Any]


Step = Request | list[Request] | PublicRequest | Note | Keep | Take | Wait | Show
Steps = Generator[Step, Any, Any]


class Effect(Flag):
    """What an act does to the world. Policy, approval, retries and annotations read it."""

    READS = 0
    WRITES = auto()
    DESTRUCTIVE = auto()
    SENDS = auto()

    @cache
    def words(self) -> str:
        """The gravest flag as one lower-case word."""
        for flag in (Effect.DESTRUCTIVE, Effect.SENDS, Effect.WRITES):
            if flag in self:
                return str(flag.name).lower()
        return "reads"


@dataclass(frozen=True, slots=True)
class Need:
    """The scopes any one of which an API method accepts. Consent asks for ``ask``, the narrowest that suffices.

    ``at``: what is needed instead at another provider that plays for the toolkit's, by its name. ``order``: what is
    accepted, in the order in which to ask for it where the narrower did not suffice.
    """

    accepts: frozenset[str]
    ask: str
    method: str = ""
    at: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    order: tuple[str, ...] = ()

    def nearest(self, scopes: Iterable[str]) -> list[str]:
        """Those of these scopes that are accepted, the narrowest first as far as is known."""
        places = {scope: at for at, scope in enumerate(self.order)}
        return sorted((one for one in scopes if one in self.accepts), key=lambda one: places.get(one, len(places)))

    def met_by(self, granted: frozenset[str]) -> bool:
        """Whether a granted scope suffices."""
        return not self.accepts.isdisjoint(granted)

    def of(self, provider: str) -> Need:
        """The need as this provider knows it."""
        scopes = self.at.get(provider)
        return Need(frozenset(scopes), scopes[0], self.method, order=scopes) if scopes else self


def any_of(ask: str, *broader: str, method: str = "", at: Mapping[str, tuple[str, ...]] | None = None) -> Need:
    """A need: ``ask`` is requested, any of ``broader`` satisfies too. ``method`` is the provider's API method.

    ``at``: the scopes to ask for and to accept at another provider that plays for the toolkit's.
    """
    return Need(frozenset((ask, *broader)), ask, method, at or {}, (ask, *broader))


def asks_of(needs: Iterable[Need], granted: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The narrowest scopes that would meet the needs which are not met yet."""
    return tuple(dict.fromkeys(need.ask for need in needs if not need.met_by(granted)))


def wanted_of(needs: Iterable[Need], named: Sequence[str], granted: frozenset[str]) -> tuple[str, ...]:
    """What to ask for where the provider names scopes although all needs seem met.

    Of each need that the names are about: the narrowest, unless it was granted and did not suffice; then a named one.
    """
    found = []
    for need in needs:
        if about := need.nearest(named):
            found.append(next((one for one in (need.ask, *about) if one not in granted), need.ask))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class ActKey:
    """What makes two calls the same act, as a digest that providers can use as an idempotency key."""

    digest: bytes

    @classmethod
    def of(cls, *parts: str) -> ActKey:
        """The key of these parts, in this order; no two lists of parts share one."""
        canonical = json.dumps(["deputize-act-1", *parts], separators=(",", ":"))
        return cls(hashlib.sha256(canonical.encode()).digest())

    def nth(self, n: int) -> ActKey:
        """The key of the n-th write inside this act."""
        return ActKey(hashlib.sha256(self.digest + n.to_bytes(4, "big")).digest())

    @property
    def hex(self) -> str:
        """64 hexadecimal characters."""
        return self.digest.hex()

    @property
    def base32(self) -> str:
        """26 characters of ``[0-9a-v]``: an id for a Google Calendar event."""
        return base64.b32hexencode(self.digest[:16]).decode().rstrip("=").lower()

    @property
    def uuid(self) -> str:
        """A UUID of version 4's form."""
        return str(uuid.UUID(bytes=self.digest[:16], version=4))


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a tool. ``arguments``: what its arguments are called there, ``{theirs: ours}``; ``ours[]`` where
    we take a list of what they take one of. ``sets``: what the name stands for, unless the call says otherwise.
    ``values``: what they call a value, ``{ours: {theirs: ours}}``.
    """

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str | bool, Any]] = field(default_factory=dict)

    def read(self, name: str, value: Any) -> tuple[str, Any]:
        """An argument by our name for it, its value in our words."""
        ours, listed, _ = self.arguments.get(name, name).partition("[]")
        if listed and not isinstance(value, list):
            return ours, [value]
        known = self.values.get(ours, {})
        return ours, known.get(value, value) if isinstance(value, str | bool) else value


INJECTED = frozenset({"key", "granted", "account", "noted", "now"})
"""What the runtime fills in: `ActKey`, granted scopes (frozenset), `Account`, an earlier `Note`'s data or None,
and the time (Unix seconds): of a tool that shows, when the act was first asked for, the same in every run of it."""

Arguments = Mapping[str, Any]
Needs = Sequence[Need] | Callable[[Arguments], Sequence[Need]]
Effects = Effect | Callable[[Arguments], Effect]


@dataclass(frozen=True)
class Tool:
    """One action of one product: typed arguments, scopes and an effect. Made by `Toolkit.tool`."""

    name: str
    toolkit: str
    provider: str
    api: str
    description: str
    model: type[BaseModel]
    parameters: Mapping[str, str]
    steps: Callable[..., Steps]
    needs: Needs
    effects: Effects
    gravest: Effect
    injected: frozenset[str]
    aliases: tuple[Alias, ...] = ()
    toolset: str = "core"
    accepts: Mapping[str, str] = field(default_factory=dict)
    called: Alias | None = None
    remark: str = ""
    shows: bool = False

    def under(self, alias: Alias) -> Tool:
        """This tool, called by another name: with the arguments that it has there."""
        return replace(self, called=alias)

    def validate(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments as the tool's function wants them. Raises `InvalidInput`, naming each field at fault."""
        from pydantic import ValidationError

        if not isinstance(arguments, Mapping):
            raise InvalidInput(f"{self.name}: arguments are names with values.", hint="Pass an object.")
        try:
            valid = self.model.model_validate(self._in_our_words(arguments))
        except ValidationError as e:
            raise InvalidInput(_faults(self.name, e), hint="Correct the named arguments and call again.") from None
        return {inner: getattr(valid, outer) for outer, inner in self.parameters.items()}

    def _in_our_words(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments under the names that the schema shows. Raises `InvalidInput` for one that is given twice."""
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            ours, meant = self.called.read(str(name), value) if self.called else (str(name), value)
            if ours not in self.parameters and self.accepts.get(ours) in self.parameters:
                ours = self.accepts[ours]
            if ours in given and given[ours] != meant:
                raise InvalidInput(f"{self.name}: {ours} is given twice.", hint="Give it once.")
            given[ours] = meant
        return {**(self.called.sets if self.called else {}), **given}

    def needs_of(self, arguments: Arguments, provider: str = "") -> Sequence[Need]:
        """The needs of a call with these validated arguments; all must be met. ``provider``: who is asked, if another
        than the toolkit's."""
        return _at(provider, self.needs(arguments) if callable(self.needs) else self.needs)

    def effect_of(self, arguments: Arguments) -> Effect:
        """The effect of a call with these validated arguments."""
        return self.effects(arguments) if callable(self.effects) else self.effects

    def usual_needs(self, provider: str = "") -> Sequence[Need]:
        """The needs with default arguments, for lists and for consent beforehand."""
        if not callable(self.needs):
            return _at(provider, self.needs)
        usual = {
            self.parameters[n]: None if f.is_required() else f.get_default(call_default_factory=True)
            for n, f in self.model.model_fields.items()
        }
        return _at(provider, self.needs(usual))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The arguments as JSON schema, without what only costs tokens."""
        lean: dict[str, Any] = _lean(self.model.model_json_schema())
        return lean


def _at(provider: str, needs: Sequence[Need]) -> Sequence[Need]:
    return [need.of(provider) for need in needs] if any(need.at for need in needs) else needs


@dataclass
class Toolkit:
    """The tools of one product. ``api`` names the provider's API root they live below (default: the name).

    ``accepts``: other spellings of arguments, ``{theirs: ours}``: no schema shows them, and they mean something only
    where a tool has an argument of our name and none of theirs. ``remark``: what to know before relying on it.
    """

    name: str
    provider: str
    api: str = ""
    accepts: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    tools: dict[str, Tool] = field(default_factory=dict)

    def tool(
        self,
        *,
        needs: Needs = (),
        effect: Effects = Effect.READS,
        gravest: Effect | None = None,
        aliases: Iterable[str | Alias] = (),
        toolset: str = "core",
        shows: bool = False,
    ) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
        """Declare a tool. Where ``effect`` is a function of the arguments, ``gravest`` says how far it can go.

        ``toolset``: the part of the toolkit it is chosen with, besides by its name; "core" is chosen first. ``shows``:
        it yields a `Show` before its first write; of one that does not, a user is shown the arguments.
        """
        if gravest is None and not isinstance(effect, Effect):
            raise SettingsError(f"A tool of {self.name} whose effect depends on its arguments must name its gravest.")
        worst = gravest if gravest is not None else effect

        def declare(steps: Callable[..., Steps]) -> Callable[..., Steps]:
            name = f"{self.name}_{steps.__name__}"
            model, parameters, injected = _signature(name, steps)
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
                injected=injected,
                aliases=tuple(Alias(a) if isinstance(a, str) else a for a in aliases),
                toolset=toolset,
                accepts=self.accepts,
                remark=self.remark,
                shows=shows,
            )
            return steps

        return declare


def _signature(name: str, steps: Callable[..., Steps]) -> tuple[type[BaseModel], dict[str, str], frozenset[str]]:
    """The argument model of a tool's function, its argument names outside and inside, and what the runtime fills in.

    ``from_`` inside is "from" outside: a keyword of Python is a fine name for an argument.
    """
    from pydantic import BeforeValidator, ConfigDict, create_model

    hints = get_type_hints(steps, include_extras=True)
    fields: dict[str, Any] = {}
    parameters: dict[str, str] = {}
    injected = set[str]()
    for p in inspect.signature(steps).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            injected.add(p.name)
            continue
        outer = p.name.rstrip("_")
        parameters[outer] = p.name
        hint = Annotated[hints[p.name], BeforeValidator(_listed)] if _is_list(hints[p.name]) else hints[p.name]
        fields[outer] = (hint, ... if p.default is p.empty else p.default)
    if unknown := injected - INJECTED:
        raise SettingsError(f"{name} asks the runtime for {sorted(unknown)}; it knows {sorted(INJECTED)}.")
    config = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())
    return create_model(name, __config__=config, **fields), parameters, frozenset(injected)


def _is_list(hint: Any) -> bool:
    """Whether an argument is a list, or a list or nothing."""
    if get_origin(hint) is Annotated:
        return _is_list(get_args(hint)[0])
    return get_origin(hint) is list or (
        get_origin(hint) in (Union, UnionType) and any(_is_list(one) for one in get_args(hint))
    )


def _listed(value: Any) -> Any:
    """A list of one, where a model has written the one alone."""
    return [value] if isinstance(value, str) else value


def _faults(tool: str, error: ValidationError) -> str:
    """Which arguments are wrong and how, without their values."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'arguments'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return f"{tool}: " + "; ".join(faults[:5])


def _lean(schema: Any, *, names: bool = False) -> Any:
    """Without titles, null alternatives and null defaults. ``names``: the keys are names of properties."""
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    lean = {k: _lean(v, names=k in ("properties", "$defs") and not names) for k, v in schema.items()}
    if names:
        return lean
    lean.pop("title", None)
    if lean.get("default", ...) is None:
        lean.pop("default")
    some = [part for part in lean.get("anyOf", []) if part != {"type": "null"}]
    if len(some) == 1:
        lean.pop("anyOf")
        lean = {**some[0], **lean}
    return lean


def find_toolkits(*names: str) -> dict[str, Toolkit]:
    """The toolkits of these names, or all there are: built in, then of other packages (`deputize.core.act.plugins`).

    Raises `InvalidInput` for a name nobody provides, `SettingsError` for one whose package is broken.
    """
    from deputize.core.act import plugins as others  # it imports this module

    built_in = others.built_in_names()
    if not names:
        return {name: others.built_in(name) for name in built_in} | others.PLUGINS.all()
    found: dict[str, Toolkit] = {}
    for name in names:
        kit = others.built_in(name) if name in built_in else others.PLUGINS.find(name)
        if kit is None:
            known = sorted({*built_in, *others.PLUGINS.names()})
            raise InvalidInput(f"No toolkit is called {name!r}.", hint=instead(name, known), fix_by="operator")
        found[name] = kit
    return found
