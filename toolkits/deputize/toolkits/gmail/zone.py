"""In which zone the user reads times: their calendar's settings tell, if the grant lets us look."""

from __future__ import annotations

from dataclasses import replace

from deputize.core import Run
from deputize.core.tools.steps import Try
from deputize.toolkits._shared.steps import Asks


def ask_zone(run: Run) -> Asks[object]:
    """The zone of the user's calendar settings, else of their main calendar."""
    from deputize.toolkits.calendar.api import SETTINGS_LIST, list_events, settings_in  # few calls need a zone
    from deputize.toolkits.calendar.base import KNOWS_SETTINGS, PRIMARY, READS_OWN

    if run.granted & KNOWS_SETTINGS:
        [settings] = yield Try([replace(SETTINGS_LIST, api="calendar")])
        if name := settings_in(settings).get("timezone"):
            return name
    if run.granted & READS_OWN:
        [page] = yield Try([replace(list_events(PRIMARY, {"maxResults": 1}), api="calendar")])
        return (page or {}).get("timeZone")
    return None
