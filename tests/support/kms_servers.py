"""Simulated key management services on loopback, which refuse what the real ones refuse, and can be made to fail.

They repeat the vendors' documented forms. `tests/core/vault/test_kms_forms.py` compares the requests with those of the
vendors' own clients, and AWS KMS is played by moto.
"""

from __future__ import annotations

import json
import os
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import google_crc32c
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

TOKEN = "kms-token"
GCP_KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/root"


@dataclass
class Request:
    """A request. ``body``: its JSON."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class KmsServer:
    """All three services at one address. ``keys``: names of keys that exist. ``fail``: status of every answer, or 0.
    ``fail_key``: fails only for this key. ``hang``: seconds before an answer. ``damage``: changes answers."""

    url: str = ""
    keys: set[str] = field(default_factory=lambda: {"root", "other"})
    fail: int = 0
    fail_key: str = ""
    hang: float = 0.0
    damage: bool = False
    seen: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.secrets = {name: AESGCM(os.urandom(32)) for name in ("root", "other")}

    @cached_property
    def private(self) -> rsa.RSAPrivateKey:
        """The key of Azure."""
        return rsa.generate_private_key(65537, 2048)

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and JSON."""
        self.seen.append(Request(path, headers, body))
        time.sleep(self.hang)
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        name = parts[-1].partition(":")[0] if parts[0] == "v1" else parts[1]
        if self.fail and self.fail_key in ("", name):
            return self.fail, {"errors": ["secret words"]}
        if parts[0] == "keys":
            return self._azure(parts, headers, body)
        if ":" in parts[-1]:
            return self._gcp(parts, headers, body)
        return self._transit(parts, headers, body)

    def _transit(self, parts: list[str], headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        _, mount, verb, name = parts
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if mount != "transit":
            return 404, {"errors": ["no handler for route"]}
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        secret, bound = self.secrets[name], b64decode(body["associated_data"])
        if verb == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + secret.encrypt(nonce, b64decode(body["plaintext"], validate=True), bound)
            return 200, {"data": {"ciphertext": f"vault:v1:{b64encode(sealed).decode()}", "key_version": 1}}
        try:
            sealed = b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            return 200, {"data": {"plaintext": b64encode(secret.decrypt(sealed[:12], sealed[12:], bound)).decode()}}
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}

    def _gcp(self, parts: list[str], headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name, _, verb = parts[-1].partition(":")
        if not headers.get("authorization", "").startswith("Bearer "):
            return 401, {"error": {"status": "UNAUTHENTICATED"}}
        if name not in self.keys:
            return 404, {"error": {"status": "NOT_FOUND"}}
        field, bound = (
            ("plaintext" if verb == "encrypt" else "ciphertext"),
            b64decode(body["additionalAuthenticatedData"]),
        )
        value = b64decode(body[field])
        if body[f"{field}Crc32c"] != _sum(value) or body["additionalAuthenticatedDataCrc32c"] != _sum(bound):
            return 400, {"error": {"status": "INVALID_ARGUMENT"}}
        secret = self.secrets[name]
        if verb == "encrypt":
            nonce = os.urandom(12)
            made, other = nonce + secret.encrypt(nonce, value, bound), "ciphertext"
        else:
            try:
                made, other = secret.decrypt(value[:12], value[12:], bound), "plaintext"
            except InvalidTag:
                return 400, {"error": {"status": "INVALID_ARGUMENT"}}
        found = {other: b64encode(made).decode(), f"{other}Crc32c": "7" if self.damage else _sum(made)}
        if verb == "encrypt":
            found |= {"verifiedPlaintextCrc32c": True, "verifiedAdditionalAuthenticatedDataCrc32c": True}  # type: ignore[dict-item]
        return 200, found

    def _azure(self, parts: list[str], headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        verb, name = parts[-1], parts[1]
        if not headers.get("authorization", "").startswith("Bearer "):
            return 401, {"error": {"code": "Unauthorized"}}
        if name not in self.keys or body["alg"] != "RSA-OAEP-256":
            return 404, {"error": {"code": "KeyNotFound"}}
        value = urlsafe_b64decode(body["value"] + "==")
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
        try:
            made = (
                self.private.public_key().encrypt(value, oaep)
                if verb == "wrapkey"
                else self.private.decrypt(value, oaep)
            )
        except ValueError:
            return 400, {"error": {"code": "BadParameter"}}
        kid = f"{self.url}/keys/{name}/{'0' * 32}"
        return 200, {"kid": kid, "value": urlsafe_b64encode(made).decode().rstrip("=")}

    def toml(self, name: str = "main", *, key: str = "root") -> str:
        """Return a section of the settings, for the transit engine."""
        return f'[kms.{name}]\nprovider = "vault-transit"\nkey = "{key}"\naddress = "{self.url}"\ntoken = "{TOKEN}"\n'

    def section(self, *, key: str = "root", **more: object) -> dict[str, object]:
        """Return the same section as a value."""
        return {"provider": "vault-transit", "key": key, "address": self.url, "token": TOKEN, **more}


def _sum(value: bytes) -> str:
    return str(google_crc32c.value(value))


@contextmanager
def kms_server(server: KmsServer | None = None, port: int = 0) -> Iterator[KmsServer]:
    """Serve on loopback until the block ends. ``server``: continue with this one."""
    made = server or KmsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the token of a managed identity
            self.reply(
                200, {"access_token": "azure", "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}
            )

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/token":  # of a service account
                return self.reply(200, {"access_token": "google", "expires_in": 3600, "token_type": "Bearer"})
            self.reply(*made.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(text)))

        def reply(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            try:
                self.wfile.write(text)
            except OSError:  # the caller has given up
                pass

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    http = Server(("127.0.0.1", port), Handler)
    made.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
