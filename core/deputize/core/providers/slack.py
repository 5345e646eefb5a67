"""Slack.

Source: docs.slack.dev.
"""

from __future__ import annotations

from collections.abc import Mapping

from deputize.core.failures import SERVER_ERROR, Kind, Rules, TokenShape, outcome_of, table, when
from deputize.core.failures.standard import (
    CALLBACK,
    DEAD,
    DONE,
    EXISTS,
    EXPIRED,
    HIDDEN,
    HTTP,
    INACTIVE,
    INPUT,
    LACKS_RIGHTS,
    LIMIT_60,
    OPERATOR,
    ORG,
    RESTART,
    SAFE,
    SCOPE,
    TOKEN,
)
from deputize.core.oauth.provider import ApiRules, Identity, Imports, OAuthEndpoints, Provider

_SLACK_ANY = (
    when(LIMIT_60, "ratelimited", "rate_limited"),
    when(outcome_of(Kind.TRANSIENT, wait=60, safe=True), "team_added_to_org"),
    when(SAFE, "request_timeout"),
    when(SERVER_ERROR, "fatal_error", "internal_error", "service_unavailable"),
)
_SLACK_API = (
    *_SLACK_ANY,
    when(ORG, "team_access_not_granted", "org_login_required", "enterprise_is_restricted", "ekm_access_denied"),
    when(ORG, "restricted_action", "restricted_action_*", "access_denied", "accesslimited", "user_is_restricted"),
    when(ORG, "two_factor_setup_required", "app_access_restricted"),
    when(SCOPE, "missing_scope"),
    when(EXPIRED, "token_expired", "invalid_auth"),
    when(DEAD, "token_revoked"),
    when(INACTIVE, "account_inactive"),
    when(OPERATOR, "not_authed", "not_allowed_token_type"),
    when(DONE, "already_reacted", "no_reaction", "already_in_channel", "already_archived", "not_archived"),
    when(DONE, "already_pinned", "no_pin", "already_starred", "not_starred"),
    when(DONE, "user_not_in_channel", "snooze_not_active"),
    when(EXISTS, "name_taken"),
    when(LACKS_RIGHTS, "not_in_channel", "cant_update_message", "cant_delete_message", "no_permission"),
    when(LACKS_RIGHTS, "not_authorized", "cant_kick_self", "cant_kick_from_general", "cant_archive_general"),
    when(LACKS_RIGHTS, "cant_leave_general", "last_member", "cant_archive_required"),
    when(HIDDEN, "channel_not_found", "users_not_found", "user_not_found", "user_not_visible"),
    when(HIDDEN, "message_not_found", "thread_not_found", "file_not_found", "file_deleted"),
    when(HIDDEN, "canvas_not_found", "no_such_subteam", "not_found"),
    when(HIDDEN, "method_not_supported_for_channel_type", "edit_window_closed"),
    when(INPUT, "is_archived", "msg_too_long", "no_text", "too_many_attachments", "missing_post_type"),
    when(INPUT, "json_not_object", "msg_blocks_too_long", "time_too_far", "time_in_past", "restricted_too_many"),
    when(INPUT, "metadata_must_be_sent_from_app", "assistant_search_context_disabled", "feature_not_enabled"),
    when(INPUT, "cant_invite_self", "too_many_users", "too_long", "bad_timestamp", "too_many_bookmarks"),
    when(INPUT, "too_many_emoji", "too_many_reactions", "too_many_pins", "users_list_not_supplied"),
    when(INPUT, "channel_canvas_already_exists", "canvas_creation_failed", "canvas_editing_failed", "snooze_failed"),
    when(INPUT, "invalid_*"),
    *HTTP,
)

SLACK_RULES = Rules(
    callback=table(*CALLBACK),
    token=table(
        when(DEAD, "invalid_refresh_token", "token_expired", "token_revoked"),
        when(RESTART, "invalid_code", "code_already_used", "code_expired"),
        when(OPERATOR, "bad_client_secret", "bad_redirect_uri", "invalid_grant_type"),
        *_SLACK_ANY,
        *TOKEN,
    ),
    revoke=table(when(DONE, "token_revoked", "invalid_auth", "account_inactive"), *_SLACK_API),
    api=table(*_SLACK_API),
    ok_field="ok",
    reason=("response_metadata.messages[]", "errors[]", "detail"),
    roots=("authed_user", ""),
    not_users=frozenset({"bot"}),
    no_token=outcome_of(Kind.MISSING_SCOPE, "no_user_token"),
)


def _scopes_by_kind(scopes: Mapping[str, str]) -> dict[str, str]:
    """Return Slack's scopes for each kind of conversation, from ``{}:read`` and a description with ``{}``."""
    kinds = {
        "channels": "public channels",
        "groups": "private channels",
        "im": "direct messages",
        "mpim": "group direct messages",
    }
    return {scope.format(k): words.format(of) for scope, words in scopes.items() for k, of in kinds.items()}


SLACK = Provider(  # docs.slack.dev/authentication/installing-with-oauth, .../using-token-rotation, .../using-pkce
    name="slack",
    label="Slack",
    oauth=OAuthEndpoints(
        authorize_url="https://slack.com/oauth/v2/authorize",
        csp_form_targets=("https://*.slack.com",),  # the workspace's own pages
        token_url="https://slack.com/api/oauth.v2.access",
        revoke_url="https://slack.com/api/auth.revoke",
        revoke_by="bearer",
        pkce="if_app_enabled",
        client_auth="basic",
        scope_param="user_scope",
        scope_separator=",",
        fallback_scopes=("users:read",),  # a request without a scope is refused
        absent_scope="empty",
        localhost=True,
        loopback_needs_pkce=True,
        service_accounts=False,
        revokes_all=True,  # a user has one token for an app and workspace, however often they consent
    ),
    apis=ApiRules(
        roots={"slack": "https://slack.com/api", "files": "https://files.slack.com"},
        hosts=frozenset({"slack.com", "files.slack.com"}),
        shared_hosts=frozenset({"slack.com"}),
        identity=Identity(
            "https://slack.com/api/auth.test",
            "{team_id}:{user_id}",
            "@{user} in {team}",
            {"enterprise_id": "{enterprise_id}", "url": "{url}"},
            method="POST",
        ),
        imports=Imports("x-oauth-scopes", "xoxb-|xapp-"),
    ),
    rules=SLACK_RULES,
    token_shapes=(
        TokenShape("xox", r"\bxox(?:[abcdeprs]|e\.xox[bp])-[A-Za-z0-9\-]{10,}"),
        TokenShape("xapp-", r"\bxapp-[A-Za-z0-9\-]{10,}"),
    ),
    scope_descriptions={
        **_scopes_by_kind(
            {
                "{}:read": "see which {} you are in, and who else is",
                "{}:history": "read messages in {}",
                "{}:write": "open and manage {} for you",
                "{}:write.topic": "change the topic and purpose of {}",
            }
        ),
        "channels:write.invites": "invite people to public channels",
        "groups:write.invites": "invite people to private channels",
        "chat:write": "send messages as you",
        "search:read": "search messages and files you can see",
        "search:read.public": "search messages in public channels",
        "search:read.private": "search messages in your private channels",
        "search:read.im": "search your direct messages",
        "search:read.mpim": "search your group direct messages",
        "search:read.files": "search files you can see",
        "search:read.users": "search people in your workspace",
        "users:read": "see people in your workspace",
        "users:read.email": "see people's email addresses",
        "users:write": "set whether you are shown as away",
        "users.profile:write": "change your profile and status",
        "usergroups:read": "see user groups and who is in them",
        "reactions:write": "add and remove your reactions",
        "files:read": "see files shared with you",
        "files:write": "upload and change files as you",
        "pins:read": "see pinned messages",
        "pins:write": "pin and unpin messages",
        "bookmarks:read": "see bookmarks of channels",
        "bookmarks:write": "add and remove bookmarks of channels",
        "canvases:write": "make and change canvases as you",
        "dnd:write": "snooze and resume your notifications",
    },
)
