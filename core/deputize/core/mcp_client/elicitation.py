"""Questions of a foreign server to its user: links and flat forms, checked before display, and the answers.

A question is untrusted content. So only two kinds are accepted: an https URL that is displayed in full, and a form of
texts, numbers, booleans and choices. Secrets are never requested; the specification forbids that to servers:
https://modelcontextprotocol.io/specification/2026-07-28/client/elicitation.

A call may take several rounds, and the server may ask in each of the first five:

    tools/call                              a result, or a question: the run ends, the user answers on deputize's page
    tools/call again, with the answer       in a later run of the same act, with the server's own state

The first round is claimed as a write, and only one run receives the answer. If the answer was sent without getting a
response, the outcome is unknown. If the server no longer knows its state, nothing was done, and the call starts again
with its first round. https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from deputize.core.errors import Declined, InvalidInput, OutcomeUnknown
from deputize.core.mcp_client.definitions import clean_text
from deputize.core.mcp_client.protocol import Asked, Refused
from deputize.core.mcp_client.rules import INVALID_PARAMS
from deputize.core.mcp_client.schemas import faults_of
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.tools.preview import Audience, Preview
from deputize.core.tools.steps import AskUser, Heard, Steps, UserSaid, Wait

MAX_PARTS: Final = 3
MAX_FORM_FIELDS: Final = 12
"""Fields of a question that our form accepts, besides its own."""
MAX_KEYS_CHARACTERS: Final = 1000
MAX_CHOICES: Final = 100
MAX_MESSAGE_CHARACTERS: Final = 1000
MAX_LABEL_CHARACTERS: Final = 200
MAX_TEXT_CHARACTERS: Final = 1000
_URL: Final = re.compile(r"https://[\x21-\x7e]{1,2000}")
_ADDRESS: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
_NAME: Final = re.compile(r"[\x21-\x7e]{1,100}")
_SECRET: Final = re.compile(
    r"pass\W?(word|wort|phrase|code|wd)|passwort|kennwort|secret|credential|token|api\W?key|private\W?key|\bkeys?\b"
    r"|\bcards?\b|\bcvv\b|\bcvc\b|\bpins?\b|\botp\b|\biban\b|\bssn\b|one.?time.?code|recovery.?(code|phrase)|seed.?phrase",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_|-")
_TYPES: Final = ("string", "number", "integer", "boolean")
_RULES: Final = ("type", "enum", "minimum", "maximum", "minLength", "maxLength", "format", "pattern")

Part = dict[str, Any]
"""One request of a question, as stored: its ``key`` and ``message``, a ``url`` ("" for a form) or ``fields``."""

MAX_ROUNDS: Final = 5
STATE_TTL: Final = 600.0
"""Seconds for which servers keep their state: the default of MCP's SDK."""
RETURN_TTL: Final = 3600.0
"""Seconds for a user to return from a link whose server keeps no state and is called again."""
LOST_STATE: Final = "invalid_request_state"


class NotPassedOn(Exception):
    """A question is not passed to the user. The message is the reason, as the end of a sentence about the question."""


def parts_of(requests: Mapping[str, Any]) -> list[Part]:
    """Return the question in parts that a page can display. Raises `NotPassedOn` if any part is not allowed."""
    if len(requests) > MAX_PARTS:
        raise NotPassedOn("it asks for too much at once")
    found = [_part(str(key), request) for key, request in requests.items()]
    if sum(len(part["fields"]) for part in found) > MAX_FORM_FIELDS or sum(map(len, requests)) > MAX_KEYS_CHARACTERS:
        raise NotPassedOn("it asks for too much at once")
    return found


def _part(key: str, request: Any) -> Part:
    if not isinstance(request, Mapping) or request.get("method") != "elicitation/create":
        raise NotPassedOn("it is not a question to a person")
    params = request.get("params")
    if not isinstance(params, Mapping):
        raise NotPassedOn("it says nothing of what it asks")
    part: Part = {
        "key": key,
        "message": clean_text(params.get("message"), MAX_MESSAGE_CHARACTERS),
        "url": "",
        "fields": [],
    }
    match params.get("mode", "form"):
        case "url":
            return part | _link(params.get("url"))
        case "form":
            return part | {"fields": _fields(params.get("requestedSchema"))}
    raise NotPassedOn("it is asked in a way that is not known here")


def _link(url: Any) -> Part:
    """Return a URL that may be displayed: https, without a user, without invisible characters."""
    parts = None
    try:
        parts = urlsplit(url) if isinstance(url, str) and _URL.fullmatch(url) else None
        good = parts is not None and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts is None:
        raise NotPassedOn("it wants an address opened that is not https")
    return {"url": url, "host": parts.netloc.lower(), "foreign_letters": "xn--" in parts.netloc.lower()}


# ----------------------------------------------------------------- forms


def _fields(schema: Any) -> list[Part]:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        raise NotPassedOn("its form has no fields")
    listed = schema.get("required")
    required = listed if isinstance(listed, list) else []
    found = schema["properties"]
    if len(found) > MAX_FORM_FIELDS:
        raise NotPassedOn("its form has too many fields")
    return [_field(str(name), field, name in required) for name, field in found.items()]


def _field(name: str, schema: Any, required: bool) -> Part:
    if not _NAME.fullmatch(name) or not isinstance(schema, Mapping) or schema.get("type") not in _TYPES:
        raise NotPassedOn("its form has a field that is not a text, number, boolean or choice")
    title = clean_text(schema.get("title"), MAX_LABEL_CHARACTERS) or name
    words = clean_text(schema.get("description"), MAX_LABEL_CHARACTERS)
    if _smells(name, title, words) or schema.get("format") == "password":
        raise NotPassedOn(f"it asks for what looks like a secret ({clean_text(title, 40)})")
    rules = {rule: schema[rule] for rule in _RULES if rule in schema}
    options, rules = _options(schema, rules)
    default = schema.get("default")
    plain = isinstance(default, str | int | float) and len(str(default)) <= MAX_TEXT_CHARACTERS
    made = {"name": name, "title": title, "words": words, "required": required, "rules": rules, "options": options}
    return made | {"default": default if plain else ""}


def _smells(*texts: str) -> bool:
    return any(_SECRET.search(one) or _SECRET.search(_CAMEL.sub(" ", one)) for one in texts)


def _options(schema: Mapping[str, Any], rules: Part) -> tuple[list[list[str]], Part]:
    """Return the choices with their labels, and rules that allow only these choices."""
    listed, titled = schema.get("enum"), schema.get("oneOf")
    if listed is None and titled is None:
        return [], rules
    if isinstance(titled, list):
        pairs = [(one.get("const"), one.get("title")) for one in titled if isinstance(one, Mapping)]
    else:
        names = schema.get("enumNames")
        labels = names if isinstance(names, list) else []
        values = listed if isinstance(listed, list) else []
        pairs = [(value, labels[n] if n < len(labels) else value) for n, value in enumerate(values)]
    if not pairs or len(pairs) > MAX_CHOICES or not all(isinstance(value, str) for value, _ in pairs):
        raise NotPassedOn("its form has a choice that is not of texts")
    options = [
        [str(value), clean_text(called, MAX_LABEL_CHARACTERS) or clean_text(value, MAX_LABEL_CHARACTERS)]
        for value, called in pairs
    ]
    return options, {"type": "string", "enum": [value for value, _ in options]}


def read_form(part: Part, given: Mapping[str, str]) -> dict[str, Any]:
    """Return a person's input in the server's form. ``given``: the input by field number. The `InvalidInput` for
    invalid fields names each field and no value."""
    content, faults = dict[str, Any](), list[str]()
    for key, field in enumerate(part["fields"]):
        try:
            value = _value(field, given.get(str(key), "")[: MAX_TEXT_CHARACTERS + 1])
        except ValueError:
            faults.append(f"{field['title']}: not a number.")
            continue
        if value is None:
            faults += [f"{field['title']}: required."] if field["required"] else []
            continue
        if len(str(value)) > MAX_TEXT_CHARACTERS or faults_of(field["rules"], value):
            faults.append(f"{field['title']}: not valid{_bounds(field['rules'])}.")
        content[field["name"]] = value
    if faults:
        raise InvalidInput(" ".join(faults), fix_by="user", reason="form")
    return content


def _value(field: Part, text: str) -> Any:
    """Return the value of one field, or None if the field was left empty."""
    kind = field["rules"]["type"]
    if kind == "boolean":
        return text == "on"
    if not text:
        return None
    if kind == "integer":
        return int(text)
    return float(text) if kind == "number" else text


def _bounds(rules: Mapping[str, Any]) -> str:
    """Return a description of the bounds of a field."""
    said = [
        f"{words} {rules[rule]}"
        for rule, words in (
            ("format", "as"),
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("minLength", "characters at least"),
            ("maxLength", "characters at most"),
        )
        if isinstance(rules.get(rule), str | int | float)
    ]
    return f" ({clean_text(', '.join(said), MAX_LABEL_CHARACTERS)})" if said else ""


# ----------------------------------------------------------------- preview and responses


def show_of(parts: Sequence[Part], tool: str, host: str) -> Preview:
    """Return what programs and models may see of a question: its text without URLs, and its hosts or fields."""
    opens = sorted({part["host"] for part in parts if part["url"]})
    wants = [field["title"] for part in parts for field in part["fields"]]
    says = [words for part in parts if (words := _without_addresses(part["message"]))]
    fields: dict[str, Any] = {"it says": says or None, "asks you to open": opens or None, "asks you for": wants or None}
    return Preview(
        "Answer a question of another server", audience=Audience.UNKNOWN, where=f"{host}, for {tool}", **fields
    )


def _without_addresses(text: str) -> str:
    """Return the text without URLs, which only the page displays."""
    return _ADDRESS.sub("(an address)", text)


def responses_of(parts: Iterable[Part], reply: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``inputResponses`` with the server's own keys. ``content``: contents of the forms by the same keys."""
    forms = {part["key"]: not part["url"] for part in parts}
    return {
        key: {"action": reply} | ({"content": content.get(key, {})} if form and reply == "accept" else {})
        for key, form in forms.items()
    }


class Sent(NamedTuple):
    """The content of a round's request: answers and state of the previous round. ``asked``: number of questions so far.
    ``anew``: True if the call was already started again."""

    answers: Mapping[str, Any] | None = None
    state: str | None = None
    asked: int = 0
    anew: bool = False


SendRound = Callable[[Sent], Steps]
"""Sends one round and returns the result, or `Asked`. Raises `Refused`."""


def rounds(send: SendRound, tool: str, server: McpServer, *, can_ask: bool) -> Steps:
    """Return the result of the call. Raises the server's `Refused`, and errors of invalid responses."""
    host = server.host
    now = _after((yield Heard()), tool, host)
    for _ in range(MAX_ROUNDS + 1):
        try:
            result = yield from send(now)
        except Refused as refused:
            if now.anew or now.state is None or not _has_forgotten(refused):
                raise
            now = Sent(asked=now.asked, anew=True)
            continue
        if not isinstance(result, Asked):
            return result
        if result.requests or result.state is None:
            yield _question(result, now, tool, server, can_ask=can_ask)
        yield Wait(1.0)  # only a state: it is still working
        now = Sent(None, result.state, now.asked, now.anew)
    raise OutcomeUnknown(f"{host} is still working on {tool}, and does not say whether it is done.")


def _has_forgotten(refused: Refused) -> bool:
    reason = refused.data.get("reason") if isinstance(refused.data, dict) else None
    return refused.code == INVALID_PARAMS and reason == LOST_STATE


def _after(said: UserSaid | None, tool: str, host: str) -> Sent:
    """Return the content of the next round. Raises if the user's answer ends the call."""
    if said is None:
        return Sent()
    if said.reply == "late":
        raise InvalidInput(
            f"{host} asked its user something before it does {tool}, and the answer came too late. It was not done.",
            hint="Make a new call if it is still wanted: it asks again.",
            fix_by="user",
            reason="answered_too_late",
        )
    kept = said.kept
    if kept["again"]:  # without a state, no server waits for a rejection
        if said.reply != "accept":
            raise Declined(f"The user did not do what {host} asks for before {tool}. It was not done.")
        return Sent(asked=kept["asked"])
    return Sent(responses_of(kept["parts"], said.reply, said.content), kept["state"], kept["asked"], kept["anew"])


def _question(asked: Asked, now: Sent, tool: str, server: McpServer, *, can_ask: bool) -> AskUser:
    try:
        if not asked.requests:
            raise NotPassedOn("it does not say what")
        if not can_ask:
            raise NotPassedOn("there is no user to ask: the call has no id, or acts for a service account")
        if now.asked >= MAX_ROUNDS:
            raise NotPassedOn(f"it has asked {MAX_ROUNDS} times already")
        parts = parts_of(asked.requests)
    except NotPassedOn as why:
        raise _not_asked(asked, str(why), tool, server.host) from None
    kept = {
        "server": server.name,
        "host": server.host,
        "tool": tool,
        "parts": parts,
        "state": asked.state,
        "asked": now.asked + 1,
        "anew": now.anew,
        "again": asked.again,
    }
    return AskUser(show_of(parts, tool, server.host), kept, RETURN_TTL if kept["again"] else STATE_TTL)


def _not_asked(asked: Asked, why: str, tool: str, host: str) -> InvalidInput | OutcomeUnknown:
    params = [one.get("params") for one in asked.requests.values() if isinstance(one, Mapping)]
    said = [clean_text(one.get("message"), 200) for one in params if isinstance(one, Mapping)]
    words = f"{host} wants something of its user before it does {tool}, which is not asked here: {why}."
    words += f' It says "{_without_addresses(said[0])}".' if said and said[0] else ""
    if not asked.nothing_done:
        return OutcomeUnknown(f"{words} It may have begun.")
    hint = "Let the user do that at the server itself, then call again."
    return InvalidInput(words, hint=hint, fix_by="user", reason="asks_user")
