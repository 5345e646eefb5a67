"""GitHub's own descriptions of its REST and GraphQL APIs, as a check of what a toolkit sends and a simulation answers.

A path parameter that may hold slashes (a path, a ref) matches several segments. Unknown query parameters and unknown
members of a body are refused, which the description alone would let pass.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx
import jsonschema
from graphql import GraphQLSchema, OperationDefinitionNode, build_schema, get_variable_values, parse, validate
from jsonschema.exceptions import best_match

from tests.support.counterparts import require_description, require_openapi
from tests.support.emulate import raw_path

_WIDE: Final = {"path", "ref", "basehead", "tag", "branch", "tree_sha"}
Json = dict[str, Any]


class NotAsDescribed(AssertionError):
    """GitHub's own description does not allow this."""


@dataclass(frozen=True)
class Operation:
    """One operation: ``GET /repos/{owner}/{repo}``."""

    name: str
    spec: Json

    @property
    def verb(self) -> str:
        """GET, POST, ..."""
        return self.name.partition(" ")[0]


class OpenApi:
    """GitHub's description of its REST API: `OpenApi.of_github()`."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._defs = {name: _schema(one, closed=False) for name, one in document["components"]["schemas"].items()}
        self._routes = [
            (verb.upper(), _pattern(path), Operation(f"{verb.upper()} {path}", spec))
            for path, verbs in sorted(document["paths"].items(), key=lambda one: _plainness(one[0]))
            for verb, spec in verbs.items()
            if verb in ("get", "post", "put", "patch", "delete")
        ]

    @classmethod
    @functools.cache
    def of_github(cls) -> Self:
        """Return the installed description of api.github.com."""
        return cls(json.loads(require_openapi().read_text("utf-8")))

    @property
    def names(self) -> frozenset[str]:
        """Return every operation."""
        return frozenset(one.name for _, _, one in self._routes)

    def operation(self, request: httpx.Request) -> Operation:
        """Return the operation that a request calls."""
        path = re.sub(r"^/repositories/\d+", "/repos/x/y", raw_path(request))
        path = re.sub(r"(/repos/[^/]+/[^/]+/contents)$", r"\1/", path)  # the root of a repository
        for verb, pattern, operation in self._routes:
            if verb == request.method and pattern.fullmatch(path):
                return operation
        raise NotAsDescribed(f"no operation is {request.method} {path}")

    def check(self, request: httpx.Request) -> Operation:
        """Return the operation that a valid request calls. Raises `NotAsDescribed` for an invalid one."""
        if request.url.host != "api.github.com" or request.url.scheme != "https":
            raise NotAsDescribed(f"no host of this API: {request.url.host}")
        operation = self.operation(request)
        self._check_query(operation, request.url.params)
        self._check_body(operation, request)
        return operation

    def check_answer(self, request: httpx.Request, answer: httpx.Response) -> None:
        """Check a simulated answer: every member it has is one that GitHub has, and of its type.

        A stand-in may leave members out. A status that is not described is a refusal, and its body is not looked at.
        """
        spec = self.operation(request).spec["responses"].get(str(answer.status_code))
        content = (self._found(spec) if spec else {}).get("content", {}).get("application/json")
        if not content or not answer.headers.get("content-type", "").startswith("application/json"):
            return
        found = content["schema"]
        whole = {**_schema(found, closed=False, required=False), "components": {"schemas": self._lax}}
        problem = best_match(jsonschema.Draft202012Validator(whole).iter_errors(_there(answer.json())))
        if problem is not None:
            raise NotAsDescribed(f"{self.operation(request).name} {problem.json_path}: {problem.message[:300]}")

    @functools.cached_property
    def _lax(self) -> Json:
        return {
            name: _schema(one, closed=False, required=False)
            for name, one in self._document["components"]["schemas"].items()
        }

    def _found(self, part: Any) -> Json:
        while isinstance(part, dict) and "$ref" in part:
            where: Any = self._document
            for key in part["$ref"].removeprefix("#/").split("/"):
                where = where[key]
            part = where
        return dict(part)

    def _check_query(self, operation: Operation, query: httpx.QueryParams) -> None:
        known = {
            one["name"]: one for one in map(self._found, operation.spec.get("parameters", ())) if one["in"] == "query"
        }
        for name in query:
            if name not in known:
                raise NotAsDescribed(f"{operation.name} has no query parameter {name}")
            for value in query.get_list(name):
                self._check_value(f"{operation.name}: {name}", value, known[name]["schema"])
        for name, one in known.items():
            if one.get("required") and name not in query:
                raise NotAsDescribed(f"{operation.name} needs {name}")

    def _check_value(self, what: str, value: str, schema: Json) -> None:
        kind = self._found(schema)
        read: Any = value
        if kind.get("type") == "integer" and re.fullmatch(r"-?\d+", value):
            read = int(value)
        elif kind.get("type") == "boolean" and value in ("true", "false"):
            read = value == "true"
        whole = {**_schema(schema, closed=False), "components": {"schemas": self._defs}}
        problem = best_match(jsonschema.Draft202012Validator(whole).iter_errors(read))
        if problem is not None:
            raise NotAsDescribed(f"{what}: {problem.message}")

    def _check_body(self, operation: Operation, request: httpx.Request) -> None:
        described = operation.spec.get("requestBody")
        if not request.content:
            if described and self._found(described).get("required"):
                raise NotAsDescribed(f"{operation.name} needs a body")
            return
        if not described:
            raise NotAsDescribed(f"{operation.name} takes no body")
        if request.headers.get("content-type") != "application/json":
            raise NotAsDescribed(f"{operation.name} takes JSON")
        schema = self._found(described)["content"]["application/json"]["schema"]
        whole = {**_schema(schema, closed=True), "components": {"schemas": self._defs}}
        body = json.loads(request.content)
        if operation.name == "PATCH /gists/{gist_id}":  # its words and example allow null, its schema does not
            body["files"] = {name: file for name, file in body.get("files", {}).items() if file is not None}
        problem = best_match(jsonschema.Draft202012Validator(whole).iter_errors(body))
        if problem is not None:
            raise NotAsDescribed(f"{operation.name} {problem.json_path}: {problem.message[:300]}")


def _plainness(path: str) -> int:
    """Return a sort key that puts paths with more literal words first: a ref may hold slashes."""
    return -sum(not part.startswith("{") for part in path.split("/"))


def _pattern(path: str) -> re.Pattern[str]:
    def place(found: re.Match[str]) -> str:
        return ".*" if found[1] == "path" else ".+" if found[1] in _WIDE else "[^/]+"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", place, re.escape(path)))


def _schema(spec: Any, *, closed: bool, required: bool = True) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema: ``nullable`` adds a type. ``closed`` refuses unknown members."""
    if isinstance(spec, list):
        return [_schema(one, closed=closed, required=required) for one in spec]
    if not isinstance(spec, dict):
        return spec
    told = {name: _schema(one, closed=closed, required=required) for name, one in spec.items() if name != "example"}
    nullable = told.pop("nullable", False) is True
    told.pop("discriminator", None)
    if not required and isinstance(told.get("required"), list):
        told.pop("required")
    if not required and isinstance(told.get("oneOf"), list):  # without what is required, several fit
        told["anyOf"] = told.pop("oneOf")
    if closed and isinstance(told.get("properties"), dict) and "additionalProperties" not in told:
        told["additionalProperties"] = False
    if not nullable:
        return told
    return {"anyOf": [told, {"type": "null"}]}


def _there(value: Any) -> Any:
    """Return the members that are present; null counts as absent."""
    if isinstance(value, dict):
        return {name: _there(one) for name, one in value.items() if one is not None}
    return [_there(one) for one in value] if isinstance(value, list) else value


# ----------------------------------------------------------------- GraphQL


@functools.cache
def graphql_schema() -> GraphQLSchema:
    """Return GitHub's schema from npm. It repeats some fields, so it is not validated."""
    text = (require_description("@octokit/graphql-schema") / "schema.graphql").read_text("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_schema(text, assume_valid=True, assume_valid_sdl=True)


def check_graphql(content: Json) -> str:
    """Return the name of a valid operation. Raises `NotAsDescribed` for what GitHub's schema does not allow."""
    document = parse(content["query"])
    if problems := validate(graphql_schema(), document):
        raise NotAsDescribed(problems[0].message)
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if operation.name is None or operation.name.value != content["operationName"]:
        raise NotAsDescribed("operationName is another")
    values = get_variable_values(graphql_schema(), operation.variable_definitions or (), content["variables"])
    if isinstance(values, list):
        raise NotAsDescribed(values[0].message)
    unknown = content["variables"].keys() - {one.variable.name.value for one in operation.variable_definitions or ()}
    if unknown:
        raise NotAsDescribed(f"variables that the document does not have: {sorted(unknown)}")
    return operation.name.value
