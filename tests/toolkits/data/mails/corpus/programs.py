# ruff: noqa: E501, RUF001 - HTML as programs write it
"""Mails that programs write: campaigns, receipts, resets, invitations, notifications."""

from __future__ import annotations

from tests.toolkits.data.mails.corpus.eml import Part, both, file, mail, multipart, text
from tests.toolkits.data.mails.corpus.tongues import Tongue
from tests.toolkits.data.mails.honest import NEWSLETTER_CSS

LIST = {
    "List-Unsubscribe": "<https://news.example.test/u?id=1>, <mailto:leave@news.example.test>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def click(path: str, t: Tongue) -> str:
    """A link of a campaign, longer than anybody reads."""
    return f"https://click.news.example.test/ls/{path}?upn={'u001.AbC' * 25}&amp;l={t.code}"


def newsletter(t: Tongue) -> bytes:
    """A campaign: tables in tables, a preheader, comments for Outlook, a picture that counts who opens it."""
    html = f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" lang="{t.code}"><head><title>News</title><style type="text/css">{NEWSLETTER_CSS}</style>
<!--[if mso]><style>table {{ border-collapse: collapse }}</style><![endif]--></head><body class="body" style="margin:0;background-color:#f4f4f4">
<div class="preheader">{t.thanks}&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;</div>
<table role="presentation" width="100%"{t.direction}><tr><td align="center"><table class="wide card" width="600">
<tr><td><a href="{click("home", t)}"><img src="https://img.news.example.test/logo.png" width="180" alt="Garden &amp; Co"></a></td></tr>
<tr><td style="padding:20px"><h1 style="font-size:24px">{t.offer}</h1><p>{t.hello}</p><p>{t.detail}</p></td></tr>
<tr><td class="btn" align="center"><a href="{click("shop", t)}" style="background:#0055ff;color:#ffffff;padding:12px 24px;display:inline-block">{t.price}</a></td></tr>
<tr><td style="font-size:11px;color:#767676"><a href="https://news.example.test/u?id=1">{t.leave}</a></td></tr></table></td></tr></table>
<img src="https://t.news.example.test/o.gif" width="1" height="1" alt=""></body></html>"""
    return mail(
        t, both(f"{t.offer}\n{t.detail}", html), t.offer, sender="Garden & Co <news@news.example.test>", headers=LIST
    )


def receipt(t: Tongue) -> bytes:
    """A shop's, with a table of goods."""
    rows = "".join(f"<tr><td>{n} × Tulip {n}</td><td align=right>{n},50 €</td></tr>" for n in (1, 2, 3))
    html = f"""<html><head><style>td{{padding:4px 8px}} .sum td{{font-weight:700;border-top:1px solid #000}}</style></head><body{t.direction}>
<p>{t.hello}</p><table width="100%">{rows}<tr class=sum><td>{t.price}</td><td></td></tr></table><p><small>{t.thanks}</small></p></body></html>"""
    pdf = file(f"filename*=utf-8''{t.code}%20%C3%A9.pdf", "application/pdf", b"%PDF-1.7 " + t.code.encode())
    return mail(
        t,
        multipart("mixed", text(html, "html", encoding="base64"), pdf),
        t.price,
        sender="Shop <no-reply@shop.example.test>",
    )


def password_reset(t: Tongue) -> bytes:
    """A link that is no use if it is not whole."""
    link = f"https://id.example.test/reset?token={'eyJhbGciOiJIUzI1NiJ9.' * 12}&lang={t.code}"
    html = f"""<div{t.direction} style="font-family:sans-serif;max-width:480px;margin:0 auto"><p>{t.hello}</p><p>{t.question}</p>
<a href="{link.replace("&", "&amp;")}" style="display:inline-block;background:#111;color:#fff;padding:10px 20px;border-radius:6px;text-decoration:none">{t.button}</a>
<p style="color:#666;font-size:12px">{t.thanks}</p></div>"""
    return mail(t, both(f"{t.hello}\n\n{t.button}: {link}\n", html), t.button, sender="ID <no-reply@id.example.test>")


def calendar_of(t: Tongue, method: str) -> Part:
    """The event of an invitation."""
    lines = (
        "BEGIN:VCALENDAR",
        f"METHOD:{method}",
        "BEGIN:VEVENT",
        "UID:1@example.test",
        "DTSTART:20261201T090000Z",
        "DTEND:20261201T093000Z",
        f"SUMMARY:{t.subject}",
        "ORGANIZER:mailto:bob@example.test",
        "END:VEVENT",
        "END:VCALENDAR",
    )
    body = text("\n".join(lines) + "\n", "calendar")
    return Part(body.headers.replace("charset=utf-8", f"charset=utf-8; method={method}"), body.body)


def teams_invitation(t: Tongue) -> bytes:
    """An invitation by Outlook with a link to join that has more than 200 characters."""
    join = f"https://teams.example.test/l/meetup-join/{'19%3ameeting_MjM4' * 12}%40thread.v2/0?context=%7b%22Tid%22%3a%22{t.code}%22%7d"
    html = f"""<html><body{t.direction}><div><span>{t.hello}</span></div><div><br></div><div>{t.detail}</div>
<div style="max-width:520px;color:#242424">________________________________________________________________________________</div>
<div style="margin-bottom:24px"><span style="font-size:24px;font-weight:700">Microsoft Teams</span></div>
<div><a href="{join}" id="meet_invite_block.action.join_link" style="font-size:20px;text-decoration:underline">{t.button}</a></div>
<div>ID: 321 654 987 21<br>Passcode: xY7aB3</div></body></html>"""
    return mail(t, multipart("alternative", text(t.detail), text(html, "html"), calendar_of(t, "REQUEST")), t.subject)


def google_invitation(t: Tongue) -> bytes:
    """An invitation by Google Calendar, its event twice: as a part and as a file."""
    html = f"""<html><head><meta itemprop="title" content="x"></head><body><span itemscope itemtype="http://schema.org/EmailMessage">
<p style="display:none" itemprop="description">{t.detail}</p><table style="width:100%"{t.direction}><tr><td><h2>{t.subject}</h2>
<p>Tue 1 Dec 2026 10:00 – 10:30 (CET)</p><p><a href="https://calendar.example.test/event?action=RESPOND&amp;eid={"bW9u" * 20}&amp;rst=1">{t.thanks}</a></p>
</td></tr></table></span></body></html>"""
    ics = file('filename="invite.ics"', 'application/ics; name="invite.ics"', calendar_of(t, "REQUEST").body)
    inner = multipart(
        "alternative", text(f"{t.subject}\nTue 1 Dec 2026"), text(html, "html"), calendar_of(t, "REQUEST")
    )
    return mail(
        t,
        multipart("mixed", inner, ics),
        f"Invitation: {t.subject}",
        sender="Bob Berg <bob@example.test>",
        headers={"Sender": "Calendar <calendar@example.test>"},
    )


def pull_request(t: Tongue) -> bytes:
    """A notification of a forge: answers go to an address that stands for the thread."""
    html = f"""<div class="email-fragment"><p dir="auto"><strong>@bea</strong> commented on this pull request.</p><p dir="auto">{t.answer}</p>
<pre><code>- roof = 4000
+ roof = 4200
</code></pre></div><div class="footer" style="color:#666;font-size:small">&mdash;<br>{t.leave}: <a href="https://forge.example.test/acme/roof/pull/7#c1">view it</a>.
<img src="https://forge.example.test/beacon/abc.gif" height="1" width="1" alt=""></div>
<script type="application/ld+json">[{{"@context": "http://schema.org", "@type": "EmailMessage", "description": "View this pull request"}}]</script>"""
    more = {
        "Reply-To": "acme/roof <reply+AB12@reply.forge.example.test>",
        "List-ID": "acme/roof <roof.acme.forge.example.test>",
        "Precedence": "list",
    }
    return mail(
        t,
        both(f"{t.answer}\n\n-- \nReply to this email directly", html),
        f"Re: [acme/roof] {t.subject} (PR #7)",
        sender="bea <notifications@forge.example.test>",
        headers=more,
    )


def shared_document(t: Tongue) -> bytes:
    """A shared document: a card with a button, most of it decoration."""
    html = f"""<html><body style="margin:0;padding:0;background:#fff"{t.direction}><table width="100%" cellspacing="0" cellpadding="0"><tr><td style="padding:24px">
<div style="border:1px solid #dadce0;border-radius:8px;padding:24px"><img src="https://img.docs.example.test/i.png" width="36" height="36" alt="Profile picture of Bob Berg">
<p>Bob Berg (bob@example.test)</p><blockquote style="margin:0;border-left:4px solid #ccc;padding-left:12px">{t.question}</blockquote>
<p><a href="https://docs.example.test/document/d/1AbC/edit?usp=sharing_eil_m&amp;ts=655" style="background:#1a73e8;color:#fff;padding:9px 24px">{t.subject}</a></p></div></td></tr></table></body></html>"""
    return mail(
        t,
        text(html, "html"),
        t.subject,
        sender='"Bob Berg (via Docs)" <drive-shares@example.test>',
        headers={"Reply-To": "Bob Berg <bob@example.test>"},
    )


def security_alert(t: Tongue) -> bytes:
    """An alert in plain text and with an address in angle brackets."""
    return mail(
        t,
        text(f"{t.hello}\n\n{t.detail}\n\n<https://id.example.test/devices>\n\n{t.thanks}\n"),
        t.button,
        sender="Security <no-reply@id.example.test>",
    )


FAMILIES = (
    newsletter,
    receipt,
    password_reset,
    teams_invitation,
    google_invitation,
    pull_request,
    shared_document,
    security_alert,
)
