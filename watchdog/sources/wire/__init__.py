"""Decoders of message payloads: many messages of one type at once, total and bounded."""
