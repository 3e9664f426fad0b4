"""Delivery: what the outbox holds goes to the receivers, signed, in order, again until it is accepted or given up."""
