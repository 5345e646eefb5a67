"""GitHub: creating and changing gists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from deputize.core import Audience, Change, Effect, Need, Preview, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import IfTexts
from deputize.toolkits._shared.line_ends import form_change, replace_all
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Gist
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, needs, optional
from deputize.toolkits.github.gists import ABOUT, SHOWN
from deputize.toolkits.github.idempotent_create import write_once
from deputize.toolkits.github.prose import CODE, WORDS, Body, Content
from deputize.toolkits.github.show_fields import change_of, restorable_text
from deputize.toolkits.github.write_file import Exact, check_stand_ins

_HOW: Final = (
    "Read it to its end with github_list_gists (gist_id, raw=true, and file: its name, or an empty text for the "
    "description), and pass its text_digest under that name in if_text."
)


def _check_names(files: dict[str, str] | None) -> dict[str, str] | None:
    files = files or {}
    if len(files) > 50:
        raise ValueError("at most 50 files")
    if any(
        not name.strip() or "/" in name or "\\" in name or len(name) > 255 or not name.isprintable() for name in files
    ):
        raise ValueError("a file's name has no slashes and no controls")
    return files


def _save_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["gist_id"]:
        return [needs("PATCH /gists/{gist_id}", "gist", app=("gists:write",)), optional("GET /gists/{gist_id}", "gist")]
    return [needs("POST /gists", "gist", app=("gists:write",))]


def _save_effect(arguments: Arguments) -> Effect:
    """Return the effect. Anyone with the address reads even a secret gist. A file without text is deleted."""
    return SENDS if all((arguments["files"] or {}).values()) else SENDS | Effect.DESTRUCTIVE


@GITHUB.tool(
    needs=_save_needs,
    effect=_save_effect,
    gravest=SENDS | Effect.DESTRUCTIVE,
    toolset="gists",
)
def save_gist(
    files: Annotated[dict[str, Body] | None, AfterValidator(_check_names)] = None,
    gist_id: Gist | None = None,
    description: Content | None = None,
    public: bool = False,
    if_text: IfTexts = None,
    exact: Exact = False,
    *,
    run: Run,
) -> Steps:
    """Create a gist (secret unless public) or change its files: name to content, empty deletes."""
    if gist_id and public:
        raise InvalidInput("public: can only be set for a new gist.", hint="Make a new gist.")
    given: Json = {"description": description} if description is not None else {}
    if gist_id:
        if not files and not given:
            raise InvalidInput("files, description: give at least one of them.", hint="Add files or description.")
        return (yield from _change_gist(gist_id, files or {}, given, if_text or {}, exact=exact))
    if not files or not all(files.values()):
        raise InvalidInput("files: a new gist's files must not be empty.", hint="Give each file a text.")
    given |= {"files": {name: {"content": text} for name, text in files.items()}, "public": public}
    if not run.noted:
        about = given.get("description")
        fields = {"description": about, "files": _file_texts(files), "line_ends": _line_ends({}, files)}
        yield gist_show("Create this gist", {"public": public}, **fields)
    look = lambda: _find_created(given, run.now)  # noqa: E731
    row = yield from write_once(run.noted, api.write(rest("POST /gists", json=given)), look, "gist")
    if not run.noted:
        yield Undo("github_delete", {"kind": "gist", "id": row.get("id")}, holds={"version": _version(row)})
    return _receipt(row, "Created.")


def _change_gist(
    gist_id: str, files: Mapping[str, str], given: Json, digests: Mapping[str, str], *, exact: bool
) -> Asks[Json]:
    """Write some files of an existing gist, and remove others."""
    row = dict((yield from api.get("/gists/{gist_id}", at={"gist_id": gist_id})))
    files = {name: text and _stored_text(row, name, text, exact=exact) for name, text in files.items()}
    _check_read(row, files, digests)
    if given.get("description") is not None:
        new = given["description"]
        Edit(if_text=digests.get("")).of(WORDS, "description", row.get("description"), new, ABOUT, _HOW)
    there = {name: one for name, one in (row.get("files") or {}).items() if name in files}
    before = {name: str(one.get("content") or "") for name, one in there.items()}
    gone = sorted(name for name, text in files.items() if not text and name in there)
    said = change_of(row.get("description"), given["description"]) if "description" in given else None
    kept = _file_texts({name: text for name, text in files.items() if text})
    listed = Change(_file_texts(before), kept) if before else kept
    fields = {"description": said, "files": listed, "line_ends": _line_ends(before, files), "deletes": gone or None}
    yield gist_show("Change this gist", row, undo="the deleted files stay in its history" if gone else None, **fields)
    body = given | {"files": {name: {"content": text} if text else None for name, text in files.items()}}
    request = rest("PATCH /gists/{gist_id}", at={"gist_id": gist_id}, json=body, repeat="idem")
    now = dict((yield from api.send(request)).data)
    old = {name: restorable_text(before.get(name, "")) for name in files if name in before or files[name]}
    about = restorable_text(row.get("description")) if "description" in given else ""
    if None not in (about, *old.values()) and not any(one.get("truncated") for one in there.values()):
        back: Json = {"gist_id": gist_id, "files": old, "exact": True}
        left = {name: digest(text) for name, text in files.items() if text and name in before}
        if "description" in given:
            back |= {"description": about}
            left |= {"": digest(given["description"])}
        back["if_text"] = left or None
        yield Undo("github_save_gist", back, holds={"version": _version(now)})
    return _receipt(now, "Changed.")


def gist_show(what: str, row: Mapping[str, Any], **more: Any) -> Preview:
    """Preview a change of a gist. ``row``: GitHub's own."""
    public = bool(row.get("public"))
    return Preview(
        what,
        audience=Audience.PUBLIC if public else Audience.UNKNOWN,
        where="a public gist" if public else "a secret gist: whoever has its address can read it",
        pins={"gist": row.get("id"), "version": _version(row)},
        **more,
    )


def _version(row: Mapping[str, Any]) -> str | None:
    """Return the revision of a gist, or None."""
    return next((str(one.get("version")) for one in row.get("history") or ()), None)


def _file_texts(files: Mapping[str, str]) -> list[str]:
    return [f"{name}:\n{text}" for name, text in files.items()]


def _line_ends(before: Mapping[str, str], after: Mapping[str, str]) -> Any:
    """Return the files whose form changes."""
    old, new = list[str](), list[str]()
    for name, text in after.items():
        changed = form_change(before[name].encode() if name in before else None, text.encode()) if text else None
        if changed:
            old += [f"{name}: {changed[0]}"] if changed[0] else []
            new.append(f"{name}: {changed[1]}")
    return Change(old, new) if old else new or None


def _stored_text(row: Mapping[str, Any], name: str, text: str, *, exact: bool) -> str:
    """Return a file's text, in the form of the file that it replaces."""
    old = str(((row.get("files") or {}).get(name) or {}).get("content") or "").encode(errors="replace")
    check_stand_ins("files", name, old, text, exact=exact)
    return text if exact else replace_all(old, text.encode()).decode()


def _check_read(row: Mapping[str, Any], files: Mapping[str, str], digests: Mapping[str, str]) -> None:
    """Raise `InvalidInput` or `Conflict` unless each file that gets another text was read whole."""
    there = row.get("files") or {}
    size = sum(len(str(one.get("content") or "").encode(errors="replace")) for one in there.values())
    for name, text in files.items():
        old = there.get(name) or {}
        if text and old.get("truncated"):
            raise InvalidInput(f"files: {name} is too large to be read here.", hint="Edit it on its page.")
        if text:
            Edit(if_text=digests.get(name)).of(
                CODE, f"files: {name}", old.get("content"), text, SHOWN if size <= SHOWN else 0, _HOW
            )


def _find_created(given: Mapping[str, Any], now: float) -> Asks[Json | None]:
    """Return the only recent gist with this description and these files, or None."""
    since = datetime.fromtimestamp(now - 300, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = yield from api.get("/gists", params={"since": since, "per_page": 30})
    same = [
        row
        for row in rows
        if (row.get("description") or "") == given.get("description", "")
        and set(row.get("files") or ()) == set(given["files"])
        and bool(row.get("public")) == given["public"]
        and str(row.get("created_at", "")) >= since
    ]
    return dict(same[0]) if len(same) == 1 else None


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    names = [name for name in row.get("files") or ()]
    return {"gist_id": row.get("id"), "url": row.get("html_url"), "files": names[:20], "summary": summary}
