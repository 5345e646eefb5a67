"""The brand on every page: the application's name, logo, colour and links, checked once at the start.

A colour needs a contrast of 3 on light and on dark pages (WCAG 2.2 1.4.11, for graphics). The text on a button of that
colour is black or white, whichever has more contrast (1.4.3: 4.5, which one of them always reaches). A logo is a
bitmap, because an SVG may contain scripts and links, which are not removed here.
"""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.visible_text import without_hidden

MAX_NAME: Final = 60
MAX_LOGO: Final = 2**18
"""Limit of a logo, in bytes."""
LEAST_CONTRAST: Final = 3.0
LIGHT: Final = "#ffffff"
DARK: Final = "#1c222b"
"""The cards of our light and dark pages, in `style.css`."""

_COLOUR: Final = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_LINK: Final = re.compile(r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]{1,500}")


@frozen
class Brand(ValueObject):
    """The application to which these pages belong.

    ``name``: the name that people know, on one line. ``logo``: a PNG, JPEG or WebP of at most 256 KiB, as a path or as
    bytes, displayed 32 pixels high. ``colour``: colour of buttons and lines, as ``#0a5`` or ``#00aa55``. ``support``:
    an https or mailto address for help. ``privacy``: an https address. Raises `SettingsError` that names the invalid
    field, and for a colour its contrast.
    """

    name: str
    logo: Path | bytes | None = None
    colour: str = ""
    support: str = ""
    privacy: str = ""
    image: bytes = field(init=False, default=b"", repr=False)
    """The logo's content; empty where there is none."""
    media_type: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if not without_hidden(self.name).strip() or not self.name.isprintable() or len(self.name) > MAX_NAME:
            raise SettingsError(
                f"The brand's name must be one line of 1 to {MAX_NAME} characters.",
                hint="Write the application's name as people know it: Brand('Acme Mail').",
            )
        if self.logo is not None:
            image = _read(self.logo)
            object.__setattr__(self, "media_type", _media_type(image))
            object.__setattr__(self, "image", image)
        if self.colour:
            _check_colour(self.colour)
        _check_link("support", self.support, ("https", "mailto"))
        _check_link("privacy", self.privacy, ("https",))

    @property
    def css(self) -> str:
        """The CSS rules of the brand, which follow the stylesheet."""
        if not self.colour:
            return ""
        ink = max("#000000", LIGHT, key=lambda one: contrast(self.colour, one))
        return f"\n:root {{ --accent: {self.colour}; --accent-ink: {ink}; }}\n"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour. Source: WCAG 2.2, "relative luminance"."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _check_colour(colour: str) -> None:
    if not _COLOUR.fullmatch(colour):
        raise SettingsError(
            f"The brand's colour {colour[:20]!r} is not a hexadecimal colour.", hint="Write it as #0a5 or #00aa55."
        )
    for page, card in (("light", LIGHT), ("dark", DARK)):
        if (ratio := contrast(colour, card)) < LEAST_CONTRAST:
            raise SettingsError(
                f"The brand's colour {colour} is hard to see on our {page} pages: its contrast with {card} is "
                f"{ratio:.2f}, and WCAG asks for {LEAST_CONTRAST:g}.",
                hint="Use a darker shade." if page == "light" else "Use a lighter shade.",
            )


def _check_link(what: str, link: str, schemes: tuple[str, ...]) -> None:
    if link and not _is_allowed_link(link, schemes):
        raise SettingsError(
            f"The brand's {what} link must be {' or '.join(schemes)}, without a user or password.",
            hint="Write it as https://example.com/help" + (" or mailto:help@example.com." if len(schemes) > 1 else "."),
        )


def _is_allowed_link(link: str, schemes: tuple[str, ...]) -> bool:
    """Return True if a link names a host or a mailbox, without a user or password, which everybody would see."""
    parts = urlsplit(link) if _LINK.fullmatch(link) else None
    if parts is None or parts.scheme not in schemes:
        return False
    return (
        "@" in parts.path and not parts.netloc
        if parts.scheme == "mailto"
        else bool(parts.hostname) and "@" not in parts.netloc
    )


def _read(logo: Path | bytes) -> bytes:
    if isinstance(logo, bytes):
        image = logo
    elif isinstance(logo, Path):
        try:
            with logo.open("rb") as file:
                image = file.read(MAX_LOGO + 1)
        except OSError as error:
            raise SettingsError(f"The brand's logo {logo} cannot be read: {error.strerror}.") from None
    else:
        raise SettingsError("The brand's logo must be a Path or bytes.", hint="Write Path('logo.png').")
    if len(image) > MAX_LOGO:
        raise SettingsError(f"The brand's logo has more than {MAX_LOGO // 1024} KiB.", hint="Make it smaller.")
    return image


def _media_type(image: bytes) -> str:
    """Return the media type by the image's first bytes, never by its name."""
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if image.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    raise SettingsError(
        "The brand's logo is not a PNG, JPEG or WebP.",
        hint="Export it as a PNG. An SVG may hold scripts and is not accepted.",
    )
