"""The two parties of a SAML sign-in: the identity provider of a metadata file, and deputize as a service provider."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from lxml import etree

from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.private_files import read_private
from deputize.core.web.signin.saml.xml_security import DS, SAMLP, parse

MD: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
NAME_ID_FORMATS: Final = {
    "persistent": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "transient": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
    "emailAddress": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    "unspecified": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
}
MIN_KEY_BITS: Final = 2048
_MAX_KEY_FILE_BYTES: Final = 65536
_ENTITY: Final = re.compile(r"[!-\"$-~]{1,1024}")
_PLACE: Final = re.compile(r"https://[!-\"$-~]+|http://(?:127\.0\.0\.1|\[::1\])[:/][!-\"$-~]*")
_PEM: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


@frozen
class IdentityProvider(ValueObject):
    """An identity provider. ``certificates``: of its signing keys. ``sign_in_url``: where sign-ins begin, by
    HTTP-Redirect. ``logout_url``, ``logout_answer_url``: for single logout by HTTP-Redirect, "" if it supports none."""

    entity_id: str
    certificates: tuple[x509.Certificate, ...]
    sign_in_url: str
    logout_url: str = ""
    logout_answer_url: str = ""

    @classmethod
    def read(cls, path: Path) -> IdentityProvider:
        """Return the identity provider of a metadata file. Raises `SettingsError`.

        The operator vouches for the file: a signature in it is not verified.
        """
        try:
            root = parse(path.read_bytes(), is_trusted=True)
        except (OSError, InvalidInput) as e:
            why = e.message if isinstance(e, InvalidInput) else e.strerror
            raise SettingsError(f"The SAML metadata in {path} cannot be read: {why}", hint=_METADATA_HINT) from None
        roles = root.findall(f"{MD}IDPSSODescriptor")
        if root.tag != f"{MD}EntityDescriptor" or len(roles) != 1:
            raise _unusable(path, "is not an EntityDescriptor with one IDPSSODescriptor")
        name, [role] = root.get("entityID", ""), roles
        if not _ENTITY.fullmatch(name):
            raise _unusable(path, "has no entityID without spaces and '#'")
        logout = _endpoint(role, "SingleLogoutService")
        found = cls(
            name,
            tuple(_certificates(role, path)),
            _address(_endpoint(role, "SingleSignOnService"), "Location", path),
            _address(logout, "Location", path),
            _address(logout, "ResponseLocation", path) or _address(logout, "Location", path),
        )
        if not found.certificates:
            raise _unusable(path, "has no certificate for signatures")
        if not found.sign_in_url:
            raise _unusable(path, "has no SingleSignOnService for HTTP-Redirect")
        return found


_METADATA_HINT: Final = "Save the metadata (XML) of your application at the identity provider to this file."


def _unusable(path: Path, why: str) -> SettingsError:
    return SettingsError(f"The SAML metadata in {path} {why}.", hint=_METADATA_HINT)


def _endpoint(role: etree._Element, name: str) -> etree._Element | None:
    return next((one for one in role.findall(f"{MD}{name}") if one.get("Binding") == REDIRECT), None)


def _address(endpoint: etree._Element | None, name: str, path: Path) -> str:
    """Return an address in metadata, or "". Raises `SettingsError` unless it is https, or on loopback."""
    url = "" if endpoint is None else endpoint.get(name, "")
    if url and not _PLACE.fullmatch(url):
        raise _unusable(path, f"names an address that is not https: {url[:200]!r}")
    return url


def _certificates(role: etree._Element, path: Path) -> list[x509.Certificate]:
    found = list[x509.Certificate]()
    for key in role.findall(f"{MD}KeyDescriptor"):
        for one in key.iter(f"{DS}X509Certificate") if key.get("use") in (None, "signing") else ():
            try:
                found.append(x509.load_der_x509_certificate(base64.b64decode("".join((one.text or "").split()))))
                public = found[-1].public_key()
            except (ValueError, UnsupportedAlgorithm):
                raise _unusable(path, "has a certificate that cannot be read") from None
            if isinstance(public, RSAPublicKey) and public.key_size < MIN_KEY_BITS:
                raise _unusable(path, f"has a certificate with a key of {public.key_size} bits, not {MIN_KEY_BITS}")
    return found


@frozen
class ServiceProvider(ValueObject):
    """deputize at one identity provider. ``base``: the address of the sign-in's pages, which its names begin with.
    ``keys``: RSA keys; the first signs, all decrypt."""

    base: str
    keys: tuple[RSAPrivateKey, ...]

    @property
    def entity_id(self) -> str:
        """The name of deputize at the identity provider, which is the address of its metadata."""
        return f"{self.base}/metadata"

    @property
    def acs_url(self) -> str:
        """The address of the assertion consumer service."""
        return f"{self.base}/callback"

    @property
    def logout_url(self) -> str:
        """The address of the single logout service."""
        return f"{self.base}/logout"

    def metadata(self, name_id_format: str) -> bytes:
        """Return the metadata document (SAML V2.0 Metadata 2.4.4)."""
        root = etree.Element(f"{MD}EntityDescriptor", {"entityID": self.entity_id}, {None: MD[1:-1], "ds": DS[1:-1]})
        role = etree.SubElement(
            root,
            f"{MD}SPSSODescriptor",
            {
                "AuthnRequestsSigned": "true",
                "WantAssertionsSigned": "true",
                "protocolSupportEnumeration": SAMLP[1:-1],
            },
        )
        for use in ("signing", "encryption"):
            for key in self.keys:
                described = etree.SubElement(role, f"{MD}KeyDescriptor", {"use": use})
                data = etree.SubElement(etree.SubElement(described, f"{DS}KeyInfo"), f"{DS}X509Data")
                der = certificate_of(key).public_bytes(Encoding.DER)
                etree.SubElement(data, f"{DS}X509Certificate").text = base64.b64encode(der).decode()
                if use == "encryption":
                    for algorithm in ("xmlenc11#aes256-gcm", "xmlenc11#aes128-gcm"):
                        method = {"Algorithm": f"http://www.w3.org/2009/{algorithm}"}
                        etree.SubElement(described, f"{MD}EncryptionMethod", method)
        for binding in (REDIRECT, POST):
            etree.SubElement(role, f"{MD}SingleLogoutService", {"Binding": binding, "Location": self.logout_url})
        etree.SubElement(role, f"{MD}NameIDFormat").text = name_id_format
        place = {"Binding": POST, "Location": self.acs_url, "index": "0", "isDefault": "true"}
        etree.SubElement(role, f"{MD}AssertionConsumerService", place)
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def certificate_of(key: RSAPrivateKey) -> x509.Certificate:
    """Return the self-signed certificate in which metadata carries a key. It is the same in every process.

    Identity providers use the key and ignore the rest (SAML V2.0 Metadata Interoperability Profile 2.6.1).
    """
    public = key.public_key()
    serial = sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()[:16]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deputize")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(serial) | 1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2049, 12, 31, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def read_keys(path: Path) -> tuple[RSAPrivateKey, ...]:
    """Return the private keys in a PEM file with mode 0600. Raises `SettingsError`."""
    found = list[RSAPrivateKey]()
    for pem in _PEM.findall(read_private(path, _MAX_KEY_FILE_BYTES)):
        try:
            key = load_pem_private_key(pem, None)
        except (TypeError, ValueError):
            key = None
        if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_KEY_BITS:
            found = []
            break
        found.append(key)
    if not found:
        raise SettingsError(
            f"saml_key_file names {path}, which holds no RSA private key, or one that is shorter than {MIN_KEY_BITS} "
            "bits or has a passphrase.",
            hint=f"Make one: openssl genrsa -out '{path}' 3072",
        )
    return tuple(found)
