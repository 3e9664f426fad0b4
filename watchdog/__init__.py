"""Watch Bitcoin nodes: events in, incidents out."""
