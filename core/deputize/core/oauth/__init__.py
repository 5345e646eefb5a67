"""The OAuth 2.0 client: consent, refresh and revocation for any provider that is defined as data."""
