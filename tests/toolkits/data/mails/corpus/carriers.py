# ruff: noqa: E501 - parts as programs write them
"""Mails with unusual parts: signed, encrypted, bounced, by lists, in old charsets, inside others."""

from __future__ import annotations

from tests.toolkits.data.mails.corpus.eml import Part, both, file, mail, multipart, text
from tests.toolkits.data.mails.corpus.tongues import BOB, Tongue


def bounce(t: Tongue) -> bytes:
    """A report that a mail could not be delivered, with the machine's words and the mail itself."""
    said = f"{t.thanks}\n\nAddress not found\n\nYour message wasn't delivered to kim@gone.example.test.\n\n550 5.1.1 User unknown\n"
    status = Part(
        "Content-Type: message/delivery-status\r\n",
        b"Reporting-MTA: dns; mx.example.test\r\n\r\nFinal-Recipient: rfc822; kim@gone.example.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
    )
    original = Part("Content-Type: message/rfc822\r\n", mail(t, text(t.question), sender="Alice <alice@example.test>"))
    report = multipart("report", text(said), status, original, more="; report-type=delivery-status")
    more = {"Auto-Submitted": "auto-replied", "X-Failed-Recipients": "kim@gone.example.test"}
    sender = "Mail Delivery Subsystem <mailer-daemon@example.test>"
    return mail(t, report, "Delivery Status Notification (Failure)", sender=sender, headers=more)


def out_of_office(t: Tongue) -> bytes:
    """An automatic answer."""
    return mail(t, text(t.away), f"Automatic reply: {t.subject}", headers={"Auto-Submitted": "auto-replied"})


def smime_signed(t: Tongue) -> bytes:
    """Signed by S/MIME: the text, and a signature as a file."""
    signature = file('filename="smime.p7s"', 'application/pkcs7-signature; name="smime.p7s"', b"0\x82\x05signature")
    more = "; protocol=application/pkcs7-signature; micalg=sha-256"
    return mail(t, multipart("signed", both(t.answer, f"<p>{t.answer}</p>"), signature, more=more), f"Re: {t.subject}")


def smime_encrypted(t: Tongue) -> bytes:
    """Encrypted by S/MIME: one file, and nothing that anybody here can read."""
    name = 'application/pkcs7-mime; name="smime.p7m"; smime-type=enveloped-data'
    return mail(t, file('filename="smime.p7m"', name, b"0\x82\x09encrypted"), t.subject)


def pgp_signed(t: Tongue) -> bytes:
    """Signed by PGP/MIME."""
    signature = file(
        'filename="signature.asc"', 'application/pgp-signature; name="signature.asc"', b"-----BEGIN PGP SIGNATURE-----"
    )
    more = "; protocol=application/pgp-signature; micalg=pgp-sha512"
    return mail(t, multipart("signed", text(f"{t.answer}\n"), signature, more=more), f"Re: {t.subject}")


def pgp_inline(t: Tongue) -> bytes:
    """Signed by PGP in the text itself."""
    body = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{t.answer}\n{t.detail}\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n"
    return mail(t, text(body), f"Re: {t.subject}")


def pgp_encrypted(t: Tongue) -> bytes:
    """Encrypted by PGP/MIME: a version, and a file that nobody here can read."""
    version = Part("Content-Type: application/pgp-encrypted\r\n", b"Version: 1\r\n")
    secret = file(
        'filename="encrypted.asc"',
        'application/octet-stream; name="encrypted.asc"',
        b"-----BEGIN PGP MESSAGE-----",
        disposition="inline",
    )
    return mail(t, multipart("encrypted", version, secret, more="; protocol=application/pgp-encrypted"), "...")


def mailing_list(t: Tongue) -> bytes:
    """By a mailing list: a tag in the subject, a footer, answers to the list."""
    footer = "_______________________________________________\nroofs mailing list -- roofs@lists.example.test\nTo unsubscribe send an email to roofs-leave@lists.example.test\n"
    more = {
        "List-Id": "Roofs <roofs.lists.example.test>",
        "Reply-To": "roofs@lists.example.test",
        "List-Unsubscribe": "<mailto:roofs-leave@lists.example.test>",
    }
    body = multipart("mixed", text(f"{t.answer}\n\n{t.apple}\n> {t.question}\n"), text(footer, charset="us-ascii"))
    return mail(t, body, f"[roofs] {t.re}: {t.subject}", to="roofs@lists.example.test", headers=more)


def old_charset(t: Tongue) -> bytes:
    """In the charset of the language's older programs."""
    encoding = "7bit" if t.charset == "iso-2022-jp" else "quoted-printable"
    return mail(t, text(f"{t.hello}\n\n{t.answer}\n", charset=t.charset, encoding=encoding))


def attached_mail(t: Tongue) -> bytes:
    """A mail with another one as a file."""
    inner = Part(
        "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n", mail(t, text(t.question), sender=BOB)
    )
    return mail(t, multipart("mixed", text(f"{t.thanks}\n"), inner), f"Fwd: {t.subject}")


def apple_with_files(t: Tongue) -> bytes:
    """Apple Mail's way: text, a file, and text again."""
    pdf = file(f"filename*=utf-8''{t.code}-%F0%9F%93%84.pdf", "application/pdf", b"%PDF-1.7", disposition="inline")
    return mail(
        t, multipart("mixed", text(f"{t.hello}\n\n{t.answer}\n"), pdf, text(f"\n{t.thanks}\n{t.name}\n")), t.subject
    )


def flowed(t: Tongue) -> bytes:
    """Plain text whose lines end in blanks where a program broke them."""
    body = text(f"{t.hello}\n\n{t.answer} \n{t.detail} \n{t.thanks}\n\n-- \n{t.name}\n")
    return mail(
        t, Part(body.headers.replace("charset=utf-8", "charset=utf-8; format=flowed; delsp=no"), body.body), t.subject
    )


FAMILIES = (
    bounce,
    out_of_office,
    smime_signed,
    smime_encrypted,
    pgp_signed,
    pgp_inline,
    pgp_encrypted,
    mailing_list,
    old_charset,
    attached_mail,
    apple_with_files,
    flowed,
)
