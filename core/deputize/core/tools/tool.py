"""One action of one product: its name, arguments, scopes and effect, and the facts that its run receives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, tzinfo
from enum import Flag, auto
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deputize.core.errors import InvalidInput
from deputize.core.tools.act_key import ActKey
from deputize.core.tools.required_scopes import Need
from deputize.core.tools.schema import faults, lean
from deputize.core.tools.steps import Steps
from deputize.core.tools.strict_schema import as_meant, strict_schema
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account

if TYPE_CHECKING:
    from pydantic import BaseModel


@frozen
class Run(Printed):
    """Facts about a run of a tool, passed to its keyword-only parameter ``run: Run``, which is not in the tool's
    schema.

    ``key``: the identity of the act, for idempotency keys. ``granted``: the scopes of the grant. ``account``: the
    user's account at the provider.
    ``noted``: the data that an interrupted run of the same act stored by `SaveNote`, or None. A tool that yields a
    `SaveNote` must read it.
    ``now``: Unix seconds. For a tool with previews, it is the time at which the act was first requested, the same in
    every run.
    ``zone``: the user's time zone, UTC if unknown. ``zone_known``: False if the zone is a guess, on which no argument
    may depend: see `TimeZone`.
    ``trusted_authors``: the setting for this toolkit that names the authors whose texts a model may read, "" for all
    authors; see `deputize.core.tools.trusted_authors`.
    ``grant``: identifies the grant in this process, so that a server's session is reused for one token only; "" if no
    session is reused.
    ``can_ask``: True if `AskUser` can reach the user and a later run can receive the reply. It is False for a service
    account and for a write without a call id.
    """

    key: ActKey
    granted: frozenset[str]
    account: Account
    noted: Mapping[str, Any] | None
    now: float
    zone: tzinfo = UTC
    trusted_authors: str = ""
    grant: str = ""
    can_ask: bool = False
    zone_known: bool = False


class Effect(Flag):
    """The effect of an act on the world, for policy, approval, retries and annotations."""

    READS = 0
    WRITES = auto()
    DESTRUCTIVE = auto()
    SENDS = auto()

    def words(self) -> str:
        """Return the gravest flag as one lower-case word."""
        for flag in (Effect.DESTRUCTIVE, Effect.SENDS, Effect.WRITES):  # a plain loop for speed: every act runs this
            if self._value_ & flag._value_:
                return str(flag._name_).lower()
        return "reads"


@frozen
class Alias(Printed):
    """Another name of a tool. ``arguments``: its argument names, ``{alias: tool}``; ``tool[]`` if the tool takes a list
    where the alias takes a single value. ``sets``: arguments that the name implies, unless the call gives them.
    ``values``: its names of values, or of values in a list, ``{tool's argument: {alias: tool}}``. If several lists of
    the alias map to one argument, they are joined. An argument of the alias that is None counts as not given."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str | bool, Any]] = field(default_factory=dict)

    def read(self, name: str, value: Any) -> tuple[str, Any]:
        """Return the tool's name of an argument of the alias, and the tool's form of its value."""
        ours, listed, _ = self.arguments.get(name, name).partition("[]")
        if listed and not isinstance(value, list):
            return ours, [value]
        known = self.values.get(ours, {})
        if isinstance(value, list):
            return ours, [known.get(one, one) if isinstance(one, str) else one for one in value]
        return ours, known.get(value, value) if isinstance(value, str | bool) else value


Arguments = Mapping[str, Any]
Needs = Sequence[Need] | Callable[[Arguments], Sequence[Need]]
Effects = Effect | Callable[[Arguments], Effect]
ContactsIn = Callable[[Any, str, float], Iterable[str]]
"""Function of a provider's response, the account's name and the time, in Unix seconds. It returns the addresses of the
people whom the user knows by this response: to whom the user wrote, or whom the user saved. It returns only what the
provider vouches for, and never raises, whatever the response is."""


@frozen(slots=False)
class Tool(Printed):
    """One action of one product: typed arguments, scopes and an effect. Made by `Toolkit.tool`.

    ``follows``: True for a tool that runs the call in a reference; see `deputize.core.tools.continuation`. ``words``:
    further search words, from its toolkit. ``model``: None for a tool with a foreign schema, whose class validates
    arguments. ``may_ask``: True if its provider may ask the user something. ``facts``, ``writers``,
    ``contacts_in``, ``label``: as its toolkit declares them. ``shows``: True if it yields a `Preview` before its first
    write. ``may_end_unshown``: True if it may end without a `Preview`, because it found nothing to change.
    """

    name: str
    toolkit: str
    provider: str
    api: str
    description: str
    model: type[BaseModel] | None
    parameters: Mapping[str, str]
    steps: Callable[..., Steps]
    needs: Needs
    effects: Effects
    gravest: Effect
    takes_run: bool
    aliases: tuple[Alias, ...] = ()
    toolset: str = "core"
    accepts: Mapping[str, str] = field(default_factory=dict)
    called: Alias | None = None
    label: str = ""
    remark: str = ""
    shows: bool = False
    may_end_unshown: bool = False
    follows: bool = False
    may_ask: bool = False
    words: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    writers: tuple[str, ...] = ()
    contacts_in: ContactsIn | None = None

    def under(self, alias: Alias) -> Tool:
        """Return this tool under another name, with that name's arguments."""
        return replace(self, called=alias)

    @property
    def title(self) -> str:
        """Its name for people, or ""."""
        return ""

    @cached_property
    def result_schema(self) -> Mapping[str, Any] | None:
        """The JSON schema of every result, or None if it is not known."""
        return None

    @property
    def returns_files(self) -> bool:
        """True if ``content`` in a result names files by their handles, which a model receives if ``shown`` is true."""
        return False

    def begin(self, arguments: Arguments, run: Callable[[], Run]) -> Steps:
        """Start a call with these validated arguments. ``run`` is called only if the tool takes a `Run`."""
        return self.steps(**arguments, run=run()) if self.takes_run else self.steps(**arguments)

    @property
    def reads_notes(self) -> bool:
        """True if an interrupted run can be resumed, because the tool receives the notes of the earlier run."""
        return self.takes_run

    def validate(self, arguments: Arguments) -> dict[str, Any]:
        """Return the arguments for the tool's function. Raises `InvalidInput` that names each invalid argument."""
        if not isinstance(arguments, Mapping):
            raise InvalidInput(f"{self.name}: the arguments must be an object, not {type(arguments).__name__}.")
        if self.model is None:
            raise NotImplementedError(f"{self.name} has no model: its class checks arguments itself.")
        try:
            valid = self.model.model_validate(self.meant(self._rename_arguments(arguments)))
        except ValueError as e:
            from pydantic import ValidationError

            if not isinstance(e, ValidationError):
                raise
            said = faults(self.name, e, self.parameters)
            raise InvalidInput(said, hint="Correct the named arguments and call again.") from None
        return {inner: getattr(valid, outer) for outer, inner in self.parameters.items()}

    def meant(self, arguments: Arguments) -> dict[str, Any]:
        """Return the arguments that the plain schema describes for arguments that follow `strict_schema`."""
        return dict(as_meant(arguments, self.schema))

    def named(self, valid: Arguments) -> dict[str, Any]:
        """Return validated arguments under their public names."""
        return {outer: valid[inner] for outer, inner in self.parameters.items() if inner in valid}

    def _rename_arguments(self, arguments: Arguments) -> dict[str, Any]:
        """Return the arguments under their names in the schema. Raises `InvalidInput` for an argument given twice."""
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            if self.called and value is None:
                continue
            ours, meant = self.called.read(str(name), value) if self.called else (str(name), value)
            if ours not in self.parameters and self.accepts.get(ours) in self.parameters:
                ours = self.accepts[ours]
            if self.called and name != ours and isinstance(meant, list) and isinstance(given.get(ours), list):
                meant = given.pop(ours) + meant
            if ours in given and given[ours] != meant:
                raise InvalidInput(f"{self.name}: {ours} is given twice, with different values.", hint="Give it once.")
            given[ours] = meant
        return {**(self.called.sets if self.called else {}), **given}

    def needs_of(self, arguments: Arguments, provider: str = "") -> Sequence[Need]:
        """Return the needs of a call with these validated arguments; the call requires all of them. ``provider``: a
        provider other than the toolkit's."""
        return _needs_at(provider, self.needs(arguments) if callable(self.needs) else self.needs)

    def effect_of(self, arguments: Arguments) -> Effect:
        """Return the effect of a call with these validated arguments."""
        return self.effects(arguments) if callable(self.effects) else self.effects

    def usual_needs(self, provider: str = "") -> Sequence[Need]:
        """Return the needs of a call with default arguments, for lists and for consents in advance."""
        return _needs_at(provider, self.needs(self.plain_arguments()) if callable(self.needs) else self.needs)

    def plain_arguments(self) -> dict[str, Any]:
        """Return the default arguments, with None for required ones."""
        return {
            self.parameters[name]: None if info.is_required() else info.get_default(call_default_factory=True)
            for name, info in (self.model.model_fields if self.model else {}).items()
        }

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The arguments as JSON schema, without parts that only cost tokens."""
        return dict(lean(self.model.model_json_schema())) if self.model else {"type": "object"}

    @cached_property
    def strict_schema(self) -> dict[str, Any]:
        """The arguments as JSON schema in which every argument is required and null means "not given"; see
        `deputize.core.tools.strict_schema`."""
        return strict_schema(self.schema)


def _needs_at(provider: str, needs: Sequence[Need]) -> Sequence[Need]:
    for need in needs:
        if need.at:
            return [one.of(provider) for one in needs]
    return needs
