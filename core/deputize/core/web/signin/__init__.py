"""Who is at the browser or behind a token: OpenID Connect sign-in and resource server."""
