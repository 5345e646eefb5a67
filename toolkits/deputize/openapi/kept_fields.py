"""Fields of a response that a model receives: the useful ones among those in the description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deputize.openapi.description import CannotTranslate, Description, Json

MAX_FIELDS: Final = 20
MAX_AROUND: Final = 8
"""Members of an object that wraps a list."""
LONGEST_NAME: Final = 60
_NAMES: Final = ("login", "display_name", "displayName", "full_name", "name", "title", "email", "key", "slug", "id")
"""Fields that name an inner object, the best first."""
_ADDRESSES: Final = ("html_url", "web_url", "permalink", "url")
_NOISE: Final = frozenset("node_id _links links gravatar_id etag".split())


@dataclass(frozen=True, slots=True)
class Kept:
    """``fields``: the fields to keep of a row, empty for all; ``rows``: the member with the rows, "" for the response.

    ``about``: the name of a row. ``form``: "raw" for text that is not JSON.
    """

    fields: tuple[str, ...] = ()
    rows: str = ""
    about: str = ""
    form: Literal["json", "raw"] = "json"


def kept_part(description: Description, operation: Json) -> Kept:
    """Return the parts to keep of an operation's good responses. Raises `CannotTranslate` for files and redirects."""
    told = description.objects("responses", operation)
    good = sorted(status for status in told if status.startswith("2"))
    if not good:
        if any(status.startswith("3") for status in told):
            raise CannotTranslate("it answers with a redirect, which a request does not follow")
        return Kept()
    content: Json = {}
    for status in good:
        content = content or description.objects("content", description.resolve(told[status]))
    if not content:
        return Kept()
    for type, one in content.items():
        if "json" in type.lower() and isinstance(one, dict):
            try:
                return _kept_in_schema(description, one.get("schema"))
            except CannotTranslate:  # an unreadable schema: all of the answer is kept
                return Kept()
    if all(type.lower().startswith(("text/", "application/xml", "application/yaml")) for type in content):
        return Kept(form="raw")
    raise CannotTranslate(f"it answers with a file ({', '.join(sorted(content))[:80]})")


def _kept_in_schema(description: Description, schema: Any) -> Kept:
    about = _schema_name(schema)
    found = _object(description, schema)
    if found.get("type") == "array" or "items" in found:
        return Kept(tuple(_fields(description, found.get("items"))), about=_schema_name(found.get("items")))
    members = description.objects("properties", found)
    lists = [name for name, one in members.items() if _is_list_of_objects(description, one)]
    if len(lists) == 1 and len(members) <= MAX_AROUND and len(lists[0]) <= LONGEST_NAME and lists[0].isprintable():
        items = description.resolve(members[lists[0]]).get("items")
        return Kept(tuple(_fields(description, items)), lists[0], _schema_name(items))
    return Kept(tuple(_fields(description, schema)), about=about)


def _schema_name(schema: Any) -> str:
    ref = schema.get("$ref") if isinstance(schema, dict) else None
    return ref.rpartition("/")[2][:LONGEST_NAME] if isinstance(ref, str) else ""


def _object(description: Description, schema: Any, depth: int = 0) -> Json:
    """Return a schema with the members of all its parts; of alternatives, the first with members."""
    found = description.resolve(schema) if isinstance(schema, dict) else {}
    if depth > 4:
        return found
    members = dict(description.objects("properties", found))
    for name in ("allOf", "oneOf", "anyOf"):
        for part in (found.get(name) or [])[:20] if isinstance(found.get(name), list) else []:
            inner = _object(description, part, depth + 1)
            if name == "allOf":
                members |= description.objects("properties", inner)
            elif not members:
                members = description.objects("properties", inner)
                found = {**inner, **found}
    return {**found, "properties": members} if members else found


def _is_list_of_objects(description: Description, schema: Any) -> bool:
    found = description.resolve(schema) if isinstance(schema, dict) else {}
    if not isinstance(found.get("items"), dict):
        return False
    return bool(description.objects("properties", _object(description, found["items"])))


def _fields(description: Description, schema: Any) -> list[str]:
    """Return the fields of a row to keep, in the description's order, or [] if the description has none."""
    members = description.objects("properties", _object(description, schema))
    address = next((one for one in _ADDRESSES if one in members), "")
    fields = [field for name, one in members.items() if (field := _field(description, name, one, address))]
    return fields[:MAX_FIELDS] if len(fields) > 1 else []


def _field(description: Description, name: str, schema: Any, address: str) -> str:
    """Return a member, or an object's naming field, or "" to leave it out."""
    if len(name) > LONGEST_NAME or "." in name or not name.isprintable() or _is_noise(name, schema, address):
        return ""
    found = _object(description, schema)
    if isinstance(found.get("items"), dict):
        found = _object(description, found["items"])
    inner: Mapping[str, Any] = description.objects("properties", found)
    if not inner:
        return name
    known = next((one for one in _NAMES if one in inner), "")
    return f"{name}.{known}" if known else ""


def _is_noise(name: str, schema: Any, address: str) -> bool:
    if name == address:
        return False
    is_address = isinstance(schema, dict) and schema.get("format") in ("uri", "uri-template", "url")
    return name in _NOISE or name.endswith(("_url", "Url")) or is_address


def paging_arguments(names: Mapping[str, str]) -> Iterator[str]:
    """Yield the paging arguments, by their names in the description."""
    yield from (ours for theirs, ours in names.items() if theirs.lower().replace("_", "").replace("-", "") in _PAGES)


_PAGES: Final = frozenset(
    "page pagetoken cursor after before offset start startat nextpage nextcursor pagesize perpage limit"
    " maxresults".split()
)
