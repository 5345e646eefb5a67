"""The application's name, logo, colour and links on every page, and invalid brands that are refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy
from deputize.core.errors import SettingsError
from deputize.core.settings import Settings
from deputize.core.web.app import Brand, pages_app
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.pages.brand import contrast
from tests.core.web.web_application import World, make, path_of, signed_in, words_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SUPPORT, PRIVACY = "mailto:help@acme.example", "https://acme.example/privacy"
ACME = Brand("Acme <Mail>", logo=PNG, colour="#0a5", support=SUPPORT, privacy=PRIVACY)


async def branded(brand: Brand | None = ACME) -> World:
    world = await make()
    world.app = pages_app(world.deputy, verifier=signed_in, brand=brand)
    return world


@pytest.mark.parametrize("path", ["/connections", "/refused", "/failed", "/nothing-here", "consent"])
async def test_every_page_shows_the_brand_and_support_link(path: str) -> None:
    world = await branded()
    path = path_of(await world.asked()) if path == "consent" else path
    page = await world.send("GET", path, user="alice")
    assert "Acme &lt;Mail&gt;" in page.text and '<img src="/logo"' in page.text
    assert f'<a href="{SUPPORT}">' in page.text and f'<a href="{PRIVACY}">' in page.text
    assert "img-src 'self'" in page.headers["content-security-policy"]


async def test_page_shows_the_signed_in_user() -> None:
    world = await branded()
    for path in ("/connections", path_of(await world.asked())):
        assert "Signed in as alice" in words_of(await world.send("GET", path, user="alice"))


async def test_logo_is_served_from_our_origin_with_its_type() -> None:
    logo = await (await branded()).send("GET", "/logo")
    assert (logo.content, logo.headers["content-type"]) == (PNG, "image/png")
    assert logo.headers["x-content-type-options"] == "nosniff"
    assert (await (await branded(Brand("Acme"))).send("GET", "/logo")).status_code == 404


async def test_brand_colour_gets_a_readable_text_colour() -> None:
    sheet = (await (await branded()).send("GET", "/style.css")).text
    assert "--accent: #0a5; --accent-ink: #000000;" in sheet
    dark = (await (await branded(Brand("Acme", colour="#d6336c"))).send("GET", "/style.css")).text
    assert "--accent: #d6336c; --accent-ink: #ffffff;" in dark


async def test_page_without_a_brand_has_no_brand_header() -> None:
    page = await (await branded(None)).send("GET", "/refused")
    assert "<img" not in page.text and "<header" not in page.text and "<footer" not in page.text


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [("#000", "#fff", 21.0), ("#777777", "#ffffff", 4.48), ("#ffff00", "#ffffff", 1.07)]
)
def test_contrast_matches_wcag(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("colour", "said"),
    [
        ("#ffee00", "light pages: its contrast with #ffffff is 1.20"),
        ("#003300", "dark pages"),
        ("red", "'red' is not a hexadecimal colour"),
    ],
)
def test_low_contrast_colour_is_refused_with_its_contrast(colour: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Brand("Acme", colour=colour)


@pytest.mark.parametrize(
    ("logo", "said"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG, JPEG or WebP"),
        (b"RIFF....WAVE", "not a PNG, JPEG or WebP"),
        (PNG + b"\0" * 2**18, "more than 256 KiB"),
        (Path("/nowhere/logo.png"), "cannot be read"),
    ],
)
def test_logo_that_is_not_a_bitmap_is_refused(logo: Path | bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Brand("Acme", logo=logo)


@pytest.mark.parametrize(("image", "kind"), [(b"\xff\xd8\xff\xe0", "image/jpeg"), (b"RIFF1234WEBPVP8 ", "image/webp")])
def test_logo_type_is_detected_from_its_first_bytes(image: bytes, kind: str, tmp_path: Path) -> None:
    (file := tmp_path / "logo.svg").write_bytes(image)
    assert Brand("Acme", logo=file).media_type == kind


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 61])
def test_brand_name_must_be_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match="one line"):
        Brand(name)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://acme.example", "https:", "/help", 'https://a"b', "x"])
def test_invalid_support_link_is_refused(link: str) -> None:
    with pytest.raises(SettingsError, match="support link"):
        Brand("Acme", support=link)
    with pytest.raises(SettingsError, match="privacy link"):
        Brand("Acme", privacy=link)


def test_local_mode_reads_the_brand_from_settings(tmp_path: Path) -> None:
    with Deputy.from_settings(Settings.load(home=tmp_path, port=0, brand_name="Acme", brand_colour="#0a5")) as deputy:
        assert isinstance(deputy.pages, LocalPages)
        assert deputy.pages.brand == Brand("Acme", colour="#0a5")


def test_brand_settings_without_effect_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="brand_name is for local mode"):
        Deputy.from_settings(Settings.load(home=tmp_path, base_url="https://deputy.example.test", brand_name="Acme"))
    with pytest.raises(SettingsError, match="one line"):
        Deputy.from_settings(Settings.load(home=tmp_path, brand_colour="#0a5"))


@pytest.mark.parametrize(
    "faulty",
    [
        {"support": "https://ann:secret@acme.example/"},
        {"privacy": "https://acme.example@evil.example/"},
        {"support": "mailto:"},
        {"support": "mailto://acme.example"},
        {"name": "\u3164"},
        {"logo": "logo.png"},
    ],
    ids=repr,
)
def test_invalid_brand_is_refused(faulty: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        Brand(**{"name": "Acme", **faulty})
    assert "secret" not in str(refused.value)
