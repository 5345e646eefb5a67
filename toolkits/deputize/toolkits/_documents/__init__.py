"""Readers of untrusted files: PDF, office files, tables, HTML, mails, archives, and metadata of pictures.

All of this runs in a separate process per file (`deputize.core.tools.parser_sandbox`). So no module imports the core
when it is loaded; only the readers of HTML and mail do. Text that a person who opens the file would not see is left out
and counted, as in mail.
"""
