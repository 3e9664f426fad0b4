"""Builders of generated documentation; the service imports none of them."""
