"""Reads files of strangers: PDF, office files, tables, pages, mails, archives, what is known of pictures.

All of it runs in a process of its own, which starts for each file (`deputize.core.tools.parser_sandbox`). So nothing
in here imports the core where it is loaded, but for what reads HTML and mail. A person's eye is the measure: what
nobody would see who opened the file is left out and counted, as in mail.
"""
