"""Grants that no user consents to at a provider's page: where their tokens come from, one way a file.

    exchange           the application's session token of the user, for a token of the API
    assertion          the company's provider says who the user is (ID-JAG)
    service_account    an account of an organisation's own
    imported           tokens that somebody had already

Whichever it is: the same vault, one request for everybody, scopes checked on every call, the same revocation.
"""
