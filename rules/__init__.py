"""The rule language: read, check, compile; the shipped packs."""
