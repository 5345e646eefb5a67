"""Google Calendar: find events and free times, create, change, cancel and answer events, share calendars.

Importing a module declares its tools. An event's id comes from the act, so no event is created twice. A change is
written only if the event is unchanged since it was read. Untrusted content is cleaned, marked ``untrusted`` and only
ever treated as text. No calendar is ever deleted or emptied.
"""

from __future__ import annotations

from deputize.toolkits.calendar import (  # noqa: F401 - they declare the tools
    calendars,
    cancel,
    change,
    create,
    find,
    free,
    manage,
    rooms,
    sharing,
    trusted_authors,
)
from deputize.toolkits.calendar.base import CALENDAR as TOOLKIT

__all__ = ["TOOLKIT"]
