"""Builds SOQL from checked parts, and checks queries that a model wrote.

developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl. A name is a name, a value becomes one literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise, takewhile
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.salesforce.base import OBJECTS, record_id

MAX_ROWS: Final = 2_000  # rows of a query
_MAX_VALUES: Final = 200
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


_RELATIONS: Final = frozenset(
    (
        "Account Contact Lead Opportunity Case Task Event Campaign Owner CreatedBy LastModifiedBy Who What Parent "
        "RecordType ReportsTo Manager MasterRecord ConvertedAccount ConvertedContact ConvertedOpportunity RelatedTo "
        "LinkedEntity User LeadOrContact ContentDocument"
    )
    .lower()
    .split()
)
"""What leads from the objects of `OBJECTS` to others of them. Profiles, roles and the like are not among them."""


def is_relation(name: str) -> bool:
    """True if a relation leads to an object that tools may touch."""
    return name.lower() in _RELATIONS or name.lower().endswith("__r")


def field_name(wanted: str) -> str:
    """Return the name of a field, or an allowed path to a field. Raises `InvalidInput` for anything else."""
    if not _FIELD.fullmatch(wanted) or not all(is_relation(one) for one in wanted.split(".")[:-1]):
        raise InvalidInput("fields: not a field name.", hint="API names, such as Name or Owner.Name.")
    return wanted


def text(value: str) -> str:
    """Return a string literal of exactly this text."""
    if any(ord(c) < 32 and c not in _ESCAPES for c in value) or len(value) > 4000:
        raise InvalidInput(
            "filters: a value is too long, or contains control characters.",
            hint="Shorten it, and remove control characters.",
        )
    return "'" + "".join(_ESCAPES.get(c, c) for c in value) + "'"


def like(value: str) -> str:
    """Return a pattern that matches every text that contains exactly this text."""
    inner = text(value)[1:-1].replace("%", "\\%").replace("_", "\\_")
    return f"'%{inner}%'"


def literal(value: str, kind: str, field: str) -> str:
    """Return a value as a literal for a field of this type. ``kind``: the type that describe reports."""
    said = value.strip()
    try:
        if kind in _NUMBERS:
            number = float(said)
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError
            return repr(int(number)) if number.is_integer() else repr(number)
        if kind == "boolean":
            return {"true": "TRUE", "false": "FALSE"}[said.lower()]
        if kind in ("date", "datetime") and (word := relative(said)):
            return word
        if kind == "date":
            return date.fromisoformat(said).isoformat()
        if kind == "datetime":
            return _moment(said)
        if kind in ("id", "reference"):
            return text(record_id(said, field))
    except (ValueError, KeyError, OverflowError):
        hint = _FORMS.get(kind, "Numbers, true or false, ISO dates and times.")
        raise InvalidInput(f"{field}: not a {kind}.", hint=hint) from None
    return text(value)


_FORMS: Final = {
    "date": "An ISO date, today, or a date literal such as THIS_MONTH or LAST_N_DAYS:7.",
    "datetime": "An ISO time, today, or a date literal such as THIS_MONTH or LAST_N_DAYS:7.",
    "boolean": "true or false.",
}
_UNITS: Final = "DAYS|WEEKS|MONTHS|QUARTERS|YEARS|FISCAL_QUARTERS|FISCAL_YEARS"
_RELATIVE: Final = re.compile(
    r"YESTERDAY|TODAY|TOMORROW|(?:LAST|THIS|NEXT)_(?:WEEK|MONTH|(?:FISCAL_)?QUARTER|(?:FISCAL_)?YEAR)"
    rf"|(?:LAST|NEXT)_90_DAYS|(?:LAST|NEXT)_N_(?:{_UNITS}):[1-9][0-9]{{0,3}}|N_(?:{_UNITS})_AGO:[1-9][0-9]{{0,3}}"
)
_COUNTED: Final = re.compile(rf"(LAST|NEXT)_([1-9][0-9]{{0,3}})_({_UNITS})")


def relative(said: str) -> str:
    """Return a relative date literal (which may contain numbers) in Salesforce's spelling, or "" for anything else."""
    word = re.sub(r"[\s_-]+", "_", said.strip().upper()) if len(said) <= 60 else ""
    word = word if _RELATIVE.fullmatch(word) else _COUNTED.sub(r"\1_N_\3:\2", word)
    return word if _RELATIVE.fullmatch(word) else ""


def _moment(said: str) -> str:
    read = datetime.fromisoformat(said)
    read = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    return read.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(field: str, op: str, values: Sequence[str], kind: str) -> str:
    """Return a comparison of a field of this type with one value, or with several values for ``in``."""
    name = field_name(field)
    if op == "in":
        if not 0 < len(values) <= _MAX_VALUES:
            raise InvalidInput(f"{field}: must have 1 to {_MAX_VALUES} values.", hint="Give them in values.")
        return f"{name} IN ({', '.join(literal(one, kind, field) for one in values)})"
    [value] = values
    if op == "is_null":
        return f"{name} {'!=' if value.strip().lower() == 'false' else '='} NULL"
    if op == "contains":
        return f"{name} LIKE {like(value)}"
    return f"{name} {OPERATORS[op]} {literal(value, kind, field)}"


def select(
    fields: Sequence[str],
    kind: str,
    where: Sequence[str] = (),
    order: Sequence[str] = (),
    limit: int = MAX_ROWS,
) -> str:
    """Return a query made of checked parts."""
    names = ", ".join(dict.fromkeys(field_name(one) for one in fields))
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    sorting = f" ORDER BY {', '.join(order)}" if order else ""
    return f"SELECT {names} FROM {kind}{conditions}{sorting} LIMIT {int(limit)}"  # noqa: S608 - every part was checked


def count(kind: str, where: Sequence[str]) -> str:
    """Return a query that counts records."""
    return f"SELECT COUNT() FROM {kind} WHERE {' AND '.join(where)}"  # noqa: S608 - every part was checked


# ----------------------------------------------------------------- a query of the model's own

_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|[A-Za-z_][\w.]*|[0-9][\w.:+-]*|[(),]|[<>=!]+|[-+*:]|\S", re.DOTALL)
_CHILDREN: Final = frozenset(
    (
        "Contacts Opportunities Cases Tasks Events Notes Leads OpenActivities ActivityHistories OpportunityLineItems "
        "OpportunityContactRoles CaseComments CampaignMembers Campaigns ChildAccounts Emails EmailMessages"
    )
    .lower()
    .split()
)
_SIGNS: Final = frozenset(";'\\\"`#/&|@$%^~{}[]?!")
_NEVER: Final = frozenset("for using with update typeof".split())
"""Words that lock, write statistics, reach past the user's rights, or fan out. No field or object has such a name."""

_CLAUSES: Final = frozenset("where order group having limit offset all".split())
_ALLOWED: Final = frozenset(one.lower() for one in OBJECTS)
_ALIAS: Final = re.compile(r"[a-z]{1,3}")


def check_query(query: str) -> tuple[str, int]:
    """Return a query with a LIMIT, and the limit. Raises `InvalidInput` unless the query reads only known objects."""
    words = _TOKEN.findall(query)
    lower = [word.lower() for word in words]
    _check_syntax(words, lower)
    aliases = {_check_object(lower, at) for at, word in enumerate(lower) if word == "from"}
    for word in words:
        if "." in word and word[0].isalpha():
            _check_path(word, aliases)
    top = _top_level(lower)
    if top.count("select") != 1 or lower[0] != "select" or "from" not in top:
        raise InvalidInput(
            "soql: must be a single SELECT ... FROM ... query.", hint="Such as SELECT Id, Name FROM Account LIMIT 10."
        )
    if "limit" not in top:
        if "offset" in top:
            raise InvalidInput("soql: OFFSET without LIMIT.", hint="Leave OFFSET out: results go on by cursor.")
        return f"{query.strip()} LIMIT {MAX_ROWS}", MAX_ROWS
    after = top[top.index("limit") + 1 :]
    if "offset" in top or len(after) != 1 or not after[0].isdecimal() or int(after[0]) > MAX_ROWS:
        raise InvalidInput(
            f"soql: only LIMIT, of at most {MAX_ROWS}, may stand at the end, and no OFFSET.",
            hint="Leave out the rest; narrow with WHERE.",
        )
    return query.strip(), int(after[0])


def _check_syntax(words: Sequence[str], lower: Sequence[str]) -> None:
    """Raise `InvalidInput` for signs SOQL lacks (comments, second statements), and clauses that lock or reach out.

    Escapes by code point are refused too: an early decoding parser would see quotes where this parser sees text.
    """
    texts = [word for word in words if word.startswith("'") and len(word) > 1]
    if not words or any(word in _SIGNS or not word.isascii() for word in words if word not in texts):
        raise InvalidInput("soql: contains a character that SOQL does not have.", hint="Plain SOQL, without comments.")
    if any(re.search(r"\\[uU]", word) for word in texts):
        raise InvalidInput("soql: contains an escape by code point.", hint="Write the character itself.")
    if never := _NEVER.intersection(lower):
        raise InvalidInput(
            f"soql: {min(never).upper()} is not supported.",
            hint="salesforce_list_records and salesforce_run_report can do more.",
        )
    if ("all", "rows") in pairwise(lower):
        raise InvalidInput("soql: ALL ROWS is not supported.", hint="Deleted records cannot be read.")


def _check_object(lower: Sequence[str], at: int) -> str:
    """Return the alias of the object after FROM, or "". Raises `InvalidInput` for an object out of reach.

    A subquery of SELECT may also name a known relation. A word after a comma is a second object.
    """
    name = lower[at + 1] if at + 1 < len(lower) else ""
    custom = re.fullmatch(r"[a-z][a-z0-9_]*__[cr]", name) is not None
    inside = lower[:at].count("(") > lower[:at].count(")")
    if not (name in _ALLOWED or custom or (inside and name in _CHILDREN)):
        raise InvalidInput(
            "soql: FROM names an object that may not be queried.", hint=f"One of {', '.join(sorted(OBJECTS))}."
        )
    more = list(takewhile(lambda word: word not in _CLAUSES and word != ")", lower[at + 2 :]))
    alias = more[-1] if more else ""
    if len(more) > 2 or (len(more) == 2 and more[0] != "as") or (alias and not _ALIAS.fullmatch(alias)):
        raise InvalidInput("soql: FROM must name a single object.", hint="An alias has one to three letters.")
    return alias


def _check_path(path: str, aliases: set[str]) -> None:
    """Raise `InvalidInput` for a path that leads out of the allowed objects, such as ``Owner.Profile.Name``."""
    first, *rest = path.lower().split(".")[:-1]
    if first not in aliases and first not in _ALLOWED:
        rest.insert(0, first)
    if not all(is_relation(one) for one in rest):
        raise InvalidInput(
            "soql: a path leads to an object that may not be queried.", hint="Such as Owner.Name, Account.Name."
        )


def _top_level(lower: Sequence[str]) -> list[str]:
    """Return the words outside parentheses."""
    depth, found = 0, []
    for word in lower:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0:
            raise InvalidInput("soql: a parenthesis too many.", hint="Count the parentheses.")
        if not depth and word != ")":
            found.append(word)
    if depth:
        raise InvalidInput("soql: a closing parenthesis is missing.", hint="Count the parentheses.")
    return found
