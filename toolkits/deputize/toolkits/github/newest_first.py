"""Lists that GitHub gives with the oldest first and takes no order for, read from their end: events, reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from deputize.toolkits.github import api
from deputize.toolkits.github.api import Page
from deputize.toolkits.github.base import Asks

_SIZE: Final = 100  # of a page, whatever is shown of it, so that its number says the same in every call
_MAX_PAGES: Final = 10  # pages that are read from the front where GitHub does not say which one is the last


def newest_first(method: str, repo: str = "", **more: Any) -> Callable[[str, int], Asks[Page]]:
    """Reads a list backwards, page by page. A page is named by its number from the front: new rows do not move it."""

    def read(token: str, size: int) -> Asks[Page]:
        request = api.rest(f"GET {method}", repo, **more, params={"per_page": _SIZE, "page": token or None})
        answer = yield from api.send(request)
        if token:
            return _backwards(list(answer.data or ()), int(token))
        last = api.following(answer.headers, rel="last")
        if last.isdecimal() and int(last) > 1:
            request = replace(request, params={"per_page": _SIZE, "page": last})
            return _backwards(list((yield from api.send(request)).data or ()), int(last))
        rows, page = list(answer.data or ()), api.following(answer.headers)
        for _ in range(_MAX_PAGES - 1):
            if not page:
                break
            answer = yield from api.send(replace(request, params={"per_page": _SIZE, "page": page}))
            rows, page = rows + list(answer.data or ()), api.following(answer.headers)
        return Page(rows[::-1], incomplete=bool(page))

    return read


def _backwards(rows: list[Any], page: int) -> Page:
    return Page(rows[::-1], str(page - 1) if page > 1 else "")
