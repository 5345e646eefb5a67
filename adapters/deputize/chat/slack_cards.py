"""Consents and approvals as cards in Slack, through Bolt (``slack_bolt``), which verifies each request's signature.

    POST  /slack/cards           a button or the command ``/deputize``, signed by Slack
    GET   /slack/link/{ticket}   links a Slack account to the user who is signed in at deputize's pages; POST confirms

A card goes to the person who is asked, as a direct message. It has the words of the page, as plain text, in which Slack
finds no mention, link or format. If a card cannot show all of it, or if it is about a consent or a grave act
(`ApprovalRecord.is_grave`), it leads to the page and cannot be approved in Slack. Only the stored record counts: a card
shows what became of it, not which button was pressed.

A Slack account is linked by its owner: `/deputize` gives a link to our page, the signed-in user confirms it there, and
enters the code from the page in Slack. So one person has proven both. Records in the vault:

    chat_link    of a user: the Slack account, or the code for one; and, by a digest of the account, where that is
    chat_card    of a question and a person: the message. Also tickets and signatures, each until it expires
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from deputize.core.approvals.headline import agent_words
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import ChatLinked
from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import Conflict, DeputizeError, NotFound, SettingsError
from deputize.core.question_feed import QuestionChange
from deputize.core.shared_services import FixedPages
from deputize.core.user_requests import Approval, Consent
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.record import Record
from deputize.core.visible_text import visible

try:
    from slack_bolt import BoltResponse
    from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
    from slack_bolt.authorization import AuthorizeResult
    from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
    from slack_sdk.web.async_client import AsyncWebClient
    from starlette.requests import Request
    from starlette.responses import Response

    from deputize.core.web.pages import texts
    from deputize.core.web.pages.approval_lines import Row, arrange_rows
    from deputize.core.web.pages.site import Page, Site, current_path
    from deputize.core.web.signing_key import sign
except ImportError as missing:
    raise SettingsError.without(missing, "slack-cards") from None

PATH: Final = "/slack/cards"
LINK_PATH: Final = "/slack/link"
MAX_BODY_BYTES: Final = 1 << 20
MAX_TEXT: Final = 2900
"""UTF-16 units of one text on a card, of Slack's 3,000. The page has the rest."""
MAX_LINES: Final = 40
"""Texts on one card, of Slack's 50 blocks."""
MAX_CARD: Final = 12000
"""UTF-16 units of all texts on one card."""
LINK_TTL: Final = 600.0
"""Seconds for which a link to the page, and then a code, can be used."""
SEEN_TTL: Final = 900.0
"""Seconds for which a request's signature is stored. Slack's signatures are valid for 300."""
CARD_TTL: Final = 86400.0
"""Seconds after the expiry of a question for which its card can still be closed."""
MAX_CONCURRENT_CARDS: Final = 16
"""Cards that are sent or replaced at the same time."""
MAX_TRIES: Final = 5
"""Codes that one Slack account may try."""

REST: Final = "Not all is shown here: read the rest on the page, where you can also approve it."
NOTICE: Final = "Your agent asks you something."
ENDED: Final = "This was answered, or no longer waits."
NOT_YOURS: Final = "This is not yours to decide, or no longer waits. Nothing was done."
EXPIRED: Final = "This has expired. Nothing was done."
NOT_LINKED: Final = "This Slack account is not linked to a user here. Enter /deputize to link it. Nothing was done."
ON_THE_PAGE: Final = "This can be approved on its page only. Nothing was done."
FAILED: Final = "That did not work, and nothing was done. Try again, or open the page."
BAD_CODE: Final = "This code is wrong or too old. Enter /deputize to begin again."
log = logging.getLogger("deputize.chat")
_quiet: Final = logging.getLogger("deputize.chat.bolt")
_quiet.setLevel(logging.CRITICAL + 1)  # Bolt and the SDK would log the bodies of requests


class SlackCards:
    """The cards of one deputy in one Slack workspace. Creating it subscribes to the deputy's questions.

    ``pages``: add them to those of ``pages_app``. ``bot_token`` and ``signing_secret``: of your Slack app. ``api_url``:
    the address of Slack's API. Raises `SettingsError` in local mode, and without a token or a secret.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        *,
        bot_token: Secret | str,
        signing_secret: Secret | str,
        api_url: str = "https://slack.com/api/",
    ) -> None:
        token, secret = (one.reveal() if isinstance(one, Secret) else one for one in (bot_token, signing_secret))
        if not isinstance(deputy.pages, FixedPages):
            raise SettingsError(
                "Slack cards are not available in local mode.",
                hint="Set DEPUTIZE_BASE_URL.",
            )
        if not token.startswith("xoxb-") or not secret:
            raise SettingsError(
                "The bot token of the Slack cards does not begin with xoxb-, or the signing secret is missing.",
                hint="Take both from your app at https://api.slack.com/apps.",
            )
        self.deputy, self.vault, self.home = deputy, deputy.vault, deputy.services.home
        self.slack = AsyncWebClient(token=token, base_url=api_url, timeout=10, logger=_quiet)
        self.slack.retry_handlers.append(AsyncRateLimitErrorRetryHandler())  # once, after the time that Slack names
        self.app = AsyncApp(
            name="deputize.chat.bolt",
            logger=_quiet,
            signing_secret=secret,
            client=AsyncWebClient(base_url=api_url, logger=_quiet),
            authorize=_authorize,
        )
        self.app.use(self._refuse_replay)
        self.app.error(_report)
        self.app.action("deputize_approve")(self._on_approve)
        self.app.action("deputize_reject")(self._on_reject)
        self.app.action(re.compile("deputize_open.*"))(_acknowledge)
        self.app.command(re.compile("/.+"))(self._on_command)
        self.pages: Final = (
            Page("POST", PATH, self._receive),
            Page("GET", f"{LINK_PATH}/{{ticket}}", self._ask_to_link),
            Page("POST", f"{LINK_PATH}/{{ticket}}", self._confirm_link),
        )
        deputy.on_question(self.receive)

    # ------------------------------------------------------------- what Slack sends

    async def _receive(self, site: Site, request: Request) -> Response:
        """Hand a request to Bolt, which verifies its signature and its age."""
        if not re.fullmatch("[0-9]{1,12}", request.headers.get("x-slack-request-timestamp", "")):
            return Response(status_code=401)  # Bolt would raise
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return Response(status_code=413)
        try:
            asked = AsyncBoltRequest(body=body.decode(), headers=dict(request.headers))
            answer = await self.app.async_dispatch(asked)
        except Exception as failure:  # Bolt reads the body before it verifies it
            log.warning("A request to %s could not be read: %s", PATH, type(failure).__name__)
            return Response(status_code=400)
        if answer.status == 401:
            log.warning("A request to %s has no valid signature of now, or was sent before.", PATH)
        kind = answer.first_headers().get("content-type", "text/plain")
        return Response(answer.body, answer.status, headers={"content-type": kind, "cache-control": "no-store"})

    async def _refuse_replay(
        self, request: AsyncBoltRequest, next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse:
        """Refuse a request whose signature was used before."""
        signature = request.headers.get("x-slack-signature", [""])[0]
        seen = {"expires": self.deputy.clock() + SEEN_TTL}
        if await self.vault.insert("chat_card", self._key("seen", signature), seen) is None:
            return BoltResponse(status=401, body="")
        return await next()

    async def _on_approve(self, ack: Callable[..., Awaitable[Any]], body: dict[str, Any]) -> None:
        await ack()
        await self._decide(body, approve=True)

    async def _on_reject(self, ack: Callable[..., Awaitable[Any]], body: dict[str, Any]) -> None:
        await ack()
        await self._decide(body, approve=False)

    async def _decide(self, body: Mapping[str, Any], *, approve: bool) -> None:
        """Record the decision of a button's press. A refusal is shown to the person who pressed it, and only there."""
        place = body.get("container") or {}
        channel, message = place.get("channel_id", ""), place.get("message_ts", "")
        user, refusal = await self._user_of(*_member_in(body)), ""
        question = str(body["actions"][0].get("value", ""))
        if user is None:
            refusal = NOT_LINKED
        else:
            try:
                refusal = await self._decide_as(user, question, channel, message, approve=approve)
            except DeputizeError as failure:
                log.warning("A decision in Slack failed: %s", failure.code)
                refusal = FAILED
        if refusal:
            await self.slack.chat_postEphemeral(channel=channel, user=_member_in(body)[1], text=refusal)

    async def _decide_as(self, user: User, question: str, channel: str, message: str, *, approve: bool) -> str:
        """Return why the user cannot decide, or "". The press must come from the message that this user received."""
        record = await self.vault.get("chat_card", self._card_key(question, user))
        if record is None or (record.json["channel"], record.json["ts"]) != (channel, message):
            return NOT_YOURS
        owner = user
        try:
            asked = await self.deputy.approvals.load_decidable(question, user)
            owner = asked.owner(user)
            if ("approve" if approve else "reject") not in self._ways(asked, user, whole=record.json["whole"]):
                return ON_THE_PAGE
            await self.deputy.decide(question, "approve" if approve else "reject", by=user)
        except Conflict as failure:  # decided elsewhere, or changed
            await self._refresh(question, owner)
            return failure.message if failure.reason == "changed" else ""
        except NotFound:
            late = record.json["until"] <= self.deputy.clock()
            gone = Approval(id=question, tool="", effect="")
            await self._close(QuestionChange("expired" if late else "superseded", user, gone), user)
            return EXPIRED if late else NOT_YOURS
        return ""

    # ------------------------------------------------------------- cards

    async def receive(self, told: QuestionChange) -> None:
        """Send a card for a new question, or close the cards of an old one: for `Deputy.on_question`."""
        if told.change != "asked":
            return await self._close(told)
        await _gather([partial(self._show, told, *person) for person in await self._people(told)])

    async def _show(self, told: QuestionChange, user: User, member: str) -> None:
        """Send the card to one person, or replace it if its link is new. A failure is logged: others are asked too."""
        place = self._card_key(told.question.id, user)
        try:
            blocks, whole = await self._card(told, user)
            old, until = await self.vault.get("chat_card", place), told.question.expires_at
            if old is not None:
                where = {"channel": old.json["channel"], "ts": old.json["ts"]}
                await self.slack.chat_update(**where, text=NOTICE, blocks=blocks)
            else:
                sent = await self.slack.chat_postMessage(
                    channel=member, text=NOTICE, blocks=blocks, unfurl_links=False, unfurl_media=False
                )
                where = {"channel": str(sent["channel"]), "ts": str(sent["ts"])}
            content = {**where, "whole": whole, "until": until, "expires": until + CARD_TTL}
            await self._put("chat_card", place, content)
            if isinstance(told.question, Approval):  # it may have been decided before the card was stored
                await self._refresh(told.question.id, told.user)
        except Exception as failure:  # its text may contain the question
            log.warning("A card was not sent to Slack: %s", _reason_of(failure))

    async def _refresh(self, approval: str, owner: User) -> None:
        """Show on the cards what became of an approval, if it does not wait."""
        now = await self.deputy.approvals.get(approval, by=owner)
        if now is None or now.id != approval:
            gone = Approval(id=approval, tool="", effect="")
            await self._close(QuestionChange("superseded", owner, gone))
        elif now.status != "pending":
            await self._close(QuestionChange("decided", owner, now))

    async def _close(self, told: QuestionChange, user: User | None = None) -> None:
        """Replace the cards of a question, or the one of this user, by a sentence on what became of it."""
        head, more = await self._end_of(told)
        blocks = [_text(head), *([_text(more)] if more else [])]
        cards = await self.vault.scan("chat_card", self._card_key(told.question.id, user))
        await _gather([partial(self._replace, card, blocks) for card in cards])

    async def _replace(self, card: Record, blocks: list[dict[str, Any]]) -> None:
        """Replace a card whose question has ended."""
        try:
            where = {"channel": card.json["channel"], "ts": card.json["ts"]}
            await self.slack.chat_update(**where, text=ENDED, blocks=blocks)
        except Exception as failure:
            log.warning("A card was not closed in Slack: %s", _reason_of(failure))

    async def _end_of(self, told: QuestionChange) -> tuple[str, str]:
        """Return what became of a question, in the words of its page, and what the question was."""
        asked = told.question
        if isinstance(asked, Consent):
            label, about = asked.label, f"{agent_words(asked.agent)} wants to act for you at {asked.label}"
            done = texts.sentence(texts.HEADS, asked.status, texts.HEAD_ELSE, label)
        else:
            about = f"{asked.summary}." if asked.summary else ""
            done = texts.approval_head(asked, await self.deputy.services.zones.of(told.user))
            if asked.kind == "question":
                done = texts.QUESTION_HEADS.get(asked.status, "")
        if told.change == "expired":
            done = EXPIRED
        elif told.change == "superseded" or not done:
            done = "This no longer waits. If something in it has changed, you are asked again in a new card."
        return visible(done), visible(about)

    async def _card(self, told: QuestionChange, user: User) -> tuple[list[dict[str, Any]], bool]:
        """Return the blocks of a card, and whether they show everything that the page shows."""
        asked = told.question
        own, ways, after = False, list[str](), list[str]()
        if isinstance(asked, Consent):
            lines = _consent_lines(asked)
        else:
            own = bool(asked.approvers) and user == told.user
            lines, after = _approval_lines(asked, own=own)
        lines, after = [visible(line) for line in lines], [visible(line) for line in after]
        fitting = _fitting(lines)
        whole = fitting == lines
        if isinstance(asked, Approval):
            ways = await self._ways_of(asked, user, whole=whole)
        words = {"approve": "Approve", "reject": "Withdraw" if own else "Reject"}
        buttons = [_button(f"deputize_{way}", words[way], value=asked.id) for way in ways]
        buttons.append(_button("deputize_open", "Open the page", url=asked.link if own else told.link))
        at = datetime.fromtimestamp(asked.expires_at, UTC)
        when = f"<!date^{int(asked.expires_at)}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"
        blocks = [_text(line) for line in [*fitting, *([] if whole else [REST])]]
        blocks += [{"type": "actions", "elements": buttons}, *(_text(_cut(line)) for line in after)]
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"Expires: {when}"}]})
        return blocks, whole

    async def _ways_of(self, asked: Approval, user: User, *, whole: bool) -> list[str]:
        """Return the decisions that this person may make in Slack: none if a role is known from a sign-in only."""
        try:
            return self._ways(await self.deputy.approvals.load_decidable(asked.id, user), user, whole=whole)
        except NotFound:
            return []

    @staticmethod
    def _ways(record: ApprovalRecord, user: User, *, whole: bool) -> list[str]:
        if record.question is not None:
            return []
        own = record.approvers and not record.may_be_decided_by(user)
        return ["reject"] if record.is_grave or own or not whole else ["approve", "reject"]

    # ------------------------------------------------------------- whose Slack account

    async def _people(self, told: QuestionChange) -> list[tuple[User, str]]:
        """Return the linked users who are asked, each with the id of the Slack account."""
        if not told.approvers:
            found = await self.vault.get("chat_link", self._link_key(told.user))
            return [person] if found and (person := await self._person_in(found)) else []
        people: list[tuple[User, str]] = []
        async for records, _ in self.vault.pages("chat_link"):
            for record in records:
                person = await self._person_in(record) if "member" in record.json else None
                if person is None or person[0].tenant != told.user.tenant or person[0] == told.user:
                    continue
                if told.approvers in await self.deputy.roles.of_act(person[0]):
                    people.append(person)
        return people

    async def _person_in(self, link: Record) -> tuple[User, str] | None:
        """Return the user and the Slack account of a link, or None if the account has been linked to another user."""
        content = link.json
        way = await self.vault.get("chat_link", self._key("member", content["team"], content["member"]))
        if way is None or way.json["place"] != link.key:
            return None
        return User(content["user"], content["tenant"]), content["member"]

    async def _user_of(self, team: str, member: str) -> User | None:
        """Return the user to whom this Slack account is linked, or None."""
        way = await self.vault.get("chat_link", self._key("member", team, member))
        link = await self.vault.get("chat_link", way.json["place"]) if way else None
        if link is None or (link.json["team"], link.json["member"]) != (team, member):
            return None
        return User(link.json["user"], link.json["tenant"])

    async def _on_command(self, ack: Callable[..., Awaitable[Any]], body: dict[str, Any]) -> None:
        """Answer ``/deputize``, ``/deputize CODE`` and ``/deputize unlink``, to that person only."""
        (team, member), given = _member_in(body), str(body.get("text", "")).strip()
        if given == "unlink":
            await ack(text=await self._unlink(team, member), response_type="ephemeral")
            return
        if given:
            user = await self._take_code(team, member, given)
            await ack(text="Linked." if user else BAD_CODE, response_type="ephemeral")
            if user:
                await self._show_pending(user, member)
            return
        ticket, name = secrets.token_urlsafe(32), visible(str(body.get("user_name", "")))[:80]
        where = visible(str(body.get("team_domain", "")))[:80]
        about = {"team": team, "member": member, "name": name, "workspace": where}
        expires = {"expires": self.deputy.clock() + LINK_TTL}
        await self.vault.insert("chat_card", self._key("ticket", ticket), about | expires)
        words = "Sign in on this page to link your Slack account. It shows a code: enter /deputize and the code here."
        link = _button("deputize_open", "Link my account", url=f"{self.home}{LINK_PATH}/{ticket}")
        blocks = [_text(words), {"type": "actions", "elements": [link]}]
        await ack(text=words, blocks=blocks, response_type="ephemeral")

    async def _show_pending(self, user: User, member: str) -> None:
        """Send what waits for a user whose account was just linked."""
        for question in await self.deputy.pending(user):
            await self._show(QuestionChange("asked", user, question), user, member)
        for other in await self.deputy.pending_of_others(user):
            await self._show(QuestionChange("asked", User(other.requester, user.tenant), other), user, member)

    async def _ask_to_link(self, site: Site, request: Request) -> Response:
        """Ask the signed-in user whether this Slack account is the user's own."""
        ticket = request.path_params["ticket"]
        if (user := await site.user(request)) is None:
            return site.redirect_to_sign_in(request, f"{LINK_PATH}/{ticket}")
        about = (await self._ticket(ticket)).json
        return await self._link_page(site, request, user, about, "")

    async def _confirm_link(self, site: Site, request: Request) -> Response:
        """Use the ticket up, and show the code in this browser."""
        if (user := await site.user(request)) is None:
            return site.redirect_to_sign_in(request, f"{LINK_PATH}/{request.path_params['ticket']}")
        await site.form(request, user)
        ticket = await self._ticket(request.path_params["ticket"])
        about, code = ticket.json, "".join(secrets.choice("ABCDEFGHJKMNPQRSTVWXYZ23456789") for _ in range(10))
        if not await self.vault.delete(ticket):
            raise NotFound("This link was used already.")
        expires, place = {"expires": self.deputy.clock() + LINK_TTL}, f"{self._link_key(user)}.code"
        account, who = {"team": about["team"], "of": about["member"]}, {"user": user.id, "tenant": user.tenant}
        content = account | who | expires | {"code": self._key("code", code), "tries": 0}
        await self._put("chat_link", place, content, user.tenant)
        wait = self._key("wait", about["team"], about["member"])
        await self._put("chat_card", wait, {"place": place} | expires)
        return await self._link_page(site, request, user, about, f"{code[:5]}-{code[5:]}")

    async def _link_page(
        self, site: Site, request: Request, user: User, about: Mapping[str, Any], code: str
    ) -> Response:
        return await site.with_forms(
            request,
            "chat_link.html",
            user,
            "'self'",
            action=current_path(request),
            chat="Slack",
            account=about["name"] or about["member"],
            account_id=about["member"],
            workspace=about["workspace"] or about["team"],
            code=code,
        )

    async def _ticket(self, ticket: str) -> Record:
        record = await self.vault.get("chat_card", self._key("ticket", ticket))
        if record is None or record.json["expires"] <= self.deputy.clock():
            raise NotFound("No Slack account waits for this link.")
        return record

    async def _take_code(self, team: str, member: str, given: str) -> User | None:
        """Link the Slack account that enters the code from the page, and return its user, or None for a wrong code."""
        way = await self.vault.get("chat_card", self._key("wait", team, member))
        record = await self.vault.get("chat_link", way.json["place"]) if way else None
        if record is None or (record.json["team"], record.json["of"]) != (team, member):
            return None
        if record.json["expires"] <= self.deputy.clock() or record.json["tries"] >= MAX_TRIES:
            return None
        record = await self.vault.swap(record, record.json | {"tries": record.json["tries"] + 1})
        code = self._key("code", re.sub(r"[^A-Z0-9]", "", given.upper()))
        if record is None or not hmac.compare_digest(record.json["code"], code) or not await self.vault.delete(record):
            return None
        user = User(record.json["user"], record.json["tenant"])
        content = {"team": team, "member": member, "user": user.id, "tenant": user.tenant}
        await self._put("chat_link", self._link_key(user), content, user.tenant)
        await self._put("chat_link", self._key("member", team, member), {"place": self._link_key(user)})
        await self.deputy.audit.record(ChatLinked(OfUser(tenant=user.tenant, user=user.id), "slack", True))
        return user

    async def _unlink(self, team: str, member: str) -> str:
        user = await self._user_of(team, member)
        if user is None:
            return "This Slack account is not linked."
        for place in (self._key("member", team, member), self._link_key(user)):
            if record := await self.vault.get("chat_link", place):
                await self.vault.delete(record)
        await self.deputy.audit.record(ChatLinked(OfUser(tenant=user.tenant, user=user.id), "slack", False))
        return "Not linked any more."

    # ------------------------------------------------------------- records

    async def _put(self, kind: str, key: str, content: dict[str, Any], tenant: str = "") -> None:
        while not await self.vault.insert(kind, key, content, await self.vault.data_keys.get(tenant)):
            old = await self.vault.get(kind, key)
            if old is not None and await self.vault.swap(old, content):
                return

    def _key(self, purpose: str, *parts: str) -> str:
        return sign(self.vault.keys.web, "slack cards", purpose, *parts)

    def _card_key(self, question: str, user: User | None = None) -> str:
        """Return the key of a person's card, or the prefix of all cards of this question."""
        return f"{self._key('card', question)}.{self._key('person', user.tenant, user.id) if user else ''}"

    def _link_key(self, user: User) -> str:
        return f"{self.vault.key_prefix(user)}slack"


def _approval_lines(asked: Approval, *, own: bool) -> tuple[list[str], list[str]]:
    """Return the words of the approval's page before and after its buttons. ``own``: others decide for this user."""
    if asked.kind == "question":
        return [asked.summary, "It can be answered on its page only."], []
    reading, lines, who = arrange_rows(asked), list[str](), asked.requester
    if own:
        lines.append(f"This waits for somebody with the role {asked.approvers}. You cannot approve it yourself.")
    elif asked.approvers:
        lines.append(
            f"{who} asks somebody with the role {asked.approvers}. Below is what {who} sees. "
            f"You decide for {who}'s account, not for yours."
        )
    lines.append(asked.summary)
    if reading.changed:
        lines.append(f"This has changed since you were asked: {', '.join(reading.changed)}.")
    for row in reading.warnings:
        name = "Careful" if row.name == "warning" else row.name.capitalize()
        lines.append(f"{name}: {row.text}{' (changed)' if row.changed else ''}")
    lines += [_row(row._replace(name=row.name.capitalize())) for row in reading.places]
    lines += [_row(row) for row in reading.rows]
    whom = "somebody is" if asked.approvers else "you are"
    return lines, [
        f"{'The' if own else 'Your'} approval is for exactly this, once. If anything in it changes, {whom} asked "
        "again. The agent never sees your password, nor the token for your account.",
        f"The tool is {asked.tool}, which {texts.EFFECTS.get(asked.effect, asked.effect)}.",
    ]


def _row(row: Row) -> str:
    name = f"{row.name}{' (changed)' if row.changed else ''}"
    return f"{name}\n{row.text}" if row.now is None else f"{name}\nnow\n{row.now}\nthen\n{row.text}"


def _consent_lines(asked: Consent) -> list[str]:
    """Return what the consent's page asks. The page itself says more, and is where the user answers."""
    pairs = zip(asked.scope_descriptions, asked.scopes, strict=True)
    why = texts.sentence(texts.WHY, asked.reason_code, texts.WHY_ELSE, asked.label) if asked.reason_code else ""
    return [
        f"{agent_words(asked.agent)} wants to act for you at {asked.label}",
        *([why] if why else []),
        *(["It asks to be allowed to"] if asked.scopes else []),
        *(f"• {words}" if f'"{scope}"' in words else f"• {words} {scope}" for words, scope in pairs),
        *([f"Account {asked.account}"] if asked.account else []),
    ]


def _text(text: str) -> dict[str, Any]:
    """Return a block of plain text, in which Slack finds no mention, link, format or emoji. Slack does not fold it."""
    return {"type": "section", "expand": True, "text": {"type": "plain_text", "text": text, "emoji": False}}


def _button(action: str, text: str, **more: str) -> dict[str, Any]:
    style = {"deputize_approve": "primary", "deputize_reject": "danger"}.get(action)
    words = {"type": "plain_text", "text": text, "emoji": False}
    return {"type": "button", "action_id": action, "text": words, **more} | ({"style": style} if style else {})


def _size(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fitting(lines: list[str]) -> list[str]:
    """Return the lines that fit on a card. A line that is too long is cut, and says so."""
    fitting = [_cut(line) for line in lines[:MAX_LINES]]
    while sum(map(_size, fitting)) > MAX_CARD:
        fitting.pop()
    return fitting


def _cut(text: str) -> str:
    if _size(text) <= MAX_TEXT:
        return text
    kept = text[: MAX_TEXT // 2]
    return f"{kept} [... {len(text) - len(kept)} more characters]"


def _member_in(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return workspace and account of the person who sent a verified request. In Enterprise Grid, an account belongs to
    the organisation, and a request names the workspace in which the person was at that moment."""
    if "user_id" in body:  # a command
        return str(body.get("enterprise_id") or body.get("team_id") or ""), str(body["user_id"])
    team, user = body.get("enterprise") or body.get("team") or {}, body.get("user") or {}
    return str(team.get("id", "")), str(user.get("id", ""))


async def _gather(work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do the work on many cards, some at a time: one after another, a large role would exceed `FUNCTION_SECONDS` of
    `deputize.core.question_feed`, and its last members would not be asked."""
    room = asyncio.Semaphore(MAX_CONCURRENT_CARDS)

    async def do(one: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for one in work:
            tasks.create_task(do(one))


def _reason_of(failure: Exception) -> str:
    response = getattr(failure, "response", None)
    code = response.get("error") if response is not None and not isinstance(response, str) else ""
    return str(code or type(failure).__name__)[:60]


async def _authorize(**about: Any) -> AuthorizeResult:
    """Bolt needs no token: this module sends with its own client."""
    return AuthorizeResult(enterprise_id=about.get("enterprise_id"), team_id=about.get("team_id"))


async def _acknowledge(ack: Callable[..., Awaitable[Any]]) -> None:
    await ack()


async def _report(error: Exception) -> BoltResponse:
    log.warning("A request of Slack failed: %s", _reason_of(error))
    return BoltResponse(status=500, body="")
