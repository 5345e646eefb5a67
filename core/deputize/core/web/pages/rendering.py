"""Pages from templates, and the headers that all our answers have.

Templates and files are read before the first request: a request runs on an event loop, which reading would block.
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

from deputize.core import text
from deputize.core.errors import SettingsError
from deputize.core.web.security_headers import ALWAYS

_ROOT: Final = "deputize.root"
_HERE: Final = Path(__file__).parent / "templates"
_FILES: Final[Mapping[str, bytes]] = {name: (_HERE / name).read_bytes() for name in ("style.css", "favicon.svg")}


def visible(value: Any) -> Any:
    """Text whose characters all show: those that reorder or hide what a person reads become their names."""
    return text.visible(value) if type(value) is str else value


def templates_in(*folders: Path) -> Environment:
    """Our templates, and those of these folders, as they are now: of two with one name, the first folder's.

    Raises `SettingsError` for a folder that is not there.
    """
    return _templates(*folders) if folders else _ours()


@cache
def _ours() -> Environment:
    """Those that nobody has changed, for all pages of a process: each is compiled when it is first used."""
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
    """The text of each file below a folder, by its path there. What is no text is no template."""
    if not folder.is_dir():
        raise SettingsError(f"There is no folder {str(folder)!r} with templates.", hint="pages_app(templates=[folder])")
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with suppress(UnicodeDecodeError):
                found[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
    return found


def page(
    templates: Environment, request: Request, name: str, status: int = 200, *, forms_to: str = "", **facts: Any
) -> Response:
    """A page. ``forms_to``: where its forms may lead, as in a content security policy; empty where it has none."""
    content = templates.get_template(name).render(root=root_of(request), **facts)
    return HTMLResponse(content, status, headers=_headers(forms_to))


def see_other(url: str) -> Response:
    """Go there with GET, whatever this was. RFC 9700 4.12: never 307."""
    return RedirectResponse(url, 303, headers=_headers(""))


def json_of(content: str) -> Response:
    """A small answer for programs."""
    return Response(content, media_type="application/json", headers=_headers(""))


def asset(content: str | bytes, media_type: str) -> Response:
    """Something that pages load."""
    headers = _headers("") | {"cache-control": "public, max-age=3600"}
    return Response(content, media_type=media_type, headers=headers)


def file_of_ours(name: str) -> bytes:
    """A file of ours that pages load."""
    return _FILES[name]


def put_root(request: Request, base_url: str) -> None:
    """Let the pages of this request lie below the path of our own address.

    What a server or a middleware says in ``root_path`` may come from the client (``X-Forwarded-Prefix``), and a link
    that begins with ``//evil.example`` leads away: nothing is built from it.
    """
    request.scope[_ROOT] = urlsplit(base_url).path.rstrip("/")


def root_of(request: Request) -> str:
    """Below which path our pages lie: empty, or a path without a slash at its end."""
    return str(request.scope.get(_ROOT, ""))


def _headers(forms_to: str) -> dict[str, str]:
    """A page with a form of ours lets its own origin know where the form came from; nothing else tells anybody."""
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
