"""What becomes of a grant: it is refreshed, revoked, and chosen among a user's accounts."""
