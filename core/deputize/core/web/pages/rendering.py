"""Pages from templates, and the headers of all responses.

Templates and files are read before the first request, because reading would block the event loop of a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from deputize.core import visible_text
from deputize.core.errors import SettingsError
from deputize.core.web.security_headers import ALWAYS

_ROOT: Final = "deputize.root"
_HERE: Final = Path(__file__).parent / "templates"
_FILES: Final[Mapping[str, bytes]] = {name: (_HERE / name).read_bytes() for name in ("style.css", "favicon.svg")}


def visible(value: Any) -> Any:
    """Return the text with all characters visible: those that reorder or hide text are replaced by their names."""
    return visible_text.visible(value) if type(value) is str else value


def templates_in(*folders: Path) -> Environment:
    """Return the built-in templates and those in these folders, as they are now. An earlier folder's template wins.

    Raises `SettingsError` for a missing folder.
    """
    return _templates(*folders) if folders else _our_templates()


@cache
def _our_templates() -> Environment:
    """Return the built-in templates, for all pages of a process. Each is compiled on first use."""
    return _templates()


def _templates(*folders: Path) -> Environment:
    sources: dict[str, str] = {}
    for folder in (_HERE, *reversed(folders)):
        sources.update(_read(Path(folder)))
    found = Environment(
        loader=DictLoader(sources),
        auto_reload=False,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["zipped"] = zip
    return found


def _read(folder: Path) -> dict[str, str]:
    """Return the text of each file below a folder, by its relative path. Binary files are left out."""
    if not folder.is_dir():
        raise SettingsError(
            f"The template folder {str(folder)!r} does not exist.", hint="Correct pages_app(templates=[...])."
        )
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with suppress(UnicodeDecodeError):
                found[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
    return found


def page(
    templates: Environment, request: Request, name: str, status: int = 200, *, forms_to: str = "", **facts: Any
) -> Response:
    """Return a page. ``forms_to``: targets of its forms, as in a content security policy; "" without forms."""
    content = templates.get_template(name).render(root=root_of(request), **facts)
    return HTMLResponse(content, status, headers=_headers(forms_to))


def see_other(url: str) -> Response:
    """Redirect with GET, whatever the request's method. RFC 9700 4.12: never 307."""
    return RedirectResponse(url, 303, headers=_headers(""))


def json_of(content: str) -> Response:
    """Return a small JSON response for programs."""
    return Response(content, media_type="application/json", headers=_headers(""))


def asset(content: str | bytes, media_type: str) -> Response:
    """Return a file that pages load."""
    headers = _headers("") | {"cache-control": "public, max-age=3600"}
    return Response(content, media_type=media_type, headers=headers)


def file_of_ours(name: str) -> bytes:
    """Return the content of the built-in file with this name."""
    return _FILES[name]


def put_root(request: Request, base_url: str) -> None:
    """Set the root path of this request's pages to that of ``base_url``.

    A ``root_path`` from a server or a middleware may come from the client (``X-Forwarded-Prefix``), and a link that
    begins with ``//evil.example`` leads to another host. So no link is built from it.
    """
    request.scope[_ROOT] = urlsplit(base_url).path.rstrip("/")


def root_of(request: Request) -> str:
    """Return the path below which the pages are: "", or a path without a trailing slash."""
    return str(request.scope.get(_ROOT, ""))


def _headers(forms_to: str) -> dict[str, str]:
    """Return the headers of a page. With a form, the browser may send the referrer to the pages' own origin."""
    forms = forms_to or "'none'"
    policy = (
        f"default-src 'none'; style-src 'self'; form-action {forms}; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "content-security-policy": policy,
        "referrer-policy": "same-origin" if forms_to else "no-referrer",
        "cache-control": "no-store",
        **ALWAYS,
    }
