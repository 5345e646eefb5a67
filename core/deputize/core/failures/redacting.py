"""Masking what looks like a secret in a text that is to be shown or kept."""

from __future__ import annotations

from deputize.core.failures.patterns import compiled

_PARAMETERS = "access_token|refresh_token|id_token|client_secret|code_verifier|subject_token|assertion"
_HEADERS = "authorization|x-api-key|cookie"
_IS = r"""(?:=|%3D|["']\s*:\s*["'])"""
_VALUE = r"""[^\s&"'<>]"""
_LIKE_NO_WORD = rf"(?={_VALUE}{{0,60}}?(?:[0-9]|[a-z][A-Z]))"
_SECRETS = [  # what a text must hold for the pattern to be worth a try, and the pattern; a group is kept
    (marks.split(), pattern)
    for marks, pattern in (
        ("ya29.", r"\bya29\.[A-Za-z0-9_\-.]{20,}"),  # Google
        ("1// 4/0", r"(?<![A-Za-z0-9/])(?:1//|4/0)[A-Za-z0-9_\-]{20,}"),
        ("gocspx-", r"\bGOCSPX-[A-Za-z0-9_\-]{20,}"),
        ("xox", r"\bxox(?:[abcdeprs]|e\.xox[bp])-[A-Za-z0-9\-]{10,}"),  # Slack
        ("xapp-", r"\bxapp-[A-Za-z0-9\-]{10,}"),
        ("gho_ ghp_ ghu_ ghr_ ghs_", r"\bgh[opurs]_[A-Za-z0-9_.\-]{20,}"),  # GitHub
        ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
        ("authorization_request=", rf"https?://{_VALUE}{{1,400}}?[?&]authorization_request={_VALUE}*"),  # X-GitHub-SSO
        ("lin_", r"\blin_(?:api|oauth|refresh|wh)_[A-Za-z0-9]{16,}"),  # Linear
        ("00d", r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{20,}"),  # Salesforce
        ("5aep861", r"\b5Aep861[A-Za-z0-9._]{20,}"),
        (".eyj", r"\beyJ[A-Za-z0-9_\-]{8,2000}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),  # JSON Web Tokens
        (_PARAMETERS.replace("|", " "), rf"(?i)((?<![A-Za-z0-9_])(?:{_PARAMETERS}){_IS}){_VALUE}{{6,}}"),
        # words by which other things go too: a "state" that is "closed" stays
        ("code state token", rf"((?<![A-Za-z0-9_])(?i:code|state|token){_IS}){_LIKE_NO_WORD}{_VALUE}{{6,}}"),
        ("bearer", rf"((?i:\bbearer) ){_LIKE_NO_WORD}[\w.~+/=-]{{16,}}"),
        (_HEADERS.replace("|", " "), rf'(?i)(\b(?:{_HEADERS})"?\s*[:=]\s*"?)[^\r\n"]+'),
        # as a dict or a list of pairs prints them
        (_HEADERS.replace("|", " "), rf"""(?i)(\b(?:{_HEADERS})["']\s*[:,]\s*b?["'])[^\r\n"']+"""),
    )
]


def redact(text: str) -> str:
    """The text with everything masked that looks like a token, a code, a secret or a credential header.

    The second line of defence: secrets are kept out of texts in the first place.
    """
    low = text.lower()
    for marks, pattern in _SECRETS:
        if any(mark in low for mark in marks):
            found = compiled(pattern)
            text = found.sub(r"\1[redacted]" if found.groups else "[redacted]", text)
    return text
