"""A SAML identity provider in this process, whose responses tests can bend. signxml signs, cryptography encrypts."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import SignatureConstructionMethod
from signxml.signer import XMLSigner

NS: Final = {
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "md": "urn:oasis:names:tc:SAML:2.0:metadata",
}
SAML, SAMLP = f"{{{NS['saml']}}}", f"{{{NS['samlp']}}}"
PERSISTENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"


def certificate(key: RSAPrivateKey, *, days: int = 30) -> x509.Certificate:
    """Return a self-signed certificate that began yesterday and ends in ``days``."""
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - timedelta(40)).not_valid_after(now + timedelta(days))
    return made.sign(key, hashes.SHA256())


KEYS: Final = {name: generate_private_key(65537, 2048) for name in ("acme", "beta", "deputize")}


def key_file(folder: Path, name: str = "deputize") -> Path:
    """Return a new file with deputize's own key."""
    path = folder / f"{name}.pem"
    pem = KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class Request:
    """A message that deputize sent by HTTP-Redirect."""

    xml: etree._Element
    relay_state: str
    signed: bytes
    signature: bytes

    @classmethod
    def of(cls, url: str, kind: str = "SAMLRequest") -> Request:
        query = urlsplit(url).query
        given = {name: values[0] for name, values in parse_qs(query).items()}
        xml = etree.fromstring(zlib.decompress(base64.b64decode(given[kind]), wbits=-15))
        signed = query.partition("&Signature=")[0].encode()
        return cls(xml, given.get("RelayState", ""), signed, base64.b64decode(given["Signature"]))

    def verify(self, key: RSAPublicKey) -> None:
        """Raise unless this key signed the message."""
        key.verify(self.signature, self.signed, PKCS1v15(), hashes.SHA256())


@dataclass
class SamlProvider:
    """An identity provider. ``clock``: Unix seconds. ``name_id``, ``attributes``, ``session``: of its assertions."""

    entity_id: str
    key: RSAPrivateKey
    clock: Callable[[], float]
    name_id: str = "alice-1"
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    session: str = "session-1"
    count: int = 0

    def metadata(self, *, days: int = 30) -> bytes:
        """Return its metadata."""
        der = base64.b64encode(certificate(self.key, days=days).public_bytes(Encoding.DER)).decode()
        return f"""<?xml version="1.0"?><!-- of {self.entity_id} -->
<md:EntityDescriptor xmlns:md="{NS["md"]}" xmlns:ds="{NS["ds"]}" entityID="{self.entity_id}">
<md:IDPSSODescriptor protocolSupportEnumeration="{NS["samlp"]}">
<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{der}</ds:X509Certificate></ds:X509Data>
</ds:KeyInfo></md:KeyDescriptor>
<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{self.entity_id}/slo"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{self.entity_id}/sso"/>
</md:IDPSSODescriptor></md:EntityDescriptor>""".encode()

    def assertion(self, asked: etree._Element, **changes: Any) -> etree._Element:
        """Return an assertion that answers this request, without a signature."""
        now, self.count = self.clock(), self.count + 1
        acs = asked.get("AssertionConsumerServiceURL", "")
        audience = asked.findtext("saml:Issuer", "", NS)
        facts = {
            "issuer": self.entity_id,
            "acs": acs,
            "audience": audience,
            "request": f'InResponseTo="{asked.get("ID")}"',
            "begins": now - 30,
            "ends": now + 300,
            "confirmed": now + 300,
            "issued": now,
            "authenticated": now,
            "format": PERSISTENT,
            "id": f"_{self.entity_id.partition('.')[2].partition('.')[0]}-{self.count}",
            "qualifier": "",
            "session_ends": "",
            "method": "urn:oasis:names:tc:SAML:2.0:cm:bearer",
        } | changes
        stamp = {name: instant(value) for name, value in facts.items() if isinstance(value, int | float)}
        given = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in self.attributes.items()
        )
        return etree.fromstring(
            """<saml:Assertion xmlns:saml="{saml}" ID="{id}" Version="2.0" IssueInstant="{issued}">
<saml:Issuer>{issuer}</saml:Issuer>
<saml:Subject><saml:NameID Format="{format}" {qualifier}>{name_id}</saml:NameID>
<saml:SubjectConfirmation Method="{method}">
<saml:SubjectConfirmationData {request} NotOnOrAfter="{confirmed}" Recipient="{acs}"/>
</saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{begins}" NotOnOrAfter="{ends}"><saml:AudienceRestriction>
<saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
<saml:AuthnStatement AuthnInstant="{authenticated}" SessionIndex="{session}" {session_ends}><saml:AuthnContext>
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>
</saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>""".format(
                saml=NS["saml"], name_id=self.name_id, session=self.session, attributes=given, **(facts | stamp)
            )
        )

    def response(self, asked: etree._Element, content: etree._Element, **changes: Any) -> etree._Element:
        """Return a response with this assertion, without a signature of its own."""
        facts = {
            "acs": asked.get("AssertionConsumerServiceURL"),
            "request": asked.get("ID"),
            "status": "urn:oasis:names:tc:SAML:2.0:status:Success",
        } | changes
        root = etree.fromstring(
            """<samlp:Response xmlns:samlp="{samlp}" xmlns:saml="{saml}" ID="_r{count}" Version="2.0"
IssueInstant="{now}" Destination="{acs}" InResponseTo="{request}"><saml:Issuer>{issuer}</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="{status}"/></samlp:Status></samlp:Response>""".format(
                **NS, count=self.count, now=instant(self.clock()), issuer=self.entity_id, **facts
            )
        )
        root.append(content)
        return root

    def sign(self, element: etree._Element, key: RSAPrivateKey | None = None, **how: Any) -> etree._Element:
        """Return the element with a signature after its issuer."""
        signer = XMLSigner(
            SignatureConstructionMethod.enveloped,
            **({"signature_algorithm": "rsa-sha256", "digest_algorithm": "sha256", "c14n_algorithm": C14N} | how),
        )
        mark = etree.Element(f"{{{NS['ds']}}}Signature", {"Id": "placeholder"}, {"ds": NS["ds"]})
        element.insert(1, mark)
        key = key or self.key
        uri = f"#{element.get('ID')}"
        return signer.sign(element, key=key, cert=[certificate(key)], reference_uri=uri, id_attribute="ID")

    def answer(self, url: str, **changes: Any) -> dict[str, str]:
        """Return the form with which its page sends the browser back."""
        asked = Request.of(url)
        root = self.response(asked.xml, self.sign(self.assertion(asked.xml, **changes)))
        return form(root, asked.relay_state)

    def logout_url(self, to: str, *, signed_by: RSAPrivateKey | None = None, **changes: Any) -> str:
        """Return the address that asks deputize to end a session."""
        packed = zlib.compress(etree.tostring(self.logout(to, **changes)), wbits=-15)
        query = urlencode({"SAMLRequest": base64.b64encode(packed), "RelayState": "back", "SigAlg": SHA256})
        signature = (signed_by or self.key).sign(query.encode(), PKCS1v15(), hashes.SHA256())
        return f"{to}?{query}&{urlencode({'Signature': base64.b64encode(signature)})}"

    def logout(self, to: str, **changes: Any) -> etree._Element:
        """Return a request to end a session, without a signature."""
        self.count += 1
        facts: dict[str, Any] = {
            "session": self.session,
            "issued": self.clock(),
            "destination": to,
            "id": f"_l{self.count}",
        } | changes
        index = f"<samlp:SessionIndex>{facts['session']}</samlp:SessionIndex>" if facts["session"] else ""
        return etree.fromstring(
            f"""<samlp:LogoutRequest xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="{facts["id"]}"
Version="2.0" IssueInstant="{instant(facts["issued"])}" Destination="{facts["destination"]}">
<saml:Issuer>{self.entity_id}</saml:Issuer><saml:NameID Format="{PERSISTENT}">{self.name_id}</saml:NameID>
{index}</samlp:LogoutRequest>"""
        )


def form(root: etree._Element | bytes, relay_state: str = "") -> dict[str, str]:
    """Return the form that carries a response."""
    xml = root if isinstance(root, bytes) else etree.tostring(root)
    return {"SAMLResponse": base64.b64encode(xml).decode(), "RelayState": relay_state}


def instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def encrypt(element: etree._Element, key: RSAPublicKey, how: str = "gcm", wrap: str = "oaep") -> etree._Element:
    """Return an EncryptedAssertion. ``how``: gcm or cbc. ``wrap``: oaep (SHA-1), oaep256 or pkcs1."""
    plain, content_key = etree.tostring(element), os.urandom(32)
    if how == "gcm":
        iv, algorithm = os.urandom(12), "http://www.w3.org/2009/xmlenc11#aes256-gcm"
        sealed = iv + AESGCM(content_key).encrypt(iv, plain, None)
    else:
        iv, algorithm = os.urandom(16), "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
        pad, cipher = padding.PKCS7(128).padder(), Cipher(AES(content_key), CBC(iv)).encryptor()
        sealed = iv + cipher.update(pad.update(plain) + pad.finalize()) + cipher.finalize()
    if wrap == "pkcs1":
        wrapped, method = key.encrypt(content_key, PKCS1v15()), '"http://www.w3.org/2001/04/xmlenc#rsa-1_5">'
    elif wrap == "oaep256":
        wrapped = key.encrypt(content_key, OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None))
        method = f""""http://www.w3.org/2009/xmlenc11#rsa-oaep"><ds:DigestMethod xmlns:ds="{NS["ds"]}"
            Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><x:MGF xmlns:x="http://www.w3.org/2009/xmlenc11#"
            Algorithm="http://www.w3.org/2009/xmlenc11#mgf1sha256"/>"""
    else:
        wrapped = key.encrypt(content_key, OAEP(MGF1(hashes.SHA1()), hashes.SHA1(), None))  # noqa: S303 - no signature
        method = '"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p">'
    value = "<e:CipherData><e:CipherValue>{}</e:CipherValue></e:CipherData>"
    return etree.fromstring(
        f"""<saml:EncryptedAssertion xmlns:saml="{NS["saml"]}"><e:EncryptedData
xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptionMethod Algorithm="{algorithm}"/>
<ds:KeyInfo xmlns:ds="{NS["ds"]}"><e:EncryptedKey><e:EncryptionMethod Algorithm={method}</e:EncryptionMethod>
{value.format(base64.b64encode(wrapped).decode())}</e:EncryptedKey></ds:KeyInfo>
{value.format(base64.b64encode(sealed).decode())}</e:EncryptedData></saml:EncryptedAssertion>"""
    )
