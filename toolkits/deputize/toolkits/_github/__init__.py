"""The tools of GitHub, one module a subject."""
