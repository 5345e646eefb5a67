"""Linear's documents, reduced to what emulate's Linear supports.

emulate has 22 of Linear's 164 queries and 19 of its 371 mutations, and of their types a part. This transport asks it
for its schema, takes out of each request the fields, arguments, variables and input fields that are not there, and
notes what it took. What is sent in earnest stays as it is: it is checked against Linear's own schema elsewhere.
"""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
from graphql import (
    REMOVE,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInputObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    parse,
    print_ast,
    type_from_ast,
    visit,
)

from tests.support.emulate import Production

_ADDRESS: Final = "https://api.linear.app/graphql"


class PrunedLinear(httpx.AsyncBaseTransport):
    """A transport in front of another that simulates Linear. ``dropped``: what was removed, by operation."""

    def __init__(self, inner: Production) -> None:
        self._inner = inner
        self._schema: GraphQLSchema | None = None
        self.dropped: dict[str, set[str]] = {}
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return Linear's answer to the supported part of the request."""
        if str(request.url) == _ADDRESS:
            content = json.loads(await request.aread())
            if "operationName" in content:
                request = self._remade(request, content)
        return await self._inner.handle_async_request(request)

    def _remade(self, request: httpx.Request, content: dict[str, Any]) -> httpx.Request:
        schema = self._known(request)
        pruning = _Pruning(schema)
        document = parse(content["query"])
        pruned = visit(document, TypeInfoVisitor(pruning.types, pruning))
        pruned = _without_unused(pruned)
        variables = _used(pruned, content["variables"])
        shorter = {name: pruning.value(value, _type_of(schema, pruned, name)) for name, value in variables.items()}
        self.sent.append(content["operationName"])
        self.dropped.setdefault(content["operationName"], set()).update(pruning.dropped)
        fresh = {"operationName": content["operationName"], "query": print_ast(pruned), "variables": shorter}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "host")}
        return httpx.Request("POST", _ADDRESS, headers=headers, json=fresh)

    def _known(self, request: httpx.Request) -> GraphQLSchema:
        if self._schema is None:
            headers = {"authorization": request.headers["authorization"]}
            ask = httpx.Request("POST", _ADDRESS, headers=headers, json={"query": get_introspection_query()})
            answer = self._inner.handle_request(ask)
            answer.read()
            self._schema = build_client_schema(answer.json()["data"], assume_valid=True)
        return self._schema


class _Pruning(Visitor):
    def __init__(self, schema: GraphQLSchema) -> None:
        super().__init__()
        self.types, self.schema, self.dropped = TypeInfo(schema), schema, set[str]()

    def enter_field(self, node: FieldNode, *_: Any) -> Any:
        if self.types.get_field_def() is None:
            self.dropped.add(f"{self.types.get_parent_type()}.{node.name.value}")
            return REMOVE
        known = self.types.get_field_def()
        assert known is not None
        kept = [one for one in node.arguments or () if one.name.value in known.args]
        if len(kept) == len(node.arguments or ()):
            return None
        self.dropped |= {f"{node.name.value}({one.name.value}:)" for one in node.arguments or () if one not in kept}
        return FieldNode(
            alias=node.alias,
            name=node.name,
            arguments=tuple(kept),
            directives=node.directives,
            selection_set=node.selection_set,
        )

    def value(self, value: Any, kind: Any) -> Any:
        """Return an input without the fields that its type does not have."""
        named = get_named_type(kind) if kind else None
        if isinstance(value, list):
            return [self.value(one, kind) for one in value]
        if not isinstance(named, GraphQLInputObjectType) or not isinstance(value, dict):
            return value
        self.dropped |= {f"{named.name}.{name}" for name in value if name not in named.fields}
        return {name: self.value(one, named.fields[name].type) for name, one in value.items() if name in named.fields}


def _names(node: Any, kind: Any) -> set[str]:
    found: set[str] = set()

    class Names(Visitor):
        def enter(self, one: Any, *_: Any) -> None:
            if isinstance(one, kind):
                found.add(one.name.value)

    visit(node, Names())
    return found


def _without_unused(document: DocumentNode) -> DocumentNode:
    """Drop unused fragments and variables."""
    while True:
        used = _names(document, FragmentSpreadNode)
        kept = [
            one for one in document.definitions if not isinstance(one, FragmentDefinitionNode) or one.name.value in used
        ]
        if len(kept) == len(document.definitions):
            break
        document = DocumentNode(definitions=tuple(kept))
    inside = set[str]()
    for one in document.definitions:
        inside |= _names(getattr(one, "selection_set", one), VariableNode)
    definitions = [
        OperationDefinitionNode(
            operation=one.operation,
            name=one.name,
            directives=one.directives,
            selection_set=one.selection_set,
            variable_definitions=tuple(v for v in one.variable_definitions or () if v.variable.name.value in inside),
        )
        if isinstance(one, OperationDefinitionNode)
        else one
        for one in document.definitions
    ]
    return DocumentNode(definitions=tuple(definitions))


def _operation(document: DocumentNode) -> OperationDefinitionNode:
    return next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))


def _used(document: DocumentNode, variables: dict[str, Any]) -> dict[str, Any]:
    known = {one.variable.name.value for one in _operation(document).variable_definitions or ()}
    return {name: value for name, value in variables.items() if name in known}


def _type_of(schema: GraphQLSchema, document: DocumentNode, name: str) -> Any:
    for one in _operation(document).variable_definitions or ():
        if one.variable.name.value == name:
            return type_from_ast(schema, one.type)
    return None
