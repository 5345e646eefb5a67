"""Discovery of an MCP server's authorization: from its 401 to a provider, starting with its URL only.

    401 -> protected resource metadata (RFC 9728) -> authorization server metadata (RFC 8414, OpenID) -> a provider

No discovered value is trusted unchecked. Metadata is read at the server's own origin, by https, from public addresses
and without redirects. It may describe this server only. The issuer must name itself. Its endpoints must be at its own
origin, or at origins that the operator named. If they differ from the stored ones, the server is not used
(`authorization`). Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http import Http, Transport
from deputize.core.http.address_guard import AddressGuard, Resolve, addresses_of
from deputize.core.http.challenges import bearer
from deputize.core.http.request import USER_AGENT
from deputize.core.mcp_client.authorization import (
    Authorization,
    KnownServers,
    check_unchanged,
    provider_of,
    provider_with_key,
    shown,
)
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.oauth.discover import MAX_METADATA_BYTES, METADATA_TIMEOUT_SECONDS, check_all, document, metadata_of
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.server_metadata import check_origins, origin_at, usable_scopes

log = logging.getLogger("deputize")

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_PING: Final = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()


async def discover_server(
    server: McpServer,
    *,
    transport: Transport | None = None,
    resolve: Resolve = addresses_of,
    known: KnownServers | None = None,
) -> Provider:
    """Return the provider of a server. ``known``: stores the discovered values, which must not change afterwards.

    Raises `SettingsError` for a server that cannot be used or has changed; `ProviderUnavailable` for one that cannot be
    reached and is not stored.
    """
    guard = _guard(server, resolve)
    if server.credential:
        await guard.check(server.resource)
        return provider_with_key(server)
    before = await known.read(server) if known else None
    try:
        said = await _read_authorization(server, guard, before, transport)
    except ProviderUnavailable:
        if before is None:
            raise
        log.warning("The MCP server %s cannot be reached now: using its stored metadata.", server.name)
        said = before
    row = await _checked_provider(server, said, guard, before)
    if known is not None and said != before:
        await known.write(server, said)
    return row


async def check(
    server: McpServer,
    before: Authorization | None,
    *,
    transport: Transport | None = None,
    resolve: Resolve = addresses_of,
) -> Provider:
    """Return the provider from the server's present metadata, without storing it or sending a token.

    ``before``: the stored authorization. Raises as `discover_server`; `ProviderUnavailable` even if one is stored.
    """
    guard = _guard(server, resolve)
    if server.credential:
        await guard.check(server.resource)
        await _challenge(Http(transport), server)
        return provider_with_key(server)
    return await _checked_provider(server, await _read_authorization(server, guard, before, transport), guard, before)


def _guard(server: McpServer, resolve: Resolve) -> AddressGuard:
    return AddressGuard(resolve, allow_private_network=server.allow_private_network, loopback=server.local)


async def _checked_provider(
    server: McpServer, said: Authorization, guard: AddressGuard, before: Authorization | None
) -> Provider:
    """Return the provider of this authorization, if it passes all checks."""
    check_origins(said.issuer, said.metadata, server.trusted_origins)
    row = provider_of(server, said)
    await check_all(guard, row, down=said is before)
    if isinstance(register := said.metadata.get("registration_endpoint"), str) and register and said is not before:
        await guard.check(register)
    if before is not None:
        check_unchanged(server, before, said)
    return row


async def _read_authorization(
    server: McpServer, guard: AddressGuard, before: Authorization | None, transport: Transport | None
) -> Authorization:
    """Return the current authorization, from the server and its authorization server."""
    http = Http(transport)
    try:
        return await _request_authorization(http, server, guard, before)
    finally:
        if transport is None:
            await http.close()


async def _request_authorization(
    http: Http, server: McpServer, guard: AddressGuard, before: Authorization | None
) -> Authorization:
    await guard.check(server.url.partition("?")[0])
    challenge = await _challenge(http, server)
    asked = usable_scopes(challenge.get("scope", "").split())
    resource = await _resource(http, server, challenge.get("resource_metadata", ""), guard)
    if resource is None:
        if not server.legacy_auth:
            raise unusable_server(
                server,
                "names no authorization server",
                "It has to sign its users in, and to say where in metadata as RFC 9728 describes it. One that anybody "
                "may use without signing in is not taken.",
            )
        metadata = await _legacy(http, server)
        return Authorization(server.resource, str(metadata["issuer"]), asked, (), metadata)
    issuer = _issuer(server, resource, before)
    metadata = await metadata_of(http, issuer, guard)
    offered = usable_scopes(resource.get("scopes_supported"))
    return Authorization(str(resource["resource"]), issuer, asked, offered, metadata)


async def _challenge(http: Http, server: McpServer) -> Mapping[str, str]:
    """Return the server's challenge to a request without a token; empty if the server accepts the request."""
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "user-agent": USER_AGENT,
    }
    request = httpx.Request("POST", server.url, headers=headers, content=_PING)
    answer = await http.send(request, timeout=METADATA_TIMEOUT_SECONDS, max_bytes=MAX_METADATA_BYTES)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise ProviderUnavailable(f"{server.host} could not say now who authorizes for it.")
    refuses = answer.status_code in (401, 403)
    return bearer(answer.headers.get("www-authenticate", "")) if refuses else {}


async def _resource(http: Http, server: McpServer, pointer: str, guard: AddressGuard) -> Mapping[str, Any] | None:
    """Return the server's protected resource metadata, from the challenge's URL or the well-known ones, or None.

    RFC 9728 3.1, 3.3, 5.1. Raises `SettingsError` if the metadata describes another server.
    """
    places = [f"{server.origin}{WELL_KNOWN}{server.path}", f"{server.origin}{WELL_KNOWN}"]
    if pointer:
        if origin_at(pointer) != server.origin:
            raise unusable_server(server, f"names metadata at another origin: {shown(pointer)}", "It is not read.")
        places.insert(0, pointer)
    for key in dict.fromkeys(places):
        await guard.check(key)
        if (said := await document(http, key)) is not None:
            if not covers(said.get("resource"), server):
                raise unusable_server(
                    server,
                    f"has metadata of something else: {shown(said.get('resource'))}",
                    f"Its tokens would be good there. It has to name {server.resource}.",
                )
            return said
    return None


def covers(resource: object, server: McpServer) -> bool:
    """Return True if metadata for this resource may describe the server: it has the same origin, and the same path or a
    parent of it, by whole segments."""
    if not isinstance(resource, str) or not resource.isascii() or "#" in resource:
        return False
    try:
        at = urlsplit(resource)
    except ValueError:
        return False
    if (at.scheme, at.netloc.lower()) != (urlsplit(server.url).scheme, server.host.lower()) or at.query:
        return False
    above = at.path.rstrip("/")
    return (server.path.rstrip("/") + "/").startswith(above + "/")


def _issuer(server: McpServer, resource: Mapping[str, Any], before: Authorization | None) -> str:
    """Return the authorization server: the one that the operator named, else the stored one, else the first listed."""
    named = resource.get("authorization_servers")
    issuers = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    if not issuers:
        raise unusable_server(server, "names no authorization server", "Its metadata has to (RFC 9728 2).")
    wanted = server.issuer or (before.issuer if before else "")
    if not wanted or wanted in issuers:
        return wanted or issuers[0]
    raise unusable_server(
        server,
        f"names another authorization server than {'you do' if server.issuer else 'before'}: {shown(issuers[0])}, "
        f"not {shown(wanted)}",
        f"Ask who runs {server.host} whether that is intended; then "
        + ("change its issuer in the settings." if server.issuer else f"deputize mcp pin {server.name} accepts it."),
    )


async def _legacy(http: Http, server: McpServer) -> Mapping[str, Any]:
    """Return metadata of a 2025-03-26 server, which is its own authorization server, or that version's defaults."""
    said = await document(http, f"{server.origin}/.well-known/oauth-authorization-server")
    if said is None:
        return {
            "issuer": server.origin,
            "authorization_endpoint": f"{server.origin}/authorize",
            "token_endpoint": f"{server.origin}/token",
            "registration_endpoint": f"{server.origin}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
        }
    if str(said.get("issuer")).rstrip("/") != server.origin:
        raise unusable_server(server, f"calls itself {shown(said.get('issuer'))}", "It has to name its own origin.")
    return said


def unusable_server(server: McpServer, why: str, hint: str) -> SettingsError:
    """Return the error for a server that cannot be used."""
    return SettingsError(f"The MCP server {server.name} ({server.host}) {why}.", hint=hint)
