"""OAuth 2.0 as a client: consent, refresh and revocation for any provider that is a row of data."""
