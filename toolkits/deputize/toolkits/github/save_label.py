"""GitHub: creating and changing labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from deputize.core import Need, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput
from deputize.toolkits.github import api, documents
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Label, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Content
from deputize.toolkits.github.show_fields import HOME, Home, change_of, home_of, loses, restorable_text


def _color(text: str) -> str:
    digits = text.strip().removeprefix("#").lower()
    if len(digits) != 6 or set(digits) - set("0123456789abcdef"):
        raise ValueError("six hexadecimal digits, as in d73a4a")
    return digits


def _check_description(text: str) -> str:
    line = " ".join(text.split())
    if len(line) > 100:
        raise ValueError("at most 100 characters")
    return line


def _needs(arguments: Mapping[str, Any]) -> Sequence[Need]:
    found = [*changes("POST R/labels", "issues:write"), *changes("GRAPHQL UpdateLabel", "issues:write")]
    return [*found, reads("GET R/labels", "issues:read", "pull_requests:read"), HOME]


@GITHUB.tool(needs=_needs, effect=SENDS, toolset="repos")
@in_repo()
def save_label(
    repo: Repo,
    name: Label,
    new_name: Annotated[Label | None, Field(description="to rename one that is there")] = None,
    color: Annotated[Annotated[str, AfterValidator(_color)] | None, Field(description="as in d73a4a")] = None,
    description: Annotated[Content, AfterValidator(_check_description)] | None = None,
) -> Steps:
    """Create a label, or change the one of this name."""
    home = yield from home_of(repo)
    known = yield from names.every_label(home.name)
    there = next((row for row in known if str(row["name"]).lower() == name.lower()), None)
    given: Json = {"color": color, "description": description}
    if there is None:
        if new_name is not None:
            names.pick(name, known, "name", lambda row: str(row["name"]))
        return (yield from _create(home, {"name": name, **given}))
    taken = next((row for row in known if str(row["name"]).lower() == str(new_name or name).lower()), there)
    if taken is not there:
        raise Conflict(
            "new_name: conflict (exists): another label has this name.", reason="exists", hint="Use another name."
        )
    return (yield from _change(home, there, {"name": new_name, **given}))


def _create(home: Home, given: Json) -> Asks[Json]:
    """Create a label. Names of labels are unique at GitHub, so a second attempt finds the label of the first."""
    given = {field: value for field, value in given.items() if value is not None}
    yield home.shows(
        "Create this label", label=given["name"], color=given.get("color"), about=given.get("description") or None
    )
    try:
        row = yield from api.write(rest("POST R/labels", home.name, json=given, repeat="idem"))
    except (Conflict, InvalidInput) as refused:
        rows = yield from names.every_label(home.name)
        row = next((dict(one) for one in rows if str(one["name"]).lower() == given["name"].lower()), {})
        if not row:
            raise refused from None
        if any((row.get(field) or "") != value for field, value in given.items()):
            raise Conflict(
                "name: conflict (exists): somebody has made this label meanwhile.",
                reason="exists",
                hint="Call again to change it.",
            ) from None
        return _receipt(row, "It was there already.") | {"existed": True}
    holds = {"label": row["name"], "about": row.get("description")}
    yield Undo("github_delete", {"kind": "label", "repo": home.name, "id": row["name"]}, holds=holds)
    return _receipt(row, "Created.")


def _change(home: Home, there: Mapping[str, Any], given: Json) -> Asks[Json]:
    """Change a label's name, description or colour by its id, so that a repetition changes nothing more."""
    old = {field: str(there.get(field) or "") for field in given}
    new = {field: old[field] if value is None else value for field, value in given.items()}
    if new == old:
        return _receipt(there, "It was so already.")
    yield home.shows(
        "Change this label",
        label=old["name"],
        new_name=change_of(old["name"], new["name"]),
        color=change_of(old["color"], new["color"]),
        about=change_of(old["description"], new["description"]),
        pins={"id": there.get("node_id")},
        destroys=loses(old["description"], new["description"]),
    )
    sent = {field: value for field, value in new.items() if value != old[field]}
    yield from documents.query(documents.UPDATE_LABEL, "idem", input={"id": str(there["node_id"]), **sent})
    if all(restorable_text(value) is not None for value in old.values()):
        names_ = {"name": "new_name", "color": "color", "description": "description"}
        back = {"repo": home.name, "name": new["name"]} | {names_[field]: old[field] for field in sent}
        shown = {"name": "label", "color": "color", "description": "about"}
        holds = {"label": new["name"]} | {shown[field]: value for field, value in sent.items()}
        yield Undo("github_save_label", back, holds=holds)
    return _receipt({**there, **new}, "Changed.")


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    return {
        "name": row.get("name"),
        "color": row.get("color"),
        "description": row.get("description") or "",
        "summary": summary,
    }
