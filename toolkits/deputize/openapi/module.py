"""Text of a toolkit's module: one function per tool, in the style of handwritten toolkits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.openapi.arguments import KEY_HEADER, Argument
from deputize.openapi.identifiers import constant_name, function_name, type_name
from deputize.openapi.kept_fields import paging_arguments
from deputize.openapi.layout import WIDTH, Group, Part, lay_out, literal, literals, tuple_of
from deputize.openapi.operations import Operation
from deputize.openapi.prose import docstring, plain

LONGEST_CHOICE: Final = 50
"""Characters of a choice in a signature; a longer one gets a name."""
LONGEST_WHAT: Final = 80
_CORE: Final = ("Audience", "Effect", "Request", "Run", "Preview", "Steps", "Toolkit", "any_of")
_OURS: Final = ("Number", "Part", "as_text", "fitted", "given", "joined")
_TYPING: Final = ("Annotated", "Any", "Literal")
_FLAGS: Final = {"writes": "WRITES", "destructive": "DESTRUCTIVE", "sends": "SENDS"}


@dataclass(slots=True)
class Module:
    """A module that is being written. ``provider``, ``api``: the provider's name, and the root of its API."""

    toolkit: str
    provider: str
    api: str
    functions: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=lambda: {"Toolkit"})
    _names: set[str] = field(default_factory=set)
    _constants: dict[tuple[object, ...], str] = field(default_factory=dict)
    _declared: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def add(self, operation: Operation) -> str:
        """Write a tool, and return the name of its function."""
        name = function_name(operation.id or operation.key, self.toolkit, operation.method, self._taken)
        self.functions[name] = self._function(name, operation)
        return name

    def text(self, about: str) -> str:
        """Return the module's text. ``about``: the module's docstring, which names its source."""
        kit = [literal(self.toolkit), f"provider={literal(self.provider)}", f"api={literal(self.api)}", "shows=True"]
        parts = [
            docstring(about, 0),
            "from __future__ import annotations",
            "\n\n".join(self._imports()),
            lay_out(Group("TOOLKIT = Toolkit(", kit, ")")),
            *self._declared,
        ]
        return "\n\n".join(parts) + "".join(f"\n\n\n{one}" for one in self.functions.values()) + "\n"

    def _imports(self) -> Iterator[str]:
        lines = [
            (f"from {module} import ", [name for name in names if name in self._used])
            for module, names in (("deputize.core", _CORE), ("deputize.openapi", _OURS), ("pydantic", ("Field",)))
        ]
        if typed := [name for name in _TYPING if name in self._used]:
            yield f"from typing import {', '.join(typed)}"
        yield "\n".join(_import(start, sorted(names, key=_as_isort)) for start, names in lines if names)

    def _uses(self, *names: str) -> None:
        self._used.update(names)

    # ------------------------------------------------------------- a tool

    def _function(self, name: str, operation: Operation) -> str:
        signature: list[Part] = [self._parameter(name, one) for one in operation.arguments]
        self._uses("Request", "Steps", "fitted")
        if operation.reads:
            self._uses("Part")
            signature.append("part: Part = None")
        elif operation.once:
            self._uses("Run")
            signature += ["*", "run: Run"]
        steps = [] if operation.reads else [self._show(operation)]
        lines = [
            lay_out(Group("@TOOLKIT.tool(", [*self._needs(operation), *self._effect(operation)], ")")),
            lay_out(Group(f"def {name}(", signature, ") -> Steps:")),
            docstring(f"{operation.about}.", 4),
            *(lay_out(step, 4) for step in [*steps, self._request(operation), self._result(operation, name)]),
        ]
        return "\n".join(lines)

    def _needs(self, operation: Operation) -> Iterator[Part]:
        if not operation.needs:
            return
        self._uses("any_of")
        method = f"method={literal(operation.key)}"
        named = [method] if len(method) <= WIDTH - 14 else []
        yield Group("needs=[", [Group("any_of(", [*literals(need), *named], ")") for need in operation.needs], "]")

    def _effect(self, operation: Operation) -> Iterator[str]:
        if flags := [f"Effect.{flag}" for name, flag in _FLAGS.items() if name in operation.effects]:
            self._uses("Effect")
            yield f"effect={' | '.join(flags)}"

    def _parameter(self, function: str, one: Argument) -> Part:
        type, optional = self._type(function, one), not one.required and one.default is None
        type += " | None" if optional or (one.kind.null and type != "Any") else ""
        end = "" if one.required else f" = {literal(one.default)}"
        told = [f"description={literal(one.about)}"] if one.about else []
        told += [f"{name}={literal(bound)}" for name, bound in one.kind.bounds]
        if not told:
            return f"{one.name}: {type}{end}"
        self._uses("Annotated", "Field")
        return Group(f"{one.name}: Annotated[", [type, Group("Field(", told, ")")], f"]{end}")

    def _type(self, function: str, one: Argument) -> str:
        type = one.kind.type.replace("{}", self._choice(function, one)) if one.kind.values else one.kind.type
        self._uses(*(name for name in ("Any", "Number") if name in one.kind.type))
        return type

    def _choice(self, function: str, one: Argument) -> str:
        self._uses("Literal")
        choice = Group("Literal[", literals(one.kind.values), "]")
        if len(choice.flat()) <= LONGEST_CHOICE:
            return choice.flat()
        known = tuple((type(value), value) for value in one.kind.values)
        if known not in self._constants:
            made = self._constants[known] = type_name(f"{function} {one.name}", self._names)
            self._declared.append(lay_out(Group(f"{made} = {choice.open}", choice.parts, choice.close)))
        return self._constants[known]

    # ------------------------------------------------------------- the steps of a tool

    def _show(self, operation: Operation) -> Part:
        """Return the preview step, with every argument, because each of them is sent."""
        self._uses("Preview", "Audience")
        told = [literal(plain(operation.about, LONGEST_WHAT)), "audience=Audience.UNKNOWN"]
        if operation.method in ("PUT", "PATCH", "DELETE") or "destructive" in operation.effects:
            told.append("destroys=True")
        told += _call_fields(operation)
        return Group(
            "yield Preview(", [*told, *(f"{one.name}={self._preview_value(one)}" for one in operation.arguments)], ")"
        )

    def _preview_value(self, one: Argument) -> str:
        if "Any" not in one.kind.type:
            return one.name
        self._uses("as_text")
        return f"as_text({one.name})"

    def _request(self, operation: Operation) -> Part:
        told: list[Part] = [literal(operation.method), literal(operation.path)]
        if places := operation.arguments_in("path"):
            told.append(Group("at={", [f"{literal(one.name)}: {_segment(one)}" for one in places], "}"))
        if query := operation.arguments_in("query"):
            told.append(Group("params={", [f"{literal(one.wire)}: {self._query_value(one)}" for one in query], "}"))
        told += [*self._body(operation), *self._headers(operation)]
        if operation.reads and operation.method != "GET":
            told.append('repeat="read"')
        elif operation.method == "GET" and not operation.reads and not operation.once:
            told.append('repeat="write"')
        if operation.kept.form == "raw":
            told.append("raw=True")
        return Group("found = yield Request(", told, ")")

    def _query_value(self, one: Argument) -> str:
        if not one.separator:
            return one.name
        self._uses("joined")
        return f"joined({one.name}, {literal(one.separator)})"

    def _body(self, operation: Operation) -> Iterator[Part]:
        yield from (f"json={one.name}" for one in operation.arguments_in("whole"))
        if members := operation.arguments_in("body"):
            yield self._members("json=", members, clear=[one.name for one in operation.arguments_in("clear")])

    def _headers(self, operation: Operation) -> Iterator[Part]:
        once = operation.once and not operation.reads
        own = [f"{literal(KEY_HEADER)}: run.key.uuid"] if once else []
        if own or operation.arguments_in("header"):
            yield self._members("headers=", operation.arguments_in("header"), own)
        if once:
            yield 'repeat="idem"'

    def _members(
        self, start: str, members: Sequence[Argument], own: Sequence[str] = (), clear: Sequence[str] = ()
    ) -> Part:
        """Return an object with the required members and the optional ones that the call gives."""
        always = [*own, *(f"{literal(one.wire)}: {one.name}" for one in members if one.required)]
        maybe = [f"{literal(one.wire)}: {one.name}" for one in members if not one.required]
        if not maybe:
            return Group(f"{start}{{", always, "}")
        self._uses("given")
        rest: list[Part] = [Group("{", maybe, "}"), *clear]
        return (
            Group(f"{start}{{", [*always, Group("**given(", rest, ")")], "}")
            if always
            else Group(f"{start}given(", rest, ")")
        )

    def _result(self, operation: Operation, function: str) -> Part:
        kept, told = operation.kept, ["found"]
        if kept.fields:
            told.append(self._fields(kept.fields, kept.about or function))
        if kept.rows:
            told.append(f"rows={literal(kept.rows)}")
        if operation.reads:
            told += [*_pages(operation), "part=part"]
        return Group("return fitted(", told, ")")

    def _fields(self, fields: tuple[str, ...], about: str) -> str:
        if fields not in self._constants:
            made = self._constants[fields] = constant_name(about, self._names, "_fields")
            self._declared.append(lay_out(tuple_of(f"{made} = ", fields)))
        return self._constants[fields]


def _call_fields(operation: Operation) -> list[str]:
    """Return the fields with the call itself, which no summary can hide: two if it is too long for a line."""
    whole = f"request={literal(f'{operation.method} {operation.path}')}"
    if len(whole) <= WIDTH - 10:
        return [whole]
    return [f"request={literal(operation.method)}", f"request_path={literal(operation.path)}"]


def _segment(one: Argument) -> str:
    if one.kind.is_text:
        return one.name
    return f'f"{{{one.name}}}"' + (".lower()" if one.kind.type == "bool" else "")


def _pages(operation: Operation) -> Iterator[str]:
    """Yield ``page`` and ``size`` of an API that numbers pages, if both have a default."""
    numbers = {
        one.wire.lower(): one
        for one in operation.arguments_in("query")
        if one.kind.type == "int" and one.default is not None
    }
    size = next(
        (numbers[name] for name in ("per_page", "page_size", "pagesize", "limit", "size") if name in numbers), None
    )
    if "page" in numbers and size:
        yield from (f"page={numbers['page'].name}", f"size={size.name}")


def page_arguments(operation: Operation) -> list[str]:
    """Return the paging arguments, to list them for the operator."""
    return list(paging_arguments({one.wire: one.name for one in operation.arguments_in("query")}))


def _import(start: str, names: Sequence[str]) -> str:
    line = f"{start}{', '.join(names)}"
    return line if len(line) <= WIDTH else lay_out(Group(f"{start}(", names, ")"))


def _as_isort(name: str) -> tuple[int, str]:
    """Return a sort key: constants, classes, then others, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
