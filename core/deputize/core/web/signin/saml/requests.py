"""Messages to the identity provider, and the HTTP-Redirect binding in both directions (SAML V2.0 Bindings 3.4)."""

from __future__ import annotations

import base64
import secrets
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import unquote_plus, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509 import Certificate
from lxml import etree

from deputize.core.web.signin.saml.parties import POST, IdentityProvider, ServiceProvider
from deputize.core.web.signin.saml.xml_security import MAX_XML_BYTES, SAML, SAMLP, parse, refused

SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_RSA: Final[Mapping[str, hashes.HashAlgorithm]] = {
    RSA_SHA256: hashes.SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": hashes.SHA384(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": hashes.SHA512(),
}
Kind = Literal["SAMLRequest", "SAMLResponse"]


def authn_request(
    provider: IdentityProvider,
    service: ServiceProvider,
    now: float,
    *,
    request_id: str,
    name_id_format: str,
    again: bool = False,
    acr_values: Iterable[str] = (),
) -> bytes:
    """Return the request for a sign-in. ``again``: the user must authenticate now. ``acr_values``: accepted ways."""
    root = _message("AuthnRequest", request_id, provider.sign_in_url, service, now)
    root.set("AssertionConsumerServiceURL", service.acs_url)
    root.set("ProtocolBinding", POST)
    if again:
        root.set("ForceAuthn", "true")
    etree.SubElement(root, f"{SAMLP}NameIDPolicy", {"Format": name_id_format, "AllowCreate": "true"})
    if accepted := list(acr_values):
        context = etree.SubElement(root, f"{SAMLP}RequestedAuthnContext", {"Comparison": "exact"})
        for one in accepted:
            etree.SubElement(context, f"{SAML}AuthnContextClassRef").text = one
    return etree.tostring(root)


def logout_request(
    provider: IdentityProvider, service: ServiceProvider, now: float, name_id: str, name_id_format: str, session: str
) -> bytes:
    """Return the request to end the user's session. ``session``: the ``SessionIndex``, "" for all of them."""
    root = _message("LogoutRequest", f"_{secrets.token_hex(16)}", provider.logout_url, service, now)
    etree.SubElement(root, f"{SAML}NameID", {"Format": name_id_format}).text = name_id
    if session:
        etree.SubElement(root, f"{SAMLP}SessionIndex").text = session
    return etree.tostring(root)


def logout_answer(provider: IdentityProvider, service: ServiceProvider, now: float, request_id: str) -> bytes:
    """Return the answer that a logout is complete here."""
    root = _message("LogoutResponse", f"_{secrets.token_hex(16)}", provider.logout_answer_url, service, now)
    root.set("InResponseTo", request_id)
    status = etree.SubElement(root, f"{SAMLP}Status")
    etree.SubElement(status, f"{SAMLP}StatusCode", {"Value": SUCCESS})
    return etree.tostring(root)


def _message(kind: str, own_id: str, to: str, service: ServiceProvider, now: float) -> etree._Element:
    instant = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = {"ID": own_id, "Version": "2.0", "IssueInstant": instant, "Destination": to}
    root = etree.Element(f"{SAMLP}{kind}", head, {"samlp": SAMLP[1:-1], "saml": SAML[1:-1]})
    etree.SubElement(root, f"{SAML}Issuer").text = service.entity_id
    return root


def redirect_url(to: str, kind: Kind, message: bytes, relay_state: str, key: RSAPrivateKey) -> str:
    """Return the address that carries this message, with a signature."""
    deflate = zlib.compressobj(wbits=-15)
    packed = base64.b64encode(deflate.compress(message) + deflate.flush()).decode()
    fields = {kind: packed} | ({"RelayState": relay_state} if relay_state else {}) | {"SigAlg": RSA_SHA256}
    query = urlencode(fields)
    signature = base64.b64encode(key.sign(query.encode(), PKCS1v15(), hashes.SHA256())).decode()
    return f"{to}{'&' if '?' in to else '?'}{query}&{urlencode({'Signature': signature})}"


def read_redirect(
    query: str, kind: Kind, certificates: Iterable[Certificate], now: float
) -> tuple[etree._Element, str]:
    """Return the message and the RelayState of a query that one of these RSA keys signed. ``query``: as the browser
    sent it, because the signature covers the encoding, of names as well. Raises `InvalidInput`."""
    pairs = [part.partition("=") for part in query.split("&")]
    fields = {name: value for name, _, value in pairs}
    if len(fields) < len(pairs) or kind not in fields:
        raise refused("names a parameter twice, or has none", "saml_form")
    signed = "&".join(f"{name}={fields[name]}" for name in (kind, "RelayState", "SigAlg") if name in fields).encode()
    algorithm = _RSA.get(unquote_plus(fields.get("SigAlg", "")))
    signature = from_base64(unquote_plus(fields.get("Signature", "")))
    if algorithm is None or not any(_is_signed(one, signature, signed, algorithm, now) for one in certificates):
        raise refused("has no valid signature by RSA with SHA-2 in its address", "saml_signature")
    inflate = zlib.decompressobj(wbits=-15)
    try:
        xml = inflate.decompress(from_base64(unquote_plus(fields[kind])), MAX_XML_BYTES)
    except zlib.error:
        xml = b""
    if not inflate.eof:
        raise refused("is not deflated, or too long", "saml_form")
    return parse(xml), unquote_plus(fields.get("RelayState", ""))


def _is_signed(
    certificate: Certificate, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm, now: float
) -> bool:
    key, when = certificate.public_key(), datetime.fromtimestamp(now, UTC)
    is_valid = certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc
    if not is_valid or not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(signature, signed, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def from_base64(encoded: str) -> bytes:
    """Return the bytes of Base64 with or without line breaks. Raises `InvalidInput`."""
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        pass
    raise refused("is not Base64", "saml_form")
