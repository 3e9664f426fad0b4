"""Captured messages: the tree that `-capturemessages` writes."""
