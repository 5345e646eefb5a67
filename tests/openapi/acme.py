"""The API of Acme as an OpenAPI description, small and with every feature; and how a toolkit is generated and
imported."""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Mapping
from typing import Any

from deputize.core import PROVIDERS, Provider, Toolkit
from deputize.openapi.description import from_parsed
from deputize.openapi.generate import Made, Wanted, generate_modules

Json = dict[str, Any]

TASK: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "title": {"type": "string"},
        "done": {"type": "boolean"},
        "priority": {"type": "integer"},
        "self_url": {"type": "string", "format": "uri"},
        "owner": {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}},
    },
}
ID: Json = {"name": "taskId", "in": "path", "required": True, "schema": {"type": "string"}}


def answer(schema: Json) -> Json:
    return {"200": {"description": "good", "content": {"application/json": {"schema": schema}}}}


def body(schema: Json, required: bool = True) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def needs(*scopes: str) -> list[Json]:
    """Return a security requirement: all of these scopes."""
    return [{"oauth": list(scopes)}]


ACME: Json = {
    "openapi": "3.1.0",
    "info": {"title": "Acme Tasks", "version": "2.4"},
    "servers": [{"url": "https://api.acme.example/{version}", "variables": {"version": {"default": "v1"}}}],
    "components": {
        "schemas": {"Task": TASK},
        "parameters": {"taskId": ID},
        "securitySchemes": {
            "oauth": {
                "type": "oauth2",
                "flows": {
                    "authorizationCode": {
                        "authorizationUrl": "https://acme.example/oauth/authorize",
                        "tokenUrl": "https://acme.example/oauth/token",
                        "scopes": {"tasks:read": "Read your tasks.", "tasks:write": "Change your tasks"},
                    }
                },
            },
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        },
    },
    "security": needs("tasks:read"),
    "paths": {
        "/me": {
            "get": {
                "operationId": "getMe",
                "security": [],
                "responses": answer({"properties": {"id": {"type": "string"}, "email": {"type": "string"}}}),
            }
        },
        "/tasks": {
            "get": {
                "operationId": "listTasks",
                "tags": ["Tasks"],
                "summary": "List the user's tasks",
                "parameters": [
                    {"name": "q", "in": "query", "description": "Part of the title.", "schema": {"type": "string"}},
                    {"name": "state", "in": "query", "schema": {"enum": ["open", "done"], "default": "open"}},
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {
                        "name": "ids",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "integer"}},
                    },
                    {"name": "page", "in": "query", "schema": {"type": "integer", "default": 1, "minimum": 1}},
                    {"name": "per_page", "in": "query", "schema": {"type": "integer", "default": 3, "maximum": 50}},
                ],
                "responses": answer(
                    {
                        "type": "object",
                        "properties": {
                            "total": {"type": "integer"},
                            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
                        },
                    }
                ),
            },
            "post": {
                "operationId": "createTask",
                "tags": ["Tasks"],
                "summary": "Create a task.",
                "security": needs("tasks:write"),
                "parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}],
                "requestBody": body(
                    {
                        "type": "object",
                        "required": ["title"],
                        "properties": {
                            "id": {"type": "string", "readOnly": True},
                            "title": {"type": "string"},
                            "due-date": {"type": ["string", "null"], "format": "date"},
                            "priority": {"type": "integer", "minimum": 1, "maximum": 5},
                            "labels": {"type": "array", "items": {"type": "string"}},
                            "extra": {"type": "object", "properties": {"file": {"type": "string"}}},
                        },
                    }
                ),
                "responses": answer({"$ref": "#/components/schemas/Task"}),
            },
        },
        "/tasks/{taskId}": {
            "parameters": [{"$ref": "#/components/parameters/taskId"}],
            "delete": {
                "operationId": "deleteTask",
                "tags": ["Tasks"],
                "summary": "Delete a task",
                "security": needs("tasks:write"),
                "responses": {"204": {"description": "gone"}},
            },
        },
        "/tasks/{taskId}/share": {
            "parameters": [{"$ref": "#/components/parameters/taskId"}],
            "post": {
                "operationId": "shareTask",
                "tags": ["Sharing"],
                "summary": "Share a task with people",
                "security": needs("tasks:write"),
                "x-deputize-effect": "sends",
                "requestBody": body(
                    {"required": ["emails"], "properties": {"emails": {"type": "array", "items": {"type": "string"}}}}
                ),
                "responses": {"204": {"description": "done"}},
            },
        },
        "/tasks/{taskId}/file": {
            "parameters": [{"$ref": "#/components/parameters/taskId"}],
            "put": {
                "operationId": "putFile",
                "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
                "responses": {"204": {"description": "done"}},
            },
        },
        "/admin": {"get": {"operationId": "admin", "security": [{"key": []}], "responses": answer({})}},
    },
}


def acme(**paths: Any) -> Json:
    """Return Acme's description; ``paths``: operations of a path each instead of its own, as ``_get={...}`` or
    ``_post=``."""
    made = copy.deepcopy(ACME)
    if paths:
        made["paths"] = {"/me": made["paths"]["/me"]} | {
            f"/{name.rpartition('_')[0]}": {name.rpartition("_")[2]: {"responses": answer({}), **one}}
            for name, one in paths.items()
        }
    return made


def make(document: Json, provider: str = "acme", providers: Mapping[str, Provider] = PROVIDERS, **wanted: Any) -> Made:
    return generate_modules(from_parsed(document), Wanted(provider, **wanted), providers)


def imported(text: str, name: str = "generated_acme") -> types.ModuleType:
    """Return a generated module, as if it had been imported."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, f"<{name}>", "exec"), module.__dict__)  # noqa: S102  # what these tests are about
    return module


def toolkit(document: Json, **wanted: Any) -> Toolkit:
    made: Toolkit = imported(make(document, **wanted).module).TOOLKIT
    return made
