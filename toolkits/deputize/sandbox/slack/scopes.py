"""The user scopes of the sandbox's Slack, with descriptions. No scope includes another."""

from __future__ import annotations

KINDS = {"public_channel": "channels", "private_channel": "groups", "im": "im", "mpim": "mpim"}
_NAMES = {
    "channels": "public channels",
    "groups": "private channels",
    "im": "direct messages",
    "mpim": "group direct messages",
}
_EACH = {
    "{}:read": "View basic information about {}",
    "{}:history": "View messages in {}",
    "{}:write": "Manage {} on your behalf",
    "{}:write.topic": "Set the description of {}",
}
WORDS = {
    **{scope.format(kind): words.format(name) for scope, words in _EACH.items() for kind, name in _NAMES.items()},
    "channels:write.invites": "Invite members to public channels",
    "groups:write.invites": "Invite members to private channels",
    "chat:write": "Send messages on your behalf",
    "search:read": "Search a workspace's content",
    "search:read.public": "Search public channels",
    "search:read.private": "Search your private channels",
    "search:read.im": "Search your direct messages",
    "search:read.mpim": "Search your group direct messages",
    "search:read.files": "Search files",
    "search:read.users": "Search people",
    "users:read": "View people in a workspace",
    "users:read.email": "View email addresses of people in a workspace",
    "users:write": "Set your presence",
    "users.profile:read": "View profile details of people in a workspace",
    "users.profile:write": "Edit your profile and status",
    "usergroups:read": "View user groups in a workspace",
    "reactions:read": "View emoji reactions",
    "reactions:write": "Add and edit your emoji reactions",
    "files:read": "View files shared with you",
    "files:write": "Upload, edit and delete your files",
    "pins:read": "View pinned content",
    "pins:write": "Add and remove pinned messages",
    "bookmarks:read": "List bookmarks",
    "bookmarks:write": "Create, edit and remove bookmarks",
    "canvases:read": "View canvases",
    "canvases:write": "Create, edit and remove canvases",
    "dnd:read": "View Do Not Disturb settings",
    "dnd:write": "Edit your Do Not Disturb settings",
    "team:read": "View the name and domain of your workspace",
}
