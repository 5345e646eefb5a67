"""Receivers of signals from other systems, which end the access of users. Each is a page without a session."""
