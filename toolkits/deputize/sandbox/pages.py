"""The pages of a simulated provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from deputize.sandbox.people import Person

STYLE = """
 :root{color-scheme:light dark;--page:#eef1f6;--card:#fff;--text:#1d2330;--soft:#5b6478;--line:#d6dbe6;--edge:#b9c1d3}
 @media (prefers-color-scheme:dark){
  :root{--page:#14171f;--card:#1f2430;--text:#e6e9f0;--soft:#a3acc0;--line:#3a4254;--edge:#566078}}
 body{font:16px/1.5 system-ui,sans-serif;background:var(--page);color:var(--text);margin:0;padding:4vh 1rem}
 main{background:var(--card);max-width:30rem;margin:auto;border-radius:14px;padding:2rem;box-shadow:0 2px 14px #0001}
 main p{overflow-wrap:anywhere}
 .sandbox{background:#7a3cff;color:#fff;border-radius:8px;padding:.35rem .8rem;font-weight:600;display:inline-block}
 h1{font-size:1.35rem;font-weight:600}
 fieldset{border:1px solid var(--line);border-radius:10px;margin:1rem 0;padding:.6rem 1rem}
 legend{font-weight:600;padding:0 .3rem} label{display:block;padding:.35rem 0}
 small{color:var(--soft);overflow-wrap:anywhere}
 .buttons{display:flex;gap:.8rem;justify-content:flex-end;margin-top:1.2rem}
 button{font:inherit;font-weight:600;border-radius:9px;padding:.6rem 1.4rem;
  border:1px solid var(--edge);background:var(--card);color:inherit;cursor:pointer}
 button.yes{background:#1c5fd4;border-color:#1c5fd4;color:#fff} button:focus-visible{outline:3px solid #9cc0ff}
"""


def consent_page(
    provider: str,
    app: str,
    people: Iterable[Person],
    chosen: str,
    basic: Sequence[str],
    extra: Mapping[str, str],
    *,
    whole: bool = False,
) -> str:
    """Return the page with the account, the scopes and the decision.

    The people are sorted by address, so that the decoy, who owns nothing, does not come first. ``extra``: each scope
    and its description, which can be unticked, unless ``whole``: all or nothing.
    """
    accounts = "".join(_account(person, chosen) for person in sorted(people, key=lambda person: person.email))
    boxes = "".join((_line if whole else _box)(scope, words) for scope, words in extra.items())
    always = f"<p><small>Always shared: {escape(', '.join(basic))}</small></p>" if basic else ""
    asked = f"<fieldset><legend>{escape(app)} wants to</legend>{boxes}</fieldset>" if boxes else ""
    return framed(
        provider,
        f"{escape(app)} wants access to your account",
        f"""<form method="post"><fieldset><legend>Choose an account</legend>{accounts}</fieldset>{asked}{always}
<div class="buttons"><button name="decision" value="deny" formnovalidate>Deny</button>
<button class="yes" name="decision" value="allow">Allow</button></div></form>""",
    )


def error_page(provider: str, status: int, code: str, message: str) -> str:
    """Return the page of a request that ends without a redirect."""
    return framed(
        provider, "Access blocked", f"<p>{escape(message)}</p><p><small>Error {status}: {escape(code)}</small></p>"
    )


def _account(person: Person, chosen: str) -> str:
    mark = " checked" if person.email == chosen else ""
    return (
        f'<label><input type="radio" name="account" value="{escape(person.email)}" required{mark}> '
        f"{escape(person.name)} <small>{escape(person.email)}</small></label>"
    )


def _box(scope: str, words: str) -> str:
    return (
        f'<label><input type="checkbox" name="scope" value="{escape(scope)}" checked> '
        f"{escape(words)}<br><small>{escape(scope)}</small></label>"
    )


def _line(scope: str, words: str) -> str:
    return f"<p>{escape(words)}<br><small>{escape(scope)}</small></p>"


def framed(provider: str, title: str, body: str) -> str:
    """Return a page of a simulated provider, marked as such. ``title`` and ``body`` are HTML."""
    sign = f"Sandbox &ndash; not {escape(provider)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{sign}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><main><p class="sandbox">{sign}</p><h1>{title}</h1>{body}</main></body></html>'
    )
