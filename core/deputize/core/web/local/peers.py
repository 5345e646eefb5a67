"""Access check for the pages on loopback, which every account of the machine can reach.

Linux reports which account a connection comes from. If that is unknown (another system, another namespace), the request
passes, and only links and their cookies protect the pages. root always passes, and could read the vault as well.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from deputize.core.web.security_headers import plain_headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_TABLES: Final = {4: "/proc/net/tcp", 16: "/proc/net/tcp6"}
_NOBODY: Final = -1


def require_own_account(app: ASGIApp) -> ASGIApp:
    """Return ``app``, answering 403 to requests of other accounts of this machine, except root."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope.get("client"):
            return await app(scope, receive, send)
        account = await asyncio.to_thread(connection_uid, scope["client"], scope["server"])  # the table may be long
        if account is None or account in (0, os.geteuid()):
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 403, "headers": plain_headers()})
        said = (
            f"This address is served for another account of this machine (uid {os.geteuid()}), and for that one only."
        )
        await send({"type": "http.response.body", "body": said.encode()})

    return guarded


def connection_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the uid of the process with this end of a connection, by address and port, or None if unknown.

    Source: proc(5), ``/proc/net/tcp``. A connection that no process holds any more has the uid -1.
    """
    try:
        ends = _format_end(client), _format_end(server)
        with open(_TABLES[len(_pack_address(client[0]))], encoding="ascii") as table:
            rows = table.read()
    except (OSError, ValueError):
        return None
    at = rows.find(f": {ends[0]} {ends[1]} ")
    if at < 0:
        return None
    fields = rows[at + 2 : rows.find("\n", at)].split()
    return int(fields[6]) if fields[8] != "0" else _NOBODY


def _format_end(end: tuple[str, int]) -> str:
    """Return an address and a port as the table has them: words in the machine's byte order, in hexadecimal."""
    packed = _pack_address(end[0])
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    return "".join(f"{struct.unpack('=I', struct.pack('>I', word))[0]:08X}" for word in words) + f":{end[1]:04X}"


def _pack_address(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
