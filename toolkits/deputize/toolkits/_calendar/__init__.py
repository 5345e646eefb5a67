"""The tools of Google Calendar, one module a subject."""
