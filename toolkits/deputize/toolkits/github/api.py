"""Requests to GitHub, moved repositories, and pages.

A renamed repository answers 301, 307 or 308. A read follows the redirect: only the path of the address is used, checked
and put below the configured root, so that no response can choose a host. A write does not follow, because the user
approved another place. Of a ``Link`` header too, only the page's name is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from deputize.core import Answer, Request
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.steps import MIB, Repeat
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.github.base import Asks, route

JSON: Final = "application/vnd.github+json"
RAW: Final = "application/vnd.github.raw+json"
MATCHES: Final = "application/vnd.github.text-match+json"
VERSION: Final = "2022-11-28"
AT_ONCE: Final = 5  # requests
PAGES: Final = 5  # of GitHub's, for one page of a tool

Json = dict[str, Any]


def rest(
    method: str,
    repo: str = "",
    *,
    at: Mapping[str, Any] | None = None,
    wide: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    repeat: Repeat | None = None,
    accept: str = JSON,
    raw: bool = False,
    max_bytes: int = 10 * MIB,
) -> Request:
    """Return a request such as ``GET R/issues/{n}``. ``at``: single segments; ``wide``: values with slashes."""
    verb, _, path = route(method).partition(" ")
    owner, _, name = repo.partition("/")
    places = {"owner": owner, "repo": name} if repo else {}
    places |= {key: str(value) for key, value in (at or {}).items()}
    for key, value in (wide or {}).items():
        parts = value.split("/") if value else []
        path = path.replace(f"/{{{key}}}", "".join(f"/{{{key}{n}}}" for n in range(len(parts))))
        places |= {f"{key}{n}": part for n, part in enumerate(parts)}
    return Request(
        verb,
        path,
        at=places,
        params={key: value for key, value in (params or {}).items() if value not in (None, "")},
        json=json,
        repeat=repeat,
        headers={"accept": accept, "x-github-api-version": VERSION},
        raw=raw,
        whole=True,
        max_bytes=max_bytes,
    )


def send(request: Request) -> Asks[Answer]:
    """Send a request and return the response, from the repository's current location."""
    for _ in range(3):
        answer: Answer = yield request
        if answer.status < 300 or answer.status == 304:
            return answer
        request = follow_move(request, answer)
    raise NotFound("GitHub: the repository was renamed more than once.", hint="Use the name it has now.")


def write(request: Request) -> Asks[Json]:
    """Send a write and return the object in its response, empty if there is none."""
    return dict((yield from send(request)).data or {})


def get(method: str, repo: str = "", **more: Any) -> Asks[Any]:
    """Send a read and return its data."""
    return (yield from send(rest(f"GET {method}", repo, **more))).data


def gather(requests: Sequence[Request]) -> Asks[list[Any]]:
    """Return the data of reads, sent five at a time, with a failed read's error in its place."""
    found: list[Any] = []
    for start in range(0, len(requests), AT_ONCE):
        batch = list(requests[start : start + AT_ONCE])
        try:
            answers: list[Answer] = yield batch
        except DeputizeError:
            answers = []
        if answers and all(one.status < 300 for one in answers):
            found += [one.data for one in answers]
            continue
        for one in batch:
            try:
                found.append((yield from send(one)).data)
            except (NotFound, InvalidInput) as refused:
                found.append(refused)
    return found


def follow_move(request: Request, answer: Answer) -> Request:
    """Return the request for a moved repository, by its number or its new name."""
    if answer.status not in (301, 302, 307, 308):
        raise ProviderUnavailable("GitHub is not available now; nothing was done.", hint="Call again in a minute.")
    if request.call != "read":  # it would go to an unchecked place
        raise Conflict(
            "GitHub: this was renamed or moved since it was looked at; nothing was done.",
            reason="stale",
            hint="Call again: it is looked up under the name it has now.",
        )
    path = urlsplit(answer.headers.get("location", "")).path.removeprefix("/api/v3")
    parts = [unquote(part) for part in path.split("/")[1:]]
    if parts[:1] not in (["repositories"], ["repos"]) or any(part in ("", ".", "..") for part in parts):
        raise NotFound(
            "GitHub: redirected to an address that is not a repository.", hint="github_search_repos finds its new name."
        )
    places = {f"m{n}": part for n, part in enumerate(parts)}
    return replace(request, path="".join(f"/{{{name}}}" for name in places), at=places)


def attempt(asks: Asks[Any], what: str, done: list[str], warnings: list[str]) -> Asks[None]:
    """Make one change of several. A failure is raised if no change was made before, else added to the warnings."""
    try:
        yield from asks
    except OutcomeUnknown:
        raise
    except DeputizeError as refused:
        if not done:
            raise
        warnings.append(f"{what}: {refused.message}")
    else:
        done.append(what)


# ----------------------------------------------------------------- pages


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a GitHub list. ``following``: the name of the next page, "" at the end."""

    rows: Sequence[Any]
    following: str = ""
    total: int | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class List:
    """A list that a tool returns. ``bound_to``: tool, account and filters; ``shape``: a row, or None to omit it.

    ``page``: the path of a row's page for people, from its other fields.
    """

    bound_to: tuple[Any, ...]
    read: Callable[[str, int], Asks[Page]]
    shape: Callable[[Any], Json | None]
    budget: int = 3_600  # tokens; the rest of a result is for what surrounds them
    more: Mapping[str, Any] = field(default_factory=dict)
    page: str = ""

    def show(self, limit: int, cursor: str | None) -> Asks[Json]:
        """Return the rows after the cursor, as many as are requested and fit, and the next cursor."""
        token, skip, size = read_cursor(self.bound_to, cursor, (str, int, int)) if cursor else ("", 0, min(limit, 100))
        size = min(max(size, 1), 100)
        rows, total, incomplete, cut, home = Rows(self.budget), None, False, False, ""
        for _ in range(PAGES):
            page = yield from self.read(token, size)
            total, incomplete = page.total, incomplete or page.incomplete
            home = home or _site(page.rows)
            place, cut = self._take(rows, page, skip, limit)
            if place is not None:
                skip = place
                break
            token, skip = page.following, 0
            if not token or len(rows.items) == limit:
                break
        following = write_cursor(self.bound_to, [token, skip, size]) if token or skip else None
        return {
            "items": rows.items,
            "next": following,
            **({"total": total} if total is not None else {}),
            "truncated": cut,
            **({"incomplete": True} if incomplete else {}),
            **({"url_template": home + self.page} if home and self.page else {}),
            **self.more,
        }

    def _take(self, rows: Rows, page: Page, skip: int, limit: int) -> tuple[int | None, bool]:
        """Add a page's rows. Return the position of a stop, and whether the budget was used up."""
        for n, raw in enumerate(page.rows[skip:], skip):
            row = self.shape(raw)
            if row is None:
                continue
            if len(rows.items) == limit:
                return n, False
            if not rows.add(row):
                return n, True
        return None, False


def _site(rows: Sequence[Any]) -> str:
    """Return the site on which rows have their pages."""
    first = next((str(row.get("html_url")) for row in rows if isinstance(row, dict) and row.get("html_url")), "")
    found = re.match(r"https://[\w.-]+(?=/)", first)
    return found[0] if found else ""


def pages(
    method: str, repo: str = "", *, rows: str = "", by: str = "page", accept: str = JSON, **more: Any
) -> Callable[[str, int], Asks[Page]]:
    """Return a reader of a list's pages. ``rows``: the field of rows in an object. ``by``: the page parameter."""

    def read(token: str, size: int) -> Asks[Page]:
        params = {**(more.get("params") or {}), "per_page": size, by: token or None}
        request = rest(f"GET {method}", repo, **{**more, "params": params}, accept=accept)
        answer = yield from send(request)
        data = answer.data
        found = (data or {}).get(rows) if rows else data
        whole = data if isinstance(data, dict) else {}
        return Page(
            found if isinstance(found, list) else [],
            next_page(answer.headers, by),
            whole.get("total_count"),
            bool(whole.get("incomplete_results")),
        )

    return read


def next_page(headers: Mapping[str, str], by: str = "page", rel: str = "next") -> str:
    """Return the name of the next page (or of page ``rel``) in a ``Link`` header, "" at the end."""
    for link, kind in re.findall(r"<([^<>]{1,2000})>\s*;\s*rel=\"(\w+)\"", headers.get("link", "")):
        if kind == rel:
            token = dict(parse_qsl(urlsplit(link).query)).get(by, "")
            return token if re.fullmatch(r"[A-Za-z0-9+/=_:.~-]{1,400}", token) else ""
    return ""


def list_rows(method: str, repo: str, most: int = 3, rows: str = "", **more: Any) -> Asks[list[Any]]:
    """Return the rows of a list's first pages, a hundred each."""
    found: list[Any] = []
    read, token = pages(method, repo, rows=rows, **more), ""
    for _ in range(most):
        page = yield from read(token, 100)
        found += page.rows
        token = page.following
        if not token:
            break
    return found
