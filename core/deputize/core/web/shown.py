"""Pages from templates, and the headers that all our answers have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

_HERE: Final = Path(__file__).parent / "templates"
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


def visible(value: Any) -> Any:
    """Text whose characters all show: those that reorder or hide what a person reads become their names."""
    return _HIDDEN.sub(lambda m: f"[U+{ord(m[0]):04X}]", value) if type(value) is str else value


_templates = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=visible,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["zipped"] = zip


def page(request: Request, name: str, status: int = 200, *, forms_to: str = "", **facts: Any) -> Response:
    """A page. ``forms_to``: where its forms may lead, as in a content security policy; empty where it has none."""
    text = _templates.get_template(name).render(root=root_of(request), **facts)
    return HTMLResponse(text, status, headers=_headers(forms_to))


def see_other(url: str) -> Response:
    """Go there with GET, whatever this was. RFC 9700 4.12: never 307."""
    return RedirectResponse(url, 303, headers=_headers(""))


def json_of(text: str) -> Response:
    """A small answer for programs."""
    return Response(text, media_type="application/json", headers=_headers(""))


def style(request: Request) -> Response:
    """The stylesheet."""
    headers = _headers("") | {"cache-control": "public, max-age=3600"}
    return Response((_HERE / "style.css").read_bytes(), media_type="text/css", headers=headers)


def root_of(request: Request) -> str:
    """Where the application is mounted: empty, or a path without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _headers(forms_to: str) -> dict[str, str]:
    """A page with a form of ours lets its own origin know where the form came from; nothing else tells anybody."""
    forms = forms_to or "'none'"
    policy = f"default-src 'none'; style-src 'self'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
    return {
        "content-security-policy": policy,
        "referrer-policy": "same-origin" if forms_to else "no-referrer",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
