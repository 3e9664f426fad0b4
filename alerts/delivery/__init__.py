"""Delivery: sends the outbox's notices to the receivers, signed and in order, with retries until accepted or dead."""
