"""Grants without a consent at a provider's page. Each file is one way to get tokens.

    token_exchange     from the application's session token of the user
    assertion          from an assertion of the company's identity provider (ID-JAG)
    service_account    for an account of an organisation
    import_tokens      from existing tokens

All share the same vault, one request for concurrent callers, scope checks on every call, and the same revocation.
"""
