"""The checks of messages from the identity provider: responses to sign-ins, and requests to end sessions.

SAML V2.0 Core, and Profiles 4.1.4 and 4.4.4. A response to no request of this browser is refused, too: IdP-initiated
sign-in would sign a user in as somebody else (login CSRF). `deputize.core.web.signin.saml.saml_sign_in` checks that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from lxml import etree

from deputize.core.oauth.id_token import CLOCK_SKEW_SECONDS
from deputize.core.value_object import ValueObject, frozen
from deputize.core.web.signin.back_channel_logout import Logout
from deputize.core.web.signin.base_sign_in import SIGN_IN_TTL
from deputize.core.web.signin.saml.parties import NAME_ID_FORMATS, IdentityProvider, ServiceProvider
from deputize.core.web.signin.saml.requests import SUCCESS
from deputize.core.web.signin.saml.xml_security import (
    DS,
    SAML,
    SAMLP,
    child,
    decrypt,
    parse,
    refused,
    text,
    verify,
)

BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
LOGOUT_REQUEST_TTL: Final = 300.0
"""Seconds for which a request to end a session is accepted."""
MAX_ID_CHARACTERS: Final = 255
MAX_NAME_ID_CHARACTERS: Final = 1024
_CONDITIONS: Final = frozenset(f"{SAML}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")


@frozen
class Assertion(ValueObject):
    """A verified assertion. ``until``: when it expires. ``attributes``: a list if there are several values.
    ``authenticated_at``, ``acr``: when and how the user authenticated. ``session``: the ``SessionIndex``, "" if it has
    none; ``session_ends``: when that session ends, 0 if that is not said. Times are Unix seconds."""

    id: str
    in_response_to: str
    name_id: str
    attributes: Mapping[str, str | list[str]]
    issued: float
    until: float
    authenticated_at: float
    acr: str = ""
    session: str = ""
    session_ends: float = 0.0


def read_response(
    xml: bytes, provider: IdentityProvider, service: ServiceProvider, name_id_format: str, now: float
) -> Assertion:
    """Return the assertion of a response to a sign-in. Raises `InvalidInput` unless all checks pass, but those against
    the browser and against replay, which the caller makes."""
    response = parse(xml)
    if response.tag != f"{SAMLP}Response" or response.get("Version") != "2.0":
        raise refused("is not a response of SAML 2.0", "saml_form")
    is_signed = response.find(f"{DS}Signature") is not None
    if is_signed:
        response = verify(response, provider.certificates, now)
    status = child(child(response, f"{SAMLP}Status"), f"{SAMLP}StatusCode").get("Value", "")
    if status != SUCCESS:
        raise refused(f"reports no success, but {status[:80]!r}", "saml_status")
    if response.get("Destination") != service.acs_url:
        raise refused(f"is for {_shown(response.get('Destination'))}, not {service.acs_url}", "saml_destination")
    if response.find(f"{SAML}Issuer") is not None:
        _check_issuer(response, provider)
    found = [one for one in response.iter(f"{SAML}Assertion", f"{SAML}EncryptedAssertion")]
    if len(found) != 1 or found[0].getparent() is not response:
        raise refused(f"has {len(found)} assertions, or one in another place", "saml_assertions")
    [given] = found
    if given.tag == f"{SAML}EncryptedAssertion":
        given = decrypt(given, service.keys, is_signed=is_signed)
    if given.tag != f"{SAML}Assertion" or len([*given.iter(f"{SAML}Assertion", f"{SAML}EncryptedAssertion")]) != 1:
        raise refused("has an assertion within its assertion, or none", "saml_assertions")
    found_one = _read_assertion(verify(given, provider.certificates, now), provider, service, name_id_format, now)
    if response.get("InResponseTo", found_one.in_response_to) != found_one.in_response_to:
        raise refused("answers another request than its assertion", "saml_unsolicited")
    return found_one


def _read_assertion(
    assertion: etree._Element, provider: IdentityProvider, service: ServiceProvider, name_id_format: str, now: float
) -> Assertion:
    """Return the facts in an assertion, whose signature is verified."""
    _check_issuer(assertion, provider)
    issued, subject = _instant(assertion, "IssueInstant"), child(assertion, f"{SAML}Subject")
    name_id = _name_id(child(subject, f"{SAML}NameID"), provider, service, name_id_format)
    confirmation = child(subject, f"{SAML}SubjectConfirmation")
    data = child(confirmation, f"{SAML}SubjectConfirmationData")
    if confirmation.get("Method") != BEARER:
        raise refused("confirms its subject otherwise than as its bearer", "saml_form")
    if data.get("Recipient") != service.acs_url:
        raise refused(f"is for {_shown(data.get('Recipient'))}, not {service.acs_url}", "saml_recipient")
    request_id = data.get("InResponseTo", "")
    if not request_id:
        raise refused("answers no request; begin at deputize's own sign-in page", "saml_unsolicited")
    conditions = child(assertion, f"{SAML}Conditions")
    _check_audience(conditions, service)
    ends = [_instant(data, "NotOnOrAfter"), issued + SIGN_IN_TTL]
    ends += [_instant(conditions, "NotOnOrAfter")] if "NotOnOrAfter" in conditions.attrib else []
    statement = child(assertion, f"{SAML}AuthnStatement")
    authenticated = _instant(statement, "AuthnInstant")
    begins = [_instant(one, "NotBefore") for one in (conditions, data) if "NotBefore" in one.attrib]
    if max(issued, authenticated, *begins) > now + CLOCK_SKEW_SECONDS:
        raise refused("is not valid yet; look at the clock of this machine", "saml_time")
    if min(ends) + CLOCK_SKEW_SECONDS <= now:
        raise refused("has expired; look at the clock of this machine", "saml_time")
    session_ends = _instant(statement, "SessionNotOnOrAfter") if "SessionNotOnOrAfter" in statement.attrib else 0.0
    if session_ends and session_ends <= now:
        raise refused("is about a session that has ended", "saml_time")
    context = statement.find(f"{SAML}AuthnContext/{SAML}AuthnContextClassRef")
    return Assertion(
        _id(assertion),
        request_id,
        name_id,
        _attributes(assertion),
        issued,
        min(ends) + CLOCK_SKEW_SECONDS,
        min(authenticated, now),
        "" if context is None else text(context),
        statement.get("SessionIndex", "")[:MAX_ID_CHARACTERS],
        session_ends,
    )


def read_logout(
    request: etree._Element, provider: IdentityProvider, service: ServiceProvider, now: float
) -> list[Logout]:
    """Return the logouts in a request, whose signature is verified: one for each session, or one for all of the
    user's. Raises `InvalidInput`."""
    if request.tag != f"{SAMLP}LogoutRequest" or request.get("Version") != "2.0":
        raise refused("is not a logout request of SAML 2.0", "saml_form")
    _check_issuer(request, provider)
    if request.get("Destination") != service.logout_url:
        raise refused(f"is for {_shown(request.get('Destination'))}, not {service.logout_url}", "saml_destination")
    issued = _instant(request, "IssueInstant")
    ends = [issued + LOGOUT_REQUEST_TTL]
    ends += [_instant(request, "NotOnOrAfter")] if "NotOnOrAfter" in request.attrib else []
    if issued > now + CLOCK_SKEW_SECONDS or min(ends) + CLOCK_SKEW_SECONDS <= now:
        raise refused("is not of now; look at the clock of this machine", "saml_time")
    own_id, name_id = _id(request), text(child(request, f"{SAML}NameID"))
    sessions = [text(one)[:MAX_ID_CHARACTERS] for one in request.findall(f"{SAMLP}SessionIndex")] or [""]
    until = min(ends) + CLOCK_SKEW_SECONDS
    return [Logout(one, name_id, f"{own_id} {one}", issued, until) for one in sessions]


def _name_id(element: etree._Element, provider: IdentityProvider, service: ServiceProvider, name_id_format: str) -> str:
    found = element.get("Format", NAME_ID_FORMATS["unspecified"])
    if found != name_id_format:
        raise refused(f"names its user in the format {found[:80]!r}, not {name_id_format!r}", "saml_name_id")
    of = element.get("NameQualifier", provider.entity_id), element.get("SPNameQualifier", service.entity_id)
    if of != (provider.entity_id, service.entity_id):
        raise refused("names a user of another identity or service provider", "saml_name_id")
    name = text(element)
    if len(name) > MAX_NAME_ID_CHARACTERS:
        raise refused(f"has a NameID of more than {MAX_NAME_ID_CHARACTERS} characters", "saml_name_id")
    return name


def _check_issuer(element: etree._Element, provider: IdentityProvider) -> None:
    issuer = text(child(element, f"{SAML}Issuer"))
    if issuer != provider.entity_id:
        raise refused(f"is from {_shown(issuer)}, not {provider.entity_id}", "saml_issuer")


def _check_audience(conditions: etree._Element, service: ServiceProvider) -> None:
    """Raise `InvalidInput` unless deputize is in each audience, and for a condition that is not understood."""
    if unknown := [one for one in conditions if one.tag not in _CONDITIONS]:
        raise refused(f"has a condition that is not understood: {_shown(str(unknown[0].tag))}", "saml_form")
    audiences = [
        [text(one) for one in restriction.findall(f"{SAML}Audience")]
        for restriction in conditions.findall(f"{SAML}AudienceRestriction")
    ]
    if not audiences or not all(service.entity_id in names for names in audiences):
        names = [name for one in audiences for name in one]
        raise refused(f"is for the audience {_shown(', '.join(names))}, not {service.entity_id}", "saml_audience")


def _attributes(assertion: etree._Element) -> dict[str, str | list[str]]:
    """Return the values of all attributes that are plain text. Attributes of the same name are one."""
    found = dict[str, list[str]]()
    for one in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute"):
        values = [value.text for value in one.findall(f"{SAML}AttributeValue") if value.text and not len(value)]
        found.setdefault(one.get("Name", ""), []).extend(values)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items() if name}


def _id(element: etree._Element) -> str:
    found = element.get("ID", "")
    if not 0 < len(found) <= MAX_ID_CHARACTERS:
        raise refused("has no usable ID", "saml_form")
    return found


def _instant(element: etree._Element, name: str) -> float:
    """Return the time in an attribute in Unix seconds. Raises `InvalidInput`."""
    found = element.get(name, "")
    try:
        if _INSTANT.fullmatch(found):
            return datetime.fromisoformat(found).timestamp()
    except ValueError:
        pass
    raise refused(f"has no time in UTC as its {name}", "saml_time")


def _shown(value: str | None) -> str:
    return repr((value or "")[:120])
