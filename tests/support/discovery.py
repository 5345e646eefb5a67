"""Google's own descriptions of Gmail, Calendar and contacts, as a check of the requests of a toolkit.

The discovery documents come with PyPI google-api-python-client. They name every method's route, query parameters, body
and scopes, so a misspelt parameter, an unknown body field or a scope that is not enough shows without a network.

What they do not hold: limits stated in prose (Gmail's `maxResults` has no maximum there) and the bodies of raw uploads.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx
import jsonschema
from jsonschema.exceptions import best_match

from tests.support.emulate import raw_path

_NOT_WITH_SCOPE: Final = re.compile(r"cannot be used when accessing the api using the (\S+) scope")


class SpecificationError(AssertionError):
    """Google's own description does not allow the request."""


class NoSuchMethod(SpecificationError):
    """No method has this verb, host and path."""


class BadQuery(SpecificationError):
    """A query parameter is unknown, missing, repeated or has a value that is not allowed."""


class BadBody(SpecificationError):
    """The body is missing, unwanted, not JSON, or has a field that is unknown or of another type."""


class MissingScope(SpecificationError):
    """The request is well-formed; the granted scopes do not allow it."""


@dataclass(frozen=True)
class Call:
    """A request, as a call of one method of a discovery document."""

    method: dict[str, Any]

    @property
    def id(self) -> str:
        """The method's name, such as `gmail.users.messages.send`."""
        return str(self.method["id"])

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The method's parameters by name."""
        return dict(self.method.get("parameters", {}))


class Discovery:
    """One discovery document: `Discovery.of("gmail.v1")`, `Discovery.of("calendar.v3")`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._host = httpx.URL(document["rootUrl"]).host
        self._routes = [(m["httpMethod"], path, m) for m in _methods(document) for path in self._paths(m)]
        self._definitions = {name: _schema(one) for name, one in document["schemas"].items()}

    @classmethod
    @functools.cache
    def of(cls, name: str) -> Self:
        """Return the document of this name in the installed google-api-python-client."""
        documents = importlib.resources.files("googleapiclient") / "discovery_cache" / "documents"
        return cls(json.loads((documents / f"{name}.json").read_text("utf-8")))

    def _paths(self, method: dict[str, Any]) -> Iterator[re.Pattern[str]]:
        uploads = method.get("mediaUpload", {}).get("protocols", {}).values()
        own = method["flatPath"] if "{+" in method["path"] else method["path"]  # people/{id} as one placeholder
        for path in ["/" + self._document["servicePath"] + own, *(one["path"] for one in uploads)]:
            yield re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))

    def find(self, request: httpx.Request) -> Call | None:
        """Return the method that a request calls, by verb, host and raw path, or None."""
        if request.url.scheme != "https" or request.url.host != self._host:
            return None
        path = raw_path(request)
        for verb, route, method in self._routes:
            if verb == request.method and route.fullmatch(path):
                return Call(method)
        return None

    def call(self, request: httpx.Request) -> Call:
        """Return the method that a request calls. Raises `NoSuchMethod` if the document has none."""
        if found := self.find(request):
            return found
        raise NoSuchMethod(f"{request.method} {request.url.host}{raw_path(request)}")

    def check(self, request: httpx.Request, granted: Collection[str] | None = None) -> Call:
        """Return the method that a valid request calls. Raises `SpecificationError` for an invalid one.

        Args:
            granted: full scope names; given, they must allow the request (`MissingScope`).
        """
        call = self.call(request)
        self._check_query(call, request.url.params)
        self._check_body(call, request)
        if granted is not None and not self.accepted(request).intersection(granted):
            raise MissingScope(f"{call.id} needs one of {sorted(self.accepted(request))}, granted {sorted(granted)}")
        return call

    def accepted(self, request: httpx.Request) -> frozenset[str]:
        """Return the full scope names any one of which allows this request.

        The method's scopes, less those that its parameters rule out: Gmail refuses `q`, and `format` with a body, to
        gmail.metadata. The documents say so in the descriptions of these parameters and of their values.
        """
        call = self.call(request)
        notes: list[str] = []
        for name, spec in call.parameters.items():
            value = request.url.params.get(name, spec.get("default"))
            if value is not None:
                meanings = dict(zip(spec.get("enum", ()), spec.get("enumDescriptions", ()), strict=False))
                notes += [spec.get("description", ""), meanings.get(value, "")]
        refused = set(_NOT_WITH_SCOPE.findall(" ".join(notes)))
        return frozenset(scope for scope in call.method["scopes"] if scope.rpartition("/")[2] not in refused)

    def _check_query(self, call: Call, query: httpx.QueryParams) -> None:
        known = {**self._document.get("parameters", {}), **call.parameters}
        for name in query:
            spec, values = known.get(name), query.get_list(name)
            if not spec or spec["location"] != "query":
                raise BadQuery(f"{call.id} has no query parameter {name}")
            if len(values) > 1 and not spec.get("repeated"):
                raise BadQuery(f"{call.id} takes {name} once")
            for value in values:
                _check_value(name, value, spec)
        for name, spec in call.parameters.items():
            if spec.get("required") and spec["location"] == "query" and name not in query:
                raise BadQuery(f"{call.id} needs {name}")

    def _check_body(self, call: Call, request: httpx.Request) -> None:
        schema = call.method.get("request")
        if raw_path(request).startswith(("/upload/", "/resumable/")):
            return
        if not schema or not request.content:
            if bool(schema) != bool(request.content):
                raise BadBody(f"{call.id} {'needs' if schema else 'takes no'} body")
            return
        whole = {"$ref": "#/$defs/" + schema["$ref"], "$defs": self._definitions}
        problem = best_match(jsonschema.Draft202012Validator(whole).iter_errors(_json(call, request)))
        if problem is not None:
            raise BadBody(f"{call.id}, {problem.json_path}: {problem.validator} does not hold: {problem.message}")


def _methods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for child in resource.get("resources", {}).values():
        yield from _methods(child)


def _json(call: Call, request: httpx.Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise BadBody(f"{call.id} takes application/json")
    try:
        return json.loads(request.content)
    except ValueError:
        raise BadBody(f"{call.id}: the body is not JSON") from None


def _check_value(name: str, value: str, spec: dict[str, Any]) -> None:
    kind = spec["type"]
    if kind == "integer" and not re.fullmatch(r"-?\d+", value):
        raise BadQuery(f"{name}={value} is no integer")
    if kind == "integer" and not int(spec.get("minimum", value)) <= int(value) <= int(spec.get("maximum", value)):
        raise BadQuery(f"{name}={value} is out of range")
    if kind == "boolean" and value not in ("true", "false"):
        raise BadQuery(f"{name}={value} is no boolean")
    if "enum" in spec and value not in spec["enum"]:
        raise BadQuery(f"{name}={value} is none of {spec['enum']}")


def _schema(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of a discovery document as JSON Schema that refuses unknown fields."""
    if "$ref" in spec:
        return {"$ref": "#/$defs/" + spec["$ref"]}
    kind = spec["type"]
    if kind == "any":
        return {}
    schema: dict[str, Any] = {"type": kind}
    if spec.get("format") in ("int64", "uint64") and kind == "string":
        schema["pattern"] = r"^-?\d+$"
    if "enum" in spec:
        schema["enum"] = spec["enum"]
    if kind == "array":
        schema["items"] = _schema(spec["items"])
    if kind == "object":
        others = spec.get("additionalProperties")
        schema["properties"] = {name: _schema(one) for name, one in spec.get("properties", {}).items()}
        schema["additionalProperties"] = _schema(others) if others else False
    return schema
