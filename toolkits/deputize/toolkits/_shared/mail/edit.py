"""Edits of an existing mail: some headers and the text, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import Policy
from typing import Any, Final, cast

from deputize.toolkits._shared.mail.compose import UNTOUCHED, WIRE, File, Text, attach, html_of, write_text
from deputize.toolkits._shared.mail.headers import Encoded

_DEEPEST: Final = 50  # nested parts


def edit(mail: bytes, headers: Mapping[str, Encoded], text: Text | None, files: Sequence[File] = ()) -> EmailMessage:
    """Return the mail with these headers replaced (an empty value removes one), and with this text.

    Parts other than the body's text stay unchanged, including files and pictures; ``files`` are added.
    """
    message = message_from_bytes(mail, policy=cast("Policy[EmailMessage]", UNTOUCHED))
    for name, value in headers.items():
        del message[name]
        if value:
            message[name] = value
    if text is not None:
        _replace_text(message, text)
    if files and type_of(message) != "multipart/mixed":
        message.make_mixed()
    for file in files:
        attach(message, file)
    return message


def raw_header(message: Message[Any, Any], name: str) -> str:
    """Return a header unparsed, because parsing untrusted headers may fail."""
    values = (str(value) for key, value in message.raw_items() if key.lower() == name.lower())
    return next(values, "")


def _replace_text(message: EmailMessage, text: Text) -> None:
    """Replace the body's text. In a mail that begins with a file, insert it before the file."""
    leaves = _body_texts(message, 0)
    plain = next((leaf for leaf in leaves if type_of(leaf) == "text/plain"), None)
    markup = next((leaf for leaf in leaves if type_of(leaf) == "text/html"), None)
    if markup is not None:
        markup.set_content(html_of(text), subtype="html")
        if plain is not None:
            plain.set_content(text.plain)
    elif plain is not None:
        write_text(plain, text)
    elif message.is_multipart() or not type_of(message).startswith(("text/", "multipart/")):
        _put_first(message, text)
    else:  # empty, or a multipart without parts
        message.clear_content()
        write_text(message, text)


def _put_first(message: EmailMessage, text: Text) -> None:
    """Insert the text as the first part of a mail without text."""
    if not message.is_multipart():
        message.make_mixed()
    new = EmailMessage(policy=WIRE)
    write_text(new, text)
    message.set_payload([new, *children(message)])


def _body_texts(part: EmailMessage, depth: int) -> list[EmailMessage]:
    """Return the text parts that a reader sees as the body: all alternatives, else the first text part."""
    if depth > _DEEPEST or is_file(part):
        return []
    if not part.is_multipart():
        return [part] if type_of(part) in ("text/plain", "text/html") else []
    found = [texts for child in children(part) if (texts := _body_texts(child, depth + 1))]
    seen = found if type_of(part) == "multipart/alternative" else found[:1]
    return [leaf for texts in seen for leaf in texts]


def children(part: EmailMessage) -> list[EmailMessage]:
    payload = part.get_payload()
    return [one for one in payload if isinstance(one, EmailMessage)] if isinstance(payload, list) else []


def type_of(part: EmailMessage) -> str:
    """Return the declared media type of a part, in lower case."""
    return raw_header(part, "Content-Type").partition(";")[0].strip().lower() or "text/plain"


def is_file(part: EmailMessage) -> bool:
    """True if a part is an attachment, not text of the body."""
    disposition = raw_header(part, "Content-Disposition").strip().lower()
    return disposition.startswith("attachment") or "filename" in disposition
