"""The simulated browser: links, forms, cookies, redirects, and the steps of a consent."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from deputize.sandbox import Browser, Page, Sandbox
from tests.sandbox.registered_app import ALICE, BOB, GMAIL, TOKEN, TestApp, callback

OURS = "https://deputy.example.test"
Answer = Callable[[httpx.Request], httpx.Response]


class Site(httpx.AsyncBaseTransport):
    """The deputy's pages by path, and the sandbox for every other host."""

    def __init__(self, pages: dict[str, Answer], sandbox: Sandbox | None = None) -> None:
        self.pages = pages
        self.seen: list[httpx.Request] = []
        self._sandbox = (sandbox or Sandbox()).transport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host not in ("deputy.example.test", "127.0.0.1"):
            return await self._sandbox.handle_async_request(request)
        await request.aread()
        self.seen.append(request)
        return self.pages[request.url.path](request)


def page(text: str, **headers: str) -> Answer:
    return lambda request: httpx.Response(200, html=text, headers={k.replace("_", "-"): v for k, v in headers.items()})


def to(url: str, status: int = 303, cookies: tuple[str, ...] = ()) -> Answer:
    headers = [("location", url), *(("set-cookie", cookie) for cookie in cookies)]
    return lambda request: httpx.Response(status, headers=headers)


def connect_site(sandbox: Sandbox, link: str) -> Site:
    """A connect page of one POST form that leads to the provider, and a callback that has its own POST form."""
    form = (
        '<form method="post" action="/go"><input type="hidden" name="csrf" value="c1"><button>Connect</button></form>'
    )
    trap = '<h1>Connected</h1><form method="post" action="/disconnect"><button>Disconnect</button></form>'
    pages = {
        "/connect/t1": page(form),
        "/go": to(link, cookies=("bound=b1; Path=/; HttpOnly; Secure",)),
        "/callback/google": page(trap),
    }
    return Site(pages, sandbox)


async def test_allow_passes_our_page_and_the_providers_to_the_last_one(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly", redirect_uri=f"{OURS}/callback/google")
    site = connect_site(sandbox, flow.link)
    done = await Browser(site, base_url=OURS).allow("/connect/t1")
    assert (done.status, "Connected" in done.text) == (200, True)
    assert [request.url.path for request in site.seen] == ["/connect/t1", "/go", "/callback/google"]
    assert site.seen[1].content == b"csrf=c1"
    assert site.seen[2].headers["cookie"] == "bound=b1"
    code = site.seen[2].url.params["code"]
    reply = await app.http.post(TOKEN, data=flow.form(code, redirect_uri=f"{OURS}/callback/google"))
    assert reply.status_code == 200


async def test_deny_passes_the_same_pages_and_returns_access_denied(app: TestApp, sandbox: Sandbox) -> None:
    site = connect_site(sandbox, app.flow("readonly", redirect_uri=f"{OURS}/callback/google").link)
    done = await Browser(site, base_url=OURS).deny("/connect/t1")
    assert "Connected" in done.text
    assert site.seen[-1].url.params["error"] == "access_denied"


async def test_instant_provider_answer_needs_no_button_press(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.deny = True
    site = connect_site(sandbox, app.flow("readonly", redirect_uri=f"{OURS}/callback/google").link)
    await Browser(site, base_url=OURS).allow("/connect/t1")
    assert [request.url.path for request in site.seen] == ["/connect/t1", "/go", "/callback/google"]


async def test_allow_selects_the_account_and_unticks_scopes(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly", "send")
    done = await app.consent(flow, as_=BOB, untick=["gmail.send"])
    assert GMAIL + "send" not in callback(done)["scope"]
    assert [seen.who for seen in sandbox.requests if seen.method == "POST"] == [BOB]


async def test_account_or_scope_missing_from_the_page_is_an_error(app: TestApp) -> None:
    with pytest.raises(LookupError, match=r"eve@example\.test"):
        await app.consent(app.flow("readonly"), as_="eve@example.test")
    with pytest.raises(LookupError, match=r"gmail\.send"):
        await app.consent(app.flow("readonly"), untick=["gmail.send"])


async def test_cookies_are_stored_by_host_and_path_and_deleted_on_expiry() -> None:
    pages = {
        "/set": to("/see", cookies=("a=1; Path=/", "b=2; Path=/see", "c=3; Path=/other")),
        "/see": page("ok"),
        "/drop": to("/see", cookies=("a=; Max-Age=0; Path=/", "b=; Path=/see; Expires=Thu, 01 Jan 1970 00:00:00 GMT")),
    }
    site = Site(pages)
    browser = Browser(site, base_url=OURS)
    await browser.open("/set")
    assert site.seen[-1].headers["cookie"] == "a=1; b=2"
    await Browser(site, base_url=OURS).open("/see")
    assert "cookie" not in site.seen[-1].headers
    await browser.open("http://127.0.0.1/see")
    assert "cookie" not in site.seen[-1].headers
    await browser.open("/drop")
    assert "cookie" not in site.seen[-1].headers
    assert browser.cookies.names("deputy.example.test") == {"c"}


async def test_secure_cookie_is_stored_and_sent_over_https_only() -> None:
    site = Site({"/set": to("/see", cookies=("__Host-a=1; Path=/; Secure",)), "/see": page("ok")})
    browser = Browser(site, base_url="http://127.0.0.1:8765")
    await browser.open("/set")
    assert "cookie" not in site.seen[-1].headers
    assert browser.cookies.names("127.0.0.1") == {"__Host-a"}


async def test_redirect_after_a_form_becomes_a_get_unless_307_or_308() -> None:
    form = '<form method="post" action="{}"><input name="x" value="1"></form>'
    pages = {
        "/one": page(form.format("/303")),
        "/two": page(form.format("/307")),
        "/303": to("/end", 303),
        "/307": to("/end", 307),
        "/end": page("end"),
    }
    site = Site(pages)
    browser = Browser(site, base_url=OURS)
    for start in ("/one", "/two"):
        opened = await browser.open(start)
        await browser.submit(opened, opened.forms[0])
    ends = [(seen.method, seen.content) for seen in site.seen if seen.url.path == "/end"]
    assert ends == [("GET", b""), ("POST", b"x=1")]


async def test_endless_redirects_are_cut_off() -> None:
    site = Site({"/loop": to("/loop")})
    with pytest.raises(LookupError, match="redirects"):
        await Browser(site, base_url=OURS).open("/loop")
    assert len(site.seen) == 10


async def test_form_sends_what_a_browser_would() -> None:
    html = """<form action="/end"><input name="t" value="a b"><input type="checkbox" name="c" value="1" checked>
      <input type="checkbox" name="c" value="2"><input type="radio" name="r" value="x"><input name="gone" disabled>
      <select name="s"><option value="o1"><option value="o2" selected></select><textarea name="m">two
lines &amp; more</textarea><button name="b" value="1">Go</button><input type="submit" name="also" value="2"></form>"""
    site = Site({"/form": page(html), "/end": page("end")})
    browser = Browser(site, base_url=OURS)
    opened = await browser.open("/form")
    await browser.submit(opened, opened.forms[0], r="x", c=["2", "3"])
    assert site.seen[-1].url.params.multi_items() == [
        ("t", "a b"),
        ("s", "o2"),
        ("m", "two\nlines & more"),
        ("r", "x"),
        ("c", "2"),
        ("c", "3"),
    ]


@pytest.mark.parametrize(("policy", "origin"), [("", OURS), ("same-origin", OURS), ("no-referrer", "null")])
async def test_form_sends_its_origin_like_a_browser(policy: str, origin: str) -> None:
    site = Site({"/f": page('<form method="post" action="/end"></form>', referrer_policy=policy), "/end": page("end")})
    browser = Browser(site, base_url=OURS)
    opened = await browser.open("/f")
    await browser.submit(opened, opened.forms[0])
    assert site.seen[-1].headers["origin"] == origin


async def test_page_repr_shows_no_secret(app: TestApp) -> None:
    flow = app.flow("readonly")
    done = await app.consent(flow)
    assert callback(done)["code"] not in repr(done) and flow.state not in repr(done)
    hidden = Page("u", 200, {}, f'<form action="/x?state={quote(flow.state)}"><input name="s" value="{flow.state}">')
    assert flow.state not in repr(hidden.forms)


async def test_browser_logs_no_address(app: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    flow = app.flow("readonly")
    await app.consent(flow, as_=ALICE)
    assert flow.state not in caplog.text
