"""The Web API's methods. A call's token is checked before its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox.http_types import Ask, Refused, Reply
from deputize.sandbox.slack import chat, conversations, files, history, search, users
from deputize.sandbox.slack import reactions as marks
from deputize.sandbox.slack.call import Call, failed
from deputize.sandbox.slack.seed import TEAM
from deputize.sandbox.world import World


def handle(ask: Ask, world: World) -> Reply:
    """Run ``/api/{method}``; arguments are in the query, a form or JSON."""
    method = METHODS.get(ask.path.removeprefix("/api/"))
    if method is None:
        raise failed("unknown_method", req_method=ask.path.removeprefix("/api/"))
    return method(_call(ask, world))


def handle_files(ask: Ask, world: World) -> Reply:
    """Serve the files host: uploads need no token, downloads do."""
    if ask.path.startswith("/upload/v1/") and ask.method == "POST":
        return files.take_bytes(ask.path, ask.body, world)
    if ask.path.startswith("/files-pri/") and ask.method == "GET":
        try:
            return files.download(_call(ask, world), ask.path)
        except Refused as refusal:
            return files.as_page(refusal)
    return Reply(404, (), b"not found")


def _call(ask: Ask, world: World) -> Call:
    if not ask.bearer():
        raise failed("not_authed")
    token = world.access(ask.bearer(), "slack")
    if token is None:
        old = world.authority.find(ask.bearer())
        raise failed("token_expired" if old is not None and old.kind == "access" else "invalid_auth")
    person = world.person(world.address_of(token.sub))
    if person is None:
        raise failed("account_inactive")
    query = {name: values[-1] for name, values in ask.query.items()}
    return Call(world, person, token, query | ask.single() | ask.content())


def auth_test(call: Call) -> Reply:
    """Run ``auth.test``: the token's user; no scope is needed."""
    return call.good(
        {
            "url": f"https://{TEAM['domain']}.slack.com/",
            "team": TEAM["name"],
            "user": call.person.email.partition("@")[0],
            "team_id": TEAM["id"],
            "user_id": call.user,
            "is_enterprise_install": False,
        }
    )


def auth_revoke(call: Call) -> Reply:
    """Run ``auth.revoke``: revoke the token, and the refresh token that could replace it."""
    if call.flag("test"):
        return call.good({"revoked": False})
    call.world.authority.end_grant(call.token.app, call.token.sub)
    return call.good({"revoked": True}, changes=True)


METHODS: Mapping[str, Callable[[Call], Reply]] = {
    "assistant.search.context": search.context,
    "auth.revoke": auth_revoke,
    "auth.test": auth_test,
    "bookmarks.add": marks.bookmark,
    "bookmarks.list": marks.bookmarks,
    "bookmarks.remove": marks.unbookmark,
    "canvases.access.set": files.share_canvas,
    "canvases.create": files.create_canvas,
    "canvases.edit": files.edit_canvas,
    "chat.delete": chat.delete,
    "chat.deleteScheduledMessage": chat.unschedule,
    "chat.getPermalink": chat.permalink,
    "chat.postMessage": chat.post,
    "chat.scheduleMessage": chat.schedule,
    "chat.scheduledMessages.list": chat.list_scheduled,
    "chat.update": chat.update,
    "conversations.archive": conversations.archive,
    "conversations.canvases.create": files.create_channel_canvas,
    "conversations.create": conversations.create,
    "conversations.history": history.history,
    "conversations.info": conversations.info,
    "conversations.invite": conversations.invite,
    "conversations.join": conversations.join,
    "conversations.kick": conversations.kick,
    "conversations.leave": conversations.leave,
    "conversations.list": conversations.listing,
    "conversations.mark": history.mark,
    "conversations.members": conversations.members,
    "conversations.open": conversations.open_,
    "conversations.rename": conversations.rename,
    "conversations.replies": history.replies,
    "conversations.setPurpose": conversations.set_purpose,
    "conversations.setTopic": conversations.set_topic,
    "conversations.unarchive": conversations.unarchive,
    "dnd.endSnooze": users.end_snooze,
    "dnd.setSnooze": users.snooze,
    "files.completeUploadExternal": files.complete,
    "files.getUploadURLExternal": files.upload_url,
    "files.info": files.info,
    "files.list": files.listing,
    "pins.add": marks.pin,
    "pins.list": marks.list_pins,
    "pins.remove": marks.unpin,
    "reactions.add": marks.add_reaction,
    "reactions.remove": marks.remove_reaction,
    "search.files": search.old_files,
    "search.messages": search.old_messages,
    "usergroups.list": users.groups,
    "usergroups.users.list": users.group_users,
    "users.conversations": conversations.list_own,
    "users.getPresence": users.presence,
    "users.info": users.info,
    "users.list": users.listing,
    "users.lookupByEmail": users.lookup_by_email,
    "users.profile.set": users.set_profile,
    "users.setPresence": users.set_presence,
}
