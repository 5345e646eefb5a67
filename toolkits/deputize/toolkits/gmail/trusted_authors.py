"""``trusted_authors = domain``: mail that the user or a member of the user's domain sent. ``contacts``: also mail from
the user's contacts, if the grant allows their lookup.

Google, not the mail, says who sent the mail: the topmost ``Authentication-Results`` of mx.google.com must have passed
DMARC, or DKIM by the sender's domain (RFC 8601). Some lists, such as Google Groups, forward in their own name and so
put their domain on others' words: such mail is withheld. Quotes and forwarded mail inside a readable mail are left out,
and so is the subject of a reply to a withheld mail. gmail.com does not count as a shared domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.errors import NotFound
from deputize.core.tools.steps import Step, Try
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.mail.compose import base64url
from deputize.toolkits._shared.mail.headers import parse_people
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.parts import header
from deputize.toolkits._shared.mail.quotes import without_quotes
from deputize.toolkits._shared.redact_results import domain_of, own_domain
from deputize.toolkits.gmail.api import Asks, get_message
from deputize.toolkits.gmail.base import GMAIL

Json = dict[str, Any]

MAX_LOOKUPS: Final = 60  # lookups of mails, conversations and addresses in one call
_AT_ONCE: Final = 10
_CONTACTS: Final = frozenset(f"https://www.googleapis.com/auth/contacts{end}" for end in ("", ".readonly"))
_HEADERS: Final = ("From", "Subject", "Authentication-Results", "List-Id", "X-Original-From", "X-Original-Sender")
_SENT_ON: Final = ("List-Id", "X-Original-From", "X-Original-Sender")
_ADDRESSES: Final = ("from", "to", "cc", "bcc", "delivered-to")
_ANSWER = re.compile(r"\s*[^\W\d_]{1,12}(?:\[\d+\])?\s*[:\uff1a]")
_NO_LETTER: Final = {"SENT", "DRAFT"}

OUTSIDE: Final = {"domain": "not of the user or the user's domain", "contacts": "not of the user's domain or contacts"}
UNPROVEN: Final = "not known to be of its sender: Google has not authenticated it"
NO_SCOPE: Final = "contacts were not looked up: the grant lacks contacts.readonly"
FORWARDED: Final = "what is quoted or forwarded may be of anybody"
ANSWERED: Final = "its subject may be of somebody else"


class Screen:
    """The screen of one call. ``seen``: the reason why a mail is withheld, by mail id, or ""."""

    def __init__(self, run: Run, withheld: Withheld) -> None:
        self.run, self.withheld, self.word = run, withheld, run.trusted_authors
        self.own, self.domain = run.account.name.lower(), own_domain(run.account.name)
        self.seen: dict[str, str] = {}
        self.threads: dict[str, bool] = {}
        self.contacts: dict[str, bool] = {}
        self.asked = 0

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without the texts of untrusted authors."""
        if isinstance(step, list):
            yield from self._prepare([one for part in answer for one in _mails(part)])
            found = []
            for request, part in zip(step, answer, strict=True):
                found.append((yield from self._screen_answer(request, part)))
            return found
        if isinstance(step, Request):
            yield from self._prepare(_mails(answer))
            return (yield from self._screen_answer(step, answer))
        return answer

    def _screen_answer(self, request: Request, answer: Any) -> Asks[Any]:
        if request.path.endswith("/attachments/{id}"):
            message = request.at["message"]
            if message not in self.seen:
                yield from self._judge([message])
            if why := self.seen.get(message, UNPROVEN):
                raise NotFound(
                    f"Gmail: this file is withheld: the mail is {why}.", hint="Only the user can open it, in Gmail."
                )
            return answer
        return self._redact(answer)

    # ------------------------------------------------------------- who wrote a mail

    def _prepare(self, mails: Iterable[Json]) -> Asks[None]:
        """Find out who wrote these mails. Fetches headers that the response leaves out."""
        unknown: list[str] = []
        for mail in mails:
            headers = (mail.get("payload") or {}).get("headers") or ()
            if not headers:
                unknown.append(str(mail.get("id")))
            elif self._is_candidate(mail) and not header(headers, "Authentication-Results") and not _is_by_user(mail):
                unknown.append(str(mail.get("id")))
            else:
                yield from self._learn(mail)
        yield from self._judge([one for one in unknown if one not in self.seen])
        answers = {str(one.get("threadId")) for one in mails if self._is_answer(one)}
        yield from self._judge_threads([one for one in answers if one not in self.threads])

    def _judge(self, ids: Sequence[str]) -> Asks[None]:
        for told in (yield from self._try([get_message(one, "metadata", _HEADERS) for one in dict.fromkeys(ids)])):
            if isinstance(told, dict):
                yield from self._learn(told)

    def _learn(self, mail: Json) -> Asks[None]:
        self.seen[str(mail.get("id"))] = yield from self._reason_to_withhold(mail)

    def _judge_threads(self, threads: Sequence[str]) -> Asks[None]:
        """Find out who wrote the first mail of each conversation, because replies repeat its subject."""
        params = {"format": "metadata", "metadataHeaders": list(_HEADERS)}
        asked = [Request("GET", "/users/me/threads/{id}", at={"id": one}, params=params) for one in threads]
        for told in (yield from self._try(asked)):
            if isinstance(told, dict) and (mails := told.get("messages")):
                first = min(mails, key=lambda one: int(one.get("internalDate") or 0))
                why = yield from self._reason_to_withhold(first)
                subject = header((first.get("payload") or {}).get("headers") or (), "Subject")
                self.threads[str(told.get("id"))] = not why and not _ANSWER.match(subject)

    def _try(self, requests: Sequence[Request]) -> Asks[list[Any]]:
        requests = requests[: max(MAX_LOOKUPS - self.asked, 0)]
        self.asked += len(requests)
        found: list[Any] = []
        for start in range(0, len(requests), _AT_ONCE):
            found += yield Try(requests[start : start + _AT_ONCE])
        return found

    def _is_candidate(self, mail: Json) -> bool:
        sender = _sender(mail)
        return bool(sender) and (self.word == "contacts" or domain_of(sender) == self.domain)

    def _is_answer(self, mail: Json) -> bool:
        subject = header((mail.get("payload") or {}).get("headers") or (), "Subject")
        return bool(_ANSWER.match(subject)) and not self.seen.get(str(mail.get("id")), UNPROVEN)

    def _reason_to_withhold(self, mail: Json) -> Asks[str]:
        """Return the reason why a mail is withheld, or ""."""
        if _is_by_user(mail):
            return ""
        sender, headers = _sender(mail), mail["payload"]["headers"]
        colleague = bool(self.domain) and domain_of(sender) == self.domain
        if not colleague and self.word != "contacts":
            return OUTSIDE[self.word]
        if any(header(headers, name) for name in _SENT_ON) or not _is_authentic(mail, domain_of(sender)):
            return UNPROVEN
        if colleague or sender == self.own:
            return ""
        if not self.run.granted & _CONTACTS:
            return NO_SCOPE
        return "" if (yield from self._is_contact(sender)) else OUTSIDE[self.word]

    def _is_contact(self, address: str) -> Asks[bool]:
        """True if one of the user's contacts has exactly this address (people.searchContacts)."""
        if address not in self.contacts:
            fresh = not self.contacts  # an empty search refreshes the cache that searches read
            yield from self._try([_search("")] if fresh else [])
            told = yield from self._try([_search(address)])
            found = (told[0] or {}).get("results") or () if told else ()
            people = [one.get("person") or {} for one in found]
            known = {
                str(one.get("value", "")).lower() for person in people for one in person.get("emailAddresses") or ()
            }
            self.contacts[address] = address in known
        return self.contacts[address]

    # ------------------------------------------------------------- redaction

    def _redact(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._redact(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "labelIds" in node or "payload" in node or "raw" in node:
            return self._redact_mail(node)
        if "snippet" in node:  # a conversation's snippet does not name its author
            node = {**node, "snippet": self.withheld.mark_for(FORWARDED)}
        return {name: self._redact(one) if isinstance(one, dict | list) else one for name, one in node.items()}

    def _redact_mail(self, mail: Json) -> Json:
        why = self.seen.get(str(mail.get("id")), UNPROVEN)
        if why:
            return self._envelope_only(mail, self.withheld.mark_for(why))
        if "raw" in mail:
            return {**mail, "raw": base64url(self.withheld.mark_for(FORWARDED).encode()), "snippet": ""}
        payload = mail.get("payload")
        if not isinstance(payload, dict):
            return mail
        headers = payload.get("headers") or ()
        if self._is_answer(mail) and not self.threads.get(str(mail.get("threadId"))):
            headers = _with_subject(headers, self.withheld.mark_for(ANSWERED))
        mail = {**mail, "payload": {**payload, "headers": headers}}
        return self._without_quotes(mail) if "body" in payload or "parts" in payload else self._without_snippet(mail)

    def _without_snippet(self, mail: Json) -> Json:
        """Return the mail. The snippet of a reply without body is replaced, because its first words may be quoted."""
        return {**mail, "snippet": self.withheld.mark_for(FORWARDED)} if self._is_answer(mail) else mail

    def _without_quotes(self, mail: Json) -> Json:
        """Return the mail as plain text of the sender's own words if it also contains others' words."""
        own, cut = without_quotes(Mail(mail).body().lines)
        payload = mail["payload"]
        inner = any(one.get("mimeType") == "message/rfc822" for one in _leaves(payload))
        if not cut and not inner:
            return mail
        text = f"{own}\n\n{self.withheld.mark_for(FORWARDED)}"
        files = [one for one in _leaves(payload) if one.get("filename") and one.get("mimeType") != "message/rfc822"]
        parts = [_plain_part(text, "0.0"), *files]
        mixed = {**payload, "mimeType": "multipart/mixed", "body": {"size": 0}, "parts": parts}
        return {**mail, "payload": mixed, "snippet": own[:160]}

    def _envelope_only(self, mail: Json, mark: str) -> Json:
        """Return only date, sender and recipients, because the sender chose everything else."""
        shown = {name: value for name, value in mail.items() if name not in ("raw", "payload")} | {"snippet": mark}
        if "raw" in mail:
            shown["raw"] = base64url(mark.encode())
        if isinstance(mail.get("payload"), dict):
            payload = mail["payload"]
            said = payload.get("headers") or ()
            headers = [{"name": "Subject", "value": mark}]
            for one in said:
                if str(one.get("name", "")).lower() in _ADDRESSES:
                    people = ", ".join(person.address for person in parse_people(str(one.get("value", ""))))
                    headers.append({"name": one["name"], "value": people})
            text = _plain_part(mark, "") if "body" in payload or "parts" in payload else {"mimeType": "text/plain"}
            shown["payload"] = {**text, "headers": headers}
        return shown


def _plain_part(text: str, part: str) -> Json:
    data = text.encode()
    headers = [{"name": "Content-Type", "value": 'text/plain; charset="utf-8"'}]
    body = {"size": len(data), "data": base64url(data)}
    return {"partId": part, "mimeType": "text/plain", "filename": "", "headers": headers, "body": body}


def _leaves(payload: Mapping[str, Any]) -> Iterator[Json]:
    """Yield parts without children. Attached mails are yielded whole."""
    parts = payload.get("parts") or ()
    if payload.get("mimeType") == "message/rfc822" or not parts:
        yield dict(payload)
        return
    for one in parts:
        yield from _leaves(one)


def _mails(node: Any) -> list[Json]:
    if isinstance(node, list):
        return [one for part in node for one in _mails(part)]
    if not isinstance(node, dict):
        return []
    if "labelIds" in node or "payload" in node or "raw" in node:
        return [node]
    return [one for part in node.values() if isinstance(part, dict | list) for one in _mails(part)]


def _is_by_user(mail: Mapping[str, Any]) -> bool:
    """True if the user wrote the mail. Only Gmail sets these labels, and never on received mail."""
    labels = set(mail.get("labelIds") or ())
    return bool(labels & _NO_LETTER) and not header((mail.get("payload") or {}).get("headers") or (), "Delivered-To")


def _sender(mail: Mapping[str, Any]) -> str:
    """Return the mail's only From address in lower case, or "" if the mail has none or several."""
    headers = (mail.get("payload") or {}).get("headers") or ()
    named = [str(one.get("value", "")) for one in headers if str(one.get("name", "")).lower() == "from"]
    people = parse_people(named[0]) if len(named) == 1 else []
    return people[0].address.lower() if len(people) == 1 else ""


def _is_authentic(mail: Json, domain: str) -> bool:
    """True if Google authenticated this domain as the mail's sender."""
    said = Mail(mail).auth()
    if said.get("dmarc") == "pass":
        return True
    first = header(mail["payload"]["headers"], "Authentication-Results")
    signed = re.search(rf"\bdkim=pass\s[^;\"()]*\bheader\.(?:i=[^\s;@\"()]*@|d=){re.escape(domain)}(?=[\s;]|$)", first)
    return "dmarc" not in said and said.get("dkim") == "pass" and bool(signed)


def _with_subject(headers: Sequence[Json], mark: str) -> list[Json]:
    return [one | {"value": mark} if str(one.get("name", "")).lower() == "subject" else one for one in headers]


def _search(query: str) -> Request:
    """Return a people.searchContacts request."""
    params = {"query": query, "readMask": "emailAddresses", "pageSize": 30}
    return Request("GET", "/people:searchContacts", params=params, api="people")


GMAIL.screens |= {"domain": Screen, "contacts": Screen}
