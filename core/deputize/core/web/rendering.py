"""Pages from templates, and the headers that all our answers have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from deputize.core import text
from deputize.core.web.security_headers import ALWAYS

_ROOT: Final = "deputize.root"
_HERE: Final = Path(__file__).parent / "templates"


def visible(value: Any) -> Any:
    """Text whose characters all show: those that reorder or hide what a person reads become their names."""
    return text.visible(value) if type(value) is str else value


def templates_in(*folders: Path) -> Environment:
    """Our templates, and those of these folders: of two with one name, the first folder's."""
    found = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["zipped"] = zip
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
    """A file from the folder of our templates."""
    return (_HERE / name).read_bytes()


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
