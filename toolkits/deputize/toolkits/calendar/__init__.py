"""Google Calendar: find events and free times, make, change, cancel and answer events, share calendars.

One module a subject; importing a module declares its tools.

An event's id is made from the act, so no event is made twice; a change is written only over what was read. What
others wrote is cleaned, marked ``untrusted`` and never more than text. No calendar is ever deleted or emptied.
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
    sharing,
    trusted_authors,
)
from deputize.toolkits.calendar.base import CALENDAR as TOOLKIT

__all__ = ["TOOLKIT"]
