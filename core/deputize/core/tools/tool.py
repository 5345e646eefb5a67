"""One action of one product: what it is called, what it takes, what it needs and how far it can go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from enum import Flag, auto
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deputize.core.errors import InvalidInput
from deputize.core.tools.needs import Need
from deputize.core.tools.run import Run
from deputize.core.tools.schema import faults, lean
from deputize.core.tools.steps import Steps
from deputize.core.tools.strict_schema import as_meant, strict_schema
from deputize.core.value_object import Printed, frozen

if TYPE_CHECKING:
    from pydantic import BaseModel


class Effect(Flag):
    """What an act does to the world. Policy, approval, retries and annotations read it."""

    READS = 0
    WRITES = auto()
    DESTRUCTIVE = auto()
    SENDS = auto()

    def words(self) -> str:
        """The gravest flag as one lower-case word."""
        if not self._value_:
            return "reads"
        gravest = next(flag for flag in (Effect.DESTRUCTIVE, Effect.SENDS, Effect.WRITES) if flag in self)
        return str(gravest.name).lower()


@frozen
class Alias(Printed):
    """Another name of a tool. ``arguments``: what its arguments are called there, ``{theirs: ours}``; ``ours[]`` where
    we take a list of what they take one of. ``sets``: what the name stands for, unless the call says otherwise.
    ``values``: what they call a value, or one in a list, ``{ours: {theirs: ours}}``. Several lists that are one of ours
    are put together; an argument that is None there was not given.
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
        if isinstance(value, list):
            return ours, [known.get(one, one) if isinstance(one, str) else one for one in value]
        return ours, known.get(value, value) if isinstance(value, str | bool) else value


Arguments = Mapping[str, Any]
Needs = Sequence[Need] | Callable[[Arguments], Sequence[Need]]
Effects = Effect | Callable[[Arguments], Effect]


@frozen(slots=False)
class Tool(Printed):
    """One action of one product: typed arguments, scopes and an effect. Made by `Toolkit.tool`. ``follows``: what is
    done is the call that a reference of its toolkit's stands for; see `deputize.core.tools.continuation`. ``words``:
    by what else its toolkit is looked for. ``model``: None for a tool that is described by somebody else's schema,
    whose class says how arguments are checked. ``may_ask``: its provider may ask the user something before it goes on.
    ``facts``, ``writers``: as its toolkit declares them. ``shows``: it yields a `Preview` before its first write."""

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
    remark: str = ""
    shows: bool = False
    follows: bool = False
    may_ask: bool = False
    words: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    writers: tuple[str, ...] = ()

    def under(self, alias: Alias) -> Tool:
        """This tool, called by another name: with the arguments that it has there."""
        return replace(self, called=alias)

    def begin(self, arguments: Arguments, run: Callable[[], Run]) -> Steps:
        """The steps of a call with these validated arguments. ``run`` is asked where the tool takes it."""
        return self.steps(**arguments, run=run()) if self.takes_run else self.steps(**arguments)

    @property
    def reads_notes(self) -> bool:
        """Whether a run that was interrupted can be taken up: it is handed what the earlier one noted."""
        return self.takes_run

    def validate(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments as the tool's function wants them. Raises `InvalidInput`, naming each field at fault."""
        if not isinstance(arguments, Mapping):
            raise InvalidInput(f"{self.name}: the arguments must be an object, not {type(arguments).__name__}.")
        if self.model is None:
            raise NotImplementedError(f"{self.name} has no model: its class checks arguments itself.")
        try:
            valid = self.model.model_validate(self.meant(self._in_our_words(arguments)))
        except ValueError as e:
            from pydantic import ValidationError

            if not isinstance(e, ValidationError):
                raise
            said = faults(self.name, e, self.parameters)
            raise InvalidInput(said, hint="Correct the named arguments and call again.") from None
        return {inner: getattr(valid, outer) for outer, inner in self.parameters.items()}

    def meant(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments that a model has written to fit `strict_schema`, as it would have written them without."""
        return dict(as_meant(arguments, self.schema))

    def named(self, valid: Arguments) -> dict[str, Any]:
        """Validated arguments under the names that people and models know."""
        return {outer: valid[inner] for outer, inner in self.parameters.items() if inner in valid}

    def _in_our_words(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments under the names that the schema shows. Raises `InvalidInput` for one that is given twice."""
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
        """The needs of a call with these validated arguments; all must be met. ``provider``: who is asked, if another
        than the toolkit's."""
        return _at(provider, self.needs(arguments) if callable(self.needs) else self.needs)

    def effect_of(self, arguments: Arguments) -> Effect:
        """The effect of a call with these validated arguments."""
        return self.effects(arguments) if callable(self.effects) else self.effects

    def usual_needs(self, provider: str = "") -> Sequence[Need]:
        """The needs with default arguments, for lists and for consent beforehand."""
        return _at(provider, self.needs(self.plain_arguments()) if callable(self.needs) else self.needs)

    def plain_arguments(self) -> dict[str, Any]:
        """The default arguments; None for what a call has to give."""
        return {
            self.parameters[name]: None if info.is_required() else info.get_default(call_default_factory=True)
            for name, info in (self.model.model_fields if self.model else {}).items()
        }

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The arguments as JSON schema, without what only costs tokens."""
        return dict(lean(self.model.model_json_schema())) if self.model else {"type": "object"}

    @cached_property
    def strict_schema(self) -> dict[str, Any]:
        """The same, where each argument has to be given: an optional one may be null, which `validate` takes for "not
        given". See `deputize.core.tools.strict_schema`."""
        return strict_schema(self.schema)


def _at(provider: str, needs: Sequence[Need]) -> Sequence[Need]:
    for need in needs:
        if need.at:
            return [one.of(provider) for one in needs]
    return needs
