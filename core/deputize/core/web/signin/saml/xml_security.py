"""XML of SAML messages: parsing, signatures (XML Signature 1.1), encrypted assertions (XML Encryption 1.1).

Everything here comes from browsers. Documents with a DTD, comments or processing instructions are refused: SAML needs
none, and each has been used to make two readers of one document disagree. `verify` returns the element as parsed from
the bytes that were signed. Callers read facts from that element only, so moving signed and unsigned parts around
(signature wrapping) changes nothing that is read.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from deputize.core.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

SAML: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_XENC: Final = "{http://www.w3.org/2001/04/xmlenc#}"
_XENC11: Final = "{http://www.w3.org/2009/xmlenc11#}"

MAX_XML_BYTES: Final = 262144
_METHODS: Final = frozenset(
    {
        *(SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512),
        *(SignatureMethod.SHA256_RSA_MGF1, SignatureMethod.SHA384_RSA_MGF1, SignatureMethod.SHA512_RSA_MGF1),
        *(SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512),
    }
)
_DIGESTS: Final = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "http://www.w3.org/2000/09/xmldsig#sha1": hashes.SHA1,  # within OAEP only, where it is no signature
    "http://www.w3.org/2001/04/xmlenc#sha256": hashes.SHA256,
    "http://www.w3.org/2001/04/xmlenc#sha512": hashes.SHA512,
    "http://www.w3.org/2009/xmlenc11#mgf1sha1": hashes.SHA1,
    "http://www.w3.org/2009/xmlenc11#mgf1sha256": hashes.SHA256,
    "http://www.w3.org/2009/xmlenc11#mgf1sha512": hashes.SHA512,
}
_OAEP_MGF1P: Final = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
_OAEP: Final = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
_GCM: Final = {f"http://www.w3.org/2009/xmlenc11#aes{bits}-gcm": bits // 8 for bits in (128, 192, 256)}
_CBC: Final = {f"http://www.w3.org/2001/04/xmlenc#aes{bits}-cbc": bits // 8 for bits in (128, 192, 256)}

logging.getLogger("signxml.processor").setLevel(logging.INFO)  # its debug messages contain whole assertions


def refused(why: str, reason: str) -> InvalidInput:
    """Return the error for an unusable message. ``why``: the end of a sentence. ``reason``: for programs."""
    return InvalidInput(f"The SAML message {why}.", fix_by="user", reason=reason)


def parse(xml: bytes, *, is_trusted: bool = False) -> etree._Element:
    """Return the root of a document. Raises `InvalidInput`. ``is_trusted``: skip comments instead of refusing them."""
    if len(xml) > MAX_XML_BYTES:
        raise refused(f"is longer than {MAX_XML_BYTES} bytes", "saml_xml")
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise refused("has a DTD", "saml_xml")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=is_trusted, remove_pis=is_trusted
    )
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None:
        raise refused("is not well-formed XML in UTF-8", "saml_xml")
    if root.getroottree().docinfo.doctype or next(root.iter(etree.Comment, etree.PI, etree.Entity), None) is not None:
        raise refused("has a DTD, a comment, a processing instruction or an entity", "saml_xml")
    return root


def child(element: etree._Element, name: str) -> etree._Element:
    """Return the only child with this name. Raises `InvalidInput`."""
    found = element.findall(name)
    if len(found) != 1:
        raise refused(f"has {len(found)} elements {_local(name)} in {_local(str(element.tag))}", "saml_form")
    return found[0]


def text(element: etree._Element) -> str:
    """Return the text of an element without children. Raises `InvalidInput`."""
    if len(element) or not element.text:
        raise refused(f"has no plain text in {_local(str(element.tag))}", "saml_form")
    return element.text


def verify(element: etree._Element, certificates: Iterable[Certificate], now: float) -> etree._Element:
    """Return the element as its own signature covers it, parsed from the signed bytes.

    The signature must be a child of the element, refer to it alone, use SHA-2, and be made with one of these keys. A
    key or certificate in the signature is ignored. Raises `InvalidInput` for anything else.
    """
    config = SignatureConfiguration(
        location="./",
        signature_methods=_METHODS,
        digest_algorithms=_DIGESTS,
        verification_time=datetime.fromtimestamp(now, UTC),
    )
    why = "there is no certificate"
    for certificate in certificates:
        try:
            found = XMLVerifier().verify(element, x509_cert=certificate, id_attribute="ID", expect_config=config)
        except Exception as e:  # of signxml, lxml, cryptography and base64, for whatever a browser sends
            why = f"{type(e).__name__}: {str(e)[:200]!r}"  # quoted: it has parts of the message, and is logged
            continue
        if not isinstance(found, VerifyResult) or (signed := found.signed_xml) is None:
            why = "it signs something else"
        elif signed.tag != element.tag or not signed.get("ID") or signed.get("ID") != element.get("ID"):
            why = "it signs another element"
        else:
            return signed
    raise refused(f"has no valid signature of its {_local(str(element.tag))} ({why})", "saml_signature")


def decrypt(encrypted: etree._Element, keys: Sequence[RSAPrivateKey], *, is_signed: bool) -> etree._Element:
    """Return the content of an ``EncryptedAssertion``. ``is_signed``: a valid signature covers the ciphertext.

    Content is AES-GCM, or AES-CBC if ``is_signed``: without a signature, whoever sees which altered ciphertexts are
    accepted could decrypt AES-CBC. Keys are RSA-OAEP. Raises the same `InvalidInput` whatever fails.
    """
    plain: bytes | None = None
    for key in keys:
        try:
            plain = _content(encrypted, key, _GCM | _CBC if is_signed else _GCM)
            break
        except Exception:  # noqa: S112 - of cryptography, base64 and lxml; the reason would help an attacker only
            continue
    if plain is None:
        raise refused(
            "cannot be decrypted: use the key in the metadata with RSA-OAEP and AES-GCM, or AES-CBC in a signed "
            "response",
            "saml_encryption",
        )
    return parse(plain)


def _content(encrypted: etree._Element, key: RSAPrivateKey, sizes: Mapping[str, int]) -> bytes:
    data = child(encrypted, f"{_XENC}EncryptedData")
    algorithm = child(data, f"{_XENC}EncryptionMethod").get("Algorithm", "")
    [wrapped] = encrypted.iter(f"{_XENC}EncryptedKey")
    content_key, value = key.decrypt(_cipher_value(wrapped), _oaep(wrapped)), _cipher_value(data)
    if len(content_key) != sizes[algorithm]:
        raise ValueError("the key has another length than its algorithm")
    if algorithm in _GCM:
        return AESGCM(content_key).decrypt(value[:12], value[12:], None)
    decryptor = Cipher(AES(content_key), CBC(value[:16])).decryptor()
    padded = decryptor.update(value[16:]) + decryptor.finalize()
    if not 1 <= padded[-1] <= 16:
        raise ValueError("the padding is invalid")
    return padded[: -padded[-1]]


def _cipher_value(element: etree._Element) -> bytes:
    return base64.b64decode(text(child(child(element, f"{_XENC}CipherData"), f"{_XENC}CipherValue")))


def _oaep(wrapped: etree._Element) -> OAEP:
    """Return the padding of a wrapped key. Raises `KeyError` or `ValueError` for any but RSA-OAEP without a label."""
    method = child(wrapped, f"{_XENC}EncryptionMethod")
    digest, mask = method.find(f"{DS}DigestMethod"), method.find(f"{_XENC11}MGF")
    if method.get("Algorithm") not in (_OAEP_MGF1P, _OAEP) or method.find(f"{_XENC}OAEPparams") is not None:
        raise ValueError("the key is wrapped in another way")
    if method.get("Algorithm") == _OAEP_MGF1P:
        mask = None
    made = _HASHES[digest.get("Algorithm", "")] if digest is not None else hashes.SHA1
    masked = _HASHES[mask.get("Algorithm", "")] if mask is not None else hashes.SHA1
    return OAEP(MGF1(masked()), made(), None)


def _local(name: str) -> str:
    return name.rpartition("}")[2][:60]
