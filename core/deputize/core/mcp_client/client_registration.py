"""deputize's client at an MCP authorization server: configured, a metadata document, or registered dynamically.

    configured id -> client id metadata document -> registration, encrypted in the vault -> the operator is asked

A registration belongs to the application, not to a user: one for each issuer and URL of deputize's pages. It is made
under a lock, stored before use, and renewed only if the server no longer knows it. Sources: RFC 7591,
draft-ietf-oauth-client-id-metadata-document, MCP 2026-07-28 basic/authorization.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures.redaction import redact
from deputize.core.http import Http
from deputize.core.http.request import JSON_HEADERS
from deputize.core.mcp_client.authorization import KnownServers, shown
from deputize.core.mcp_client.discovery import unusable_server
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.oauth.app import App, ClientAuth
from deputize.core.oauth.discover import MAX_METADATA_BYTES, METADATA_TIMEOUT_SECONDS
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.server_metadata import scopes_of
from deputize.core.oauth.token_reply import usable
from deputize.core.vault.grant import Secret
from deputize.core.vault.vault import Record, Vault

log = logging.getLogger("deputize")

DOCUMENT: Final = "/oauth/client.json"
"""Path of our client metadata document on our pages."""
CLIENT_NAME: Final = "deputize"
LOCK_TIMEOUT_SECONDS: Final = 30.0
REGISTRATION_PAUSE_SECONDS: Final = 60.0
"""Seconds for which a new registration is trusted, whatever the server says, so that refusals cause no flood."""
_METHODS: Final[Mapping[str, ClientAuth]] = {
    "none": "none",
    "client_secret_post": "post",
    "client_secret_basic": "basic",
}
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?=/)")
_MAX_ID: Final = 2000
_LATEST: Final = 1e12
"""Unix seconds of a plausible expiry. Others, such as NaN, would make each process register again."""


async def client_of(server: McpServer, provider: Provider, *, vault: Vault, redirect: str, http: Http) -> App:
    """Return the app at this provider. ``redirect``: its redirect URI, ``https://agents.example/callback/linear``.

    Raises `SettingsError` if the operator has to register a client or the server refuses, and `ProviderUnavailable` if
    the server cannot be reached now.
    """
    if app := await known_client(server, provider, vault=vault, redirect=redirect):
        return app
    key = _record_key(provider, redirect)
    try:
        async with vault.store.lock(f"client-{key}", LOCK_TIMEOUT_SECONDS):
            kept = await vault.get("meta", key)
            if kept and _is_valid(kept):
                return _app(server, kept)
            return await _register(server, provider, vault, redirect, http, kept)
    except TimeoutError:
        raise ProviderUnavailable(f"Another process is still registering with {provider.label}.") from None


async def known_client(server: McpServer, provider: Provider, *, vault: Vault, redirect: str) -> App | None:
    """Return the app if that needs no request, or None. The port of a loopback ``redirect`` is free (RFC 8252 7.3)."""
    if server.client_id:
        return App(server.name, server.client_id, server.client_secret, server.name)
    if document := await _document(server, vault, redirect):
        return App(server.name, document, None, server.name, client_auth="none")
    kept = await vault.get("meta", _record_key(provider, redirect))
    return _app(server, kept) if kept and _is_valid(kept) else None


async def client_again(
    server: McpServer, provider: Provider, app: App, *, vault: Vault, redirect: str, http: Http
) -> App | None:
    """Return a new registration in place of ``app``, which the server no longer knows, or one by another process. None
    if deputize did not register the app, or did so a moment ago. Raises the errors of `client_of`."""
    key = _record_key(provider, redirect)
    try:
        async with vault.store.lock(f"client-{key}", LOCK_TIMEOUT_SECONDS):
            kept = await vault.get("meta", key)
            if kept is None or server.client_id:
                return None
            if kept.json["client_id"] != app.client_id:
                return _app(server, kept)
            if time.time() < kept.json["at"] + REGISTRATION_PAUSE_SECONDS:
                return None
            return await _register(server, provider, vault, redirect, http, kept)
    except TimeoutError:
        return None


async def registered_until(server: McpServer, vault: Vault) -> float:
    """Return when the first client secret of the registrations at this server expires (Unix seconds), or 0."""
    kept = await vault.scan("meta", "client.")
    clients = [record.json for record in kept if record.json["redirect"].endswith(f"/callback/{server.name}")]
    return min((float(client["expires"]) for client in clients if client["expires"]), default=0.0)


def document_of(base_url: str) -> str:
    """Return the URL of deputize's client document, which is a client id; "" unless the pages are served over https."""
    return base_url + DOCUMENT if base_url.startswith("https://") else ""


async def _document(server: McpServer, vault: Vault, redirect: str) -> str:
    """Return the document to use as the client id if the server accepts one from a public client, or ""."""
    said = await KnownServers(vault).read(server)
    if said is None or said.metadata.get("client_id_metadata_document_supported") is not True:
        return ""
    if "none" not in _methods(said.metadata):
        return ""
    return server.client_document or document_of(redirect.rpartition("/callback/")[0])


def _methods(metadata: Mapping[str, Any]) -> list[str]:
    """Return the server's authentication methods. Basic if it lists none (RFC 8414 2)."""
    said = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []


def _record_key(provider: Provider, redirect: str) -> str:
    where = _LOOPBACK.sub("http://127.0.0.1", redirect)
    return f"client.{fingerprint(f'{provider.oauth.issuer} {where}')}"


def _is_valid(kept: Record) -> bool:
    """Return True if the registration's secret has not expired (RFC 7591 3.2.1)."""
    return not kept.json["expires"] or time.time() < kept.json["expires"] - REGISTRATION_PAUSE_SECONDS


def _app(server: McpServer, kept: Record) -> App:
    said = kept.json
    return App(server.name, said["client_id"], said["client_secret"] or None, server.name, client_auth=said["method"])


# ------------------------------------------------------------- registration


async def _register(
    server: McpServer, provider: Provider, vault: Vault, redirect: str, http: Http, kept: Record | None
) -> App:
    """Register a client and store it. The caller holds the lock."""
    known = await KnownServers(vault).read(server)
    metadata = known.metadata if known else {}
    key = metadata.get("registration_endpoint")
    if not isinstance(key, str) or not key:
        raise unusable_server(
            server,
            "takes no client that nobody has registered there",
            f"Register an application at {urlsplit(provider.oauth.issuer).netloc} with the redirect URI {redirect}, "
            f"and give its client_id in [mcp.{server.name}].",
        )
    asked = _request(metadata, redirect, known.offered if known else ())
    content = _client(
        await _registration_reply(server, http, key, asked), redirect, asked["token_endpoint_auth_method"]
    )
    if isinstance(content, str):
        raise unusable_server(server, content, f"Register one there by hand: client_id in [mcp.{server.name}].")
    record = await (
        vault.swap(kept, content) if kept else vault.insert("meta", _record_key(provider, redirect), content)
    )
    if record is None:
        raise ProviderUnavailable(f"Another process has just registered with {provider.label}.")
    return _app(server, record)


def _request(metadata: Mapping[str, Any], redirect: str, offered: tuple[str, ...]) -> dict[str, Any]:
    """Return the registration request (RFC 7591 2). It names all scopes, because some servers allow no others later."""
    methods = _methods(metadata)
    scopes = dict.fromkeys((*offered, *scopes_of(metadata)))
    return {
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": next((one for one in _METHODS if one in methods), "none"),
        "application_type": "native" if _LOOPBACK.match(redirect) else "web",
        **({"scope": " ".join(scopes)} if scopes else {}),
    }


async def _registration_reply(server: McpServer, http: Http, key: str, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Return the reply to a registration (RFC 7591 3.2). An error contains its name; its description is only logged."""
    headers = {"content-type": "application/json", **JSON_HEADERS}
    request = httpx.Request("POST", key, headers=headers, content=json.dumps(asked).encode())
    answer = await http.send(request, timeout=METADATA_TIMEOUT_SECONDS, max_bytes=MAX_METADATA_BYTES)
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        said = None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise ProviderUnavailable(f"{urlsplit(key).netloc} could not register a client now.")
    if answer.status_code not in (200, 201) or not isinstance(said, dict):
        name = said.get("error") if isinstance(said, dict) else ""
        if isinstance(said, dict) and isinstance(words := said.get("error_description"), str):
            text = " ".join(shown(word) for word in redact(words[:1000]).split()[:50])
            log.warning("The server of %s says about the registration: %s", server.name, text[:300])
        raise unusable_server(
            server,
            f"registered no client ({answer.status_code} {shown(name) if name else 'without a reason'})",
            f"Register one there by hand, and give its client_id in [mcp.{server.name}].",
        )
    return said


def _client(said: Mapping[str, Any], redirect: str, asked: str) -> dict[str, Any] | str:
    """Return the fields of a registration to store, or an error text. The assigned method counts, not the requested
    one. An exception would keep the secret in its frame."""
    name, secret, backs = said.get("client_id"), said.get("client_secret"), said.get("redirect_uris", [redirect])
    method = _METHODS.get(str(said.get("token_endpoint_auth_method") or asked))
    if not usable(name) or len(name) > _MAX_ID:
        return "gave no usable client id"
    if method is None or (method != "none" and not usable(secret)):
        return "registered us for a client authentication that cannot be done"
    if not isinstance(backs, list) or redirect not in backs:
        return f"registered another redirect URI than {redirect}"
    expires = said.get("client_secret_expires_at")
    is_time = isinstance(expires, int | float) and not isinstance(expires, bool) and 0 < expires < _LATEST
    return {
        "client_id": name,
        "client_secret": Secret(secret if method != "none" and usable(secret) else ""),
        "method": method,
        "expires": expires if is_time and method != "none" else 0,
        "redirect": redirect,
        "at": time.time(),
    }
