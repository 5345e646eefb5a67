"""The pages: one module a subject, each a table of `Page`s, their handlers, and what a template is given."""
