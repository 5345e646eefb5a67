"""Drive: find files, list folders and shared drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Need, Request, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import Try
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, lean, read_cursor, write_cursor
from deputize.toolkits._shared.people import address_of
from deputize.toolkits._shared.steps import AT_ONCE
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.drive.base import (
    DRIVE,
    FIELDS,
    FOLDER,
    LISTS_DRIVES,
    LISTS_OWN,
    SEES_ALL,
    Asks,
    Json,
    Row,
    file_id,
    get_file,
    lists_all,
)
from deputize.toolkits.drive.rows import file_row, folder_ids

_EMPTY_PAGES: Final = 3
_OF_GOOGLE: Final = "application/vnd.google-apps."
Kind = Literal["folder", "doc", "sheet", "slides", "pdf", "image"]
_KINDS: Final[Mapping[str, str]] = {
    "folder": f"mimeType = '{FOLDER}'",
    "doc": f"mimeType = '{_OF_GOOGLE}document'",
    "sheet": f"mimeType = '{_OF_GOOGLE}spreadsheet'",
    "slides": f"mimeType = '{_OF_GOOGLE}presentation'",
    "pdf": "mimeType = 'application/pdf'",
    "image": "mimeType contains 'image/'",
}
Where = Literal["all", "shared_with_me", "trash", "app_files", "shared_drives"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    match arguments["where"]:
        case "shared_drives":
            return [LISTS_DRIVES]
        case "app_files":
            return [LISTS_OWN]
    return [lists_all(text=bool(arguments["query"].strip()))]


@DRIVE.tool(needs=_needs, aliases=["search_files", "list_files"])
def search_files(
    query: Annotated[str, Field(description='words in name or text, or "a phrase"')] = "",
    kind: Kind | None = None,
    owner: Annotated[str | None, Field(description="me, or a person")] = None,
    folder: Annotated[str | None, Field(description="id or root; what is directly in it")] = None,
    modified_after: Annotated[str | None, Field(description="ISO or -7d")] = None,
    where: Annotated[Where, Field(description="app_files: made here")] = "all",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find files in My Drive and shared drives, or list a folder or the shared drives."""
    bound_to = ("drive_search_files", run.account.subject, query, kind, owner, folder, modified_after, where)
    place: list[Any] = read_cursor(bound_to, cursor, (str, int, int, int)) if cursor else ["", 0, limit, int(run.now)]
    place[2] = min(max(place[2], 1), 100)
    if where == "shared_drives":
        if kind or owner or folder or modified_after:
            raise InvalidInput("where: shared drives are found by query alone.", hint="Leave out the other filters.")
        return (yield from _list_drives(query, place, limit, bound_to))
    zoned = yield from in_zone(run, _ask_zone, modified_after=modified_after)
    since = times.moment(modified_after, place[3], "modified_after", zoned.zone) if modified_after else None
    person = (yield from address_of(owner, "owner", run.account)) if owner else ""
    terms = [
        *_words(query),
        *([_KINDS[kind]] if kind else []),
        *([f"{quoted(person)} in owners"] if person else []),
        *([f"{quoted(file_id(folder, 'folder'))} in parents"] if folder else []),
        *([f"modifiedTime > '{since:%Y-%m-%dT%H:%M:%SZ}'"] if since else []),
        *(["sharedWithMe"] if where == "shared_with_me" else []),
        f"trashed = {'true' if where == 'trash' else 'false'}",
    ]
    params: Json = {
        **{"q": " and ".join(terms), "pageSize": place[2], "corpora": "allDrives", "supportsAllDrives": True},
        **{"includeItemsFromAllDrives": True, "fields": f"nextPageToken,incompleteSearch,files({FIELDS})"},
        **({} if query.strip() else {"orderBy": "folder,name" if folder else "modifiedTime desc"}),
    }
    page = yield from _page("/files", "files", params, place)
    found = list(page.get("files") or ())[place[1] :][:limit]
    folders = yield from _load_folders(found)
    kept = Rows()
    done = next((n for n, one in enumerate(found) if not kept.add(file_row(one, folders))), len(found))
    result = _result(kept, page, "files", place, done, limit, bound_to)
    if page.get("incompleteSearch"):
        result["incomplete"] = "Google has not searched all shared drives. Search one folder, or with more words."
    if not SEES_ALL & run.granted:
        result["searched"] = "only files that this app made or opened"
    return result


def _ask_zone(run: Run) -> Asks[object]:
    """Return the zone of the user's calendar, as far as the grant allows."""
    from deputize.toolkits.gmail.api import ask_zone  # few calls need it

    return (yield from ask_zone(run))


def _words(query: str) -> list[str]:
    """Return the term for words in a name or text. Drive finds beginnings of words in names, whole words in texts."""
    text = " ".join(query.split())
    if not text:
        return []
    name = quoted(text.replace('"', " ").strip() or text)
    return [f"(name contains {name} or fullText contains {quoted(text)})"]


def quoted(text: str) -> str:
    """Return a string of Drive's query language: no text can end it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _page(path: str, field: str, params: Json, place: list[Any]) -> Asks[Row]:
    """Return the page at a position, past empty ones. ``place``: its token is updated."""
    page: Row = {}
    for _ in range(_EMPTY_PAGES):
        token = {"pageToken": place[0]} if place[0] else {}
        page = yield Request("GET", path, params=params | token)
        if page.get(field) or not page.get("nextPageToken"):
            break
        place[:2] = [str(page["nextPageToken"]), 0]
    return page


def _load_folders(files: Sequence[Row]) -> Asks[dict[str, Row]]:
    """Return the folders of these files by id, as far as the user may see them."""
    ids, found = folder_ids(files), dict[str, Row]()
    for start in range(0, len(ids), AT_ONCE):
        here = ids[start : start + AT_ONCE]
        answers = yield Try([get_file(one) for one in here])
        found |= {id: one for id, one in zip(here, answers, strict=True) if one}
    return found


def _list_drives(query: str, place: list[Any], limit: int, bound_to: tuple[Any, ...]) -> Steps:
    text = " ".join(query.split())
    params: Json = {"pageSize": place[2], "fields": "nextPageToken,drives(id,name,createdTime)"}
    params |= {"q": f"name contains {quoted(text)}"} if text else {}
    page = yield from _page("/drives", "drives", params, place)
    kept, found = Rows(), list(page.get("drives") or ())[place[1] :][:limit]
    done = next((n for n, one in enumerate(found) if not kept.add(_drive_row(one))), len(found))
    return _result(kept, page, "drives", place, done, limit, bound_to)


def _drive_row(drive: Row) -> Json:
    """Return a shared drive as a row. Its members chose the name."""
    outside = Outside()
    row: Json = {"id": drive.get("id"), "name": outside.line(str(drive.get("name") or ""), 160), "type": "shared drive"}
    outside.mark(row)
    return lean(row)


def _result(
    kept: Rows, page: Row, field: str, place: list[Any], done: int, limit: int, bound_to: tuple[Any, ...]
) -> Json:
    """Return the rows and the cursor of those that follow. ``truncated``: rows of this page had no room."""
    token, skip, size, since = place
    here, following = len(page.get(field) or ()), page.get("nextPageToken")
    after = [token, skip + done, size, since] if skip + done < here else [str(following), 0, limit, since]
    more = skip + done < here or bool(following)
    return {
        "items": kept.items,
        "next": write_cursor(bound_to, after) if more else None,
        "truncated": done < min(limit, here - skip),
        "time_zone": times.ZONE,
    }
