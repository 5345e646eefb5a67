"""Consents and approvals in chats, over `Deputy.on_question`. Each module is one chat product."""
