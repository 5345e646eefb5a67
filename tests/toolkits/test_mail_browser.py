"""Chromium as the judge: for each mail of the corpus, what a browser shows against what a model is shown.

A sentence is visible if its pixels change: the mail is rendered twice, once with other words of the same letters, and
an invisible sentence leaves both pictures equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.compose import forward_original, html_of, render_body
from deputize.toolkits._shared.mail.embed import embed_page
from tests.support.chromium import Chromium
from tests.support.lanes import part_of
from tests.toolkits.data.mails.honest import HONEST
from tests.toolkits.data.mails.hostile import HOSTILE, SAID, SEEN
from tests.toolkits.data.mails.insider import INSIDER

pytestmark = pytest.mark.browser

MAILS = [*(HOSTILE | INSIDER).items()]  # an eighth with each commit, and all without --sweep-part
FAINT = 12  # of 255, by which a pixel may differ without being seen


@pytest.fixture
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium.started() as page:
        yield page


async def open_mail(browser: Chromium, html: str) -> None:
    await browser.blank()  # a page that is only written over keeps what it was told: color-scheme
    await browser.run(f"document.open();document.write({json.dumps(html)});document.close()")


def other(words: str) -> str:
    """Return other words of as many letters."""
    return "".join("x" if letter.islower() else "X" if letter.isupper() else letter for letter in words)


async def is_seen(browser: Chromium, html: str, words: str) -> bool:
    """Return True if the pixels change with the words."""
    pictures = []
    for one in (html, html.replace(words, other(words))):
        await open_mail(browser, one)
        pictures.append(await browser.screenshot())
    if pictures[0] == pictures[1]:
        return False
    await open_mail(browser, "<body>")
    return int(await browser.run(COMPARE.format(*map(json.dumps, pictures)))) > FAINT


COMPARE = """(async () => {{
  const data = await Promise.all([{0}, {1}].map(async base64 => {{
    const image = new Image(); image.src = 'data:image/png;base64,' + base64; await image.decode();
    const canvas = document.createElement('canvas'); canvas.width = image.width; canvas.height = image.height;
    const drawing = canvas.getContext('2d'); drawing.drawImage(image, 0, 0);
    return drawing.getImageData(0, 0, image.width, image.height).data;
  }}));
  let most = 0;
  for (let n = 0; n < data[0].length; n++) most = Math.max(most, Math.abs(data[0][n] - data[1][n]));
  return most;
}})()"""


async def test_model_reads_nothing_a_browser_does_not_show(browser: Chromium) -> None:
    wrong = []
    print(f"\n{'hostile mail':40} {'browser':10} {'model':10} marked by")
    for trick, mail in part_of(MAILS):
        page = read_html(mail.html)
        painted, shown = await is_seen(browser, mail.html, SAID), SAID in page.text
        browser_says = "smudge" if painted and mail.smudge else "shown" if painted else "-"
        marks = ", ".join(sorted(page.doubts))
        print(f"{trick:40} {browser_says:10} {'shown' if shown else '-':10} {marks}")
        if browser_says == "shown" or (shown and not marks) or SEEN not in page.text:
            wrong.append(trick)
    assert wrong == []


async def test_model_reads_everything_a_browser_shows_of_an_honest_mail(browser: Chromium) -> None:
    wrong = {}
    print(f"\n{'honest mail':40} {'words shown':>12} {'lost':>6}")
    for name, mail in HONEST.items():
        await open_mail(browser, mail.html)
        words = re.findall(r"\w+", str(await browser.run("document.body.innerText")))
        text = read_html(mail.html).text
        lost = [word for word in words if word not in text]
        print(f"{name:40} {len(words):>12} {len(lost):>6}")
        if lost or not words:
            wrong[name] = lost
    assert wrong == {}


NOTE = "Please do not pay this."
COVERING = {
    "large letters": "<p style='font-size:400px;line-height:0;margin:0'>████████</p>",
    "a rule for all": "<style>*{display:none!important;color:#fff!important}</style><p>x</p>",
    "a rule for the page": "<style>html,body,:root{color:#fff!important;display:none!important}</style><p>x</p>",
    "not": "<style>:not(.z){color:#fff!important} :has(p){display:none!important}</style><p>x</p>",
    "a rule inside of one": "<style>.a{& ,:not(&){display:none!important}}</style><p class=a>x</p>",
    "raised": "<span style='vertical-align:2000px;background:#fff'>████</span><div style='line-height:4000px'>x</div>",
    "decoration": "<u style='text-decoration:underline #fff 900px;text-underline-offset:-900px'>████████████</u>",
    "border": "<table style='border:900px solid #fff;margin-top:-1800px'><tr><td>x</table>",
    "away": "<div style='position:fixed;inset:0;background:#fff;z-index:9'>x</div>",
    "closed": "</div></div></blockquote></div></body></html><style>p{display:none}</style><p>x</p>",
}


async def test_quoted_original_cannot_cover_the_text_above_it(browser: Chromium) -> None:
    hidden = []
    for trick, html in (COVERING | {name: mail.html for name, mail in part_of(MAILS)}).items():
        part = embed_page(html, {})
        quote = forward_original([("From", "Eve <eve@decoy.test>")], "text", part.html if part else "")
        if not await is_seen(browser, html_of(render_body(NOTE, "auto").followed_by(quote)), NOTE):
            hidden.append(trick)
    assert hidden == []
    for trick in ("a rule for all", "away", "a rule inside of one"):
        as_it_is = forward_original([], "text", COVERING[trick])
        assert not await is_seen(browser, html_of(render_body(NOTE, "auto").followed_by(as_it_is)), NOTE), (
            "the test sees nothing"
        )
