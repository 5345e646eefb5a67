"""Decisions of users: approvals of single calls, and mandates for many calls."""
