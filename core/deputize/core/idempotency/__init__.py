"""At most one effect per act: the ledger of outcomes, and how an act is undone."""
