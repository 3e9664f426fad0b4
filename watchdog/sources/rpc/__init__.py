"""RPC answers: rounds of polls become state and changes."""
