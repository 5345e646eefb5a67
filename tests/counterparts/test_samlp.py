"""Users of two tenants sign in at npm samlp, an independently written SAML 2.0 identity provider.

It verifies the signatures of deputize's requests, signs and encrypts its assertions, and logs users out.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from lxml import etree

from deputize.core import Deputy, User
from deputize.core.audit import Audit
from deputize.core.providers import PROVIDERS
from deputize.core.settings import Settings
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.signin.from_settings import sign_in_from
from deputize.core.web.signin.saml.parties import certificate_of
from deputize.core.web.signin.tenants import SignIns
from deputize.sandbox import Sandbox
from tests.core.web.test_saml_attacks import wrap
from tests.core.web.test_saml_sign_in import Browser
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.core.web.web_application import WEB, World, hidden, notes
from tests.support.counterparts import CHECKOUT, SAMLP_HOME, node, require_samlp
from tests.support.saml_provider import KEYS, Request, certificate, key_file
from tests.support.sandbox_deputy import Clock, google_app, new_vault

pytestmark = pytest.mark.counterpart
SERVER: Final = CHECKOUT / "tests" / "counterparts" / "samlp" / "server.cjs"


@pytest.fixture(scope="module")
def samlp() -> Iterator[str]:
    """Return the address of the identity providers ``/acme`` and ``/beta``."""
    require_samlp()
    own = certificate_of(KEYS["deputize"])
    given = {
        name: {
            "key": KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "cert": certificate(KEYS[name]).public_bytes(Encoding.PEM).decode(),
            "service": {
                "cert": own.public_bytes(Encoding.PEM).decode(),
                "publicKey": own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
                "entity": f"{WEB}/sign-in/{name}/metadata",
                "acs": f"{WEB}/sign-in/{name}/callback",
                "logout": f"{WEB}/sign-in/{name}/logout",
            },
        }
        for name in ("acme", "beta")
    }
    process = subprocess.Popen(
        [node() or "node", "--no-deprecation", str(SERVER), str(SAMLP_HOME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    assert process.stdin and process.stdout
    try:
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.stdin.close()  # it ends with its stdin
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@dataclass
class Place:
    """An application with two tenants, and the network to their identity providers."""

    world: World
    sign_ins: SignIns
    http: httpx.AsyncClient

    async def user(self, browser: Browser) -> User | None:
        record = await self.sign_ins.sign_ins[0].sessions.record(browser.jar.get(SESSION, ""))
        return User(record.json["user"][1], record.json["user"][0], frozenset(record.json["roles"])) if record else None

    async def answer(self, url: str, more: str = "") -> dict[str, str]:
        """Return the form that the identity provider's page sends at once."""
        page = await self.http.get(url + more)
        assert page.status_code == 200, page.text
        assert html.unescape(re.findall(r'action="([^"]+)"', page.text)[0]).startswith(WEB)
        return {
            name: html.unescape(re.findall(rf'name="{name}"[^>]*value="([^"]*)"', page.text)[0])
            for name in ("SAMLResponse", "RelayState")
        }

    async def sign_in(self, name: str, more: str = "") -> Browser:
        browser = Browser(self.world)
        back = await browser.come_back(await self.answer(await browser.set_out(name), more), name)
        assert (back.status_code, back.headers.get("location")) == (303, "/activity"), back.text
        return browser


@pytest.fixture
async def here(samlp: str, tmp_path: Path) -> AsyncIterator[Place]:
    clock, vault, sandbox = Clock(time.time()), await new_vault(), Sandbox()
    async with httpx.AsyncClient(trust_env=False) as http:
        for name in ("acme", "beta"):
            (tmp_path / f"{name}.xml").write_bytes((await http.get(f"{samlp}/{name}/metadata")).content)
        deputy = Deputy(
            vault,
            [google_app()],
            pages=WEB,
            providers=PROVIDERS,
            toolkits=[notes],
            transport=sandbox.transport(),
            clock=clock,
            audit=Audit(None, vault.keys.audit, clock=clock),
        )
        key = str(key_file(tmp_path))
        signin = {n: {"saml_metadata_file": str(tmp_path / f"{n}.xml"), "saml_key_file": key} for n in ("acme", "beta")}
        settings = Settings.load(base_url=WEB, signin=signin, roles={"finance": ["groups:finance"]})
        sign_ins = sign_in_from(deputy, settings)
        assert isinstance(sign_ins, SignIns)
        app = pages_app(deputy, verifier=sign_ins, sign_in=sign_ins.path, pages=[*PAGES, *sign_ins.pages])
        yield Place(World(deputy, sandbox, clock, app, WEB), sign_ins, http)


_FORMS: Final = {"signed": (False, 0), "both": (False, 1), "gcm": (True, -1), "cbc": (True, 0)}
"""Whether the assertion is encrypted, and how many signatures more than one can be seen."""


@pytest.mark.parametrize("how", _FORMS)
async def test_users_of_two_tenants_sign_in_with_their_groups(here: Place, samlp: str, how: str) -> None:
    alice = await here.sign_in("acme", f"&how={how}&groups=staff,finance")
    assert await here.user(alice) == User(f"{samlp}/acme#alice", "acme", frozenset({"finance"}))
    sent = base64.b64decode(
        (await here.answer(await Browser(here.world).set_out("acme"), f"&how={how}"))["SAMLResponse"]
    )
    assert (b"EncryptedAssertion" in sent, sent.count(b"<SignatureValue") - 1) == _FORMS[how]
    bob = await here.sign_in("beta", f"&how={how}&as=bob&groups=staff")
    assert await here.user(bob) == User(f"{samlp}/beta#bob", "beta", frozenset())


async def test_identity_provider_accepts_signed_requests_only(here: Place) -> None:
    url = await Browser(here.world).set_out("acme")
    Request.of(url).verify(KEYS["deputize"].public_key())
    unsigned = await here.http.get(url.partition("&SigAlg=")[0])
    other = await here.http.get(url.replace("RelayState=", "RelayState=x"))
    assert (unsigned.status_code, other.status_code) == (400, 400)
    assert "MUST be signed" in unsigned.text and "does not match" in other.text


@pytest.mark.parametrize("kind", range(1, 9))
async def test_wrapped_signature_of_samlp_signs_nobody_in(here: Place, kind: int) -> None:
    """The eight ways to move what samlp signed, with another user in its place."""
    for same_id in (False, True):
        browser = Browser(here.world)
        form = await here.answer(await browser.set_out("acme"), "&how=both" if kind <= 2 else "")
        root = etree.fromstring(base64.b64decode(form["SAMLResponse"]))
        forged = base64.b64encode(etree.tostring(wrap(root, kind, same_id=same_id))).decode()
        refused = await browser.come_back(form | {"SAMLResponse": forged}, "acme")
        assert refused.status_code == 403 and await here.user(browser) is None
        assert (await browser.come_back(form, "acme")).status_code == 303, "the response itself is good"


async def test_response_of_one_tenant_is_no_response_of_the_other(here: Place) -> None:
    browser = Browser(here.world)
    form = await here.answer(await browser.set_out("beta"))
    refused = await browser.come_back(form, "acme")
    assert refused.status_code == 403 and await here.user(browser) is None


async def test_sign_out_ends_the_session_at_the_identity_provider_and_returns(here: Place) -> None:
    browser = await here.sign_in("acme", "&as=carol")
    page = await browser.get("/sign-out")
    there = (await browser.post("/sign-out", form=hidden(page))).headers["location"]
    assert await here.user(browser) is None
    address = ""
    for _ in range(40):  # it asks its other sessions first, at deputize as well, which answers each
        answered = await here.http.get(there)
        assert answered.status_code == 302, answered.text
        address = answered.headers["location"]
        back = await browser.get(address.removeprefix(WEB))
        assert back.status_code == 303, back.text
        there = back.headers["location"]
        if there == "/signed-out":
            break
    Request.of(address, "SAMLResponse").verify(KEYS["acme"].public_key())
    assert there == "/signed-out"


async def test_logout_at_the_identity_provider_ends_every_session_here(here: Place, samlp: str) -> None:
    alice, bob, other = await here.sign_in("beta"), await here.sign_in("beta", "&as=bob"), await here.sign_in("acme")
    here.world.clock.now = time.time() + 1
    answer = await here.http.get(f"{samlp}/beta/logout")
    assert answer.status_code == 302
    for _ in range(40):
        if answer.status_code != 302:
            break
        at_deputize = await here.world.send("GET", answer.headers["location"].removeprefix(WEB))
        assert at_deputize.status_code == 303, at_deputize.text
        there = at_deputize.headers["location"]
        assert urlsplit(there).path == "/beta/logout"
        answer = await here.http.get(there)  # which verifies deputize's signature
    assert (answer.status_code, answer.text) == (200, "")
    assert [await here.user(one) for one in (alice, bob)] == [None, None] and await here.user(other)
