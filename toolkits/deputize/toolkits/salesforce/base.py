"""The Salesforce toolkit, its one scope, the objects in reach, and requests.

API: developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest. Every org supports an API version for years, so
one tested version serves all orgs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from deputize.core import Account, Request, Run, Toolkit, any_of
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.steps import Try
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.text import FACTS, WRITERS, Outside

SALESFORCE = Toolkit(
    "salesforce",
    provider="salesforce",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    words=("CRM", "account", "contact", "lead", "opportunity", "deal", "case", "customer"),
    cuts=True,
    remark="Checked against Salesforce's documentation and our own sandbox only, not against an org.",
)
API: Final = any_of("api", "full", method="REST")
KNOWN_BY: Final = any_of("openid", "id", "api", "full", method="userinfo")
DATA: Final = "/data/v64.0"

OBJECTS: Final = frozenset(
    (
        "Account Contact Lead Opportunity OpportunityLineItem OpportunityContactRole Case CaseComment Task Event Note "
        "ContentNote ContentDocumentLink EmailMessage Campaign CampaignMember User Group RecordType LeadStatus"
    ).split()
)
"""The objects of a working day. Custom ones (``__c``) are an org's own and may be used, too; nothing else may."""

WRITABLE: Final = OBJECTS - {"User", "Group", "RecordType", "LeadStatus", "ContentDocumentLink", "EmailMessage"}
_OBJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?")
_SUFFIX: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

Json = dict[str, Any]
T = TypeVar("T")


def object_name(wanted: str, *, write: bool = False) -> str:
    """Return an object's API name in its own spelling. Raises `InvalidInput` for an object that no tool may touch."""
    said = wanted.strip()
    allowed = WRITABLE if write else OBJECTS
    known = {one.lower(): one for one in allowed}
    if said.lower() in known:
        return known[said.lower()]
    if _OBJECT.fullmatch(said) and said.lower().endswith("__c"):
        return said
    raise InvalidInput(
        f"object: {'cannot be changed' if write and said.lower() in {o.lower() for o in OBJECTS} else 'out of reach'}.",
        hint=f"One of {', '.join(sorted(allowed))}, or an object of the org's own (__c).",
    )


def record_id(wanted: str, field: str = "id") -> str:
    """Return a record's id. Raises `InvalidInput` for anything else, and for a wrong checksum."""
    said = wanted.strip()
    if not is_id(said):
        raise InvalidInput(
            f"{field}: not the id of a record.", hint="15 or 18 letters and digits, as another tool returned."
        )
    return said


def is_id(text: str) -> bool:
    """True if this is a record's id and not a name of 15 letters. Every id has digits."""
    if not _ID.fullmatch(text) or not any(c.isdecimal() for c in text[:15]):
        return False
    return len(text) == 15 or text[15:] == checksum(text[:15])


def the_day(text: str, run: Run, field: str) -> str:
    """Return the day of a text (ISO date, today, a distance) in the user's time zone. Raises `InvalidInput`."""
    return times.day(text, run.now, field, run.zone)


def ask_zone(run: Run) -> Asks[object]:
    """Return Salesforce's name of the user's time zone (TimeZoneSidKey), if the grant allows reading it."""
    if not run.granted & KNOWN_BY.accepts:
        return None
    [told] = yield Try([Request("GET", "/oauth2/userinfo")])
    return (told or {}).get("zoneinfo")


def look_up(asks: Asks[T], field: str, kind: str, wanted: str) -> Asks[T]:
    """Return the result of the steps. Raises `NotFound` with the missing record and the tools that find its kind."""
    try:
        return (yield from asks)
    except NotFound as missing:
        raise no_record(field, kind, wanted, missing.reason) from None


def no_record(field: str, kind: str, wanted: str, reason: str = "") -> NotFound:
    """Return the error for a missing record."""
    return NotFound(
        f"{field}: no {kind} {Outside().line(wanted, 80)!r}, or it is not visible to this user.",
        hint=f"salesforce_search finds records by their words, salesforce_list_records(object={kind}) lists them.",
        reason=reason,
    )


def own_id(account: Account) -> str:
    """Return the user's own id, which is the second half of the account's subject."""
    return account.subject.rpartition(":")[2]


def checksum(id: str) -> str:
    """Return the three characters that make a 15-character id unique regardless of case: one bit for each capital."""
    parts = (id[start : start + 5] for start in (0, 5, 10))
    return "".join(_SUFFIX[sum(1 << n for n, c in enumerate(part) if c.isupper())] for part in parts)


def get(path: str, at: Mapping[str, str] | None = None, params: Mapping[str, Any] | None = None) -> Request:
    """Return a read request for a path of the data API."""
    return Request("GET", DATA + path, at=at or {}, params=params)


def soql(query: str) -> Request:
    """Return the request that runs a query."""
    return get("/query", params={"q": query})


def send(request: Request) -> Asks[Any]:
    """Send a request and return the response."""
    return (yield request)


def rows_of(query: str) -> Asks[list[Json]]:
    """Return the records that a query finds, without descriptions."""
    answer = yield soql(query)
    return [flat(record) for record in answer.get("records") or ()]


def flat(record: Json) -> Json:
    """Return a record without ``attributes``. Related fields have names such as ``Owner.Name``."""
    row: Json = {}
    for name, value in record.items():
        if name == "attributes":
            continue
        if isinstance(value, dict) and "records" in value:
            row[name] = [flat(one) for one in value["records"]]
        elif isinstance(value, dict):
            row |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            row[name] = value
    return row
