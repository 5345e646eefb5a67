"""Google Calendar's API, as far as the sandbox simulates it."""
