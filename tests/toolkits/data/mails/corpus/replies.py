# ruff: noqa: E501 - HTML as programs write it
"""Replies and forwarded mails in the shapes that mail programs give them."""

from __future__ import annotations

from html import escape

from tests.toolkits.data.mails.corpus.eml import PNG, both, file, head_of, mail, multipart, text
from tests.toolkits.data.mails.corpus.tongues import Tongue

WORD_CSS = """<style><!--
@font-face {font-family:Calibri; panose-1:2 15 5 2 2 2 4 3 2 4;}
p.MsoNormal, li.MsoNormal, div.MsoNormal {margin:0cm; font-size:11.0pt; font-family:"Calibri",sans-serif;}
a:link, span.MsoHyperlink {mso-style-priority:99; color:#0563C1; text-decoration:underline;}
.MsoChpDefault {mso-style-type:export-only; font-size:10.0pt;} @page WordSection1 {size:612.0pt 792.0pt; margin:70.85pt;}
div.WordSection1 {page:WordSection1;} --></style>"""


def quoted(t: Tongue, mark: str = "> ") -> str:
    """The older mail, marked line by line."""
    return "\n".join(f"{mark}{line}".rstrip() for line in (t.hello, "", t.question, "", t.name))


def gmail_reply(t: Tongue) -> bytes:
    """Gmail's, in both forms."""
    plain = f"{t.answer}\n{t.detail}\n\n{t.wrote}\n\n{quoted(t)}\n"
    html = f"""<div dir="{"rtl" if t.right else "ltr"}"><div>{t.answer}</div><div>{t.detail}</div></div><br>
<div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">{escape(t.wrote)}<br></div>
<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex">
<div>{t.hello}<br><br>{t.question}<br><br>{t.name}</div></blockquote></div>"""
    return mail(t, both(plain, html), f"Re: {t.subject}")


def gmail_reply_plain(t: Tongue) -> bytes:
    """The same from a program that sends no HTML; the line above the quote is broken."""
    wrote = t.wrote.replace(" <bob", "\n<bob", 1)
    return mail(t, text(f"{t.answer}\n\n{wrote}\n{quoted(t)}\n"), f"{t.re}: {t.subject}")


def outlook_reply(t: Tongue) -> bytes:
    """Outlook for Windows: Word's HTML, the head of the older mail in bold below a line."""
    rows = "<br>\n".join(
        f"<b><span lang=EN-US>{escape(line.partition(' ')[0])}</span></b> {escape(line.partition(' ')[2])}"
        for line in head_of(t).split("\n")
    )
    html = f"""<html xmlns:o="urn:schemas-microsoft-com:office:office" xmlns:w="urn:schemas-microsoft-com:office:word"><head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8">{WORD_CSS}</head><body lang="{t.code}" link="#0563C1"{t.direction}>
<div class="WordSection1"><p class="MsoNormal">{t.answer}<o:p></o:p></p><p class="MsoNormal"><o:p>&nbsp;</o:p></p>
<p class="MsoNormal">{t.detail}<o:p></o:p></p><p class="MsoNormal"><o:p>&nbsp;</o:p></p>
<div><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"><p class="MsoNormal">{rows}<o:p></o:p></p></div></div>
<p class="MsoNormal"><o:p>&nbsp;</o:p></p><p class="MsoNormal">{t.hello}<o:p></o:p></p><p class="MsoNormal">{t.question}<o:p></o:p></p></div></body></html>"""
    return mail(
        t, both(f"{t.answer}\n\n{t.detail}\n\n{head_of(t)}\n\n{t.hello}\n{t.question}\n", html), f"{t.re}: {t.subject}"
    )


def outlook_web_reply(t: Tongue) -> bytes:
    """Outlook on the web: marks of its own before the older mail."""
    rows = "<br>\n".join(escape(line) for line in head_of(t).split("\n"))
    html = f"""<html><head><style type="text/css" style="display:none;"> P {{margin-top:0;margin-bottom:0;}} </style></head><body dir="{"rtl" if t.right else "ltr"}">
<div class="elementToProof" style="font-family: Aptos, sans-serif; font-size: 12pt; color: rgb(0, 0, 0);">{t.answer}</div>
<div id="appendonsend"></div><hr style="display:inline-block;width:98%" tabindex="-1">
<div id="divRplyFwdMsg" dir="ltr"><font face="Calibri, sans-serif" style="font-size:11pt" color="#000000">{rows}</font><div>&nbsp;</div></div>
<div>{t.hello}<br>{t.question}</div></body></html>"""
    return mail(
        t,
        both(f"{t.answer}\n________________________________\n{head_of(t)}\n\n{t.hello}\n{t.question}", html),
        f"{t.re}: {t.subject}",
    )


def outlook_plain_reply(t: Tongue) -> bytes:
    """Outlook's in plain text, with its line."""
    return mail(
        t,
        text(
            f"{t.answer}\n\n{t.thanks}\n\n________________________________\n{head_of(t)}\n\n{t.hello}\n\n{t.question}\n"
        ),
        f"{t.re}: {t.re}: {t.subject}",
    )


def old_outlook_reply(t: Tongue) -> bytes:
    """Outlook of old: "Original Message"."""
    return mail(
        t, text(f"{t.answer}\n\n{t.original}\n{head_of(t)}\n\n{t.hello}\n{t.question}\n"), f"{t.re}: {t.subject}"
    )


def outlook_forward(t: Tongue) -> bytes:
    """A forwarded mail by Outlook: only its subject says that it is none of the sender's own."""
    rows = "<br>".join(escape(line) for line in head_of(t).split("\n"))
    html = f"""<html><head>{WORD_CSS}</head><body{t.direction}><div class="WordSection1"><p class="MsoNormal">{t.thanks}<o:p></o:p></p>
<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"><p class="MsoNormal">{rows}</p></div>
<p class="MsoNormal">{t.hello}</p><p class="MsoNormal">{t.question}</p></div></body></html>"""
    return mail(t, text(html, "html"), f"{t.fwd}: {t.subject}")


def apple_reply(t: Tongue) -> bytes:
    """Apple Mail's."""
    html = f"""<html><head><meta http-equiv="content-type" content="text/html; charset=utf-8"></head><body style="overflow-wrap: break-word; -webkit-nbsp-mode: space; line-break: after-white-space;"{t.direction}>
{t.answer}<br id="lineBreakAtBeginningOfMessage"><div><br><blockquote type="cite"><div>{escape(t.apple)}</div><br class="Apple-interchange-newline">
<div><meta charset="UTF-8"><div style="caret-color: rgb(0, 0, 0); font-family: Helvetica; font-size: 12px;">{t.hello}</div><div><br></div><div>{t.question}</div></div></blockquote></div><br></body></html>"""
    return mail(
        t, both(f"{t.answer}\n\n> {t.apple}\n> \n> {t.hello}\n> \n> {t.question}\n", html), f"{t.re}: {t.subject}"
    )


def phone_reply(t: Tongue) -> bytes:
    """From a phone: a line of advertisement, then the quote in plain text."""
    return mail(t, text(f"{t.answer}\n\n{t.phone}\n\n> {t.apple}\n> \n{quoted(t)}\n"), f"Re: {t.subject}")


def apple_forward(t: Tongue) -> bytes:
    """A forwarded mail by Apple Mail."""
    rows = "".join(
        f"<div><b>{escape(line.partition(' ')[0])}</b> {escape(line.partition(' ')[2])}</div>"
        for line in head_of(t).split("\n")
    )
    html = f"""<html><body{t.direction}>{t.thanks}<br><div><br><blockquote type="cite"><div>{t.begin_forwarded}</div><br class="Apple-interchange-newline">
{rows}<br><div>{t.hello}<br>{t.question}</div></blockquote></div></body></html>"""
    return mail(t, text(html, "html"), f"Fwd: {t.subject}")


def thunderbird_reply(t: Tongue) -> bytes:
    """Thunderbird's, answered below the quote."""
    html = f"""<!DOCTYPE html><html><head><meta http-equiv="Content-Type" content="text/html; charset=UTF-8"></head><body text="#000000" bgcolor="#f9f9fa"{t.direction}>
<div class="moz-cite-prefix">{escape(t.apple)}<br></div><blockquote type="cite" cite="mid:abc@example.test"><p>{t.hello}</p><p>{t.question}</p></blockquote>
<p>{t.answer}</p><pre class="moz-signature" cols="72">-- \n{t.name}</pre></body></html>"""
    return mail(t, text(html, "html"), f"{t.re}: {t.subject}")


def thunderbird_forward(t: Tongue) -> bytes:
    """A forwarded mail by Thunderbird, in plain text."""
    return mail(
        t,
        text(f"{t.thanks}\n\n{t.forwarded}\n{head_of(t)}\n\n{t.hello}\n{t.question}\n"),
        f"{t.fwd}: {t.fwd}: {t.subject}",
    )


def answers_between(t: Tongue) -> bytes:
    """Answers between the quotes: without what they answer they say nothing."""
    return mail(t, text(f"{t.wrote}\n> {t.question}\n\n{t.answer}\n\n> {t.offer}\n\n{t.detail}\n"), f"Re: {t.subject}")


def nested_history(t: Tongue) -> bytes:
    """The third answer of a conversation, each above the one before."""
    return mail(
        t,
        text(f"{t.thanks}\n\n{t.apple}\n> {t.answer}\n>\n> {t.wrote}\n>\n{quoted(t, '>> ')}\n"),
        f"{t.re}: {t.re}: {t.subject}",
    )


def screenshot_reply(t: Tongue) -> bytes:
    """A picture pasted into the text, and a link to see more."""
    page = f"""<html><body{t.direction}><p>{t.answer}</p><p><img src="cid:image001.png@01DC5C8A" alt="" width="640" height="360"></p>
<p><a href="https://files.example.test/s/{"q7" * 110}?dl=1&amp;as={t.code}">{t.button}</a></p></body></html>"""
    picture = file(
        'filename="image001.png"',
        'image/png; name="image001.png"',
        PNG,
        "Content-ID: <image001.png@01DC5C8A>\r\n",
        "inline",
    )
    return mail(t, multipart("related", both(t.answer, page), picture), f"{t.re}: {t.subject}")


FAMILIES = (
    gmail_reply,
    gmail_reply_plain,
    outlook_reply,
    outlook_web_reply,
    outlook_plain_reply,
    old_outlook_reply,
    outlook_forward,
    apple_reply,
    phone_reply,
    apple_forward,
    thunderbird_reply,
    thunderbird_forward,
    answers_between,
    nested_history,
    screenshot_reply,
)
