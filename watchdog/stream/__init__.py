"""The typed stream of events over a Unix socket, both ends: Cap'n Proto RPC with columns (docs/STREAM.md)."""
