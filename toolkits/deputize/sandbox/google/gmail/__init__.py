"""Gmail's API over mailboxes in memory."""
