"""SOQL from checked parts, and the checks of a query that somebody else wrote.

developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl. A name is a name, a value becomes one literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.toolkits._salesforce.base import OBJECTS, record_id

MOST: Final = 2_000  # rows of a query
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}(?:\.[A-Za-z][A-Za-z0-9_]{0,79}){0,5}")
_ESCAPES: Final = {
    "\\": "\\\\",
    "'": "\\'",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
    '"': '\\"',
}
_NUMBERS: Final = {"int", "double", "currency", "percent", "long"}
OPERATORS: Final = {"eq": "=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def field_called(wanted: str) -> str:
    """The name of a field, or a path to one. Raises `InvalidInput` for anything else."""
    if not _FIELD.fullmatch(wanted):
        raise InvalidInput("fields: not the name of a field.", hint="API names, such as Name or Owner.Name.")
    return wanted


def text(value: str) -> str:
    """A string literal that holds exactly this."""
    if any(ord(c) < 32 and c not in _ESCAPES for c in value) or len(value) > 4000:
        raise InvalidInput("A value of a filter is too long, or holds control characters.")
    return "'" + "".join(_ESCAPES.get(c, c) for c in value) + "'"


def like(value: str) -> str:
    """A pattern that matches what contains exactly this."""
    inner = text(value)[1:-1].replace("%", "\\%").replace("_", "\\_")
    return f"'%{inner}%'"


def literal(value: str, kind: str, field: str) -> str:
    """A value as a field of this type (of describe) is compared with."""
    said = value.strip()
    try:
        if kind in _NUMBERS:
            number = float(said)
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError
            return repr(int(number)) if number.is_integer() else repr(number)
        if kind == "boolean":
            return {"true": "TRUE", "false": "FALSE"}[said.lower()]
        if kind == "date":
            return date.fromisoformat(said).isoformat()
        if kind == "datetime":
            return _moment(said)
        if kind in ("id", "reference"):
            return text(record_id(said, field))
    except (ValueError, KeyError, OverflowError):
        raise InvalidInput(f"{field}: not a {kind}.", hint="Numbers, true or false, ISO dates and times.") from None
    return text(value)


def _moment(said: str) -> str:
    read = datetime.fromisoformat(said)
    read = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    return read.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(field: str, op: str, value: str, kind: str) -> str:
    """One comparison of a field of this type."""
    name = field_called(field)
    if op == "is_null":
        return f"{name} {'!=' if value.strip().lower() == 'false' else '='} NULL"
    if op == "contains":
        return f"{name} LIKE {like(value)}"
    if op == "in":
        values = [literal(one, kind, field) for one in value.split(",") if one.strip()]
        if not values or len(values) > 200:
            raise InvalidInput(f"{field}: between 1 and 200 values, separated by commas.")
        return f"{name} IN ({', '.join(values)})"
    return f"{name} {OPERATORS[op]} {literal(value, kind, field)}"


def select(
    fields: Sequence[str],
    kind: str,
    where: Sequence[str] = (),
    order: Sequence[str] = (),
    limit: int = MOST,
) -> str:
    """A query of checked parts."""
    names = ", ".join(dict.fromkeys(field_called(one) for one in fields))
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    sorting = f" ORDER BY {', '.join(order)}" if order else ""
    return f"SELECT {names} FROM {kind}{conditions}{sorting} LIMIT {int(limit)}"  # noqa: S608 - every part was checked


# ----------------------------------------------------------------- a query of the model's own

_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|[A-Za-z_][\w.]*|[0-9][\w.:+-]*|[(),]|[<>=!]+|[-+*:]|\S")
_CHILDREN: Final = frozenset(
    (
        "Contacts Opportunities Cases Tasks Events Notes Leads OpenActivities ActivityHistories OpportunityLineItems "
        "OpportunityContactRoles CaseComments CampaignMembers Campaigns ChildAccounts Emails EmailMessages"
    )
    .lower()
    .split()
)
_SIGNS: Final = frozenset(";'\\\"`#/&|@$%^~{}[]?!")
_NEVER: Final = {"update", "view", "reference", "scope", "tracking", "viewstat", "security_enforced"}
_ALLOWED: Final = frozenset(one.lower() for one in OBJECTS)


def checked(query: str) -> tuple[str, int]:
    """A query with a LIMIT, and that limit. Raises `InvalidInput` for what does not read known objects, once."""
    words = _TOKEN.findall(query)
    lower = [word.lower() for word in words]
    _complain(words, lower)
    for at, word in enumerate(lower):
        if word == "from":
            _reachable(lower, at)
    top = _outside(lower)
    if top.count("select") != 1 or lower[0] != "select" or "from" not in top:
        raise InvalidInput("soql: one SELECT ... FROM ... only.")
    if "limit" not in top:
        if "offset" in top:
            raise InvalidInput("soql: OFFSET without LIMIT.", hint="Leave OFFSET out: results go on by cursor.")
        return f"{query.strip()} LIMIT {MOST}", MOST
    after = top[top.index("limit") + 1 :]
    if "offset" in top or len(after) != 1 or not after[0].isdecimal() or int(after[0]) > MOST:
        raise InvalidInput(f"soql: LIMIT of at most {MOST} at the end, and no OFFSET.")
    return query.strip(), int(after[0])


def _complain(words: Sequence[str], lower: Sequence[str]) -> None:
    """Refuse signs that SOQL has no use for (comments, second statements), and clauses that lock or reach further."""
    if not words or any(word in _SIGNS for word in words):
        raise InvalidInput("soql: holds a sign that SOQL does not know.", hint="Plain SOQL, without comments.")
    for before, word in pairwise(lower):
        if (before in ("for", "using", "with", "update") and word in _NEVER) or (before, word) == ("all", "rows"):
            raise InvalidInput(f"soql: {before.upper()} {word.upper()} is not for reading.")
    if "typeof" in lower:
        raise InvalidInput("soql: TYPEOF is not supported.")


def _reachable(lower: Sequence[str], at: int) -> None:
    """The object after FROM is one that tools may touch; in a subquery of SELECT, a known relation to one."""
    name = lower[at + 1] if at + 1 < len(lower) else ""
    custom = re.fullmatch(r"[a-z][a-z0-9_]*__[cr]", name) is not None
    inside = lower[:at].count("(") > lower[:at].count(")")
    if not (name in _ALLOWED or custom or (inside and name in _CHILDREN)):
        raise InvalidInput("soql: FROM an object that is out of reach.", hint=f"One of {', '.join(sorted(OBJECTS))}.")
    if at + 2 < len(lower) and lower[at + 2] == ",":
        raise InvalidInput("soql: FROM one object only.")


def _outside(lower: Sequence[str]) -> list[str]:
    """The words that stand in no parentheses."""
    depth, found = 0, []
    for word in lower:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0:
            raise InvalidInput("soql: a parenthesis too many.")
        if not depth and word != ")":
            found.append(word)
    if depth:
        raise InvalidInput("soql: a parenthesis is open.")
    return found
