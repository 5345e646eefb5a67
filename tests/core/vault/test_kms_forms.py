"""The requests to each KMS, compared with those of the vendor's own client, and what their answers become.

The counterparts are hvac (HashiCorp Vault), Google's published description of Cloud KMS, azure-keyvault-keys, and boto3
with moto's server in `tests/cli/test_kms.py`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters

from deputize.core import SettingsError, StoreUnavailable
from deputize.core.vault.kms import BUILT_IN, kms_type
from deputize.core.vault.kms.protocol import Kms, KmsSettings, context_bytes
from tests.support.kms_servers import GCP_KEY, TOKEN, KmsServer, kms_server

KEY = os.urandom(32)
CONTEXT = {"deputize:vault": "v1", "deputize:key": "k1"}


@pytest.fixture
def server() -> Iterator[KmsServer]:
    with kms_server() as made:
        yield made


@pytest.fixture
def credentials(server: KmsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let google-auth and azure-identity find credentials, and get their tokens from the server."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = server.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        **{"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem},
        **{"client_email": "deputize@p.example", "client_id": "1", "token_uri": f"{server.url}/token"},
    }
    (file := tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")


def opened(server: KmsServer, provider: str, *, key: str = "root") -> Kms:
    address, name = server.url, key
    if provider == "gcp-kms":
        name = GCP_KEY.replace("root", key)
    if provider == "azure-key-vault":
        address, name = "", f"{server.url}/keys/{key}"
    section = {"provider": provider, "key": name, "address": address, "token": TOKEN}
    return kms_type(provider).open(KmsSettings.model_validate(section))


OURS = [name for name in BUILT_IN if name != "aws-kms"]


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("provider", OURS)
async def test_key_unwraps_only_with_its_context_and_its_key(server: KmsServer, provider: str) -> None:
    kms = opened(server, provider)
    wrapped = await kms.wrap(KEY, CONTEXT)
    assert KEY not in wrapped and await kms.unwrap(wrapped, CONTEXT) == KEY
    assert await opened(server, provider).unwrap(wrapped, {**CONTEXT}) == KEY
    for other in ({**CONTEXT, "deputize:vault": "v2"}, {}, {"deputize:vault": "v1"}):
        with pytest.raises(SettingsError):
            await kms.unwrap(wrapped, other)
    with pytest.raises(SettingsError):
        await opened(server, provider, key="other").unwrap(wrapped, CONTEXT)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("provider", OURS)
async def test_failures_have_a_type_and_show_no_answer(server: KmsServer, provider: str) -> None:
    kms = opened(server, provider)
    wrapped = await kms.wrap(KEY, CONTEXT)
    cases = {408: StoreUnavailable, 429: StoreUnavailable, 500: StoreUnavailable, 503: StoreUnavailable}
    for status, kind in {
        **cases,
        302: SettingsError,
        401: SettingsError,
        403: SettingsError,
        404: SettingsError,
    }.items():
        server.fail = status
        with pytest.raises(kind) as caught:
            await kms.unwrap(wrapped, CONTEXT)
        assert str(status) in caught.value.message and "secret words" not in str(caught.value)
    server.fail = 0
    server.keys.clear()
    with pytest.raises(SettingsError):
        await kms.unwrap(wrapped, CONTEXT)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("provider", OURS)
async def test_answers_of_another_form_are_refused(
    server: KmsServer, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = opened(server, provider)
    wrapped = await kms.wrap(KEY, CONTEXT)
    for answer in ({}, {"data": 7}, {"data": {"plaintext": "%"}}, {"plaintext": 7}, {"value": 7}, {"value": "abc"}):
        monkeypatch.setattr(server, "answer", lambda *_, answer=answer: (200, answer))
        with pytest.raises((StoreUnavailable, SettingsError)):
            await kms.unwrap(wrapped, CONTEXT)


async def test_service_that_is_away_is_unavailable() -> None:
    with kms_server() as gone:
        kms = opened(gone, "vault-transit")
    with pytest.raises(StoreUnavailable):
        await kms.wrap(KEY, CONTEXT)


# ------------------------------------------------------------- Vault


async def test_transit_sends_what_hvac_sends(server: KmsServer) -> None:
    client = import_module("hvac").Client(url=server.url, token=TOKEN)
    bound, plain = base64.b64encode(context_bytes(CONTEXT)).decode(), base64.b64encode(KEY).decode()
    kms = opened(server, "vault-transit")
    wrapped = await kms.wrap(KEY, CONTEXT)
    theirs = client.secrets.transit.encrypt_data("root", plaintext=plain, associated_data=bound)["data"]["ciphertext"]
    assert await kms.unwrap(theirs.encode(), CONTEXT) == KEY
    answer = client.secrets.transit.decrypt_data("root", ciphertext=wrapped.decode(), associated_data=bound)
    assert answer["data"]["plaintext"] == plain
    ours_in, theirs_in, ours_out, theirs_out = server.seen
    for ours, other in ((ours_in, theirs_in), (ours_out, theirs_out)):
        assert ours.path == other.path and ours.body.keys() == other.body.keys()
        for name in ("x-vault-token", "x-vault-request"):
            assert ours.headers[name] == other.headers[name]
    assert ours_in.body == theirs_in.body


async def test_transit_reads_its_token_file_for_each_request_and_names_its_namespace(
    server: KmsServer, tmp_path: Path
) -> None:
    (file := tmp_path / "token").write_text("expired\n")
    file.chmod(0o600)
    section = {"provider": "vault-transit", "key": "root", "address": server.url, "token_file": file, "namespace": "ns"}
    kms = kms_type("vault-transit").open(KmsSettings.model_validate(section))
    with pytest.raises(SettingsError, match="403"):
        await kms.wrap(KEY, CONTEXT)
    file.write_text(f"{TOKEN}\n")
    assert await kms.wrap(KEY, CONTEXT) and server.seen[-1].headers["x-vault-namespace"] == "ns"
    for wrong in ({"address": ""}, {"token": "both"}, {"token_file": None}):
        with pytest.raises(SettingsError):
            await kms_type("vault-transit").open(KmsSettings.model_validate({**section, **wrong})).wrap(KEY, CONTEXT)


# ------------------------------------------------------------- Google


def description() -> dict[str, Any]:
    """Return Google's description of the API, which its client library contains."""
    documents = resources.files("googleapiclient") / "discovery_cache" / "documents" / "cloudkms.v1.json"
    found: dict[str, Any] = json.loads(documents.read_text())
    return found


@pytest.mark.usefixtures("credentials")
async def test_gcp_requests_fit_the_published_description(server: KmsServer) -> None:
    api, kms = description(), opened(server, "gcp-kms")
    await kms.unwrap(await kms.wrap(KEY, CONTEXT), CONTEXT)
    methods = api["resources"]["projects"]["resources"]["locations"]["resources"]["keyRings"]["resources"]
    for request, verb in zip(server.seen, ("encrypt", "decrypt"), strict=True):
        method = methods["cryptoKeys"]["methods"][verb]
        assert request.path == f"/v1/{GCP_KEY}:{verb}" and method["path"] == f"v1/{{+name}}:{verb}"
        assert "https://www.googleapis.com/auth/cloudkms" in method["scopes"]
        fields = api["schemas"][method["request"]["$ref"]]["properties"]
        for name, value in request.body.items():
            assert fields[name]["type"] == "string" and isinstance(value, str)
            assert fields[name].get("format") == ("int64" if name.endswith("Crc32c") else "byte")
        assert request.headers["authorization"] == "Bearer google"
    answers = (
        api["schemas"]["EncryptResponse"]["properties"].keys() | api["schemas"]["DecryptResponse"]["properties"].keys()
    )
    read = {"ciphertext", "ciphertextCrc32c", "plaintext", "plaintextCrc32c"}
    assert read | {"verifiedPlaintextCrc32c", "verifiedAdditionalAuthenticatedDataCrc32c"} <= answers


@pytest.mark.usefixtures("credentials")
async def test_gcp_answer_that_arrived_damaged_is_not_used(server: KmsServer) -> None:
    kms = opened(server, "gcp-kms")
    wrapped = await kms.wrap(KEY, CONTEXT)
    server.damage = True
    for work in (kms.unwrap(wrapped, CONTEXT), kms.wrap(KEY, CONTEXT)):
        with pytest.raises(StoreUnavailable, match="damaged"):
            await work


async def test_gcp_without_credentials_is_a_setting_to_mend(
    server: KmsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(SettingsError, match="no access token"):
        await opened(server, "gcp-kms").wrap(KEY, CONTEXT)


# ------------------------------------------------------------- Azure


CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/acme", resource="https://vault.azure.net"'


class KeyVault(requests.adapters.BaseAdapter):
    """A key vault for Azure's own client: it asks for a token, shows no key, and answers with ``answer``."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__()
        self.answer, self.seen = answer, list[requests.PreparedRequest]()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.seen.append(request)
        answer = requests.Response()
        answer.request, answer.url, answer.headers["content-type"] = request, request.url or "", "application/json"
        answer.status_code = 401 if "authorization" not in request.headers else 403 if request.method == "GET" else 200
        answer.headers["www-authenticate"] = CHALLENGE
        answer.raw = io.BytesIO(json.dumps(self.answer).encode())
        return answer

    def close(self) -> None: ...


class Credential:
    def get_token(self, *scopes: str, **_: object) -> Any:
        assert scopes == ("https://vault.azure.net/.default",)
        return import_module("azure.core.credentials").AccessToken("azure", 1 << 40)


@pytest.mark.usefixtures("credentials")
async def test_azure_sends_what_its_own_client_sends(server: KmsServer) -> None:
    kms, version = opened(server, "azure-key-vault"), "0" * 32
    wrapped = await kms.wrap(KEY, CONTEXT)
    value = base64.urlsafe_b64decode(server.seen[-1].body["value"] + "==")
    assert len(value) == 64 and value.endswith(KEY), "RSA-OAEP-256 with 2048 bits takes 190 bytes"
    assert json.loads(wrapped)["kid"] == f"{server.url}/keys/root/{version}"
    await kms.unwrap(wrapped, CONTEXT)

    vault = KeyVault({"kid": f"https://acme.vault.azure.net/keys/root/{version}", "value": "AAAA"})
    session = requests.Session()
    session.mount("https://", vault)
    transport = import_module("azure.core.pipeline.transport").RequestsTransport(session=session, session_owner=False)
    crypto = import_module("azure.keyvault.keys.crypto")
    client = crypto.CryptographyClient(vault.answer["kid"], Credential(), transport=transport)
    algorithm = crypto.KeyWrapAlgorithm.rsa_oaep_256
    await asyncio.to_thread(client.wrap_key, algorithm, value)
    await asyncio.to_thread(client.unwrap_key, algorithm, b"sealed")
    theirs = [request for request in vault.seen if request.method == "POST" and request.body]
    for ours, other, verb in zip(server.seen, theirs, ("wrapkey", "unwrapkey"), strict=True):
        assert ours.path.partition("?")[0] == f"/keys/root{'' if verb == 'wrapkey' else f'/{version}'}/{verb}"
        assert other.url and other.url.startswith(f"{vault.answer['kid']}/{verb}?api-version=")
        assert isinstance(other.body, str | bytes)
        body = json.loads(other.body)
        assert body.keys() == ours.body.keys() and body["alg"] == ours.body["alg"]
        if verb == "wrapkey":
            assert body["value"] == ours.body["value"], "base64url, without padding"
        assert ours.headers["authorization"] == "Bearer azure" == other.headers["authorization"]


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    "kid",
    ["{0}/keys/root/../other", "{0}/keys/root2", "https://evil.example/keys/root/1", "{0}/keys/root/1/x?y=", 7, None],
)
async def test_azure_follows_no_other_key_url(server: KmsServer, kid: object) -> None:
    kms = opened(server, "azure-key-vault")
    await kms.wrap(KEY, CONTEXT)
    asked = len(server.seen)
    kid = kid.format(server.url) if isinstance(kid, str) else kid
    with pytest.raises(SettingsError):
        await kms.unwrap(json.dumps({"kid": kid, "value": "AAAA"}).encode(), CONTEXT)
    assert len(server.seen) == asked


# ------------------------------------------------------------- AWS


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, StoreUnavailable),
        ("KMSInternalException", 500, StoreUnavailable),
        ("KeyUnavailableException", 500, StoreUnavailable),
        ("AnotherException", 503, StoreUnavailable),
        ("AccessDeniedException", 400, SettingsError),
        ("InvalidCiphertextException", 400, SettingsError),
        ("IncorrectKeyException", 400, SettingsError),
        ("DisabledException", 400, SettingsError),
        ("KMSInvalidStateException", 400, SettingsError),
        ("NotFoundException", 400, SettingsError),
    ],
)
async def test_aws_errors_have_a_type(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[Exception]
) -> None:
    stub = import_module("botocore.stub")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234"
    kms: Any = kms_type("aws-kms").open(KmsSettings.model_validate({"provider": "aws-kms", "key": arn}))
    with stub.Stubber(kms._client()) as answers:
        expected = {"KeyId": arn, "EncryptionContext": CONTEXT, "CiphertextBlob": b"sealed"}
        answers.add_response("decrypt", {"Plaintext": KEY}, expected)
        answers.add_client_error("decrypt", code, "secret words", http_status_code=status)
        assert await kms.unwrap(b"sealed", CONTEXT) == KEY
        with pytest.raises(kind, match=code) as caught:
            await kms.unwrap(b"sealed", CONTEXT)
        assert "secret words" not in str(caught.value)


async def test_aws_without_credentials_is_a_setting_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    section = {"provider": "aws-kms", "key": "alias/root", "region": "eu-central-1"}
    with pytest.raises(SettingsError, match="NoCredentialsError"):
        await kms_type("aws-kms").open(KmsSettings.model_validate(section)).wrap(KEY, CONTEXT)


# ------------------------------------------------------------- other packages


def test_unknown_kms_is_refused_and_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="Unknown KMS provider 'aws'"):
        kms_type("aws")
    for provider, module in (("aws-kms", "boto3"), ("gcp-kms", "google.auth"), ("azure-key-vault", "azure.identity")):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(SettingsError) as caught:
            kms_type(provider).open(KmsSettings(provider=provider, key="https://k.example"))  # type: ignore[call-arg]
        assert f"deputize[{provider}]" in caught.value.hint
