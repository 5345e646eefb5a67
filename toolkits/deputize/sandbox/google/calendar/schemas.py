"""Request bodies of Calendar's methods: fields and types. From Google's discovery document calendar.v3,
revision 20261030; ``[string]`` is a list of strings, a name in capitals another schema here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCHEMAS: Final[Mapping[str, Mapping[str, str]]] = {
    "Event": {
        **dict.fromkeys(
            (
                "anyoneCanAddSelf",
                "attendeesOmitted",
                "endTimeUnspecified",
                "guestsCanInviteOthers",
                "guestsCanModify",
                "guestsCanSeeOtherGuests",
                "locked",
                "privateCopy",
            ),
            "boolean",
        ),
        "attachments": "[object]",
        "attendees": "[EventAttendee]",
        **dict.fromkeys(
            ("birthdayProperties", "creator", "extendedProperties", "gadget", "organizer", "reminders", "source"),
            "object",
        ),
        **dict.fromkeys(
            (
                "colorId",
                "created",
                "description",
                "etag",
                "eventLabelId",
                "eventType",
                "hangoutLink",
                "htmlLink",
                "iCalUID",
                "id",
                "kind",
                "location",
                "recurringEventId",
                "status",
                "summary",
                "transparency",
                "updated",
                "visibility",
            ),
            "string",
        ),
        "conferenceData": "ConferenceData",
        **dict.fromkeys(("end", "originalStartTime", "start"), "EventDateTime"),
        "focusTimeProperties": "EventFocusTimeProperties",
        "outOfOfficeProperties": "EventOutOfOfficeProperties",
        "recurrence": "[string]",
        "sequence": "integer",
        "workingLocationProperties": "EventWorkingLocationProperties",
    },
    "EventDateTime": {
        **dict.fromkeys(("date", "dateTime", "timeZone"), "string"),
    },
    "EventAttendee": {
        "additionalGuests": "integer",
        **dict.fromkeys(("asyncOperation", "comment", "displayName", "email", "id", "responseStatus"), "string"),
        **dict.fromkeys(("optional", "organizer", "resource", "self"), "boolean"),
    },
    "EventReminder": {
        "method": "string",
        "minutes": "integer",
    },
    "ConferenceData": {
        **dict.fromkeys(("conferenceId", "notes", "signature"), "string"),
        **dict.fromkeys(("conferenceSolution", "parameters"), "object"),
        "createRequest": "CreateConferenceRequest",
        "entryPoints": "[object]",
    },
    "CreateConferenceRequest": {
        "conferenceSolutionKey": "ConferenceSolutionKey",
        "requestId": "string",
        "status": "object",
    },
    "ConferenceSolutionKey": {
        "type": "string",
    },
    "EventFocusTimeProperties": {
        **dict.fromkeys(("autoDeclineMode", "chatStatus", "declineMessage"), "string"),
    },
    "EventOutOfOfficeProperties": {
        **dict.fromkeys(("autoDeclineMode", "declineMessage"), "string"),
    },
    "EventWorkingLocationProperties": {
        **dict.fromkeys(("customLocation", "officeLocation"), "object"),
        "homeOffice": "any",
        "type": "string",
    },
    "AclRule": {
        **dict.fromkeys(("etag", "id", "kind", "role"), "string"),
        "scope": "object",
    },
    "CalendarListEntry": {
        **dict.fromkeys(
            (
                "accessRole",
                "backgroundColor",
                "colorId",
                "dataOwner",
                "description",
                "etag",
                "foregroundColor",
                "id",
                "kind",
                "location",
                "summary",
                "summaryOverride",
                "timeZone",
            ),
            "string",
        ),
        **dict.fromkeys(("autoAcceptInvitations", "deleted", "hidden", "primary", "selected"), "boolean"),
        **dict.fromkeys(("conferenceProperties", "notificationSettings"), "object"),
        "defaultReminders": "[EventReminder]",
    },
    "Calendar": {
        "autoAcceptInvitations": "boolean",
        **dict.fromkeys(("conferenceProperties", "labelProperties", "workingHours"), "object"),
        **dict.fromkeys(
            ("dataOwner", "description", "etag", "id", "kind", "location", "summary", "timeZone"), "string"
        ),
    },
    "FreeBusyRequest": {
        **dict.fromkeys(("calendarExpansionMax", "groupExpansionMax"), "integer"),
        "items": "[FreeBusyRequestItem]",
        **dict.fromkeys(("timeMax", "timeMin", "timeZone"), "string"),
    },
    "FreeBusyRequestItem": {
        "id": "string",
    },
}
