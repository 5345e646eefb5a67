"""Authentication of browsers and tokens: OpenID Connect sign-in and resource server."""
