"""Slack's tools, one module a subject."""
