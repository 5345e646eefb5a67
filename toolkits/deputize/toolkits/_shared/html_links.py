"""Links in HTML: the address displayed beside their words, and detection of words that name another host."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from deputize.toolkits._shared.mail.headers import network_host

_HOST = re.compile(r"(?:https?://)?((?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,})(?:[:/?#]\S*)?", re.IGNORECASE)
_FILE = re.compile(r"\.(?:pdf|docx?|xlsx?|pptx?|zip|png|jpe?g|gif|js|txt|html?|csv|md|ics)$", re.IGNORECASE)


def _split(href: str) -> SplitResult | None:
    try:
        split = urlsplit(re.sub(r"[\x00-\x20]+", "", href))
        return split if split.scheme in ("http", "https") and split.hostname else None
    except ValueError:
        return None


def link_address(href: str) -> str:
    """Return a web link's address without user names, or ""."""
    split = _split(href)
    if split is None:
        return ""
    host = network_host(split.netloc.rpartition("@")[2])
    return split._replace(netloc=host).geturl().translate({ord("<"): "%3C", ord(">"): "%3E"})


def shorten(address: str, longest: int) -> str:
    """Return the address, or the start of a very long one."""
    split = urlsplit(address)
    return address if len(address) <= longest else f"{split.scheme}://{split.netloc}{split.path[:60]}\u2026"


def is_misleading(shown: str, href: str) -> bool:
    """True if the words of a link are or contain the address of another host."""
    split = _split(href)
    if split is None or not split.hostname:
        return False
    words = [shown] if " " not in shown else [w for w in shown.split() if "://" in w or w.lower().startswith("www.")]
    target = network_host(split.hostname)
    for word in words:
        named = _HOST.fullmatch(word.strip(".,;()[]\"'"))
        if named and not _FILE.search(word) and not _same_site(network_host(named[1].lower()), target):
            return True
    return False


def _same_site(one: str, other: str) -> bool:
    one, other = one.removeprefix("www."), other.removeprefix("www.")
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
