# ruff: noqa: RUF001 - the words of other languages
"""Words of mail programs in their users' languages: prefixes of subjects, and headers of quoted mails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_REPLY: Final = (
    "re|aw|antw|antwort|sv|vs|odp|res|resp|rép|rif|ynt|vá|răsp|отв|ответ|απ|השב|תגובה|رد"
    "|回复|回覆|答复|答覆|返信|회신|답장"
)
_FORWARD: Final = (
    "fwd?|fw|wg|tr|rv|enc|vb|vl|vs|doorst|pd|ilt|i̇lt|tov|пересл|πρθ|הועבר|إعادة توجيه|转发|轉寄|轉發|転送|전달"
)
_COUNT: Final = r"(?: ?[\[(]\d{1,3}[\])])?"  # "Re[2]:"
_REPLIED: Final = re.compile(rf"(?:(?:{_REPLY}){_COUNT}\s*[:：]\s*)+", re.IGNORECASE)
FORWARDED: Final = re.compile(rf"(?:(?:{_FORWARD}){_COUNT}\s*[:：]\s*)+", re.IGNORECASE)
"""Prefixes of the subject of a forwarded mail."""

_HEADS: Final[Mapping[str, str]] = {
    "from": "from|von|de|da|van|från|fra|od|от|от кого|kimden|発信者|差出人|送信者|发件人|寄件者|보낸 사람|من|प्रेषक"
    "|lähettäjä|feladó|expéditeur|remitente|mittente|afzender|avsändare|מאת|από|від|gönderen",
    "sent": "sent|date|gesendet|datum|envoyé(?: le)?|enviado(?: el| em)?|enviada(?: em)?|fecha|data|inviato|verzonden"
    "|skickat|sendt|dato|wysłano|отправлено|дата|gönderilen|gönderme tarihi|tarih|lähetetty|päivämäärä|elküldve"
    "|发送时间|日期|寄件日期|傳送日期|送信日時|日時|日付|보낸 날짜|날짜|تاريخ الإرسال|التاريخ|تم الإرسال"
    "|भेजा गया|दिनांक|तारीख|נשלח|στάλθηκε",
    "to": "to|an|à|a|para|aan|till|til|do|кому|kime|alıcı|收件人|收件者|宛先|받는 사람|إلى|को|प्रति|प्राप्तकर्ता"
    "|vastaanottaja|címzett|destinatario|destinataire|per|אל|προς",
    "subject": "subject|betreff|objet|sujet|asunto|assunto|oggetto|onderwerp|ämne|emne|temat|тема|konu|主题|主旨|件名"
    "|제목|الموضوع|विषय|aihe|tárgy|נושא|θέμα",
}
_HEAD: Final = re.compile(
    r"[>*\s]*(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _HEADS.items()) + r")\*?\s*[:：].*",
    re.IGNORECASE,
)


def reply_subject(subject: str) -> str:
    """Return the subject of a reply: one ``Re:`` replaces the prefixes of all languages."""
    return f"Re: {_strip(_REPLIED, subject.strip())}"


def forward_subject(subject: str) -> str:
    """Return the subject of a forwarded mail: one ``Fwd:`` replaces the prefixes of all languages."""
    return f"Fwd: {_strip(FORWARDED, subject.strip())}"


def _strip(prefix: re.Pattern[str], subject: str) -> str:
    found = prefix.match(subject)
    return subject[found.end() :] if found else subject


def header_of_line(line: str) -> str:
    """Return the header that a line of a quoted mail states in any language: from, sent, to, subject or ""."""
    found = _HEAD.fullmatch(line[:300])
    return (found.lastgroup or "") if found else ""
