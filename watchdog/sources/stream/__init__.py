"""Source `stream:SOCKET`: events that another program sends over the typed stream (docs/STREAM.md)."""
