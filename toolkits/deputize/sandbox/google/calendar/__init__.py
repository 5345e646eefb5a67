"""Google Calendar's API, as far as the sandbox plays it."""
