"""Linear's schema, if available, and its checks of a request: documents, variables, complexity."""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    build_schema,
    get_variable_values,
    parse,
    validate,
)

PLACE: Final = Path(os.environ.get("DEPUTIZE_LINEAR_SCHEMA", ""))


@cache
def _built() -> GraphQLSchema | None:
    if not PLACE.is_file():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_schema(PLACE.read_text(encoding="utf-8"), assume_valid=True)


def schema() -> GraphQLSchema:
    """Return the schema. Skips the test if it is missing: Linear publishes it in its SDK's repository only."""
    built = _built()
    if built is None:
        pytest.skip("Linear's schema is not here: set DEPUTIZE_LINEAR_SCHEMA to its file")
    return built


def faults_of(content: dict[str, Any]) -> list[str]:
    """Return the schema's objections to a request."""
    document = parse(content["query"])
    faults = [error.message for error in validate(schema(), document)]
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if operation.name is None or operation.name.value != content["operationName"]:
        faults.append("operationName is another")
    values = get_variable_values(schema(), operation.variable_definitions or (), content["variables"])
    faults += [error.message for error in values] if isinstance(values, list) else []
    return faults


def complexity(query: str, first: int) -> float:
    """Return the complexity by Linear's published rule: 0.1 a property, 1 an object, a connection multiplies its
    children by ``first``."""
    document = parse(query)
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return _cost(operation.selection_set, fragments, first)


def _cost(selection: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], first: int) -> float:
    total = 0.0
    for node in selection.selections:
        if isinstance(node, FragmentSpreadNode):
            total += _cost(fragments[node.name.value].selection_set, fragments, first)
        elif isinstance(node, InlineFragmentNode):
            total += _cost(node.selection_set, fragments, first)
        elif isinstance(node, FieldNode):
            inner = _cost(node.selection_set, fragments, first) + 1 if node.selection_set else 0.1
            total += inner * _rows(node, first)
    return total


def _rows(node: FieldNode, first: int) -> int:
    for argument in node.arguments or ():
        if argument.name.value == "first":
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                return first
    return 1
