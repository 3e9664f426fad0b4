"""The lines of Bitcoin Core's debug.log: a table of their forms, and its check against Core's source."""
