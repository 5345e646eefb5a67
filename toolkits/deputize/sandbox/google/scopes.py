"""The scopes of the sandbox's Google, and their descriptions on the consent page."""

from __future__ import annotations

AUTH = "https://www.googleapis.com/auth/"

# A scope requested by its short name is granted under the long one.
ALIASES = {"email": AUTH + "userinfo.email", "profile": AUTH + "userinfo.profile"}
BASIC = ("openid", ALIASES["email"], ALIASES["profile"])

DESCRIPTIONS = {
    "https://mail.google.com/": "Read, compose, send and permanently delete all your email",
    AUTH + "gmail.readonly": "View your email messages and settings",
    AUTH + "gmail.metadata": "View your email labels and headers, but not the bodies",
    AUTH + "gmail.modify": "Read, compose and send emails from your account",
    AUTH + "gmail.compose": "Manage drafts and send emails",
    AUTH + "gmail.send": "Send email on your behalf",
    AUTH + "gmail.labels": "See and edit your email labels",
    AUTH + "gmail.settings.basic": "See and change your email settings and filters",
    AUTH + "gmail.settings.sharing": "Manage who can use your mailbox",
    AUTH + "calendar": "See, edit, share and permanently delete all your calendars",
    AUTH + "calendar.readonly": "See and download any calendar you can access",
    AUTH + "calendar.events": "View and edit events on all your calendars",
    AUTH + "calendar.events.readonly": "View events on all your calendars",
    AUTH + "calendar.events.owned": "See, create, change and delete events on calendars you own",
    AUTH + "calendar.events.owned.readonly": "See the events on calendars you own",
    AUTH + "calendar.events.freebusy": "See the availability on calendars you have access to",
    AUTH + "calendar.events.public.readonly": "See the events on public calendars",
    AUTH + "calendar.freebusy": "View your availability in your calendars",
    AUTH + "calendar.calendarlist": "See, add and remove calendars you are subscribed to",
    AUTH + "calendar.calendarlist.readonly": "See the list of calendars you are subscribed to",
    AUTH + "calendar.calendars": "See and change the properties of calendars, and create secondary calendars",
    AUTH + "calendar.app.created": "Make secondary calendars, and see, create, change and delete events on them",
    AUTH + "calendar.acls": "See and change the sharing permissions of calendars you own",
    AUTH + "calendar.acls.readonly": "See the sharing permissions of calendars you own",
    AUTH + "calendar.settings.readonly": "View your calendar settings",
    AUTH + "contacts": "See, edit, download, and permanently delete your contacts",
    AUTH + "contacts.readonly": "See and download your contacts",
    AUTH + "contacts.other.readonly": 'See and download contact info automatically saved in your "Other contacts"',
    AUTH + "drive": "See, edit, create, and delete all of your Google Drive files",
    AUTH + "drive.file": "See, edit, create, and delete only the specific Google Drive files you use with this app",
    AUTH + "drive.readonly": "See and download all your Google Drive files",
    AUTH + "drive.metadata": "View and manage metadata of files in your Google Drive",
    AUTH + "drive.metadata.readonly": "See information about your Google Drive files",
    AUTH + "directory.readonly": "See and download your organization's Google Workspace directory",
}


def read_scopes(asked: str) -> list[str]:
    """Split space-separated scopes into unique long names."""
    return list(dict.fromkeys(ALIASES.get(scope, scope) for scope in asked.split()))


def unknown_scopes(scopes: list[str]) -> list[str]:
    """Return the scopes without a description on the consent page."""
    return [scope for scope in scopes if scope not in BASIC and scope not in DESCRIPTIONS]
