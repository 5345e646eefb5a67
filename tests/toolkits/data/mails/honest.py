# ruff: noqa: E501, RUF001 - HTML as programs write it, and the words of other languages
"""Mails as honest senders make them, in the shapes that their programs give them: nothing visible may be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Honest:
    """An honest mail. ``hidden``: what it hides itself, as a preheader; ``marked``: it does what could hide words."""

    html: str
    hidden: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Words:
    """What a mail says in one language."""

    hello: str
    offer: str
    price: str
    button: str
    leave: str
    wrote: str
    rtl: bool = False

    @property
    def direction(self) -> str:
        """An attribute for the language's direction."""
        return ' dir="rtl"' if self.rtl else ""


LANGUAGES: Final = {
    "en": Words("Hello Alice,", "Our autumn sale has begun.", "Total: $19.90", "Shop now", "Unsubscribe", "Bob wrote:"),
    "de": Words(
        "Hallo Alice,",
        "Größe und Maß: der Herbst beginnt.",
        "Summe: 19,90 €",
        "Jetzt kaufen",
        "Abmelden",
        "Bob schrieb:",
    ),
    "fr": Words(
        "Bonjour Alice,",
        "Découvrez l’été à prix réduit.",
        "Total : 19,90 €",
        "Acheter",
        "Se désabonner",
        "Bob a écrit :",
    ),
    "es": Words(
        "Hola, Alicia:", "¡Empieza la rebaja de otoño!", "Total: 19,90 €", "Comprar", "Darse de baja", "Bob escribió:"
    ),
    "ru": Words(
        "Здравствуйте, Алиса!", "Осенняя распродажа началась.", "Итого: 1990 ₽", "Купить", "Отписаться", "Боб пишет:"
    ),
    "ja": Words("アリス様", "秋のセールが始まりました。", "合計：1,990円", "今すぐ購入", "配信停止", "ボブのメール："),
    "ar": Words(
        "مرحباً أليس،", "بدأت تخفيضات الخريف.", "المجموع: ١٩٫٩٠", "تسوّق الآن", "إلغاء الاشتراك", "كتب بوب:", rtl=True
    ),
    "hi": Words("नमस्ते ऐलिस,", "शरद ऋतु की सेल शुरू हो गई है।", "कुल: ₹1990", "अभी खरीदें", "सदस्यता समाप्त करें", "बॉब ने लिखा:"),
}

NEWSLETTER_CSS: Final = """
body{margin:0;padding:0;-webkit-text-size-adjust:100%;-ms-text-size-adjust:100%;width:100%!important}
table,td{border-collapse:collapse;mso-table-lspace:0pt;mso-table-rspace:0pt} img{border:0;line-height:100%;display:block}
a[x-apple-data-detectors]{color:inherit!important;text-decoration:none!important} #outlook a{padding:0}
.ExternalClass{width:100%} .ExternalClass *{line-height:100%} u + .body a{color:inherit} .mobile-only{display:none}
.preheader{display:none!important;visibility:hidden;opacity:0;color:transparent;height:0;width:0;max-height:0;mso-hide:all}
@media only screen and (max-width:480px){.wide{width:100%!important}.desktop-only{display:none!important}
.mobile-only{display:block!important}.btn a{font-size:18px!important}}
@media (prefers-color-scheme:dark){.body,.card{background:#111!important;color:#fff!important}.dark-hide{display:none}}
[data-ogsc] .card{color:#fff!important} :root{color-scheme:light dark;supported-color-schemes:light dark}
.btn a:hover{background:#0044cc!important} .card{background-color:#ffffff;color:#222222}
"""


def newsletter(said: Words) -> Honest:
    """As campaign tools make them: nested tables, a preheader, MSO comments, rules for phones and dark mode."""
    return Honest(
        f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:o="urn:schemas-microsoft-com:office:office"><head>
<meta charset="utf-8"><title></title><!--[if mso]><xml><o:OfficeDocumentSettings><o:PixelsPerInch>96</o:PixelsPerInch>
</o:OfficeDocumentSettings></xml><![endif]--><link href="https://fonts.example.test/css?family=Inter" rel="stylesheet">
<style type="text/css">{NEWSLETTER_CSS}</style></head><body class="body" style="background-color:#f4f4f4;margin:0">
<div class="preheader">preview&#8199;&#847;&zwnj;</div>
<!--[if mso | IE]><table width="600" align="center"><tr><td><![endif]-->
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#f4f4f4"{said.direction}><tr>
<td align="center" style="font-size:0;line-height:0"><table class="wide card" width="600" style="max-width:600px;width:100%">
<tr><td style="padding:20px 30px;font-family:'Helvetica Neue',Arial,sans-serif;font-size:16px;line-height:24px;color:#222222">
<h1 style="margin:0 0 10px;font-size:24px">{said.hello}</h1><p style="margin:0">{said.offer}</p>
<p class="desktop-only">{said.price}</p></td></tr>
<tr><td style="height:1px;font-size:1px;line-height:1px;background:#dddddd">&nbsp;</td></tr>
<tr><td align="center" class="btn" style="padding:10px;font-size:16px"><a href="https://shop.example.test/" target="_blank"
style="background:#0055ff;background-image:linear-gradient(#0055ff,#0044dd);color:#ffffff;display:inline-block;padding:12px 24px;
border-radius:6px;overflow:hidden">{said.button}</a></td></tr>
<tr><td style="font-size:11px;color:#767676;line-height:16px"><a href="https://shop.example.test/u" style="color:#767676">
{said.leave}</a></td></tr></table></td></tr></table><!--[if mso | IE]></td></tr></table><![endif]-->
<img src="https://t.example.test/o.gif" width="1" height="1" alt="" style="display:none"></body></html>""",
        "preview",
    )


def receipt(said: Words) -> Honest:
    """A shop's: a table of goods with numbers at the right, zebra rows by a style sheet."""
    rows = "".join(f"<tr><td>{n}</td><td>{said.button}</td><td align=right>{n},50</td></tr>" for n in (1, 2, 3))
    css = "tr:nth-child(even) td{background:#f6f6f6} td{padding:4px 8px;vertical-align:top} .sum td{font-weight:700}"
    return Honest(
        f"""<html><head><style>{css}</style></head><body{said.direction}><p>{said.hello}</p>
<table width="100%" style="table-layout:auto">{rows}<tr class=sum><td colspan=3>{said.price}</td></tr></table>
<p style="color:#999;font-size:12px">{said.leave}</p></body></html>"""
    )


def outlook_reply(said: Words) -> Honest:
    """Word's HTML, with its styles and a quoted original."""
    return Honest(
        f"""<html xmlns:v="urn:schemas-microsoft-com:vml" xmlns:w="urn:schemas-microsoft-com:office:word"><head>
<meta name="Generator" content="Microsoft Word 15 (filtered medium)"><style><!--
/* Font Definitions */ @font-face {{font-family:"Cambria Math";panose-1:2 4 5 3 5 4 6 3 2 4;}}
/* Style Definitions */ p.MsoNormal, li.MsoNormal, div.MsoNormal {{margin:0cm;font-size:11.0pt;font-family:"Calibri",sans-serif;mso-fareast-language:EN-US;}}
a:link, span.MsoHyperlink {{mso-style-priority:99;color:#0563C1;text-decoration:underline;}}
.MsoChpDefault {{mso-style-type:export-only;}} @page WordSection1 {{size:612.0pt 792.0pt;margin:70.85pt;}}
div.WordSection1 {{page:WordSection1;}} --></style></head><body lang="EN-US" link="#0563C1" style="word-wrap:break-word">
<div class="WordSection1"{said.direction}><p class="MsoNormal">{said.hello}<o:p></o:p></p><p class="MsoNormal"><o:p>&nbsp;</o:p></p>
<p class="MsoListParagraph" style="margin-left:36.0pt;text-indent:-18.0pt;mso-list:l0 level1 lfo1"><![if !supportLists]>
<span style="mso-list:Ignore">1.<span style="font:7.0pt &quot;Times New Roman&quot;">&nbsp;&nbsp;</span></span><![endif]>{said.offer}</p>
<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"><p class="MsoNormal"><b>From:</b> Bob</p></div>
<p class="MsoNormal">{said.price}</p></div></body></html>"""
    )


def apple_reply(said: Words) -> Honest:
    """Apple Mail's."""
    return Honest(
        f"""<html><head><meta http-equiv="content-type" content="text/html; charset=utf-8"></head>
<body style="overflow-wrap: break-word; -webkit-nbsp-mode: space; line-break: after-white-space;"{said.direction}>{said.hello}
<div><br></div><div>{said.offer}</div><div><br id="lineBreakAtBeginningOfMessage"><div><br><blockquote type="cite">
<div>{said.wrote}</div><br class="Apple-interchange-newline"><div><meta charset="UTF-8"><div style="caret-color: rgb(0, 0, 0);
color: rgb(0, 0, 0); font-family: Helvetica; font-size: 12px; -webkit-text-stroke-width: 0px; orphans: auto; widows: auto;">
{said.price}</div></div></blockquote></div></div></body></html>"""
    )


def gmail_reply(said: Words) -> Honest:
    """Gmail's."""
    return Honest(
        f"""<div dir="{"rtl" if said.rtl else "ltr"}">{said.hello}<div><br></div><div><b>{said.offer}</b>
<font color="#888888">{said.button}</font></div></div><br><div class="gmail_quote gmail_quote_container">
<div dir="ltr" class="gmail_attr">{said.wrote}<br></div><blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;
border-left:1px solid rgb(204,204,204);padding-left:1ex">{said.price}</blockquote></div>"""
    )


SHAPES: Final[dict[str, Callable[[Words], Honest]]] = {
    **{"newsletter": newsletter, "receipt": receipt, "Outlook reply": outlook_reply},
    **{"Apple reply": apple_reply, "Gmail reply": gmail_reply},
}


def page(body: str, css: str = "", *, marked: bool = False) -> Honest:
    """A mail of this body."""
    html = f"<!doctype html><html><head><style>{css}</style></head><body>{body}</body></html>"
    return Honest(html, marked=marked)


OTHERS: Final = {
    "invitation": page(
        '<div itemscope itemtype="http://schema.org/EventReservation"><span style="display:none" itemprop="name">x</span></div>'
        "<table border=0><tr><td style='width:48px;background:#fff;border:1px solid #ddd'><div style='background:#d32f2f;"
        "color:#fff;font-size:11px'>Nov</div><div style='font-size:24px'>27</div></td><td><h2>Planning</h2><p>10:00 to 11:00"
        "<p>Room 4</td></tr></table><a href='https://cal.example.test/y' style='color:#fff;background:#1a73e8'>Yes</a>"
    ),
    "bounce": page(
        "<style>* {font-family:Roboto,Arial}</style><table cellpadding=0 style='padding-top:32px;background-color:#ffffff'>"
        "<tr><td><table style='max-width:548px'><tr><td style='background-color:#D6D6D6;padding:12px'><h3 style='color:#1e1e1f'>"
        "Address not found</h3><p>Your message wasn't delivered to <a style='color:#212121'><b>x@example.test</b></a></td></tr>"
        "</table></table><pre>550 5.1.1 No such user</pre>"
    ),
    "dark by design": page(
        "<table class=dark><tr><td><p>Night report</p><font color='#cccccc'>All is quiet</font></td></tr></table>",
        "body,.dark{background:#101014;color:#f2f2f2} .dark td{padding:8px}",
    ),
    "dark in a picture": page(
        "<table><tr><td background='https://x.example.test/h.jpg' bgcolor='#223344' style='background:#223344 url(h.jpg) center;"
        "color:#ffffff'><h1>Big news</h1></td></tr></table>",
        marked=True,
    ),
    "faux position": page(
        "<div style='max-height:0;position:static;opacity:.999'><p>Over the picture</p></div><p>Below</p>"
    ),
    "cells without size": page(
        "<table width=600><tr><td width=0 style='overflow:hidden'>Left</td><td height=0>Right</td></tr></table>"
    ),
    "ellipsis": page(
        "<div style='white-space:nowrap;overflow:hidden;text-overflow:ellipsis;width:300px'>A short line</div>"
    ),
    "clearfix": page("<div class=c><p>Floats</p></div><p>After</p>", ".c::after{content:'';display:table;clear:both}"),
    "sloppy": Honest("<b><p>One<p>Two</b><table><tr><td>Three<td>Four</table></div></p><font size=+1>Five"),
    "uppercase": Honest(
        "<HTML><BODY BGCOLOR=#FFFFFF TEXT=#000000><P ALIGN=CENTER>OLD STYLE<BR>STILL READ</BODY></HTML>"
    ),
    "plain in HTML": Honest(
        "<html><body><pre style='white-space:pre-wrap'>Hi,\n\n  indented\n-- \nBob</pre></body></html>"
    ),
    "tiny print": page("<p>Words</p><p style='font-size:9px;color:#8a8a8a'>Registered in Berlin, HRB 1234</p>"),
    "list": page("<ol><li>First</li><li>Second<ul><li>Third</li></ul></li></ol><dl><dt>Term</dt><dd>Meaning</dd></dl>"),
    "struck price": page("<p>Now <s>$30</s> <b>$20</b></p>"),
    "buttons": page(
        "<a class=b href='https://x.example.test'><span>Track order</span></a>",
        ".b{display:inline-block;background:#ff6600;border-radius:4px;color:#fff!important;overflow:hidden;padding:8px 16px}",
    ),
    "flex": page(
        "<div class=r><div>Left</div><div>Right</div></div>", ".r{display:flex;gap:8px}.r div{flex:1;overflow:hidden}"
    ),
    "grid": page("<div class=g><p>One</p><p>Two</p></div>", ".g{display:grid;grid-template-columns:1fr 1fr}"),
    "variables": page(
        "<p class=v>Coloured</p>", ":root{--ink:#334455;--size:15px}.v{color:var(--ink);font-size:var(--size)}"
    ),
    "code": page("<pre><code>if a &lt; b:\n    print(&quot;x&quot;)</code></pre>", "code{font:13px/1.4 monospace}"),
    "import of fonts": page("<p>Typeset</p>", "@import url('https://fonts.example.test/x.css'); p{font-family:Inter}"),
    "layered": page("<p>Layered</p>", "p{margin:0 0 1em;line-height:1.5} @media print{p{display:none}}"),
}


def honest() -> Iterator[tuple[str, Honest]]:
    """All of them, by their names."""
    for language, words in LANGUAGES.items():
        for shape, make in SHAPES.items():
            yield f"{shape}, {language}", make(words)
    yield from OTHERS.items()


HONEST: Final = dict(honest())
