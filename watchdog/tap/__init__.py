"""Tap: what sources give, as lines, JSON or bytes, and as measures of it."""
