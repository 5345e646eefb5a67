"""Forged, altered, replayed and misdirected SAML messages are refused, each with its own reason."""

from __future__ import annotations

import base64
import copy
import logging
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from deputize.core.errors import InvalidInput
from deputize.core.web.signin.saml.assertions import Assertion, read_logout, read_response
from deputize.core.web.signin.saml.parties import NAME_ID_FORMATS, IdentityProvider, ServiceProvider
from deputize.core.web.signin.saml.requests import authn_request, from_base64, read_redirect, redirect_url
from deputize.core.web.signin.saml.xml_security import MAX_XML_BYTES, verify
from tests.support.saml_provider import (
    KEYS,
    NS,
    PERSISTENT,
    SAML,
    SAMLP,
    Request,
    SamlProvider,
    certificate,
    encrypt,
    instant,
)

ACME: Final = "https://idp.acme.test"
SERVICE: Final = ServiceProvider("https://deputy.example.test/sign-in/acme", (KEYS["deputize"],))
CLOCK: Final = time.time
MALLORY: Final = "mallory"
IDP: Final = SamlProvider(ACME, KEYS["acme"], CLOCK)
OTHER: Final = generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> IdentityProvider:
    path = tmp_path_factory.mktemp("idp") / "metadata.xml"
    path.write_bytes(IDP.metadata())
    return IdentityProvider.read(path)


def request_of(provider: IdentityProvider) -> etree._Element:
    message = authn_request(provider, SERVICE, CLOCK(), request_id="_request", name_id_format=PERSISTENT)
    url = redirect_url(provider.sign_in_url, "SAMLRequest", message, "state", KEYS["deputize"])
    return Request.of(url).xml


def read(xml: etree._Element | bytes, provider: IdentityProvider) -> Assertion:
    data = xml if isinstance(xml, bytes) else etree.tostring(xml)
    return read_response(data, provider, SERVICE, PERSISTENT, CLOCK())


Asked = etree._Element
Forge = Callable[[Asked], "etree._Element | bytes"]


def changed(asked: Asked, **changes: Any) -> etree._Element:
    """Return a well-signed response with an assertion that says something else."""
    return IDP.response(asked, IDP.sign(IDP.assertion(asked, **changes)))


def answered(asked: Asked, **changes: Any) -> etree._Element:
    """Return a response whose assertion is good, and which says something else itself."""
    return IDP.response(asked, IDP.sign(IDP.assertion(asked)), **changes)


def edited(edit: Callable[[etree._Element], object]) -> Forge:
    """Return a response that is edited after the signature."""

    def forge(asked: Asked) -> etree._Element:
        root = changed(asked)
        edit(root)
        return root

    return forge


def before_signing(edit: Callable[[etree._Element], object]) -> Forge:
    """Return a response whose assertion is edited before the signature."""

    def forge(asked: Asked) -> etree._Element:
        assertion = IDP.assertion(asked)
        edit(assertion)
        return IDP.response(asked, IDP.sign(assertion))

    return forge


def replaced(old: bytes, new: bytes) -> Forge:
    def forge(asked: Asked) -> bytes:
        xml = etree.tostring(changed(asked))
        assert old in xml
        return xml.replace(old, new, 1)

    return forge


def part(root: etree._Element, path: str) -> etree._Element:
    found = root.find(path, NS)
    assert found is not None
    return found


def evil_of(element: etree._Element, *, same_id: bool = False) -> etree._Element:
    """Return a copy that names another user, without a signature."""
    evil = copy.deepcopy(element)
    for signature in evil.findall("ds:Signature", NS):
        evil.remove(signature)
    part(evil, ".//saml:NameID").text = MALLORY
    if not same_id:
        evil.set("ID", "_evil")
    return evil


def wrapped(kind: int, *, same_id: bool = False) -> Forge:
    """Return the signature wrapping attack of this number."""
    return lambda asked: wrap(IDP.sign(answered(asked)) if kind <= 2 else changed(asked), kind, same_id=same_id)


def wrap(root: etree._Element, kind: int, *, same_id: bool = False) -> etree._Element:
    """Return a response with the signature wrapping attack of this number, as SAML Raider counts them. ``root``: is
    signed itself (1, 2), or has a signed assertion."""
    if kind <= 2:
        evil = evil_of(root, same_id=same_id)
        whole = copy.deepcopy(root)
        signature = part(whole, "ds:Signature")
        whole.remove(signature)
        evil.insert(1, signature)
        if kind == 1:
            signature.append(whole)
        else:
            signature.addprevious(whole)
        return evil
    signed = part(root, "saml:Assertion")
    signature = part(signed, "ds:Signature")
    evil = evil_of(signed, same_id=same_id)
    bare = copy.deepcopy(signed)
    bare.remove(part(bare, "ds:Signature"))
    if kind == 3:
        signed.addprevious(evil)
    elif kind == 4:
        root.replace(signed, evil)
        evil.append(signed)
    elif kind == 5:
        root.replace(signed, evil)
        evil.insert(1, signature)
        root.append(bare)
    elif kind == 6:
        root.replace(signed, evil)
        evil.insert(1, signature)
        signature.append(bare)
    elif kind == 7:
        extensions = etree.Element(f"{SAMLP}Extensions")
        root.insert(1, extensions)
        extensions.append(evil)
    else:
        root.replace(signed, evil)
        evil.insert(1, signature)
        etree.SubElement(signature, f"{{{NS['ds']}}}Object").append(bare)
    return root


def in_object_of_good(asked: Asked) -> etree._Element:
    """The evil assertion in an Object of the good one's own signature, which the schema allows."""
    root = changed(asked)
    place = etree.SubElement(part(root, ".//ds:Signature"), f"{{{NS['ds']}}}Object")
    place.append(evil_of(part(root, "saml:Assertion")))
    return root


def of_whole_response_only(asked: Asked) -> etree._Element:
    return IDP.sign(IDP.response(asked, IDP.assertion(asked)))


def with_bad_outer_signature(asked: Asked) -> etree._Element:
    root = IDP.sign(changed(asked))
    root.set("Destination", SERVICE.acs_url)
    part(root, "samlp:Status").set("more", "yes")
    return root


def by_sha1(asked: Asked, **how: Any) -> etree._Element:
    class Old(XMLSigner):
        def check_deprecated_methods(self) -> None:
            """Sign with SHA-1, as identity providers did."""

    assertion = IDP.assertion(asked)
    mark = etree.Element(f"{{{NS['ds']}}}Signature", {"Id": "placeholder"}, {"ds": NS["ds"]})
    assertion.insert(1, mark)
    given = {"signature_algorithm": SignatureMethod.RSA_SHA256, "digest_algorithm": DigestAlgorithm.SHA256} | how
    signer = Old(c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#", **given)
    uri = f"#{assertion.get('ID')}"
    return IDP.response(
        asked,
        signer.sign(
            assertion, key=KEYS["acme"], cert=[certificate(KEYS["acme"])], reference_uri=uri, id_attribute="ID"
        ),
    )


def by_hmac(asked: Asked) -> etree._Element:
    """Signed with the identity provider's public key as the secret, which everybody knows."""
    public = KEYS["acme"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assertion = IDP.assertion(asked)
    mark = etree.Element(f"{{{NS['ds']}}}Signature", {"Id": "placeholder"}, {"ds": NS["ds"]})
    assertion.insert(1, mark)
    signer = XMLSigner(signature_algorithm="hmac-sha256", c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#")
    uri = f"#{assertion.get('ID')}"
    return IDP.response(asked, signer.sign(assertion, key=public, reference_uri=uri, id_attribute="ID"))


def sealed(how: str, wrap: str = "oaep", *, signed: bool = True, outer: bool = False) -> Forge:
    def forge(asked: Asked) -> etree._Element:
        inner = IDP.sign(IDP.assertion(asked)) if signed else IDP.assertion(asked)
        root = IDP.response(asked, encrypt(inner, KEYS["deputize"].public_key(), how, wrap))
        return IDP.sign(root) if outer else root

    return forge


def sealed_for_another(asked: Asked) -> etree._Element:
    return IDP.response(asked, encrypt(IDP.sign(IDP.assertion(asked)), OTHER.public_key()))


def sealed_twice(asked: Asked) -> etree._Element:
    root = sealed("gcm")(asked)
    assert isinstance(root, etree._Element)
    root.append(copy.deepcopy(part(root, "saml:EncryptedAssertion")))
    return root


def sealed_wrapping(asked: Asked) -> etree._Element:
    """A good assertion within an evil one, both encrypted: everybody can encrypt for deputize."""
    good = IDP.sign(IDP.assertion(asked))
    evil = evil_of(good)
    evil.append(good)
    return IDP.response(asked, encrypt(evil, KEYS["deputize"].public_key()))


def bent_ciphertext(asked: Asked) -> etree._Element:
    root = sealed("gcm")(asked)
    assert isinstance(root, etree._Element)
    value = [*root.iter("{http://www.w3.org/2001/04/xmlenc#}CipherValue")][-1]
    data = bytearray(base64.b64decode(value.text or ""))
    data[-1] ^= 1
    value.text = base64.b64encode(data).decode()
    return root


def bomb(kind: str) -> Forge:
    """Return a response with a document type: an external entity, or entities that grow."""
    entities = {
        "external": '<!ENTITY x SYSTEM "file:///etc/passwd">',
        "bomb": '<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {n} "&{p};&{p};&{p};">' for p, n in zip("abc", "bcd", strict=True)),
        "parameter": '<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;',
        "empty": "",
    }

    def forge(asked: Asked) -> bytes:
        use = {"external": b"&x;", "bomb": b"&d;"}.get(kind, b"alice-1")
        return f"<!DOCTYPE r [{entities[kind]}]>".encode() + etree.tostring(changed(asked)).replace(b"alice-1", use)

    return forge


def in_utf16(asked: Asked) -> bytes:
    """A document type whose bytes look otherwise."""
    return ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>').encode("utf-16")


def deep(asked: Asked) -> bytes:
    return b"<a>" * 5000 + b"</a>" * 5000


REFUSED: Final[dict[str, tuple[Forge, str]]] = {
    "unsigned": (lambda asked: IDP.response(asked, IDP.assertion(asked)), "saml_signature"),
    "signed by another key": (
        lambda asked: IDP.response(asked, IDP.sign(IDP.assertion(asked), OTHER)),
        "saml_signature",
    ),
    "signed as a whole only": (of_whole_response_only, "saml_signature"),
    "invalid signature of the response": (with_bad_outer_signature, "saml_signature"),
    "NameID edited": (
        edited(lambda root: setattr(part(root, ".//saml:NameID"), "text", MALLORY)),
        "saml_signature",
    ),
    "signature removed": (
        edited(lambda root: part(root, "saml:Assertion").remove(part(root, ".//ds:Signature"))),
        "saml_signature",
    ),
    **{f"XSW{kind}": (wrapped(kind), "") for kind in range(1, 9)},
    **{f"XSW{kind} with the same ID": (wrapped(kind, same_id=True), "") for kind in range(1, 9)},
    "evil assertion in an Object of the signature": (in_object_of_good, "saml_assertions"),
    "second assertion, signed too": (
        edited(lambda root: root.append(IDP.sign(IDP.assertion(request_like(root))))),
        "saml_assertions",
    ),
    "no assertion": (edited(lambda root: root.remove(part(root, "saml:Assertion"))), "saml_assertions"),
    "RSA with SHA-1": (partial(by_sha1, signature_algorithm=SignatureMethod.RSA_SHA1), "saml_signature"),
    "digest by SHA-1": (partial(by_sha1, digest_algorithm=DigestAlgorithm.SHA1), "saml_signature"),
    "HMAC with the public key": (by_hmac, "saml_signature"),
    "unknown algorithm": (replaced(b"rsa-sha256", b"rsa-md5---"), "saml_signature"),
    "another audience": (partial(changed, audience="https://other.example/metadata"), "saml_audience"),
    "no audience": (
        before_signing(lambda one: part(one, "saml:Conditions").remove(part(one, ".//saml:AudienceRestriction"))),
        "saml_audience",
    ),
    "a second audience restriction without us": (
        before_signing(
            lambda one: part(one, "saml:Conditions").append(
                etree.fromstring(
                    f'<saml:AudienceRestriction xmlns:saml="{NS["saml"]}"><saml:Audience>https://other.example'
                    "</saml:Audience></saml:AudienceRestriction>"
                )
            )
        ),
        "saml_audience",
    ),
    "a condition that nobody knows": (
        before_signing(lambda one: etree.SubElement(part(one, "saml:Conditions"), "{urn:x}Only")),
        "saml_form",
    ),
    "another recipient": (partial(changed, acs="https://other.example/acs"), "saml_recipient"),
    "another destination": (partial(answered, acs="https://other.example/acs"), "saml_destination"),
    "another issuer": (partial(changed, issuer="https://idp.beta.test"), "saml_issuer"),
    "another issuer of the response": (
        edited(lambda root: setattr(part(root, "saml:Issuer"), "text", "https://idp.beta.test")),
        "saml_issuer",
    ),
    "answer to no request": (
        lambda asked: IDP.response(asked, IDP.sign(IDP.assertion(asked, request="")), request=""),
        "saml_unsolicited",
    ),
    "assertion that answers no request": (partial(changed, request=""), "saml_unsolicited"),
    "answer to two requests": (partial(answered, request="_another"), "saml_unsolicited"),
    "expired": (lambda asked: changed(asked, ends=CLOCK() - 125), "saml_time"),
    "confirmation expired": (lambda asked: changed(asked, confirmed=CLOCK() - 125), "saml_time"),
    "issued long ago": (lambda asked: changed(asked, issued=CLOCK() - 730), "saml_time"),
    "not valid yet": (lambda asked: changed(asked, begins=CLOCK() + 150), "saml_time"),
    "issued in the future": (lambda asked: changed(asked, issued=CLOCK() + 150), "saml_time"),
    "authenticated in the future": (lambda asked: changed(asked, authenticated=CLOCK() + 150), "saml_time"),
    "session over": (
        lambda asked: changed(asked, session_ends=f'SessionNotOnOrAfter="{instant(CLOCK() - 1)}"'),
        "saml_time",
    ),
    "local time": (partial(changed, issued="2026-12-02T07:00:00+01:00"), "saml_time"),
    "no confirmation": (
        before_signing(lambda one: part(one, "saml:Subject").remove(part(one, ".//saml:SubjectConfirmation"))),
        "saml_form",
    ),
    "confirmed by key": (
        partial(changed, method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
        "saml_form",
    ),
    "NameID in another format": (partial(changed, format=NAME_ID_FORMATS["emailAddress"]), "saml_name_id"),
    "NameID of another identity provider": (
        partial(changed, qualifier='NameQualifier="https://idp.beta.test"'),
        "saml_name_id",
    ),
    "NameID at another service": (partial(changed, qualifier='SPNameQualifier="https://other"'), "saml_name_id"),
    "comment in the NameID": (replaced(b"alice-1", b"alice<!---->-1"), "saml_xml"),
    "comment before signing": (
        before_signing(lambda one: part(one, ".//saml:NameID").append(etree.Comment("x"))),
        "saml_xml",
    ),
    "processing instruction in the NameID": (replaced(b"alice-1", b"alice<?x y?>-1"), "saml_xml"),
    "element in the NameID": (
        before_signing(lambda one: etree.SubElement(part(one, ".//saml:NameID"), f"{SAML}x")),
        "saml_form",
    ),
    "NameID of a page": (
        before_signing(lambda one: setattr(part(one, ".//saml:NameID"), "text", "a" * 1025)),
        "saml_name_id",
    ),
    "external entity": (bomb("external"), "saml_xml"),
    "parameter entity": (bomb("parameter"), "saml_xml"),
    "entity bomb": (bomb("bomb"), "saml_xml"),
    "document type": (bomb("empty"), "saml_xml"),
    "document type in UTF-16": (in_utf16, "saml_xml"),
    "too long": (lambda _: b"<a>" + b"x" * MAX_XML_BYTES + b"</a>", "saml_xml"),
    "too deep": (deep, "saml_xml"),
    "nothing": (lambda _: b"", "saml_xml"),
    "no response": (lambda asked: IDP.sign(IDP.assertion(asked)), "saml_form"),
    "failed": (partial(answered, status="urn:oasis:names:tc:SAML:2.0:status:Responder"), "saml_status"),
    "SAML 1.1": (edited(lambda root: root.set("Version", "1.1")), "saml_form"),
    "AES-CBC without an outer signature": (sealed("cbc"), "saml_encryption"),
    "RSA of PKCS 1.5": (sealed("gcm", "pkcs1", outer=True), "saml_encryption"),
    "encrypted for another": (sealed_for_another, "saml_encryption"),
    "altered ciphertext": (bent_ciphertext, "saml_encryption"),
    "encrypted, unsigned": (sealed("gcm", signed=False), "saml_signature"),
    "encrypted, signed outside only": (sealed("gcm", signed=False, outer=True), "saml_signature"),
    "two encrypted assertions": (sealed_twice, "saml_assertions"),
    "wrapping inside the encryption": (sealed_wrapping, "saml_assertions"),
}


def request_like(root: etree._Element) -> etree._Element:
    """Return a request to which a response like this is an answer."""
    asked = etree.Element("r", {"ID": "_request", "AssertionConsumerServiceURL": SERVICE.acs_url})
    etree.SubElement(asked, f"{SAML}Issuer").text = SERVICE.entity_id
    return asked


def test_forged_response_is_refused(provider: IdentityProvider, subtests: pytest.Subtests) -> None:
    """All of them in every run: they take milliseconds each."""
    for case, (forge, reason) in REFUSED.items():
        with subtests.test(case):
            with pytest.raises(InvalidInput) as caught:
                read(forge(request_of(provider)), provider)
            said = caught.value
            assert said.reason in ([reason] if reason else ["saml_signature", "saml_assertions"]), said.message
            assert said.fix_by == "user" and MALLORY not in said.message


ACCEPTED: Final[dict[str, Forge]] = {
    "signed assertion": changed,
    "signed twice": lambda asked: IDP.sign(changed(asked)),
    "AES-GCM": sealed("gcm"),
    "AES-GCM, SHA-256 in OAEP": sealed("gcm", "oaep256"),
    "AES-CBC in a signed response": sealed("cbc", outer=True),
    "RSA with SHA-512": lambda asked: IDP.response(
        asked, IDP.sign(IDP.assertion(asked), signature_algorithm="rsa-sha512", digest_algorithm="sha512")
    ),
    "own qualifiers": partial(changed, qualifier=f'NameQualifier="{ACME}" SPNameQualifier="{SERVICE.entity_id}"'),
    "clock a little behind": lambda asked: changed(asked, issued=CLOCK() + 30, begins=CLOCK() + 30),
}


def test_good_response_is_accepted(provider: IdentityProvider, subtests: pytest.Subtests) -> None:
    for case, make in ACCEPTED.items():
        with subtests.test(case):
            found = read(make(request_of(provider)), provider)
            assert (found.name_id, found.in_response_to, found.session) == ("alice-1", "_request", "session-1")


def test_response_is_read_from_the_signed_bytes_whatever_surrounds_them(provider: IdentityProvider) -> None:
    """Content of an unsigned response counts for nothing but refusals."""
    root = changed(request_of(provider))
    part(root, "samlp:Status").append(etree.fromstring(f"<x xmlns='urn:x'>{MALLORY}</x>"))
    assert read(root, provider).name_id == "alice-1"


def test_verified_element_has_nothing_that_the_signature_does_not_cover(provider: IdentityProvider) -> None:
    """An Object in the signature itself is covered by nothing, and may hold anything."""
    given = part(changed(request_of(provider)), "saml:Assertion")
    etree.SubElement(part(given, "ds:Signature"), f"{{{NS['ds']}}}Object").text = MALLORY
    found = verify(given, provider.certificates, CLOCK())
    assert found.find("ds:Signature", NS) is None and MALLORY not in "".join(found.itertext())


def test_expired_certificate_verifies_nothing(provider: IdentityProvider, tmp_path: Path) -> None:
    (tmp_path / "old.xml").write_bytes(IDP.metadata(days=-1))
    with pytest.raises(InvalidInput, match="expired") as caught:
        read(changed(request_of(provider)), IdentityProvider.read(tmp_path / "old.xml"))
    assert caught.value.reason == "saml_signature"


def test_refused_message_cannot_forge_a_line_of_the_log(provider: IdentityProvider) -> None:
    """The error is logged, and quotes what a parser found."""
    xml = etree.tostring(changed(request_of(provider)))
    for old, new in (
        (b'rsa-sha256"', b'x&#10;ERROR forged"'),
        (b"<ds:Signature ", b'<ds:Signature Id="a&#10;ERROR b" '),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(xml.replace(old, new, 1), provider)
        assert "ERROR" in caught.value.message and caught.value.message.isprintable()


def test_second_certificate_is_for_rollover(provider: IdentityProvider) -> None:
    both = IdentityProvider(ACME, (certificate(OTHER), *provider.certificates), provider.sign_in_url)
    for key in (KEYS["acme"], OTHER):
        asked = request_of(provider)
        assert read(IDP.response(asked, IDP.sign(IDP.assertion(asked), key)), both).name_id == "alice-1"


def test_debug_log_has_no_assertion(provider: IdentityProvider, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        read(changed(request_of(provider)), provider)
    assert "alice-1" not in caplog.text


# ------------------------------------------------------------- single logout


def logout(provider: IdentityProvider, url: str) -> list[Any]:
    message, _ = read_redirect(url.partition("?")[2], "SAMLRequest", provider.certificates, CLOCK())
    return read_logout(message, provider, SERVICE, CLOCK())


def test_logout_request_names_its_sessions(provider: IdentityProvider) -> None:
    [one] = logout(provider, IDP.logout_url(SERVICE.logout_url))
    assert (one.session, one.subject) == ("session-1", "alice-1")
    [everywhere] = logout(provider, IDP.logout_url(SERVICE.logout_url, session=""))
    assert (everywhere.session, everywhere.subject) == ("", "alice-1")


def deflated(url: str, xml: bytes) -> str:
    """Return the address with other content under the same signature."""
    new = quote(base64.b64encode(zlib.compress(xml, wbits=-15)), safe="")
    old = url.partition("SAMLRequest=")[2].partition("&")[0]
    return url.replace(old, new)


LOGOUTS: Final[dict[str, tuple[Callable[[], str], str]]] = {
    "unsigned": (lambda: IDP.logout_url(SERVICE.logout_url).partition("&Signature=")[0], "saml_signature"),
    "signed by another key": (lambda: IDP.logout_url(SERVICE.logout_url, signed_by=OTHER), "saml_signature"),
    "SHA-1": (lambda: IDP.logout_url(SERVICE.logout_url).replace("rsa-sha256", "rsa-sha1"), "saml_signature"),
    "another message": (
        lambda: deflated(IDP.logout_url(SERVICE.logout_url), etree.tostring(IDP.logout(SERVICE.logout_url))),
        "saml_signature",
    ),
    "a message twice": (lambda: (url := IDP.logout_url(SERVICE.logout_url)) + "&" + url.partition("?")[2], "saml_form"),
    "another destination": (
        lambda: IDP.logout_url(SERVICE.logout_url, destination="https://other.example"),
        "saml_destination",
    ),
    "old": (lambda: IDP.logout_url(SERVICE.logout_url, issued=CLOCK() - 430), "saml_time"),
    "of the future": (lambda: IDP.logout_url(SERVICE.logout_url, issued=CLOCK() + 150), "saml_time"),
    "another RelayState": (
        lambda: IDP.logout_url(SERVICE.logout_url).replace("RelayState=back", "RelayState=evil"),
        "saml_signature",
    ),
}


def test_forged_logout_request_is_refused(provider: IdentityProvider, subtests: pytest.Subtests) -> None:
    for case, (forge, reason) in LOGOUTS.items():
        with subtests.test(case):
            with pytest.raises(InvalidInput) as caught:
                logout(provider, forge())
            assert caught.value.reason == reason, caught.value.message


def test_relay_state_of_a_logout_is_what_was_signed(provider: IdentityProvider) -> None:
    """An escaped name is another parameter in the signed bytes, and the same one to a parser of addresses."""
    query = IDP.logout_url(SERVICE.logout_url).partition("?")[2]
    for evil in (f"{query}&%52elayState=evil", f"%52elayState=evil&{query}", f"{query}&Relay%53tate=evil"):
        assert read_redirect(evil, "SAMLRequest", provider.certificates, CLOCK())[1] == "back"
    with pytest.raises(InvalidInput):
        read_redirect(f"{query}&RelayState=evil", "SAMLRequest", provider.certificates, CLOCK())


def test_expired_certificate_ends_no_session(tmp_path: Path) -> None:
    (tmp_path / "old.xml").write_bytes(IDP.metadata(days=-1))
    with pytest.raises(InvalidInput) as caught:
        logout(IdentityProvider.read(tmp_path / "old.xml"), IDP.logout_url(SERVICE.logout_url))
    assert caught.value.reason == "saml_signature"


def test_deflated_bomb_is_refused(provider: IdentityProvider) -> None:
    """Signed by the identity provider, so that only the size is wrong."""
    message = b"<a>" + b"x" * 50_000_000 + b"</a>"
    url = redirect_url(SERVICE.logout_url, "SAMLRequest", message, "", KEYS["acme"])
    with pytest.raises(InvalidInput) as caught:
        read_redirect(url.partition("?")[2], "SAMLRequest", provider.certificates, CLOCK())
    assert caught.value.reason == "saml_form"


@pytest.mark.parametrize("encoded", ["*", "a", "ä", "===="])
def test_what_is_not_base64_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_base64(encoded)
    assert caught.value.reason == "saml_form"
