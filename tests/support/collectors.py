"""Collectors on loopback, and certificates for them."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """Files of an authority, a server and a client."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        return context


def certificates(folder: Path, host: str = "localhost") -> Certificates:
    """Make an authority, and certificates for a server of this name and for a client."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    ca = _certificate(name, authority, name, authority, ca=True)
    paths = [_write(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM))]
    for who in (host, "deputize"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        made = _certificate(subject, key, name, authority, names=[who])
        kind = "server" if who == host else "client"
        paths.append(_write(folder / f"{kind}.pem", made.public_bytes(serialization.Encoding.PEM)))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        paths.append(_write(folder / f"{kind}.key", private))
    return Certificates(*paths)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    names: list[str] | None = None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)  # it signs certificates and revocation lists
    if names:
        found = [x509.DNSName(name) for name in names]
        loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if "localhost" in names else []
        builder = builder.add_extension(x509.SubjectAlternativeName([*found, *loopback]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Connections:
    """The connections of a server, which end with it."""

    def __init__(self) -> None:
        self._open = set[asyncio.Task[None]]()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.talk(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def end(self, server: asyncio.Server) -> None:
        server.close()
        for task in [*self._open]:
            task.cancel()
        if self._open:
            await asyncio.wait([*self._open])


class HttpPeer(Connections):
    """An HTTP server that keeps the bodies it accepts. ``answer``: returns status, headers and body of a response."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies = list[bytes]()
        self.requests = list[bytes]()
        self.answer: Callable[[bytes], tuple[int, str, bytes]] = lambda body: (200, "", b"{}")
        self.delay = 0.0
        self.cut = False
        self.url = ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.bodies for line in body.splitlines()]

    @asynccontextmanager
    async def serve(self, context: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[HttpPeer]:
        server = await asyncio.start_server(self.take, "127.0.0.1", port, ssl=context)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"
        try:
            yield self
        finally:
            await self.end(server)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            self.requests.append(head)
            status, headers, answer = self.answer(body)
            if status < 300:
                self.bodies.append(body)
            if self.cut:
                break
            writer.write(f"HTTP/1.1 {status} X\r\n{headers}content-length: {len(answer)}\r\n\r\n".encode())
            for byte in answer if self.delay else ():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(self.delay)
            writer.write(b"" if self.delay else answer)
            await writer.drain()


class SyslogPeer(Connections):
    """A receiver of syslog over TLS that keeps the messages of RFC 5425's frames. ``reset``: it reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = list[bytes]()
        self.reset = False
        self.port = 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(one[one.index(b"{") :]) for one in self.messages]

    @asynccontextmanager
    async def serve(self, context: ssl.SSLContext) -> AsyncIterator[SyslogPeer]:
        server = await asyncio.start_server(self.take, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await self.end(server)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.reset:
            await reader.readexactly(1)
            writer.transport.abort()
            return
        while length := await reader.readuntil(b" "):
            self.messages.append(await reader.readexactly(int(length)))
