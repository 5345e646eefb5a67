"""Grants without a consent at a provider's page, one way to their tokens per file.

    token_exchange     the application's session token of the user, for a token of the API
    assertion          the company's provider says who the user is (ID-JAG)
    service_account    an account of an organisation's own
    import_tokens      tokens that somebody had already

All share the same vault, one request for concurrent callers, scope checks on every call, and the same revocation.
"""
