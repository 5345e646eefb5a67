"""AgentDojo's own tools for travel and banking as an API: its description, and a sandbox that answers it.

The toolkits are those that ``deputize toolkit from-openapi`` writes from the description. Nothing in them is changed by
hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from deputize.core import Provider, Toolkit
from deputize.openapi.generate import Made
from deputize.sandbox import ApiCall, Refused, Reply, in_json
from tests.openapi.acme import imported, make

Json = dict[str, Any]

SERVED: Final = {
    "travel": ("hotels", "restaurants", "car_rental", "flights", "user", "reservation"),
    "banking": ("bank_account", "filesystem", "user_account"),
}
"""The parts of the environment that a suite's own API holds."""
_READS: Final = ("get_", "check_", "read_")


def reads(function: Any) -> bool:
    """True if one of AgentDojo's own tools for travel or banking changes nothing."""
    return str(function.name).startswith(_READS)


def describe(suite: str, functions: Sequence[Any]) -> Json:
    """Return the OpenAPI description of these functions."""
    flow = {
        "authorizationUrl": f"https://{suite}.example/authorize",
        "tokenUrl": f"https://{suite}.example/token",
        "scopes": {"use": "Read and change everything"},
    }
    me = {"properties": {"id": {"type": "string"}, "email": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": suite.title(), "version": "1"},
        "servers": [{"url": f"https://api.{suite}.example"}],
        "security": [{"oauth": ["use"]}],
        "components": {"securitySchemes": {"oauth": {"type": "oauth2", "flows": {"authorizationCode": flow}}}},
        "paths": {"/me": {"get": {"responses": _answer(me)}}}
        | {f"/{one.name}": {_method(one): _operation(one)} for one in functions},
    }


def _method(function: Any) -> str:
    """Return GET for what reads, unless it takes a list, which many APIs take in a body."""
    return "get" if reads(function) and not _takes_lists(function) else "post"


def _takes_lists(function: Any) -> bool:
    return any(one.get("type") == "array" for one in _properties(function).values())


def _properties(function: Any) -> Json:
    schema = function.parameters.model_json_schema()
    return {
        name: {key: value for key, value in one.items() if key not in ("title", "default")}
        for name, one in schema.get("properties", {}).items()
    }


def _operation(function: Any) -> Json:
    properties, required = _properties(function), function.parameters.model_json_schema().get("required", [])
    made: Json = {
        "operationId": function.name,
        "summary": function.description.strip().splitlines()[0],
        "responses": _answer({"properties": {"result": {}}}),
    }
    if _method(function) == "get":
        made["parameters"] = [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in properties.items()
        ]
    elif properties:
        schema = {"type": "object", "required": required, "properties": properties}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _answer(schema: Json) -> Json:
    return {"200": {"description": "good", "content": {"application/json": {"schema": schema}}}}


_MADE: Final[dict[str, tuple[Toolkit, Provider, Made]]] = {}


def generate(suite: str, functions: Sequence[Any]) -> tuple[Toolkit, Provider, Made]:
    """Return the generated toolkit and provider of a suite."""
    if suite not in _MADE:
        asked = [one.name for one in functions if reads(one) and _method(one) == "post"]
        made = make(describe(suite, functions), suite, whoami="/me", reads=asked)
        names = f"agentdojo_{suite}", f"agentdojo_{suite}_provider"
        toolkit, provider = imported(made.module, names[0]), imported(made.provider, names[1])
        _MADE[suite] = toolkit.TOOLKIT, getattr(provider, suite.upper()), made
    return _MADE[suite]


class Api:
    """The provider's side: AgentDojo's functions on an environment of the provider's own."""

    def __init__(self, runtime: Any, env: Any) -> None:
        self.runtime, self.env = runtime, env

    def __call__(self, call: ApiCall) -> Any:
        call.need("use")
        result, error = self.runtime.run_function(self.env, call.path.rpartition("/")[2], call.json or dict(call.query))
        if error:
            raise Refused(in_json({"error": error}, 400))
        return Reply(200, (("content-type", "application/json"),), json.dumps({"result": as_json(result)}).encode())


def as_json(result: Any) -> Any:
    """Return a result of AgentDojo's as JSON."""
    if isinstance(result, list):
        return [as_json(one) for one in result]
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result
