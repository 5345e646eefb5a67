"""Users sign in at the SAML identity provider of their tenant, through settings, pages and their own browser."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from lxml import etree

from deputize.core import Deputy, SettingsError, User
from deputize.core.audit import Audit
from deputize.core.providers import PROVIDERS
from deputize.core.roles import RoleMap
from deputize.core.settings import Settings
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.signin.from_settings import guards_from, sign_in_from
from deputize.core.web.signin.saml.parties import IdentityProvider, read_keys
from deputize.core.web.signin.saml.saml_sign_in import SamlSignIn
from deputize.core.web.signin.tenants import SignIns
from deputize.sandbox import Sandbox
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.core.web.web_application import WEB, PlainBrowser, World, hidden, notes
from tests.support.saml_provider import KEYS, NS, Request, SamlProvider, key_file
from tests.support.sandbox_deputy import Clock, google_app, new_vault

ACME, BETA = "https://idp.acme.test", "https://idp.beta.test"
OURS = KEYS["deputize"].public_key()


class Browser(PlainBrowser):
    """A user's browser."""

    async def set_out(self, name: str = "acme", **query: str) -> str:
        return await self.redirect(f"/sign-in/{name}", **{"next": "/activity"} | query)

    async def come_back(self, form: dict[str, str], name: str = "acme") -> httpx.Response:
        """Send the form as the identity provider's page does, and follow the redirect."""
        answer = await self.post_from_elsewhere(f"/sign-in/{name}/callback", form)
        return await self.get(answer.headers["location"]) if answer.status_code == 303 else answer


@dataclass
class Place:
    """An application whose users come from two companies with SAML."""

    world: World
    sign_ins: SignIns
    clock: Clock
    acme: SamlProvider
    beta: SamlProvider

    def browser(self) -> Browser:
        return Browser(self.world)

    async def signed_in(self, name: str = "acme", **changes: Any) -> Browser:
        browser, provider = self.browser(), {"acme": self.acme, "beta": self.beta}[name]
        answer = await browser.come_back(provider.answer(await browser.set_out(name), **changes), name)
        assert answer.status_code == 303, answer.text
        return browser

    async def user(self, browser: Browser) -> User | None:
        found = await self.sign_ins.sign_ins[0].sessions.record(browser.jar.get(SESSION, ""))
        return User(found.json["user"][1], found.json["user"][0], frozenset(found.json["roles"])) if found else None


def tables(folder: Path, **more: dict[str, Any]) -> dict[str, Any]:
    usual = {"saml_key_file": str(key_file(folder))}
    return {
        "acme": usual
        | {"saml_metadata_file": str(folder / "acme.xml"), "domains": ["acme.test"]}
        | more.get("acme", {}),
        "beta": usual | {"saml_metadata_file": str(folder / "beta.xml"), "tenant": "org-7"} | more.get("beta", {}),
    }


async def place(folder: Path, roles: dict[str, list[str]] | None = None, **more: dict[str, Any]) -> Place:
    clock, vault, sandbox = Clock(time.time()), await new_vault(), Sandbox()
    acme, beta = SamlProvider(ACME, KEYS["acme"], clock), SamlProvider(BETA, KEYS["beta"], clock)
    for name, provider in (("acme", acme), ("beta", beta)):
        (folder / f"{name}.xml").write_bytes(provider.metadata())
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
    settings = Settings.load(base_url=WEB, signin=tables(folder, **more), roles=roles or {})
    sign_ins = sign_in_from(deputy, settings)
    assert isinstance(sign_ins, SignIns) and guards_from(settings, sign_ins) == {}
    app = pages_app(deputy, verifier=sign_ins, sign_in=sign_ins.path, pages=[*PAGES, *sign_ins.pages])
    return Place(World(deputy, sandbox, clock, app, WEB), sign_ins, clock, acme, beta)


@pytest.fixture
async def here(tmp_path: Path) -> Place:
    return await place(tmp_path)


# ------------------------------------------------------------- in


async def test_user_signs_in_in_the_tenant_of_the_identity_provider(here: Place) -> None:
    browser = here.browser()
    url = await browser.set_out()
    asked = Request.of(url)
    asked.verify(OURS)
    assert url.startswith(f"{ACME}/sso?") and asked.xml.get("ForceAuthn") is None
    answer = await browser.come_back(here.acme.answer(url))
    assert (answer.status_code, answer.headers["location"]) == (303, "/activity")
    assert await here.user(browser) == User(f"{ACME}#alice-1", "acme")
    assert (await browser.get("/activity")).status_code == 200
    other = await here.signed_in("beta")
    assert await here.user(other) == User(f"{BETA}#alice-1", "org-7")


async def test_email_address_chooses_the_identity_provider(here: Place) -> None:
    browser = here.browser()
    page = await browser.get("/sign-in")
    chosen = await browser.post("/sign-in", form=hidden(page), next="/activity", email="alice@acme.test")
    assert chosen.headers["location"] == "/sign-in/acme?next=%2Factivity"


async def test_metadata_has_what_an_identity_provider_needs(here: Place) -> None:
    answer = await here.world.send("GET", "/sign-in/acme/metadata")
    assert answer.headers["content-type"] == "application/samlmetadata+xml"
    root = etree.fromstring(answer.content)
    role = root.find("md:SPSSODescriptor", NS)
    assert role is not None and root.get("entityID") == f"{WEB}/sign-in/acme/metadata"
    assert (role.get("AuthnRequestsSigned"), role.get("WantAssertionsSigned")) == ("true", "true")
    places = [one.get("Location") for one in role if one.get("Location")]
    assert places == [f"{WEB}/sign-in/acme/logout"] * 2 + [f"{WEB}/sign-in/acme/callback"]
    for one in role.iter(f"{{{NS['ds']}}}X509Certificate"):
        assert x509.load_der_x509_certificate(base64.b64decode(one.text or "")).public_key() == OURS
    assert [one.get("use") for one in role.findall("md:KeyDescriptor", NS)] == ["signing", "encryption"]


async def test_attributes_give_roles_and_a_new_sign_in_takes_them(tmp_path: Path) -> None:
    groups, role = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "urn:oid:1.3.6.1.4.1.5923.1.1.1.7"
    roles = {
        "finance": ["groups:finance"],
        "auditor": [f"{groups}:0a-1b"],
        "operator": [f"{role}:urn:mace:acme.test:operator"],
        "approver": ["groups:nobody"],
    }
    here = await place(tmp_path, roles)
    here.acme.attributes = {"groups": ["staff", "finance"], groups: ["0a-1b"], role: ["urn:mace:acme.test:operator"]}
    user = await here.user(await here.signed_in())
    assert user and user.roles == frozenset({"finance", "auditor", "operator"})
    here.acme.attributes = {}
    user = await here.user(await here.signed_in())
    assert user and user.roles == frozenset()


@pytest.mark.parametrize(
    ("entry", "pair"),
    [
        ("groups:a:b", ("groups", "a:b")),
        ("urn:oid:2.5.4.10:Acme: the firm", ("urn:oid:2.5.4.10", "Acme: the firm")),
        ("urn:mace:dir:attribute-def:ou:sales", ("urn:mace:dir:attribute-def:ou", "sales")),
        ("http://schemas.microsoft.com/claims/role:x", ("http://schemas.microsoft.com/claims/role", "x")),
    ],
)
def test_role_entry_ends_its_attribute_name_at_one_documented_colon(entry: str, pair: tuple[str, str]) -> None:
    assert RoleMap.of({"finance": [entry]}).entries == {"finance": (pair,)}


@pytest.mark.parametrize("entry", ["urn:oid:2.5.4.10", "urn:oid:2.5.4.10:", "urn:x:"])
def test_role_entry_without_a_value_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match="not a claim and a value"):
        RoleMap.of({"finance": [entry]})


async def test_attribute_can_be_the_user_and_can_be_required(tmp_path: Path) -> None:
    acme = {
        "sign_in_subject": "urn:oid:0.9.2342.19200300.100.1.1",
        "saml_name_id": "transient",
        "required_claims": {"urn:oid:2.5.4.10": "Acme"},
    }
    here, transient = await place(tmp_path, acme=acme), "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
    here.acme.attributes = {"urn:oid:0.9.2342.19200300.100.1.1": ["alice"], "urn:oid:2.5.4.10": ["Acme"]}
    assert await here.user(await here.signed_in(format=transient)) == User(f"{ACME}#alice", "acme")
    for attributes in (
        {"urn:oid:0.9.2342.19200300.100.1.1": ["alice", "bob"], "urn:oid:2.5.4.10": ["Acme"]},
        {"urn:oid:0.9.2342.19200300.100.1.1": ["alice"], "urn:oid:2.5.4.10": ["Beta"]},
        {"urn:oid:2.5.4.10": ["Acme"]},
    ):
        here.acme.attributes, browser = attributes, here.browser()
        answer = await browser.come_back(here.acme.answer(await browser.set_out(), format=transient))
        assert answer.status_code == 403 and SESSION not in browser.jar


async def test_session_ends_no_later_than_at_the_identity_provider(here: Place) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(here.clock() + 60))
    browser = await here.signed_in(session_ends=f'SessionNotOnOrAfter="{soon}"')
    assert await here.user(browser)
    here.clock.now += 61
    assert await here.user(browser) is None


async def test_step_up_asks_for_a_new_authentication_by_the_accepted_means(tmp_path: Path) -> None:
    password = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
    here = await place(tmp_path, acme={"step_up_seconds": 300, "step_up_acr": [password]})
    browser = await here.signed_in()
    here.clock.now += 400
    url = await browser.set_out(step_up="1")
    asked = Request.of(url).xml
    assert asked.get("ForceAuthn") == "true"
    assert asked.findtext("samlp:RequestedAuthnContext/saml:AuthnContextClassRef", "", NS) == password
    old = await browser.come_back(here.acme.answer(url, authenticated=here.clock() - 300))
    assert old.status_code == 403
    new = await browser.come_back(here.acme.answer(await browser.set_out(step_up="1")))
    assert new.status_code == 303


# ------------------------------------------------------------- refused


async def test_answer_to_the_request_of_another_browser_is_refused(here: Place) -> None:
    """Mallory sends Alice's browser an answer for Mallory (login CSRF), with or without a sign-in of Alice's own."""
    mallory, alice = here.browser(), here.browser()
    form = here.acme.answer(await mallory.set_out())
    refused = await alice.come_back(form)
    assert refused.status_code == 403 and SESSION not in alice.jar
    own = Request.of(await alice.set_out()).relay_state
    stolen = here.acme.answer(await mallory.set_out())
    refused = await alice.come_back(stolen | {"RelayState": own})
    assert refused.status_code == 403 and SESSION not in alice.jar


async def test_assertion_is_used_once(here: Place) -> None:
    browser = here.browser()
    form = here.acme.answer(await browser.set_out())
    jar = dict(browser.jar)
    first = await browser.post_from_elsewhere("/sign-in/acme/callback", form)
    assert first.status_code == 303
    again = await browser.post_from_elsewhere("/sign-in/acme/callback", form)
    assert again.status_code == 403
    assert (await browser.get(first.headers["location"])).status_code == 303
    thief = Browser(here.world, jar=jar)  # with the cookie of the request, which the first use has deleted
    assert (await thief.get(first.headers["location"])).status_code == 403 and SESSION not in thief.jar
    assert (await thief.post_from_elsewhere("/sign-in/acme/callback", form)).status_code == 403


async def test_stored_result_names_nobody_after_its_use_and_expires(here: Place) -> None:
    await here.signed_in()
    vault = here.world.deputy.vault
    [record] = await vault.scan("assertion")
    assert record.json.keys() == {"expires"} and record.json["expires"] <= here.clock() + 720
    browser = here.browser()
    stored = await browser.post_from_elsewhere("/sign-in/acme/callback", here.acme.answer(await browser.set_out()))
    here.clock.now += 590
    assert (await browser.get(stored.headers["location"])).status_code == 403


async def test_result_of_an_earlier_mapping_of_roles_is_refused(tmp_path: Path) -> None:
    """The settings change between the identity provider's answer and the browser's return."""
    here = await place(tmp_path, {"finance": ["groups:staff"]})
    here.acme.attributes, browser = {"groups": ["staff"]}, here.browser()
    stored = await browser.post_from_elsewhere("/sign-in/acme/callback", here.acme.answer(await browser.set_out()))
    for one in here.sign_ins.sign_ins:
        one.roles = RoleMap.of({"finance": ["groups:finance"]})
        vars(one)["sessions"] = replace(one.sessions, mapping=one.roles.digest)
    assert (await browser.get(stored.headers["location"])).status_code == 403 and SESSION not in browser.jar
    assert await here.user(await here.signed_in())


async def test_sign_in_that_began_nowhere_is_refused(here: Place) -> None:
    """IdP-initiated: a response without a request, and nothing is stored."""
    browser = here.browser()
    form = here.acme.answer(await browser.set_out(), request="") | {"RelayState": "/activity"}
    assert (await browser.come_back(form)).status_code == 403
    assert SESSION not in browser.jar and await here.world.deputy.vault.scan("assertion") == []


async def test_identity_provider_of_another_tenant_answers_for_its_own_users_only(here: Place) -> None:
    """Whoever controls beta's identity provider cannot become a user of acme."""
    browser = here.browser()
    url = await browser.set_out("acme")
    for changes in ({}, {"issuer": ACME}):
        answer = await browser.come_back(here.beta.answer(url, **changes), "acme")
        assert answer.status_code == 403 and SESSION not in browser.jar
    # a good answer of beta's to a request of acme's, handed over at acme's address
    beta_url = await browser.set_out("beta")
    audience = Request.of(beta_url).xml.findtext("saml:Issuer", "", NS)
    acs = f"{WEB}/sign-in/beta/callback"
    asked = Request.of(url)
    root = here.beta.response(
        asked.xml, here.beta.sign(here.beta.assertion(asked.xml, audience=audience, acs=acs)), acs=acs
    )
    form = {"SAMLResponse": base64.b64encode(etree.tostring(root)).decode(), "RelayState": asked.relay_state}
    stored = await browser.post_from_elsewhere("/sign-in/beta/callback", form)
    assert stored.status_code == 303
    for name in ("acme", "beta"):
        moved = stored.headers["location"].replace("/sign-in/beta/", f"/sign-in/{name}/")
        assert (await browser.get(moved)).status_code == 403 and SESSION not in browser.jar


@pytest.mark.parametrize(
    "form", [{}, {"SAMLResponse": "*"}, {"SAMLResponse": "PGEvPg=="}, {"SAMLResponse": "A" * 400000}]
)
async def test_form_without_a_response_is_refused(here: Place, form: dict[str, str]) -> None:
    answer = await here.browser().post_from_elsewhere("/sign-in/acme/callback", form)
    assert answer.status_code == 403 and await here.world.deputy.vault.scan("assertion") == []


@pytest.mark.parametrize(
    "query",
    ["", "?state=x&answer=y", "?answer=" + "0" * 64, "?answer=" + "0" * 32 + "." + "0" * 64, "?state=&answer=%00"],
)
async def test_callback_without_a_sign_in_is_refused(here: Place, query: str) -> None:
    assert (await here.browser().get(f"/sign-in/acme/callback{query}")).status_code == 403


# ------------------------------------------------------------- out


async def test_sign_out_ends_the_session_here_and_asks_the_identity_provider(here: Place) -> None:
    browser = await here.signed_in()
    page = await browser.get("/sign-out")
    answer = await browser.post("/sign-out", form=hidden(page))
    asked = Request.of(answer.headers["location"])
    asked.verify(OURS)
    assert answer.headers["location"].startswith(f"{ACME}/slo?") and SESSION not in browser.jar
    assert (asked.xml.findtext("saml:NameID", "", NS), asked.xml.findtext("samlp:SessionIndex", "", NS)) == (
        "alice-1",
        "session-1",
    )
    back = await browser.get("/sign-in/acme/logout?SAMLResponse=x")
    assert back.headers["location"] == "/signed-out"


async def test_single_logout_ends_the_session_in_every_browser(here: Place) -> None:
    browsers = [await here.signed_in(), await here.signed_in()]
    here.acme.session = "session-2"
    other_session = await here.signed_in()
    at_beta = await here.signed_in("beta")
    here.clock.now += 1
    url = here.acme.logout_url(f"{WEB}/sign-in/acme/logout", session="session-1")
    answer = await here.world.send("GET", urlsplit(url).path + "?" + urlsplit(url).query)
    said = Request.of(answer.headers["location"], "SAMLResponse")
    said.verify(OURS)
    assert answer.headers["location"].startswith(f"{ACME}/slo?") and said.relay_state == "back"
    assert said.xml.find("samlp:Status/samlp:StatusCode", NS).get("Value", "").endswith(":Success")  # type: ignore[union-attr]
    assert [await here.user(one) for one in browsers] == [None, None]
    assert await here.user(other_session) and await here.user(at_beta)
    again = await here.world.send("GET", urlsplit(url).path + "?" + urlsplit(url).query)
    assert again.status_code == 403


async def test_answer_to_a_logout_signs_no_relay_state_that_somebody_added(here: Place) -> None:
    url = here.acme.logout_url(f"{WEB}/sign-in/acme/logout") + "&%52elayState=https://evil.example"
    answer = await here.world.send("GET", urlsplit(url).path + "?" + urlsplit(url).query)
    assert Request.of(answer.headers["location"], "SAMLResponse").relay_state == "back"


async def test_logout_ends_a_session_with_a_long_index(here: Place) -> None:
    here.acme.session = "s" * 300
    browser = await here.signed_in()
    here.clock.now += 1
    url = here.acme.logout_url(f"{WEB}/sign-in/acme/logout")
    await here.world.send("GET", urlsplit(url).path + "?" + urlsplit(url).query)
    assert await here.user(browser) is None


async def test_single_logout_by_form_ends_all_sessions_of_the_user(here: Place) -> None:
    browsers = [await here.signed_in()]
    here.acme.session = "session-2"
    browsers.append(await here.signed_in())
    here.clock.now += 1
    to = f"{WEB}/sign-in/acme/logout"
    forged = base64.b64encode(etree.tostring(here.acme.sign(here.acme.logout(to, session=""), KEYS["beta"]))).decode()
    refused = await here.browser().post_from_elsewhere("/sign-in/acme/logout", {"SAMLRequest": forged})
    assert refused.status_code == 403 and await here.user(browsers[0])
    good = base64.b64encode(etree.tostring(here.acme.sign(here.acme.logout(to, session="")))).decode()
    answer = await here.browser().post_from_elsewhere("/sign-in/acme/logout", {"SAMLRequest": good})
    assert answer.status_code == 303 and [await here.user(one) for one in browsers] == [None, None]


async def test_sign_in_that_was_under_way_at_a_logout_does_not_survive_it(here: Place) -> None:
    browser = here.browser()
    form = here.acme.answer(await browser.set_out())
    stored = await browser.post_from_elsewhere("/sign-in/acme/callback", form)
    here.clock.now += 1
    url = here.acme.logout_url(f"{WEB}/sign-in/acme/logout")
    await here.world.send("GET", urlsplit(url).path + "?" + urlsplit(url).query)
    await browser.get(stored.headers["location"])
    assert await here.user(browser) is None


@pytest.mark.parametrize("answer", ["received", "held back"])
async def test_sign_in_that_was_under_way_at_an_offboarding_does_not_survive_it(here: Place, answer: str) -> None:
    """The user has the identity provider's answer, and uses it when the access has ended."""
    browser, alice, at = here.browser(), User(f"{ACME}#alice-1", "acme"), "/sign-in/acme/callback"
    form = here.acme.answer(await browser.set_out())
    here.clock.now += 1
    if answer == "received":
        stored = await browser.post_from_elsewhere(at, form)
        await here.world.deputy.offboard(alice, "left")
    else:
        await here.world.deputy.offboard(alice, "left")
        await here.world.deputy.erase(alice)
        stored = await browser.post_from_elsewhere(at, form)
    await browser.get(stored.headers["location"])
    assert await here.user(browser) is None
    here.clock.now += 1
    assert await here.user(await here.signed_in()), "who comes back later signs in again"


# ------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"issuer": "https://login.acme.test"}, "issuer: only of an OpenID Connect issuer"),
        ({"client_secret": "x"}, "client_secret: only of"),
        ({"saml_key_file": None}, "set both, or none"),
        ({"saml_name_id": "windows"}, "saml_name_id"),
    ],
)
def test_table_that_contradicts_itself_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(base_url=WEB, signin=tables(tmp_path, acme=more))
    assert said in f"{caught.value.message} {caught.value.hint}"


async def test_transient_name_is_no_user(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="transient NameID names nobody"):
        await place(tmp_path, acme={"saml_name_id": "transient"})


async def test_identity_provider_of_two_tenants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="have the same issuer"):
        await place(tmp_path, beta={"saml_metadata_file": str(tmp_path / "acme.xml")})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "well-formed"),
        (b"<!DOCTYPE x><x/>", "has a DTD"),
        (b"<a/>", "EntityDescriptor"),
        (SamlProvider(ACME, KEYS["acme"], time.time).metadata().replace(b"HTTP-Redirect", b"SOAP"), "HTTP-Redirect"),
        (SamlProvider("http://idp.test", KEYS["acme"], time.time).metadata(), "not https"),
        (SamlProvider(f"{ACME}#x", KEYS["acme"], time.time).metadata(), "entityID"),
        (SamlProvider(ACME, KEYS["acme"], time.time).metadata().replace(b"signing", b"encryption"), "no certificate"),
        (SamlProvider(ACME, KEYS["acme"], time.time).metadata().replace(b"cate>MII", b"cate>XXX"), "cannot be read"),
        (SamlProvider(ACME, generate_private_key(65537, 1024), time.time).metadata(), "1024 bits"),  # noqa: S505
    ],
)
def test_unusable_metadata_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "idp.xml").write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        IdentityProvider.read(tmp_path / "idp.xml")
    with pytest.raises(SettingsError, match="No such file"):
        IdentityProvider.read(tmp_path / "missing.xml")


def test_key_file_has_usable_keys_newest_first(tmp_path: Path) -> None:
    both = key_file(tmp_path, "deputize").read_bytes() + key_file(tmp_path, "acme").read_bytes()
    (tmp_path / "acme.pem").write_bytes(both)
    assert [one.public_key() for one in read_keys(tmp_path / "acme.pem")] == [OURS, KEYS["acme"].public_key()]
    (tmp_path / "acme.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")
    with pytest.raises(SettingsError, match="holds no RSA private key"):
        read_keys(tmp_path / "acme.pem")
    (tmp_path / "acme.pem").chmod(0o644)
    with pytest.raises(SettingsError):
        read_keys(tmp_path / "acme.pem")


@pytest.mark.processes
def test_nothing_imports_xml_libraries_without_saml() -> None:
    code = (
        "import sys; sys.modules['lxml'] = None; sys.modules['signxml'] = None\n"
        "import deputize.core.web.signin.from_settings, deputize.core.settings\n"
        "from deputize.core import SettingsError\n"
        "try:\n import deputize.core.web.signin.saml.saml_sign_in\n"
        "except SettingsError as e: print(e.message, e.hint)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "is not installed" in said or "another version" in said
    assert 'pip install "deputize[saml]"' in said


async def test_sign_in_by_saml_is_one_of_the_sign_ins(here: Place) -> None:
    assert [type(one) for one in here.sign_ins.sign_ins] == [SamlSignIn, SamlSignIn]
