"""Reading lists backwards that GitHub only offers oldest first: events, reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from deputize.toolkits.github import api
from deputize.toolkits.github.api import Page
from deputize.toolkits.github.base import Asks

_SIZE: Final = 100  # of a page, always, so that its number means the same in every call
_MAX_PAGES: Final = 10  # pages read from the front if GitHub does not name the last


def newest_first(method: str, repo: str = "", **more: Any) -> Callable[[str, int], Asks[Page]]:
    """Return a reader of a list's pages, backwards. Pages are numbered from the front, so new rows do not move them."""

    def read(token: str, size: int) -> Asks[Page]:
        request = api.rest(f"GET {method}", repo, **more, params={"per_page": _SIZE, "page": token or None})
        answer = yield from api.send(request)
        if token:
            return _backwards(list(answer.data or ()), int(token))
        last = api.next_page(answer.headers, rel="last")
        if last.isdecimal() and int(last) > 1:
            request = replace(request, params={"per_page": _SIZE, "page": last})
            return _backwards(list((yield from api.send(request)).data or ()), int(last))
        rows, page = list(answer.data or ()), api.next_page(answer.headers)
        for _ in range(_MAX_PAGES - 1):
            if not page:
                break
            answer = yield from api.send(replace(request, params={"per_page": _SIZE, "page": page}))
            rows, page = rows + list(answer.data or ()), api.next_page(answer.headers)
        return Page(rows[::-1], incomplete=bool(page))

    return read


def _backwards(rows: list[Any], page: int) -> Page:
    return Page(rows[::-1], str(page - 1) if page > 1 else "")
